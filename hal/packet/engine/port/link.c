/* Links of Linux interfaces. */
#include "port/kinds.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

bool dsn_link_of(int socket, int interface) {
    struct ifreq request = {.ifr_ifindex = interface};
    if (ioctl(socket, SIOCGIFNAME, &request) != 0 || ioctl(socket, SIOCGIFFLAGS, &request) != 0)
        return false;
    return (request.ifr_flags & IFF_UP) && (request.ifr_flags & IFF_RUNNING);
}

int dsn_link_watch(void) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void dsn_link_watched(int fd) {
    char message[4096];
    /* What it says doesn't matter, so a message cut off or lost (ENOBUFS, once) doesn't either. */
    for (int errors = 0; errors < 2;) {
        if (recv(fd, message, sizeof(message), MSG_DONTWAIT) <= 0)
            errors++;
    }
}
