/* Limits that workers share: what they have together never is more, little of it lies idle, and a small limit is
 * whoever's who needs it. */
#include "path/shard.h"
#include "path/tests/check.h"

#include <pthread.h>
#include <stdio.h>

#define MOST 4
#define CAPACITY 65536
#define TURNS 200000

static struct dsn_budgets *budgets;
static struct counted {
    uint64_t drops[DSN_REASONS], engine[DSN_ENGINE_COUNTERS];
    struct dsn_vnic_counters vnic[1];
} counted[MOST];
static struct dsn_shard *shards[MOST];
static const struct dsn_root root;

static void create(uint16_t workers) {
    budgets = workers > 1 ? dsn_budgets_create(workers) : NULL;
    CHECK((budgets != NULL) == (workers > 1));
    for (uint16_t i = 0; i < workers; i++) {
        const struct dsn_shard_config config = {
            .counters = {.drops = counted[i].drops, .vnic = counted[i].vnic, .engine = counted[i].engine},
            .connections = CAPACITY,
            .worker = i,
            .workers = workers,
            .punt_limit = 1000,
            .new_flow_limit = 1000000000,
            .half_open_limit = 1000,
            .budgets = budgets,
        };
        CHECK((shards[i] = dsn_shard_create(&config)) != NULL);
        dsn_shard_begin(shards[i], &root, 1000 * DSN_SECOND, false);
    }
}

static void destroy(uint16_t workers) {
    for (uint16_t i = 0; i < workers; i++)
        dsn_shard_destroy(shards[i]);
    dsn_budgets_destroy(budgets);
}

static const struct dsn_vnic uplink = {.role = DSN_VNIC_ROLE_UPLINK, .id = 9};

static struct dsn_vnic vnic_of(uint32_t limit) {
    return (struct dsn_vnic){.role = DSN_VNIC_ROLE_VNIC, .id = 5, .flow_limit = limit, .inbound_flow_limit = limit};
}

/* A connection of the vNIC, 0: refused. */
static uint32_t open_one(struct dsn_shard *shard, const struct dsn_vnic *vnic, bool own) {
    const struct dsn_vnic *from = own ? vnic : &uplink, *to = own ? &uplink : vnic;
    enum dsn_reason_number reason = dsn_limits(shard, from, to, 0, DSN_TCP_NONE, shard->now);
    if (reason != DSN_PASSED) {
        CHECK(reason == DSN_REASON_FLOW_LIMIT);
        return 0;
    }
    uint32_t number = dsn_flows_take(&shard->flows);
    shard->flows.connection[number].session.flags = own ? DSN_SESSION_OWN : DSN_SESSION_INBOUND;
    shard->flows.rest[number].share = dsn_share_state(shard, vnic->id);
    dsn_share_enter(shard, &shard->flows.connection[number]);
    return number;
}

static void close_one(struct dsn_shard *shard, uint32_t number) {
    dsn_share_leave(shard, &shard->flows.connection[number]);
    dsn_flows_give(&shard->flows, number);
}

static uint32_t lent(unsigned share) {
    return dsn_budget_lent(dsn_budget_of(budgets, 5), share);
}

/* --- one after the other --- */

static void small_limits(void) {
    create(2);
    for (unsigned own = 0; own < 2; own++) {
        const struct dsn_vnic one = vnic_of(1), three = vnic_of(3);
        for (unsigned turn = 0; turn < 4; turn++) { /* whichever worker it hashes to */
            uint32_t number = open_one(shards[turn & 1], &one, own);
            CHECK(number != 0);
            CHECK(open_one(shards[0], &one, own) == 0 && open_one(shards[1], &one, own) == 0);
            close_one(shards[turn & 1], number);
        }
        uint32_t all[3];
        for (unsigned i = 0; i < 3; i++)
            CHECK((all[i] = open_one(shards[1], &three, own)) != 0);
        CHECK(open_one(shards[0], &three, own) == 0 && open_one(shards[1], &three, own) == 0);
        for (unsigned i = 0; i < 3; i++)
            close_one(shards[1], all[i]);
        CHECK(lent(own ? 0 : 1) == 0);
        /* Asked for, and nothing came of it: it is another's. */
        CHECK(dsn_limits(shards[0], own ? &one : &uplink, own ? &uplink : &one, 0, DSN_TCP_NONE, shards[0]->now) ==
              DSN_PASSED);
        CHECK(open_one(shards[1], &one, own) == 0);
        dsn_limits_undo(shards[0], own ? &one : &uplink, own ? &uplink : &one);
        uint32_t number = open_one(shards[1], &one, own);
        CHECK(number != 0);
        close_one(shards[1], number);
    }
    destroy(2);
}

