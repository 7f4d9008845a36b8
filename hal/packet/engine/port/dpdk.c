/* A DPDK device, attached by its devargs, with one queue each way. None of those here can wake a sleeper. */
#include "port/kinds.h"
#include "port/offload.h"

#include <errno.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <stdlib.h>

#define DESCRIPTORS 1024

struct dpdk_port {
    uint16_t device;
};

static uint16_t dpdk_rx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    return rte_eth_rx_burst(((struct dpdk_port *)port->state)->device, 0, packets, count);
}

static uint16_t dpdk_tx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    uint64_t flags = 0;
    for (uint16_t i = 0; i < count; i++)
        flags |= packets[i]->ol_flags;
    for (uint16_t i = 0; unlikely(flags & DSN_MBUF_CSUM_PARTIAL) && i < count; i++)
        if (packets[i]->ol_flags & DSN_MBUF_CSUM_PARTIAL)
            dsn_csum_finish(packets[i]);
    return rte_eth_tx_burst(((struct dpdk_port *)port->state)->device, 0, packets, count);
}

static int dpdk_wake_fd(struct dsn_port *port) {
    (void)port;
    return -1;
}

static bool dpdk_fault(struct dsn_port *port) {
    (void)port;
    return false;
}

static bool dpdk_link(struct dsn_port *port) {
    struct rte_eth_link link = {0};
    if (rte_eth_link_get_nowait(((struct dpdk_port *)port->state)->device, &link) != 0)
        return false;
    return link.link_status == RTE_ETH_LINK_UP;
}

static void detach(uint16_t device) {
    struct rte_eth_dev_info info;
    int known = rte_eth_dev_info_get(device, &info);
    (void)rte_eth_dev_close(device);
    if (known == 0 && info.device != NULL)
        (void)rte_dev_remove(info.device);
}

static void dpdk_close(struct dsn_port *port) {
    struct dpdk_port *p = port->state;
    (void)rte_eth_dev_stop(p->device);
    detach(p->device);
    free(p);
    port->state = NULL;
}

static const struct dsn_port_ops dpdk_ops = {
    .kind = "dpdk",
    .rx = dpdk_rx,
    .tx = dpdk_tx,
    .wake_fd = dpdk_wake_fd,
    .fault = dpdk_fault,
    .link = dpdk_link,
    .close = dpdk_close,
    .tx_shared = false,
};

/* 0 or a negative errno. */
static int start(struct dsn_port *port, uint16_t device, struct rte_mempool *pool) {
    struct rte_eth_conf config = {.rxmode = {.mtu = port->mtu}};
    uint16_t rx = DESCRIPTORS, tx = DESCRIPTORS;
    int failed = rte_eth_dev_configure(device, 1, 1, &config);
    if (failed == 0)
        failed = rte_eth_dev_adjust_nb_rx_tx_desc(device, &rx, &tx);
    if (failed == 0)
        failed = rte_eth_rx_queue_setup(device, 0, rx, SOCKET_ID_ANY, NULL, pool);
    if (failed == 0)
        failed = rte_eth_tx_queue_setup(device, 0, tx, SOCKET_ID_ANY, NULL);
    if (failed == 0)
        failed = rte_eth_dev_start(device);
    if (failed != 0)
        return failed;
    /* Frames for vNICs' MACs; devices that can't filter say ENOTSUP, and have nothing to be told. */
    failed = rte_eth_promiscuous_enable(device);
    return failed == -ENOTSUP || failed == -ENOSYS ? 0 : failed;
}

struct dsn_opened dsn_dpdk_open(struct dsn_port *port, const char *devargs, struct rte_mempool *pool) {
    struct rte_dev_iterator iterator;
    uint16_t device = RTE_MAX_ETHPORTS, other;
    struct rte_ether_addr mac = {0};
    if (rte_eth_dev_count_avail() == RTE_MAX_ETHPORTS) /* or it would be told as memory that lacks */
        return (struct dsn_opened){.kind = DSN_OPEN_FULL,
                                   .field = "device",
                                   .limit = RTE_STR(RTE_MAX_ETHPORTS) " of dpdk, null, ring and pcap together",
                                   .fix = "Give the card fewer of them; linux and tap ports are apart."};
    int failed = rte_dev_probe(devargs);
    if (failed == 0) {
        RTE_ETH_FOREACH_MATCHING_DEV(other, devargs, &iterator) {
            device = RTE_MIN(device, other);
        }
    }
    if (failed != 0 || device == RTE_MAX_ETHPORTS)
        return (struct dsn_opened){
            .kind = DSN_OPEN_INVALID,
            .number = failed != 0 ? -failed : ENODEV,
            .field = "device",
            .limit = "devargs of a network device that this DPDK has a driver for",
            .fix = "Try them with dpdk-testpmd first, as the engine's user (engine_user in card.toml)."};
    struct dpdk_port *p = calloc(1, sizeof(*p));
    failed = p == NULL ? -ENOMEM : start(port, device, pool);
    if (failed != 0) {
        free(p);
        detach(device);
        return (struct dsn_opened){.kind = failed == -ENOMEM ? DSN_OPEN_FULL : DSN_OPEN_UNSUPPORTED,
                                   .number = -failed,
                                   .field = "device",
                                   .limit = "a device that starts with one queue each way at this MTU"};
    }
    p->device = device;
    if (rte_eth_macaddr_get(device, &mac) == 0)
        memcpy(port->mac, mac.addr_bytes, sizeof(port->mac));
    port->ops = &dpdk_ops;
    port->state = p;
    return (struct dsn_opened){0};
}
