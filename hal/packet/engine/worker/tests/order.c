/* Workers without a kernel: ports that make and check numbered packets in memory. A flow's packets come in order
 * through hand-over and through ports that only one worker may send to; nothing is lost uncounted; calls run on their
 * worker before, while and after workers run, asleep or not; a flood from one port takes nothing of another's between
 * two workers. */
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
    struct dsn_port *port;
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
    s->port = port;
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

/* --- floods --- */

#define FEW 1000

static uint16_t the_second(const struct rte_mbuf *packet, uint16_t workers) {
    (void)packet, (void)workers;
    return 1;
}

struct held {
    struct dsn_engine *engine;
    _Atomic bool begun, over;
};

static void hold(struct dsn_shard *shard, void *argument) {
    struct held *held = argument;
    (void)shard;
    atomic_store(&held->begun, true);
    while (!atomic_load(&held->over))
        usleep(100);
}

static void *hold_second(void *argument) {
    struct held *held = argument;
    dsn_worker_call(held->engine, 1, hold, held);
    return NULL;
}

static void wait_for(const struct source *s, uint32_t received) {
    for (int i = 0; i < 20000 && s->port->counters->rx_packets < received; i++)
        usleep(1000);
    CHECK(s->port->counters->rx_packets == received);
    usleep(5000); /* and it is on its way */
}

/* The first worker polls ports 0 and 2 and the second, for a while, does nothing: port 0 fills what lies between them,
 * and what comes by port 2 behind that finds room. owner: whose the packets are; NULL: the first's, and only the second
 * may send to ports 1 and 3. */
static void a_flood_takes_nothing_of_another_ports(const cpu_set_t *cpus, standin_owner owner) {
    static struct source s[4];
    uint32_t flooded = 0, few = owner != NULL ? FEW : FEW / 4;
    struct dsn_engine *engine = standin_engine(2, 1500, owner);
    CHECK(engine != NULL);
    engine->cpus = *cpus;
    for (int i = 0; i < 4; i++)
        add_port(engine, &s[i], false);
    CHECK(dsn_workers_start(engine) == 0);
    for (uint32_t round = 1; round <= 3; round++) { /* what was taken counts no longer */
        struct held held = {.engine = engine};
        pthread_t caller;
        uint64_t before = lost(engine);
        CHECK(pthread_create(&caller, NULL, hold_second, &held) == 0);
        while (!atomic_load(&held.begun))
            usleep(100);
        allow(&s[0], PACKETS / 10);
        wait_for(&s[0], flooded += PACKETS / 10);
        uint64_t waiting = PACKETS / 10 - (lost(engine) - before);
        CHECK(waiting >= few && waiting < PACKETS / 10);
        allow(&s[2], few);
        wait_for(&s[2], few * round);
        atomic_store(&held.over, true);
        pthread_join(caller, NULL);
        for (int i = 0; i < 20000 && s[1].arrived + s[3].arrived + lost(engine) < flooded + few * round; i++)
            usleep(1000);
        CHECK(s[3].arrived == few * round);
        CHECK(s[1].arrived + lost(engine) == flooded);
        CHECK(s[2].port->counters->rx_errors + s[3].port->counters->tx_full == 0);
    }
    dsn_workers_stop(engine);
    CHECK(rte_mempool_in_use_count(engine->pool) == 0);
    printf("%s: %u of one port arrived, of a flood by another %u were lost\n",
           owner != NULL ? "handed over" : "to be sent", s[3].arrived, (uint32_t)lost(engine));
    for (int i = 0; i < 4; i++) {
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
    a_flood_takes_nothing_of_another_ports(&cpus, the_second);
    a_flood_takes_nothing_of_another_ports(&cpus, NULL);
    rte_eal_cleanup();
    return 0;
}
