/* A port: a small interface of ours. Most are DPDK devices; Linux interfaces get an AF_PACKET ring of our own.
 * Only worker threads call rx and tx; a port is polled by one worker at a time (ports are dealt out to workers). */
#ifndef DSN_PORT_H
#define DSN_PORT_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#define DSN_MAX_PORTS 256
#define DSN_BURST 32

struct dsn_port;

struct dsn_port_ops {
    const char *kind;
    uint16_t (*rx)(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count);
    /* Takes what it can, never blocks, frees nothing that it didn't take. */
    uint16_t (*tx)(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count);
    int (*wake_fd)(struct dsn_port *port); /* readable when packets wait; -1: this port must be polled */
    bool (*link)(struct dsn_port *port);
    void (*close)(struct dsn_port *port);
};

struct dsn_port {
    const struct dsn_port_ops *ops;
    uint32_t number; /* as rows call it */
    uint16_t index;  /* place in the engine's array; rte_mbuf.port of what it receives */
    uint16_t mtu;
    uint8_t worker;      /* who polls it */
    _Atomic bool up;     /* link, kept by the control thread */
    char name[32];
    uint8_t mac[6];
    void *state;
    uint64_t rx_packets, rx_bytes, rx_errors, tx_packets, tx_bytes, tx_full;
};

/* Offload notes that travel with an mbuf: */
#define DSN_MBUF_CSUM_PARTIAL (1ull << 56) /* in ol_flags: the L4 checksum is unfinished (virtio_net_hdr NEEDS_CSUM) */

#endif