/* A limit that was lowered lets nothing in before there is room under it. */
static void lowered(void) {
    const struct dsn_vnic high = vnic_of(10000), low = vnic_of(100);
    static uint32_t numbers[5000];
    create(2);
    for (unsigned i = 0; i < 5000; i++)
        CHECK((numbers[i] = open_one(shards[0], &high, true)) != 0);
    for (unsigned i = 5000; i > 100; i--) {
        CHECK(open_one(shards[0], &low, true) == 0 && open_one(shards[1], &low, true) == 0);
        close_one(shards[0], numbers[i - 1]);
    }
    close_one(shards[0], numbers[99]);
    CHECK(open_one(shards[1], &low, true) != 0);
    CHECK(open_one(shards[0], &low, true) == 0 && open_one(shards[1], &low, true) == 0);
    destroy(2);
}

/* What one worker leaves another, who uses little: all but what is stated in docs/forwarding.md. */
static void stranded(void) {
    static const uint32_t limits[] = {2, 100, 255, 256, 1000, 10000, 16000};
    static uint32_t numbers[CAPACITY];
    for (unsigned i = 0; i < RTE_DIM(limits); i++) {
        const struct dsn_vnic vnic = vnic_of(limits[i]);
        uint32_t most = 0, got = 0;
        create(2);
        for (unsigned n = 0; n < limits[i] / 2; n++) { /* much, and then little again */
            CHECK((numbers[n] = open_one(shards[1], &vnic, true)) != 0);
            most = n + 1;
        }
        for (unsigned n = 1; n < most; n++)
            close_one(shards[1], numbers[n]);
        while (open_one(shards[0], &vnic, true) != 0)
            got++;
        uint32_t chunk = dsn_budget_chunk(budgets, limits[i]), idle = limits[i] - 1 - got;
        printf("limit %u: chunks of %u, %u idle\n", limits[i], chunk, idle);
        CHECK(idle <= (chunk > 1 ? 2 * chunk : 0) && idle <= limits[i] / 64);
        destroy(2);
    }
}

/* Who picks tuples that one worker owns doesn't fill its table. */
static void one_table(void) {
    const struct dsn_vnic vnic = vnic_of(CAPACITY);
    uint32_t got = 0;
    create(4);
    while (open_one(shards[2], &vnic, true) != 0)
        got++;
    CHECK(got == CAPACITY / 4);
    destroy(4);
}

static uint32_t made; /* connections of end_by() */

/* A whole connection that has ended, of this protocol, 0: refused. */
static uint32_t end_by(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint8_t protocol) {
    static const struct dsn_ops ops;
    uint32_t number = open_one(shard, vnic, true);
    if (number == 0)
        return 0;
    struct dsn_connection *c = &shard->flows.connection[number];
    made++;
    for (unsigned side = 0; side < 2; side++) {
        struct dsn_line *line = dsn_line(c, side);
        line->key = (struct dsn_flow_key){.scope = side, .vrf = 1, .protocol = protocol};
        memcpy(line->key.source, &made, sizeof(made));
        line->ops = dsn_ops_hold(shard, &ops);
    }
    c->session.row[0] = c->session.row[1] = DSN_NO_SLOT;
    c->session.last_ns = shard->now;
    c->session.tcp = protocol == DSN_TCP ? DSN_TCP_TIME_WAIT : DSN_TCP_NONE;
    if (protocol != DSN_TCP)
        c->session.flags |= DSN_SESSION_REPLIED | DSN_SESSION_EXCHANGE;
    dsn_connection_enter(shard, number);
    dsn_half_enter(shard, number);
    dsn_flows_arm(&shard->flows, number);
    return number;
}

static uint32_t end_one(struct dsn_shard *shard, const struct dsn_vnic *vnic) {
    return end_by(shard, vnic, made % 2 ? DSN_TCP : DSN_UDP);
}

/* Where a handshake makes way for another of its share, that one keeps what it was lent. */
static void made_way(void) {
    const struct dsn_vnic vnic = {.role = DSN_VNIC_ROLE_VNIC, .id = 5, .flow_limit = 10, .half_open_limit = 1};
    create(2);
    uint32_t number = end_by(shards[0], &vnic, DSN_TCP);
    dsn_half_leave(shards[0], number);
    shards[0]->flows.connection[number].session.tcp = DSN_TCP_SYN_SENT;
    dsn_half_enter(shards[0], number);
    CHECK(lent(0) == 1);
    CHECK(dsn_limits(shards[0], &vnic, &uplink, 0, DSN_TCP_SYN_SENT, shards[0]->now) == DSN_PASSED);
    CHECK(shards[0]->flows.used == 0 && lent(0) == 1);
    dsn_limits_undo(shards[0], &vnic, &uplink);
    CHECK(lent(0) == 0);
    destroy(2);
}

