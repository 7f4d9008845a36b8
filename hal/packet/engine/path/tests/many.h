/* A shard with many connections, made without packets: for tests of what a number of them costs. */
#ifndef DSN_PATH_TESTS_MANY_H
#define DSN_PATH_TESTS_MANY_H

#include "path/shard.h"
#include "path/tests/check.h"

static uint64_t drops[DSN_REASONS], engine[DSN_ENGINE_COUNTERS];
static struct dsn_vnic_counters vnic_counters[1];

/* Each of one packet, by UDP; all last used at `last_ns`. */
static struct dsn_shard *shard_of_many(uint32_t count, uint64_t last_ns) {
    static const struct dsn_ops ops;
    const struct dsn_shard_config config = {
        .counters = {.drops = drops, .vnic = vnic_counters, .engine = engine},
        .connections = count,
        .workers = 1,
    };
    struct dsn_shard *shard = dsn_shard_create(&config);
    CHECK(shard != NULL);
    for (uint32_t i = 0; i < count; i++) {
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
        c->session.packets[0] = 1;
        dsn_connection_enter(shard, number);
        dsn_flows_arm(&shard->flows, number);
    }
    engine[DSN_COUNT_FLOWS_NOW] = count;
    return shard;
}

#endif
