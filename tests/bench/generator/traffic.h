/* The generator's traffic: what is under way on each of its two ports, and the callbacks that make and check
 * packets. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "config.h"
#include "control.h"
#include "neighbour.h"
#include "results.h"

#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <stdbool.h>
#include <stdint.h>

#define ANSWERS 16

/* Of the library alone: what runs for each burst finds it without a table of addresses. */
#pragma GCC visibility push(hidden)

enum state { STATE_WAITING, STATE_RUNNING, STATE_DRAINING, STATE_FINISHED };

/* One port's side: the frames of this direction come in here, the other direction's leave here. */
struct side {
    uint16_t port;
    bool attached, polled;
    struct rte_mempool *pool;
    uint64_t sent, quota;
    uint64_t next_id;  /* where flows go in order */
    uint64_t random;   /* where they don't: what is hashed into the next one, never the same twice */
    uint64_t due_step; /* ticks between packets, 16 bits behind the point; 0: as fast as it is polled */
    uint64_t due;      /* of the next packet, likewise, from the phase's begin */
    uint64_t bursts;
    rte_spinlock_t answers_lock;
    unsigned int answers;
    size_t answer_size[ANSWERS];
    uint8_t answer[ANSWERS][ANSWER_SIZE];
};

extern struct generator {
    struct config config;
    struct control *control;
    struct control own_control;
    double hz;
    uint64_t gap_ticks;
    enum state state;
    unsigned int phase;
    pthread_t worker;
    uint64_t last_poll;
    uint64_t drain_begin;
    uint64_t id_limit, fresh_id;
    uint64_t probe_next;
    struct shape shape[DIR_COUNT] __attribute__((aligned(64)));
    struct side side[DIR_COUNT] __attribute__((aligned(64)));
    struct measurement measured;
} generator;

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);
void set_clocks(struct control *control);
/* Callbacks of a port; the argument is its side. */
uint16_t on_rx(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t have, uint16_t most, void *argument);
uint16_t on_tx(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count, void *argument);

#pragma GCC visibility pop

#endif
