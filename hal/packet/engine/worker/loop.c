/* A worker's loop: bursts through the path while packets come, then sleep in epoll until one comes, somebody hands
 * something over or a timer is due. */
#include "worker/live.h"

#include <errno.h>
#include <rte_lcore.h>
#include <sys/epoll.h>
#include <unistd.h>

/* After its last packet a worker looks on for this long: a sleep and a wake cost about 10 us. */
#define LINGER_NS 50000
#define SLEEP_NS UINT64_C(1000000000)
#define EVENTS 16

void dsn_worker_wake(struct dsn_worker *w) {
    /* Pairs with the fence of nap(): either it sees what we left, or we see that it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&w->asleep, memory_order_relaxed) && atomic_exchange(&w->asleep, false)) {
        uint64_t one = 1;
        (void)!write(w->event, &one, sizeof(one)); /* full: it is readable already */
    }
}

static void drop(struct dsn_worker *w, const struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    enum dsn_reason_number reason =
        atomic_load_explicit(&port->up, memory_order_relaxed) ? DSN_REASON_PORT_FULL : DSN_REASON_PORT_DOWN;
    for (uint16_t i = 0; i < count; i++)
        dsn_shard_drop(w->engine->shard[w->number], packets[i], reason);
    rte_pktmbuf_free_bulk(packets, count);
}

/* Packets that go to one vNIC, one behind the other. Looked up before they are sent: what a port has taken is its
 * own. */
struct run {
    uint32_t to, packets;
    uint64_t bytes;
};

static unsigned runs_of(struct rte_mbuf *const *packets, uint16_t count, struct run runs[DSN_BURST]) {
    struct run now = {.to = dsn_frame_to(packets[0])};
    unsigned found = 0;
    for (uint16_t i = 0; i < count; i++) {
        uint32_t to = dsn_frame_to(packets[i]);
        if (unlikely(to != now.to)) {
            runs[found++] = now;
            now = (struct run){.to = to};
        }
        now.packets++;
        now.bytes += packets[i]->pkt_len;
    }
    runs[found] = now;
    return found + 1;
}

/* How many packets the port has taken, which count for whom they went to; their bytes are added to *bytes. */
static uint16_t send_burst(struct dsn_worker *w, struct dsn_port *port, struct rte_mbuf **packets, uint16_t count,
                           uint64_t *bytes) {
    struct run runs[DSN_BURST];
    unsigned last = runs_of(packets, count, runs) - 1;
    uint16_t taken = port->ops->tx(port, packets, count);
    for (uint16_t i = count; i > taken; i--) { /* those that are still ours */
        last -= runs[last].packets == 0;
        runs[last].packets--;
        runs[last].bytes -= packets[i - 1]->pkt_len;
    }
    for (unsigned i = 0; i <= last; i++) {
        dsn_shard_sent(w->engine->shard[w->number], runs[i].to, runs[i].packets, runs[i].bytes);
        *bytes += runs[i].bytes;
    }
    return taken;
}

/* The same for packets that all go to one, of which `all` is known. */
static uint16_t send_alike(struct dsn_worker *w, struct dsn_port *port, struct rte_mbuf **packets, uint16_t count,
                           struct run all, uint64_t *bytes) {
    uint16_t taken = port->ops->tx(port, packets, count);
    for (uint16_t i = taken; i < count; i++)
        all.bytes -= packets[i]->pkt_len;
    dsn_shard_sent(w->engine->shard[w->number], all.to, taken, all.bytes);
    *bytes += all.bytes;
    return taken;
}

/* alike: what is known of them where all go to one and are a burst; NULL: they are looked at. */
static void send_now(struct dsn_worker *w, struct dsn_port *port, struct rte_mbuf **packets, uint16_t count,
                     const struct run *alike) {
    uint64_t bytes = 0;
    uint16_t sent = 0;
    if (likely(alike != NULL))
        sent = send_alike(w, port, packets, count, *alike, &bytes);
    while (alike == NULL && sent < count) {
        uint16_t burst = RTE_MIN((uint16_t)(count - sent), (uint16_t)DSN_BURST);
        uint16_t taken = send_burst(w, port, packets + sent, burst, &bytes);
        sent += taken;
        if (taken < burst)
            break;
    }
    if (sent > 0) { /* several workers may send to a port */
        dsn_port_add(&port->counters->tx_packets, sent);
        dsn_port_add(&port->counters->tx_bytes, bytes);
    }
    if (sent < count) {
        dsn_port_add(&port->counters->tx_full, count - sent);
        drop(w, port, packets + sent, count - sent);
    }
}