static uint32_t open_in(const struct dsn_shard *shard) {
    return shard->vnics.state[dsn_vnic_state_find(&shard->vnics, 5)].open[0];
}

/* What has ended in one worker makes way there, and for others once they have asked. */
static void ended(void) {
    static const uint32_t limits[] = {1, 2, 10, 300, 10000};
    for (unsigned i = 0; i < RTE_DIM(limits); i++) {
        const struct dsn_vnic vnic = vnic_of(limits[i]);
        uint32_t refused = 0, live = 0;
        create(2);
        while (lent(0) < limits[i])
            CHECK(end_one(shards[0], &vnic) != 0);
        for (unsigned n = 0; n < 2 * limits[i]; n++) /* short ones, each for another */
            CHECK(end_one(shards[0], &vnic) != 0);
        CHECK(open_in(shards[0]) <= limits[i] && lent(0) == limits[i]);
        for (unsigned n = 0; n < limits[i] + 9; n++) { /* in turns: those of one live */
            uint32_t one = open_one(shards[1], &vnic, true);
            refused += one == 0 && live < limits[i] - 1;
            live += one != 0;
            for (unsigned more = 0; more < 12; more++) /* what it has given it doesn't take again */
                (void)end_one(shards[0], &vnic);
            CHECK(open_in(shards[0]) + open_in(shards[1]) <= limits[i] && lent(0) <= limits[i]);
        }
        printf("limit %u: %u live at last, %u refused before\n", limits[i], live, refused);
        CHECK(live >= limits[i] - 1 && refused <= 1);
        destroy(2);
    }
}

/* What was offered and nobody took isn't lost to a limit that is below it now. */
static void offered_and_lowered(uint32_t limit) {
    const struct dsn_vnic high = vnic_of(10), low = vnic_of(limit);
    uint32_t number;
    create(2);
    while (lent(0) < 10)
        CHECK(end_one(shards[0], &high) != 0);
    CHECK(open_one(shards[1], &high, true) == 0);            /* asks */
    CHECK((number = open_one(shards[0], &high, true)) != 0); /* offers */
    CHECK(atomic_load(&dsn_budget_of(budgets, 5)->offered[0]) > limit);
    close_one(shards[0], number);
    while ((number = dsn_half_ended(shards[0], dsn_share_state(shards[0], 5), 0)) != 0)
        dsn_connection_remove(shards[0], number);
    for (unsigned i = 0; i < limit; i++)
        CHECK(open_one(shards[i % 2], &low, true) != 0);
    CHECK(open_one(shards[0], &low, true) == 0 && open_one(shards[1], &low, true) == 0 && lent(0) == limit);
    destroy(2);
}

/* --- at once --- */

static _Atomic uint32_t open_now[2], most_open[2], tokens;
static uint32_t limit_now;

static void *churn(void *argument) {
    struct dsn_shard *shard = argument;
    const struct dsn_vnic vnic = vnic_of(limit_now);
    static __thread uint32_t number[2][20000], count[2];
    uint64_t state = shard->config.worker * UINT64_C(0x9e3779b97f4a7c15) + 1;
    count[0] = count[1] = 0;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned own = state >> 40 & 1, wave = turn / 1000 % 2; /* more are opened, or more are closed */
        bool opens = (state >> 50) % 4 != (wave ? 0u : 1u) ? wave : !wave;
        if (opens && count[own] < RTE_DIM(number[own])) {
            uint32_t one = open_one(shard, &vnic, own);
            if (one == 0)
                continue;
            number[own][count[own]++] = one;
            uint32_t now = atomic_fetch_add(&open_now[own], 1) + 1, most = atomic_load(&most_open[own]);
            CHECK(now <= limit_now);
            while (now > most && !atomic_compare_exchange_weak(&most_open[own], &most, now)) {}
        } else if (!opens && count[own] > 0) {
            atomic_fetch_sub(&open_now[own], 1); /* before it is another's */
            close_one(shard, number[own][--count[own]]);
        }
        CHECK(lent(own ? 0 : 1) <= limit_now);
    }
    for (unsigned own = 0; own < 2; own++)
        while (count[own] > 0) {
            atomic_fetch_sub(&open_now[own], 1);
            close_one(shard, number[own][--count[own]]);
        }
    return NULL;
}

