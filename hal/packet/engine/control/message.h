/* One message of a SOCK_SEQPACKET socket, with the descriptors that go with it. */
#ifndef DSN_MESSAGE_H
#define DSN_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DSN_DESCRIPTORS 253 /* SCM_MAX_FD of Linux */

/* `passed`: a descriptor, or -1. False: errno says why; nothing was sent. */
bool dsn_message_send(int fd, const void *bytes, size_t size, int passed);
/* Size of the message, 0 at the end, -1 for nothing now. `cut`: it was longer, or had more descriptors. Descriptors are
 * the caller's, whatever the message is. */
ssize_t dsn_message_receive(int fd, void *bytes, size_t room, int descriptor[DSN_DESCRIPTORS], unsigned *descriptors,
                            bool *cut);

/* Memfds that went out since the other end had read everything. Whoever asks and doesn't read would pin memory, and the
 * descriptors that a user may have under way: with so much of it unread his next request has to wait. */
struct dsn_unread {
    unsigned memfds;
    uint64_t bytes;
};
/* As dsn_message_send; where it was sent, `passed` is closed and counted. */
bool dsn_message_pass(int fd, const void *bytes, size_t size, int passed, struct dsn_unread *unread);
/* Too much lies there still. */
bool dsn_message_unread(int fd, struct dsn_unread *unread);

bool dsn_would_block(void);

#endif
