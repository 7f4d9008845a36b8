/* What a worker is made of. */
#ifndef DSN_WORKER_LIVE_H
#define DSN_WORKER_LIVE_H

#include "worker.h"
#include "worker/lane.h"

#include <pthread.h>
#include <semaphore.h>

struct dsn_call {
    void (*fn)(struct dsn_shard *, void *);
    void *argument;
    sem_t done;
};

struct dsn_worker {
    struct dsn_engine *engine;
    struct dsn_live *live;
    uint16_t number, port_count;
    bool polls; /* one of its ports can't wake it */
    int epoll, event;
    pthread_t thread;
    struct dsn_port *ports[DSN_MAX_PORTS];
    /* From each other worker: packets of connections that are ours, and packets for ports that only we may send to
     * (mbuf->vlan_tci says which). */
    struct dsn_lane *handed[DSN_MAX_WORKERS], *sends[DSN_MAX_WORKERS];
    uint64_t now;  /* of the last burst, or of the last turn without one */
    uint64_t tick; /* when timers are due */

    pthread_mutex_t callers; /* one call at a time */
    _Alignas(RTE_CACHE_LINE_SIZE) struct dsn_call *_Atomic call;
    _Atomic bool asleep, stop;
};

struct dsn_live {
    uint16_t workers;
    struct dsn_worker worker[];
};

/* The thread's function; its argument is the worker. */
void *dsn_worker_run(void *argument);
/* To be called behind what the worker shall find. */
void dsn_worker_wake(struct dsn_worker *worker);

#endif