/* One worker has all that the limit allows and begins them anew; another would like some all the time. */
static void *anew(void *argument) {
    static _Atomic bool full, over, gone;
    struct dsn_shard *shard = argument;
    const struct dsn_vnic vnic = vnic_of(limit_now);
    uint32_t number[16];
    if (shard->config.worker != 0) {
        while (!atomic_load(&full)) {}
        while (!atomic_load(&over))
            CHECK(open_one(shard, &vnic, true) == 0);
        atomic_store(&gone, true);
        return NULL;
    }
    for (uint32_t i = 0; i < limit_now; i++)
        CHECK((number[i] = open_one(shard, &vnic, true)) != 0);
    atomic_store(&full, true);
    for (unsigned turn = 0; turn < 5 * TURNS; turn++) {
        uint32_t *one = &number[turn % limit_now];
        const struct dsn_connection *c = &shard->flows.connection[*one];
        dsn_share_keep(shard, c);
        dsn_share_leave(shard, c);
        /* Some are refused for another reason, and the old one lives on. */
        shard->config.new_flow_limit = turn % 4 == 0 ? 0 : 1000000000;
        shard->now += DSN_SECOND / 1000; /* which fills their bucket */
        enum dsn_reason_number reason = dsn_limits(shard, &vnic, &uplink, 0, DSN_TCP_NONE, shard->now);
        dsn_share_enter(shard, c);
        CHECK(reason == (turn % 4 == 0 ? DSN_REASON_NEW_FLOW_LIMIT : DSN_PASSED));
        if (reason == DSN_PASSED) {
            close_one(shard, *one);
            *one = dsn_flows_take(&shard->flows);
            shard->flows.connection[*one].session.flags = DSN_SESSION_OWN;
            shard->flows.rest[*one].share = dsn_share_state(shard, vnic.id);
            dsn_share_enter(shard, &shard->flows.connection[*one]);
        }
        dsn_share_kept(shard);
        CHECK(lent(0) == limit_now);
    }
    atomic_store(&over, true);
    while (!atomic_load(&gone)) {}
    for (uint32_t i = 0; i < limit_now; i++)
        close_one(shard, number[i]);
    return NULL;
}

static void *punt(void *argument) {
    struct dsn_shard *shard = argument;
    for (unsigned i = 0; i < 5000; i++) /* all in half a second */
        atomic_fetch_add(&tokens, dsn_budget_punt(dsn_budget_of(shard->config.budgets, 1), shard->config.punt_limit,
                                                  1000 * DSN_SECOND + i * (DSN_SECOND / 10000)));
    return NULL;
}

static void at_once(uint16_t workers, void *(*run)(void *)) {
    pthread_t thread[MOST];
    for (uint16_t i = 0; i < workers; i++)
        CHECK(pthread_create(&thread[i], NULL, run, shards[i]) == 0);
    for (uint16_t i = 0; i < workers; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
}

static void together(void) {
    static const uint32_t limits[] = {1, 7, 300, 20000};
    for (unsigned i = 0; i < RTE_DIM(limits); i++) {
        limit_now = limits[i];
        atomic_store(&most_open[0], 0);
        atomic_store(&most_open[1], 0);
        create(MOST);
        at_once(MOST, churn);
        printf("limit %u: at most %u and %u open\n", limit_now, most_open[0], most_open[1]);
        CHECK(lent(0) == 0 && lent(1) == 0 && open_now[0] == 0 && open_now[1] == 0);
        for (unsigned own = 0; own < 2 && limit_now < 1000;
             own++) /* each other thread may have one that isn't counted yet */
            CHECK(most_open[own] > 0 && most_open[own] + MOST > limit_now);
        destroy(MOST);
    }
    limit_now = 16;
    create(2);
    at_once(2, anew);
    CHECK(lent(0) == 0);
    destroy(2);
    create(MOST);
    at_once(MOST, punt);
    printf("%u tokens of 1000 a second in half a second\n", tokens);
    CHECK(tokens <= 1500 && tokens >= 1490);
    destroy(MOST);
}

/* Alone: nothing is borrowed, the limit is the limit. */
static void alone(void) {
    const struct dsn_vnic vnic = vnic_of(CAPACITY / 2);
    uint32_t got = 0;
    create(1);
    while (open_one(shards[0], &vnic, true) != 0)
        got++;
    CHECK(got == CAPACITY / 2);
    destroy(1);
}

int main(void) {
    small_limits();
    lowered();
    stranded();
    one_table();
    ended();
    made_way();
    offered_and_lowered(7);
    offered_and_lowered(3);
    together();
    alone();
    return 0;
}
