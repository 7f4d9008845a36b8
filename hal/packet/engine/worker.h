/* Workers: threads that poll ports, run the path on their shard and sleep in epoll when nothing comes. */
#ifndef DSN_WORKER_H
#define DSN_WORKER_H

#include "path.h"

#include <rte_rcu_qsbr.h>

/* What all threads share. One instance, made by the control thread before the workers start. */
struct dsn_engine {
    struct dsn_root *_Atomic root; /* the live one of the two */
    struct rte_rcu_qsbr *readers;  /* workers: quiescent between bursts, offline while asleep */
    struct dsn_port *ports[DSN_MAX_PORTS];
    uint16_t port_count;
    uint16_t workers;
    struct rte_mempool *pool;
    struct dsn_shard *shard[64];
};

/* Opens what dsn_load_port describes; fd is -1 or the descriptor that came with it (ownership passes).
 * NULL: *error is filled. */
struct dsn_port *dsn_port_open(const struct dsn_load_port *config, int fd, struct rte_mempool *pool,
                               struct dsn_error *error, uint16_t *error_kind);
void dsn_port_close(struct dsn_port *port);

/* Starts threads, pinned to the CPUs the process may use; false: *error says why. */
bool dsn_workers_start(struct dsn_engine *engine);
/* Ends them between two bursts. */
void dsn_workers_stop(struct dsn_engine *engine);
/* Runs fn on a worker's shard, in its thread, between two bursts, and returns when it has. Before start and after
 * stop it runs in the caller. */
void dsn_worker_call(struct dsn_engine *engine, uint16_t worker, void (*fn)(struct dsn_shard *, void *), void *argument);
uint64_t dsn_now_ns(void); /* CLOCK_BOOTTIME */

#endif
