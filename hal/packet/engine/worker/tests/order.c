/* Workers without a kernel: ports that make and check numbered packets in memory. A flow's packets come in order
 * through hand-over and through ports that only one worker may send to; nothing is lost uncounted; calls run on their
 * worker before, while and after workers run, asleep or not. */
#include "path/tests/check.h"
#include "worker/tests/standin.h"

#include <pthread.h>
#include <rte_eal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FLOWS 64
#define PACKETS 200000

struct source {
    struct rte_mempool *pool;
    int event;
    bool polled;
    _Atomic uint32_t allowed; /* packets it may make */
    uint32_t made;
    uint32_t seen[FLOWS]; /* of its peer's packets: the next number, or later */
    _Atomic uint32_t arrived, disordered;
};

struct numbered {
    uint32_t flow, number;
};

static uint16_t source_rx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    struct source *s = port->state;
    uint32_t left = atomic_load(&s->allowed) - s->made;
    uint16_t n = 0;
    for (; n < count && n < left; n++) {
        packets[n] = rte_pktmbuf_alloc(s->pool);
        if (packets[n] == NULL)
            break;
        struct numbered what = {.flow = s->made % FLOWS, .number = s->made / FLOWS};
        memcpy(rte_pktmbuf_append(packets[n], sizeof(what)), &what, sizeof(what));
        s->made++;
    }
    uint64_t value;
    if (left == n)
        (void)!read(s->event, &value, sizeof(value));
    return n;
}

static uint16_t source_tx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    struct source *s = port->state;
    for (uint16_t i = 0; i < count; i++) {
        struct numbered what;
        memcpy(&what, rte_pktmbuf_mtod(packets[i], void *), sizeof(what));
        if (what.number < s->seen[what.flow])
            atomic_fetch_add(&s->disordered, 1);
        s->seen[what.flow] = what.number + 1;
        rte_pktmbuf_free(packets[i]);
    }
    atomic_fetch_add(&s->arrived, count);
    return count;
}

static int source_wake_fd(struct dsn_port *port) {
    struct source *s = port->state;
    return s->polled ? -1 : s->event;
}

static bool yes(struct dsn_port *port) {
    (void)port;
    return true;
}

static const struct dsn_port_ops source_ops = {
    .kind = "test", .rx = source_rx, .tx = source_tx, .wake_fd = source_wake_fd, .fault = yes, .link = yes};

static uint16_t by_flow(const struct rte_mbuf *packet, uint16_t workers) {
    struct numbered what;
    memcpy(&what, rte_pktmbuf_mtod(packet, void *), sizeof(what));
    return (uint16_t)(what.flow % workers);
}

static void allow(struct source *s, uint32_t more) {
    uint64_t one = 1;
    atomic_fetch_add(&s->allowed, more);
    CHECK(write(s->event, &one, sizeof(one)) == sizeof(one));
}

static void add_port(struct dsn_engine *engine, struct source *s, bool polled) {
    struct dsn_port *port = calloc(1, sizeof(*port));
    CHECK(port != NULL);
    *s = (struct source){.pool = engine->pool, .event = eventfd(0, EFD_NONBLOCK), .polled = polled};
    CHECK(s->event >= 0);
    port->ops = &source_ops;
    port->state = s;
    port->counters = &port->own;
    port->index = engine->port_count;
    atomic_store(&port->up, true);
    engine->ports[engine->port_count++] = port;
}

static uint64_t lost(const struct dsn_engine *engine) {
    uint64_t sum = standin_drops(engine, DSN_REASON_PORT_FULL);
    for (uint16_t i = 0; i < engine->port_count; i++)
        sum += engine->ports[i]->counters->rx_errors;
    return sum;
}

static void settle(struct dsn_engine *engine, const struct source *s, uint32_t expected) {
    for (int i = 0; i < 20000 && s[0].arrived + s[1].arrived + lost(engine) < expected; i++)
        usleep(1000);
    CHECK(s[0].arrived + s[1].arrived + lost(engine) == expected);
}

struct where {
    struct dsn_shard *shard;
    pthread_t thread;
};

static void here(struct dsn_shard *shard, void *argument) {
    *(struct where *)argument = (struct where){shard, pthread_self()};
}

static void call_all(struct dsn_engine *engine, bool live) {
    for (uint16_t i = 0; i < engine->workers; i++) {
        struct where where = {0};
        dsn_worker_call(engine, i, here, &where);
        CHECK(where.shard == engine->shard[i]);
        CHECK(!pthread_equal(where.thread, pthread_self()) == live);
    }
}

static void run(const cpu_set_t *cpus, uint16_t workers, bool polled) {
    static struct source s[2];
    uint32_t expected = 0;
    struct dsn_engine *engine = standin_engine(workers, 1500, workers > 1 ? by_flow : NULL);
    CHECK(engine != NULL);
    engine->cpus = *cpus;
    add_port(engine, &s[0], polled);
    add_port(engine, &s[1], polled);
    call_all(engine, false);
    CHECK(dsn_workers_start(engine) == 0);
    call_all(engine, true);
    for (int i = 0; i < 20; i++) { /* lone packets, to workers that sleep if they can */
        allow(&s[i % 2], FLOWS);
        expected += FLOWS;
        settle(engine, s, expected);
        usleep(2000);
        if (i % 5 == 0)
            call_all(engine, true);
        rte_rcu_qsbr_synchronize(engine->readers, RTE_QSBR_THRID_INVALID);
    }
    CHECK(lost(engine) == 0);
    allow(&s[0], PACKETS);
    allow(&s[1], PACKETS);
    expected += 2 * PACKETS;
    for (int i = 0; i < 50; i++)
        call_all(engine, true);
    settle(engine, s, expected);
    dsn_workers_stop(engine);
    call_all(engine, false);
    CHECK(s[0].disordered == 0 && s[1].disordered == 0);
    CHECK(rte_mempool_in_use_count(engine->pool) == 0);
    printf("%u workers, %s: %u packets in order, %ju counted as lost\n", workers, polled ? "polling" : "sleeping",
           expected - (uint32_t)lost(engine), lost(engine));
    for (int i = 0; i < 2; i++) {
        close(s[i].event);
        free(engine->ports[i]);
    }
    standin_free(engine);
}

static void clock_never_goes_back(void) {
    uint64_t last = dsn_now_ns(), now;
    struct timespec kernel;
    for (int i = 0; i < 3000000; i++, last = now) {
        now = dsn_now_ns();
        CHECK(now >= last);
    }
    clock_gettime(CLOCK_BOOTTIME, &kernel);
    now = dsn_now_ns();
    uint64_t real = (uint64_t)kernel.tv_sec * 1000000000u + (uint64_t)kernel.tv_nsec;
    CHECK(now + 50000 >= real && now <= real + 20000000);
}

int main(void) {
    cpu_set_t cpus;
    CHECK(standin_eal(&cpus) >= 0);
    clock_never_goes_back();
    run(&cpus, 1, false);
    run(&cpus, 2, false);
    run(&cpus, 2, true);
    run(&cpus, 3, false);
    rte_eal_cleanup();
    return 0;
}
