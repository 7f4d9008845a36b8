/* A lane: packets on their way from one worker to another, in order. One puts, one takes. */
#ifndef DSN_WORKER_LANE_H
#define DSN_WORKER_LANE_H

#include "port.h"

#include <rte_ring.h>

/* By the port that a packet came in by; the last: what the card made. */
#define DSN_LANE_SHARES (DSN_MAX_PORTS + 1)

struct dsn_lane {
    struct rte_ring *ring;
    uint32_t put[DSN_LANE_SHARES];                                         /* the putter's */
    _Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t taken[DSN_LANE_SHARES]; /* the taker's */
};

/* `packets`: its places, a power of two. NULL: no memory (rte_errno). */
struct dsn_lane *dsn_lane_create(const char *name, uint32_t packets);
/* Frees what it holds, too. NULL is taken. */
void dsn_lane_destroy(struct dsn_lane *lane);

/* Puts those that have a place: a packet is put where more places are left than its port has, so that a flood by one
 * leaves to each other about as many as it takes. They are put in their order; the others stand behind them, and stay
 * the caller's. Returns how many were put. `count`: DSN_TX_BURST at most. */
uint16_t dsn_lane_put(struct dsn_lane *lane, struct rte_mbuf **packets, uint16_t count);
/* Takes up to DSN_BURST. Returns how many. */
uint16_t dsn_lane_take(struct dsn_lane *lane, struct rte_mbuf *packets[DSN_BURST]);

static inline bool dsn_lane_is_empty(const struct dsn_lane *lane) {
    return rte_ring_empty(lane->ring);
}

#endif
