#include "port/kinds.h"
#include "worker.h"

#define CACHE 256

uint32_t dsn_pool_packets(uint16_t workers, uint16_t ports) {
    /* Each worker: its cache, what waits in its shard's queues, 2,048 first packets that wait for their turn
     * (path/firsts.h), and as much as one port may have handed it by another worker. Each port: the descriptors of a
     * DPDK device. Where more is needed, packets wait in front of the ports. */
    uint32_t handed = workers > 1 ? dsn_handed_packets(workers) : 0;
    return 4096 + workers * (4096 + handed) + ports * 512u;
}

struct rte_mempool *dsn_pool_create(const char *name, uint32_t packets, uint16_t mtu) {
    uint32_t room = RTE_PKTMBUF_HEADROOM + RTE_ALIGN_CEIL((uint32_t)mtu + DSN_FRAME_EXTRA, RTE_CACHE_LINE_SIZE);
    /* Drivers of real cards want 2 KiB at least, and what the card makes itself is at most 1,280 bytes. */
    room = RTE_MAX(room, (uint32_t)RTE_MBUF_DEFAULT_BUF_SIZE);
    return rte_pktmbuf_pool_create(name, packets, CACHE, 0, (uint16_t)room, SOCKET_ID_ANY);
}
