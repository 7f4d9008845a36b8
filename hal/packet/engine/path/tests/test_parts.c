/* What is asked of a shard with many connections is done in parts, each of them short, and all of it is done. */
#include "path/shard.h"
#include "path/tests/check.h"

#define MANY 20000
#define PART 1024

static uint64_t drops[DSN_REASONS], engine[DSN_ENGINE_COUNTERS];
static struct dsn_vnic_counters vnic_counters[1];
static const struct dsn_root root;

static struct dsn_shard *shard_of_many(uint64_t last_ns) {
    static const struct dsn_ops ops;
    const struct dsn_shard_config config = {
        .counters = {.drops = drops, .vnic = vnic_counters, .engine = engine},
        .connections = MANY,
        .workers = 1,
    };
    struct dsn_shard *shard = dsn_shard_create(&config);
    CHECK(shard != NULL);
    for (uint32_t i = 0; i < MANY; i++) {
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
    engine[DSN_COUNT_FLOWS_NOW] = MANY;
    return shard;
}

static uint32_t settled(const struct dsn_shard *shard) {
    uint32_t some = 0;
    for (uint32_t i = 1; i <= shard->flows.high; i++)
        some += shard->flows.settled[i].packets == 1;
    return some;
}

static void all_is_settled(void) {
    struct dsn_shard *shard = shard_of_many(1000 * DSN_SECOND);
    uint64_t cursor = 0;
    uint32_t before = 0, parts = 0;
    dsn_shard_begin(shard, &root, 1001 * DSN_SECOND, false);
    do {
        dsn_shard_settle_some(shard, &root, &cursor);
        CHECK(settled(shard) - before <= PART);
        before = settled(shard);
        parts++;
    } while (cursor != 0);
    CHECK(before == MANY && parts >= MANY / PART);
    dsn_shard_destroy(shard);
}

static void expired_are_taken_out(void) {
    struct dsn_shard *shard = shard_of_many(1000 * DSN_SECOND);
    uint64_t cursor = 0;
    uint32_t before = MANY;
    dsn_shard_begin(shard, &root, 1120 * DSN_SECOND, false);
    do {
        dsn_shard_settle_some(shard, &root, &cursor);
        CHECK(before - shard->flows.used <= PART);
        before = shard->flows.used;
        CHECK(engine[DSN_COUNT_FLOWS_NOW] == before);
    } while (cursor != 0);
    CHECK(before == 0);
    dsn_shard_destroy(shard);
}

static void all_is_forgotten(void) {
    static const struct dsn_flows_ask any;
    struct dsn_shard *shard = shard_of_many(1000 * DSN_SECOND);
    uint64_t cursor = 0;
    uint32_t forgotten = 0;
    do {
        uint32_t some = dsn_shard_forget_some(shard, &root, &any, 1001 * DSN_SECOND, &cursor);
        CHECK(some <= PART);
        forgotten += some;
    } while (cursor != 0);
    CHECK(forgotten == MANY && shard->flows.used == 0);
    dsn_shard_destroy(shard);
}

int main(void) {
    all_is_settled();
    expired_are_taken_out();
    all_is_forgotten();
    return 0;
}
