#include "message.h"

#include "wire.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNREAD_MEMFDS 8
#define UNREAD_BYTES (16u << 20)

bool dsn_would_block(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

bool dsn_message_send(int fd, const void *bytes, size_t size, int passed) {
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (passed >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control.space);
        control.head =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &passed, sizeof(int));
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

ssize_t dsn_message_receive(int fd, void *bytes, size_t room, int descriptor[DSN_DESCRIPTORS], unsigned *descriptors,
                            bool *cut) {
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int) * DSN_DESCRIPTORS)];
    } control;
    struct iovec part = {bytes, room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space)};
    ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *descriptors = 0;
    if (size < 0)
        return dsn_would_block() || errno == EINTR ? -1 : 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && *descriptors < DSN_DESCRIPTORS; i++)
            memcpy(&descriptor[(*descriptors)++], CMSG_DATA(head) + i * sizeof(int), sizeof(int));
    }
    *cut = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || size > DSN_WIRE_MAX;
    return size;
}

bool dsn_message_pass(int fd, const void *bytes, size_t size, int passed, struct dsn_unread *unread) {
    struct stat status = {0};
    if (!dsn_message_send(fd, bytes, size, passed))
        return false;
    if (passed >= 0) {
        unread->memfds++;
        unread->bytes += fstat(passed, &status) == 0 ? (uint64_t)status.st_size : 0;
        close(passed);
    }
    return true;
}

bool dsn_message_unread(int fd, struct dsn_unread *unread) {
    int bytes = 0;
    if (unread->memfds < UNREAD_MEMFDS && unread->bytes < UNREAD_BYTES)
        return false;
    if (ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0)
        return true;
    *unread = (struct dsn_unread){0};
    return false;
}