static void send(struct dsn_worker *w, uint16_t index, struct dsn_tx *tx) {
    struct dsn_port *port = w->engine->ports[index];
    if (port->ops->tx_shared || port->worker == w->number) {
        struct run all = {.to = tx->to, .packets = tx->count, .bytes = tx->bytes};
        send_now(w, port, tx->packets, tx->count, !tx->mixed && tx->count <= DSN_BURST ? &all : NULL);
    } else {
        struct dsn_worker *owner = &w->live->worker[port->worker];
        for (uint16_t i = 0; i < tx->count; i++)
            tx->packets[i]->vlan_tci = index;
        uint16_t put = dsn_lane_put(owner->sends[w->number], tx->packets, tx->count);
        dsn_worker_wake(owner);
        if (put < tx->count) {
            dsn_port_add(&port->counters->tx_full, tx->count - put);
            drop(w, port, tx->packets + put, (uint16_t)(tx->count - put));
        }
    }
    tx->count = 0;
}

static void hand_over(struct dsn_worker *w, uint16_t to, struct dsn_tx *tx) {
    struct dsn_worker *owner = &w->live->worker[to];
    uint16_t put = dsn_lane_put(owner->handed[w->number], tx->packets, tx->count);
    dsn_worker_wake(owner);
    /* The owner is behind, and their port has its share: they are lost before the path, as in a network card's full
     * queue. */
    for (uint16_t i = put; i < tx->count; i++) {
        dsn_port_add(&w->engine->ports[tx->packets[i]->port]->counters->rx_errors, 1);
        dsn_shard_lost(w->engine->shard[w->number], tx->packets[i]);
        rte_pktmbuf_free(tx->packets[i]);
    }
    tx->count = 0;
}

/* Everything that the path left in the shard's queues goes where it belongs. */
static void drain(struct dsn_worker *w) {
    struct dsn_shard *shard = w->engine->shard[w->number];
    for (uint16_t i = 0; i < w->engine->port_count; i++) {
        struct dsn_tx *tx = dsn_shard_tx(shard, i);
        if (tx->count > 0)
            send(w, i, tx);
    }
    for (uint16_t i = 0; i < w->live->workers; i++) {
        struct dsn_tx *tx = i == w->number ? NULL : dsn_shard_handover(shard, i);
        if (tx != NULL && tx->count > 0)
            hand_over(w, i, tx);
    }
}

static void process(struct dsn_worker *w, struct rte_mbuf **packets, uint16_t count, bool handed_over) {
    const struct dsn_root *root = atomic_load_explicit(&w->engine->root, memory_order_acquire);
    w->now = dsn_now_ns();
    dsn_path_burst(w->engine->shard[w->number], root, packets, count, w->now, handed_over);
    drain(w);
}

/* What one port has, up to DSN_POLL packets. */
static uint16_t receive(struct dsn_port *port, struct rte_mbuf **packets) {
    uint64_t bytes = 0;
    uint16_t count = port->ops->rx(port, packets, DSN_POLL);
    if (count == 0)
        return 0;
    for (uint16_t i = 0; i < count; i++) {
        packets[i]->port = port->index;
        bytes += packets[i]->pkt_len;
    }
    port->counters->rx_packets += count;
    port->counters->rx_bytes += bytes;
    return count;
}

/* All ports once. What several of them have makes one burst: the longer it is, the more of the memory that its packets
 * need is on its way at a time (docs/bench/README.md). */
static bool receive_all(struct dsn_worker *w) {
    struct rte_mbuf *packets[DSN_BURST];
    uint16_t count = 0;
    bool some = false;
    for (uint16_t i = 0; i < w->port_count; i++) {
        count += receive(w->ports[i], packets + count);
        if (count == 0 || (count <= DSN_BURST - DSN_POLL && i + 1 < w->port_count))
            continue;
        process(w, packets, count, false);
        count = 0;
        some = true;
    }
    return some;
}

