/* Workers: threads that poll ports, run the path on their shard and sleep in epoll when nothing comes. */
#ifndef DSN_WORKER_H
#define DSN_WORKER_H

#include "path.h"

#include <rte_rcu_qsbr.h>
#include <sched.h>

#define DSN_MAX_WORKERS 64

/* What all threads share. One instance, made by the control thread before the workers start. */
struct dsn_engine {
    struct dsn_root *_Atomic root; /* the live one of the two */
    struct rte_rcu_qsbr *readers;  /* workers: quiescent between bursts, offline while asleep */
    struct dsn_port *ports[DSN_MAX_PORTS];
    uint16_t port_count;
    uint16_t workers;
    struct rte_mempool *pool;
    struct dsn_shard *shard[DSN_MAX_WORKERS];
    struct dsn_budgets *budgets;   /* that several shards share, or NULL */
    struct dsn_news *news;         /* likewise */
    struct dsn_verdicts *verdicts; /* likewise */
    cpu_set_t cpus; /* to pin workers to: the process's before EAL pinned the main thread; empty: the caller's now */
    struct dsn_live *live; /* worker/ alone looks inside */
};

/* Buffers for `packets` packets of ports whose longest MTU this is; NULL: no memory (rte_errno). */
struct rte_mempool *dsn_pool_create(const char *name, uint32_t packets, uint16_t mtu);
/* How many a set of workers and ports can hold at once; more only helps bursts. */
uint32_t dsn_pool_packets(uint16_t workers, uint16_t ports);
/* How many packets of one port may wait between each two of so many workers: an owner may be without its CPU for some
 * milliseconds where cores are shared. A power of two. */
uint32_t dsn_handed_packets(uint16_t workers);

/* Opens what dsn_load_port describes; fd is -1 or the descriptor that came with it (ownership passes).
 * NULL: *error is filled. */
struct dsn_port *dsn_port_open(const struct dsn_load_port *config, int fd, struct rte_mempool *pool,
                               struct dsn_error *error, uint16_t *error_kind);
/* Not while workers run. */
void dsn_port_close(struct dsn_port *port);

/* Deals the ports out and starts threads, each pinned to one CPU. `readers` has room for one each, numbered like them.
 * Returns 0 or an errno. */
int dsn_workers_start(struct dsn_engine *engine);
/* Ends them between two bursts. */
void dsn_workers_stop(struct dsn_engine *engine);
/* Runs fn on a worker's shard, in its thread, between two bursts, and returns when it has. Before start and after
 * stop it runs in the caller. */
void dsn_worker_call(struct dsn_engine *engine, uint16_t worker, void (*fn)(struct dsn_shard *, void *),
                     void *argument);
/* The port, whose interface was deleted, goes on with this one, and wakes its worker again. Returns 0 or an errno. */
int dsn_worker_take_up(struct dsn_engine *engine, struct dsn_port *port, int interface, uint64_t namespace);
/* CLOCK_BOOTTIME by the TSC: never goes back within a thread, differs between threads by less than a microsecond. */
uint64_t dsn_now_ns(void);

#endif
