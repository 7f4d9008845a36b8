/* A flood that is refused because there is no room costs a burst a bounded time, and room is found where there is some. */
#include "path/shard.h"
#include "path/tests/check.h"

#include <stdio.h>

#define CAPACITY 20000

static uint64_t drops[DSN_REASONS], engine[DSN_ENGINE_COUNTERS];
static struct dsn_vnic_counters vnic_counters[1];

static void open_all(struct dsn_shard *shard, uint64_t last_ns) {
    static const struct dsn_ops ops;
    for (uint32_t i = 0; i < CAPACITY; i++) {
        uint32_t number = dsn_flows_take(&shard->flows);
        struct dsn_connection *c = &shard->flows.connection[number];
        for (unsigned side = 0; side < 2; side++) {
            struct dsn_line *line = dsn_line(c, side);
            line->key = (struct dsn_flow_key){.scope = side, .vrf = 1, .protocol = DSN_UDP};
            memcpy(line->key.source, &i, sizeof(i));
            line->ops = dsn_ops_hold(shard, &ops);
        }
        c->session.row[0] = c->session.row[1] = DSN_NO_SLOT;
        c->session.last_ns = last_ns;
        dsn_connection_enter(shard, number);
        dsn_flows_arm(&shard->flows, number);
        engine[DSN_COUNT_FLOWS_NOW]++;
    }
}

/* A burst of packets that would each open one; how many may. Between them nothing is opened. */
static uint32_t burst(struct dsn_shard *shard, uint64_t now) {
    static const struct dsn_vnic uplink = {.role = DSN_VNIC_ROLE_UPLINK};
    static const struct dsn_root root;
    uint32_t passed = 0;
    dsn_shard_begin(shard, &root, now, false);
    for (unsigned i = 0; i < DSN_BURST; i++)
        passed += dsn_limits(shard, &uplink, &uplink, now) == DSN_PASSED;
    return passed;
}

int main(void) {
    const struct dsn_shard_config config = {
        .counters = {.drops = drops, .vnic = vnic_counters, .engine = engine},
        .connections = CAPACITY,
        .workers = 1,
    };
    struct dsn_shard *shard = dsn_shard_create(&config);
    uint64_t last = 1000 * DSN_SECOND + DSN_SECOND / 2, due = last + 120 * DSN_SECOND;
    uint32_t looked = 0, most = 0;
    CHECK(shard != NULL);
    open_all(shard, last);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(burst(shard, due - DSN_SECOND / 3 + i) == 0);
        most = RTE_MAX(most, DSN_LOOKS - shard->looks);
        looked += DSN_LOOKS - shard->looks;
    }
    printf("%d refused packets at %d connections that live: %u looked at, %u in a burst at most\n", 1000 * DSN_BURST,
           CAPACITY, looked, most);
    CHECK(most == DSN_LOOKS); /* several bursts were needed to see them all */
    CHECK(looked <= CAPACITY);
    CHECK(shard->flows.used == CAPACITY);
    CHECK(burst(shard, due - 1) == 0);
    CHECK(burst(shard, due) == DSN_BURST); /* one that is due is room for all, since none of them is opened */
    CHECK(shard->flows.used == CAPACITY - 1);
    dsn_shard_destroy(shard);
    return 0;
}
