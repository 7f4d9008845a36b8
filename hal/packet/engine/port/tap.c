/* A tap that dsnd made: packets for the card's own programs, and what these send. The kernel finishes checksums and
 * cuts segments itself, since no offload is offered to it. */
#include "port/kinds.h"
#include "port/offload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <rte_cycles.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* An empty tap costs a system call to look at: under load it is looked at this often only, and ever less often while
 * it stays empty, so that a card may have many. Asleep it wakes at once. */
#define LOOK_US 20
#define MOST_LOOK_US 160

struct tap_port {
    int fd;
    uint32_t room;
    struct rte_mempool *pool;
    uint64_t look_tsc, look_us, tsc_per_us;
};

static uint16_t tap_rx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    struct tap_port *p = port->state;
    uint16_t taken = 0;
    uint64_t now = rte_rdtsc();
    if (now < p->look_tsc)
        return 0;
    while (taken < count) {
        struct rte_mbuf *mbuf = rte_pktmbuf_alloc(p->pool);
        if (mbuf == NULL)
            return taken;
        ssize_t got = read(p->fd, rte_pktmbuf_mtod(mbuf, void *), p->room);
        if (got <= 0) {
            rte_pktmbuf_free(mbuf);
            if (got < 0 && errno == EINTR)
                continue;
            p->look_us = taken > 0 ? LOOK_US : RTE_MIN(2 * p->look_us, (uint64_t)MOST_LOOK_US);
            p->look_tsc = now + p->look_us * p->tsc_per_us;
            break;
        }
        if (got == (ssize_t)p->room) { /* as long as that only where its end was cut off */
            rte_pktmbuf_free(mbuf);
            dsn_port_add(&port->counters->rx_errors, 1);
            continue;
        }
        mbuf->data_len = (uint16_t)got;
        mbuf->pkt_len = mbuf->data_len;
        packets[taken++] = mbuf;
    }
    return taken;
}

static uint16_t tap_tx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    struct tap_port *p = port->state;
    uint16_t sent = 0;
    while (sent < count) {
        dsn_csum_finish(packets[sent]);
        ssize_t put = write(p->fd, rte_pktmbuf_mtod(packets[sent], void *), packets[sent]->data_len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            break;
        rte_pktmbuf_free(packets[sent++]);
    }
    return sent;
}

static int tap_wake_fd(struct dsn_port *port) {
    return ((struct tap_port *)port->state)->fd;
}

/* There as long as its device is; whether programs have taken it up is not the card's affair. */
static bool tap_link(struct dsn_port *port) {
    struct ifreq request = {0};
    return ioctl(((struct tap_port *)port->state)->fd, TUNGETIFF, &request) == 0;
}

static void tap_close(struct dsn_port *port) {
    struct tap_port *p = port->state;
    close(p->fd);
    free(p);
    port->state = NULL;
}

static const struct dsn_port_ops tap_ops = {
    .kind = "tap",
    .rx = tap_rx,
    .tx = tap_tx,
    .wake_fd = tap_wake_fd,
    .fault = tap_link,
    .link = tap_link,
    .close = tap_close,
    .tx_shared = true,
};

struct dsn_opened dsn_tap_open(struct dsn_port *port, int fd, struct rte_mempool *pool) {
    struct ifreq request = {0};
    int flags = fcntl(fd, F_GETFL);
    struct tap_port *p = NULL;
    struct dsn_opened opened = {.kind = DSN_OPEN_INVALID,
                                .field = "descriptor",
                                .limit = "a tap without packet information and offload header",
                                .fix = "Make it by hal.packet.dpdk.linux_port.open_tap."};
    if (flags < 0 || ioctl(fd, TUNGETIFF, &request) != 0 || !(request.ifr_flags & IFF_TAP) ||
        !(request.ifr_flags & IFF_NO_PI) || (request.ifr_flags & IFF_VNET_HDR) ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        close(fd);
        return opened;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        close(fd);
        return (struct dsn_opened){.kind = DSN_OPEN_FULL, .number = ENOMEM, .limit = "free memory"};
    }
    p->fd = fd;
    p->pool = pool;
    p->room = (uint32_t)rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
    p->look_us = LOOK_US;
    p->tsc_per_us = rte_get_tsc_hz() / 1000000;
    port->ops = &tap_ops;
    port->state = p;
    return (struct dsn_opened){0};
}
