#include "worker/lane.h"

#include <rte_errno.h>
#include <stdlib.h>
#include <string.h>

struct dsn_lane *dsn_lane_create(const char *name, uint32_t packets) {
    struct dsn_lane *lane = NULL;
    if (posix_memalign((void **)&lane, RTE_CACHE_LINE_SIZE, sizeof(*lane)) != 0) {
        rte_errno = ENOMEM;
        return NULL;
    }
    memset(lane, 0, sizeof(*lane));
    lane->ring = rte_ring_create(name, packets, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (lane->ring == NULL) {
        free(lane);
        return NULL;
    }
    return lane;
}

void dsn_lane_destroy(struct dsn_lane *lane) {
    void *packet;
    if (lane == NULL)
        return;
    while (rte_ring_sc_dequeue(lane->ring, &packet) == 0)
        rte_pktmbuf_free(packet);
    rte_ring_free(lane->ring);
    free(lane);
}

static unsigned share_of(const struct rte_mbuf *packet) {
    return RTE_MIN(packet->port, (unsigned)DSN_MAX_PORTS);
}

uint16_t dsn_lane_put(struct dsn_lane *lane, struct rte_mbuf **packets, uint16_t count) {
    struct rte_mbuf *refused[DSN_TX_BURST];
    uint32_t left = rte_ring_free_count(lane->ring);
    uint16_t kept = 0, others = 0;
    for (uint16_t i = 0; i < count; i++) {
        unsigned share = share_of(packets[i]);
        /* What was taken in the meantime may count still: the port has less for a moment, never more. */
        uint32_t there = lane->put[share] - atomic_load_explicit(&lane->taken[share], memory_order_relaxed);
        if (unlikely(there >= left)) {
            refused[others++] = packets[i];
            continue;
        }
        lane->put[share]++;
        left--;
        packets[kept++] = packets[i];
    }
    if (unlikely(others > 0))
        memcpy(packets + kept, refused, others * sizeof(refused[0]));
    /* All have room: nobody else puts. */
    return (uint16_t)rte_ring_sp_enqueue_burst(lane->ring, (void **)packets, kept, NULL);
}

uint16_t dsn_lane_take(struct dsn_lane *lane, struct rte_mbuf *packets[DSN_BURST]) {
    uint16_t count = (uint16_t)rte_ring_sc_dequeue_burst(lane->ring, (void **)packets, DSN_BURST, NULL);
    for (uint16_t i = 0, next; i < count; i = next) { /* runs of one port */
        unsigned share = share_of(packets[i]);
        for (next = i + 1; next < count && share_of(packets[next]) == share; next++) {}
        uint32_t taken = atomic_load_explicit(&lane->taken[share], memory_order_relaxed);
        atomic_store_explicit(&lane->taken[share], taken + (next - i), memory_order_relaxed);
    }
    return count;
}
