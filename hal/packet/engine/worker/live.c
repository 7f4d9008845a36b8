/* Workers begin and end, and others call them. */
#include "worker/live.h"

#include <errno.h>
#include <rte_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SENDS 1024 /* packets of one port that wait to be sent between two workers */

static void destroy(struct dsn_worker *w) {
    for (uint16_t i = 0; i < w->live->workers; i++) {
        dsn_lane_destroy(w->handed[i]);
        dsn_lane_destroy(w->sends[i]);
    }
    if (w->epoll >= 0)
        close(w->epoll);
    if (w->event >= 0)
        close(w->event);
    pthread_mutex_destroy(&w->callers);
}

/* packets: of one port, where no other uses it. */
static struct dsn_lane *lane(const char *what, uint16_t from, uint16_t to, uint32_t packets) {
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof(name), "dsn_%s_%u_%u", what, from, to);
    return dsn_lane_create(name, packets * 2);
}

uint32_t dsn_handed_packets(uint16_t workers) {
    uint32_t packets = 4096;
    while (packets > 512 && packets * workers > 4096 * 8)
        packets /= 2;
    return packets;
}

/* Returns 0 or an errno. */
static int watch(struct dsn_worker *w, int fd, struct dsn_port *port) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = port};
    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

static int create(struct dsn_worker *w) {
    pthread_mutex_init(&w->callers, NULL);
    w->event = -1;
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll < 0 || (w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return errno;
    int failed = watch(w, w->event, NULL);
    for (uint16_t i = 0; i < w->live->workers && failed == 0; i++) {
        if (i == w->number)
            continue;
        w->handed[i] = lane("handed", i, w->number, dsn_handed_packets(w->live->workers));
        w->sends[i] = lane("sends", i, w->number, SENDS);
        if (w->handed[i] == NULL || w->sends[i] == NULL)
            failed = rte_errno;
    }
    for (uint16_t i = 0; i < w->port_count && failed == 0; i++) {
        int fd = w->ports[i]->ops->wake_fd(w->ports[i]);
        if (fd < 0)
            w->polls = true;
        else
            failed = watch(w, fd, w->ports[i]);
    }
    return failed;
}

/* CPU that a worker is pinned to: the n-th of the process's, from the start again where there are fewer. */
static bool cpu_of(const cpu_set_t *cpus, uint16_t n, cpu_set_t *one) {
    int count = CPU_COUNT(cpus);
    if (count == 0)
        return false;
    for (int cpu = 0, left = n % count; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, cpus) || left-- > 0)
            continue;
        CPU_ZERO(one);
        CPU_SET(cpu, one);
        return true;
    }
    return false;
}

static int begin(struct dsn_worker *w, const cpu_set_t *cpus) {
    char name[16];
    cpu_set_t one;
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);
    if (failed != 0)
        return failed;
    if (cpu_of(cpus, w->number, &one))
        failed = pthread_attr_setaffinity_np(&attributes, sizeof(one), &one);
    if (failed == 0)
        failed = pthread_create(&w->thread, &attributes, dsn_worker_run, w);
    pthread_attr_destroy(&attributes);
    if (failed == 0) {
        snprintf(name, sizeof(name), "dsn-worker%u", w->number);
        (void)pthread_setname_np(w->thread, name);
    }
    return failed;
}

static void end(struct dsn_live *live, uint16_t running) {
    for (uint16_t i = 0; i < running; i++) {
        atomic_store(&live->worker[i].stop, true);
        dsn_worker_wake(&live->worker[i]);
    }
    for (uint16_t i = 0; i < running; i++)
        pthread_join(live->worker[i].thread, NULL);
    for (uint16_t i = 0; i < live->workers; i++)
        destroy(&live->worker[i]);
    free(live);
}

int dsn_workers_start(struct dsn_engine *engine) {
    cpu_set_t cpus = engine->cpus;
    int failed = 0;
    uint16_t running = 0;
    struct dsn_live *live = NULL;
    size_t size = sizeof(*live) + engine->workers * sizeof(live->worker[0]);

    if (CPU_COUNT(&cpus) == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
        return errno;
    if (posix_memalign((void **)&live, RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE)) != 0)
        return ENOMEM;
    memset(live, 0, size);
    live->workers = engine->workers;
    for (uint16_t i = 0; i < live->workers; i++) {
        live->worker[i].engine = engine;
        live->worker[i].live = live;
        live->worker[i].number = i;
        live->worker[i].epoll = live->worker[i].event = -1;
    }
    for (uint16_t i = 0; i < engine->port_count; i++) {
        struct dsn_worker *w = &live->worker[i % live->workers];
        engine->ports[i]->worker = (uint8_t)w->number;
        w->ports[w->port_count++] = engine->ports[i];
    }
    for (uint16_t i = 0; i < live->workers && failed == 0; i++)
        failed = create(&live->worker[i]);
    for (; running < live->workers && failed == 0; running += failed == 0)
        failed = begin(&live->worker[running], &cpus);
    if (failed != 0)
        end(live, running);
    else
        engine->live = live;
    return failed;
}

void dsn_workers_stop(struct dsn_engine *engine) {
    struct dsn_live *live = engine->live;
    if (live == NULL)
        return;
    engine->live = NULL;
    end(live, live->workers);
}

void dsn_worker_call(struct dsn_engine *engine, uint16_t worker, void (*fn)(struct dsn_shard *, void *),
                     void *argument) {
    if (engine->live == NULL) {
        fn(engine->shard[worker], argument);
        return;
    }
    struct dsn_worker *w = &engine->live->worker[worker];
    struct dsn_call call = {.fn = fn, .argument = argument};
    sem_init(&call.done, 0, 0);
    pthread_mutex_lock(&w->callers);
    atomic_store(&w->call, &call);
    dsn_worker_wake(w);
    while (sem_wait(&call.done) != 0 && errno == EINTR) {}
    pthread_mutex_unlock(&w->callers);
    sem_destroy(&call.done);
}

struct taking {
    struct dsn_engine *engine;
    struct dsn_port *port;
    uint64_t namespace;
    int interface, failed;
};

/* In the worker's thread, which leaves alone a port that has lost its interface: never both at a time. */
static void take_up(struct dsn_shard *shard, void *argument) {
    struct taking *taking = argument;
    struct dsn_port *port = taking->port;
    (void)shard;
    taking->failed = port->ops->take_up(port, taking->interface, taking->namespace);
    if (taking->failed != 0 || taking->engine->live == NULL)
        return;
    int failed = watch(&taking->engine->live->worker[port->worker], port->ops->wake_fd(port), port);
    taking->failed = failed == EEXIST ? 0 : failed;
}

int dsn_worker_take_up(struct dsn_engine *engine, struct dsn_port *port, int interface, uint64_t namespace) {
    struct taking taking = {engine, port, namespace, interface, 0};
    dsn_worker_call(engine, port->worker, take_up, &taking);
    return taking.failed;
}
