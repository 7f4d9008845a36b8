/* A port: a small interface of ours. Most are DPDK devices; Linux interfaces get an AF_PACKET ring of our own.
 * Only worker threads call rx and tx; a port is polled by one worker at a time (ports are dealt out to workers). */
#ifndef DSN_PORT_H
#define DSN_PORT_H

#include "control/counters.h"

#include <rte_mbuf.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DSN_MAX_PORTS 256
#define DSN_BURST 64                 /* packets that go through the path at a time, of one port or several */
#define DSN_BURST_SIZES 7            /* 1, 2, 4 and so on to DSN_BURST */
#define DSN_TX_BURST (DSN_BURST * 4) /* to one port or worker at a time: a burst may make answers, too */
#define DSN_POLL 32                  /* of one port at a time */

struct dsn_port;

struct dsn_port_ops {
    const char *kind;
    uint16_t (*rx)(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count);
    /* Takes what it can, never blocks, frees nothing that it didn't take. */
    uint16_t (*tx)(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count);
    int (*wake_fd)(struct dsn_port *port); /* readable when packets wait; -1: this port must be polled */
    /* epoll said EPOLLERR or EPOLLHUP: clears it; false: the device is gone, don't wait for it any more */
    bool (*fault)(struct dsn_port *port);
    bool (*link)(struct dsn_port *port); /* asked by the control thread */
    void (*close)(struct dsn_port *port);
    /* Its interface was deleted; it goes on with another one. Returns 0 or an errno, EBUSY where it has one, EXDEV for
     * another network namespace. NULL: a port of no interface. */
    int (*take_up)(struct dsn_port *port, int interface, uint64_t namespace);
    bool tx_shared; /* tx may be called by any worker at any time; else only by the one that polls the port */
};

struct dsn_port {
    const struct dsn_port_ops *ops;
    uint32_t number; /* as rows call it */
    uint16_t index;  /* place in the engine's array; rte_mbuf.port of what it receives */
    uint16_t mtu;
    uint8_t worker;  /* who polls it */
    _Atomic bool up; /* link, kept by the control thread */
    char name[32];
    uint8_t mac[6];
    void *state;
    struct dsn_port_counters *counters; /* `own`, unless the control thread pointed it into the counter segment */
    struct dsn_port_counters own;
};

/* For what several workers count of a port: who sends to it, and who loses what it has received. */
static inline void dsn_port_add(uint64_t *counter, uint64_t more) {
    __atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

/* For the control thread: a netlink descriptor that turns readable when a link of this network namespace changed, or
 * -1. It says nothing about which, nor about ports in other namespaces: ask link() of all, then and now and again. */
int dsn_link_watch(void);
void dsn_link_watched(int fd); /* takes in what made it readable */

/* An unfinished L4 checksum travels with its mbuf (Linux hosts on veth leave them so). The flag lies in the range that
 * DPDK leaves to applications. tx_offload then holds where the sum begins and where it is stored, both counted from
 * buf_addr, so that moving the Ethernet header by a tag changes nothing. Ports finish it, in software or by telling
 * the kernel, before the packet leaves. */
#define DSN_MBUF_CSUM_PARTIAL (UINT64_C(1) << 40)

static inline void dsn_mbuf_csum_set(struct rte_mbuf *mbuf, uint16_t start, uint16_t offset) {
    mbuf->ol_flags |= DSN_MBUF_CSUM_PARTIAL;
    mbuf->tx_offload = (uint64_t)(mbuf->data_off + start) << 16 | (uint16_t)(mbuf->data_off + start + offset);
}

/* Both from the frame's first byte on. False: nothing to finish. */
static inline bool dsn_mbuf_csum_get(const struct rte_mbuf *mbuf, uint16_t *start, uint16_t *field) {
    if (!(mbuf->ol_flags & DSN_MBUF_CSUM_PARTIAL))
        return false;
    *start = (uint16_t)(mbuf->tx_offload >> 16) - mbuf->data_off;
    *field = (uint16_t)mbuf->tx_offload - mbuf->data_off;
    return true;
}

#endif