/* What other workers left for us. */
static bool take_over(struct dsn_worker *w, uint16_t from) {
    struct rte_mbuf *packets[DSN_BURST];
    uint16_t count = dsn_lane_take(w->handed[from], packets);
    bool some = count > 0;
    if (some)
        process(w, packets, count, true);
    count = dsn_lane_take(w->sends[from], packets);
    for (uint16_t i = 0, next; i < count; i = next) { /* runs to one port */
        for (next = i + 1; next < count && packets[next]->vlan_tci == packets[i]->vlan_tci; next++) {}
        send_now(w, w->engine->ports[packets[i]->vlan_tci], packets + i, (uint16_t)(next - i), NULL);
    }
    return some || count > 0;
}

static void tick(struct dsn_worker *w) {
    const struct dsn_root *root = atomic_load_explicit(&w->engine->root, memory_order_acquire);
    w->now = dsn_now_ns();
    w->tick = RTE_MIN(dsn_path_tick(w->engine->shard[w->number], root, w->now), w->now + SLEEP_NS);
    drain(w);
}

static bool answer(struct dsn_worker *w) {
    struct dsn_call *call = atomic_load_explicit(&w->call, memory_order_acquire);
    if (call == NULL)
        return false;
    atomic_store_explicit(&w->call, NULL, memory_order_relaxed);
    call->fn(w->engine->shard[w->number], call->argument);
    drain(w);
    sem_post(&call->done); /* behind it `call` is the caller's again */
    return true;
}

static bool something_waits(const struct dsn_worker *w) {
    if (atomic_load(&w->call) != NULL || atomic_load(&w->stop))
        return true;
    for (uint16_t i = 0; i < w->live->workers; i++)
        if (i != w->number && (!dsn_lane_is_empty(w->handed[i]) || !dsn_lane_is_empty(w->sends[i])))
            return true;
    return false;
}

static void nap(struct dsn_worker *w) {
    struct epoll_event events[EVENTS];
    struct timespec time = {0};
    int count = 0;

    tick(w); /* packets since the last one may have set timers */
    uint64_t now = dsn_now_ns();
    if (w->tick <= now)
        return;
    time.tv_sec = (time_t)((w->tick - now) / 1000000000u);
    time.tv_nsec = (long)((w->tick - now) % 1000000000u);
    atomic_store(&w->asleep, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (!something_waits(w)) {
        rte_rcu_qsbr_thread_offline(w->engine->readers, w->number);
        count = epoll_pwait2(w->epoll, events, EVENTS, &time, NULL);
        rte_rcu_qsbr_thread_online(w->engine->readers, w->number);
    }
    atomic_store(&w->asleep, false);
    for (int i = 0; i < count; i++) {
        struct dsn_port *port = events[i].data.ptr;
        uint64_t value;
        if (port == NULL)
            (void)!read(w->event, &value, sizeof(value));
        else if ((events[i].events & (EPOLLERR | EPOLLHUP)) && !port->ops->fault(port))
            (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, port->ops->wake_fd(port), NULL);
    }
}

static bool turn(struct dsn_worker *w) {
    uint64_t before = w->now;
    bool busy = receive_all(w);
    for (uint16_t i = 0; i < w->live->workers; i++)
        if (i != w->number)
            busy |= take_over(w, i);
    if (dsn_path_waits(w->engine->shard[w->number])) { /* behind what has come; and until none is left nobody sleeps */
        if (!busy)
            process(w, NULL, 0, false);
        busy = true;
    }
    if (w->now == before) /* no burst asked for the time */
        w->now = dsn_now_ns();
    if (w->now >= w->tick)
        tick(w);
    return busy | answer(w);
}

void *dsn_worker_run(void *argument) {
    struct dsn_worker *w = argument;
    struct rte_rcu_qsbr *readers = w->engine->readers;
    uint64_t since = 0;

    (void)
        rte_thread_register(); /* without it (no lcore left) buffers come from the pool one by one: slower, not wrong */
    (void)rte_rcu_qsbr_thread_register(readers, w->number);
    rte_rcu_qsbr_thread_online(readers, w->number);
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        if (turn(w))
            since = w->now;
        rte_rcu_qsbr_quiescent(readers, w->number);
        if (!w->polls && w->now - since > LINGER_NS)
            nap(w);
    }
    rte_rcu_qsbr_thread_offline(readers, w->number);
    (void)rte_rcu_qsbr_thread_unregister(readers, w->number);
    rte_thread_unregister();
    return NULL;
}
