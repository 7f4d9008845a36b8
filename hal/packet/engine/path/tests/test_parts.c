/* What is asked of a shard with many connections is done in parts, each of them short, and all of it is done. */
#include "path/tests/many.h"

#define MANY 20000
#define PART 1024

static const struct dsn_root root;

static uint32_t settled(const struct dsn_shard *shard) {
    uint32_t some = 0;
    for (uint32_t i = 1; i <= shard->flows.high; i++)
        some += shard->flows.settled[i].packets == 1;
    return some;
}

static void all_is_settled(void) {
    struct dsn_shard *shard = shard_of_many(MANY, 1000 * DSN_SECOND);
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
    struct dsn_shard *shard = shard_of_many(MANY, 1000 * DSN_SECOND);
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
    struct dsn_shard *shard = shard_of_many(MANY, 1000 * DSN_SECOND);
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

static void neighbours_and_vnics_are_copied(void) {
    struct dsn_shard *from = shard_of_many(1, DSN_SECOND), *to = shard_of_many(1, DSN_SECOND);
    struct dsn_neighbour one = {.uplink = 7, .state = DSN_NEIGHBOUR_REACHABLE, .due = DSN_SECOND};
    uint64_t cursor = 0;
    uint32_t vnics = 0, neighbours = 0, parts = 0;
    for (uint32_t i = 1; i <= MANY; i++) {
        memcpy(one.address, &i, sizeof(i));
        dsn_neighbour_copy(from, from, &one);
        uint32_t number = dsn_vnic_state(&from->vnics, i);
        from->vnics.state[number].open[0] = i;
        dsn_ended_of(&from->vnics, number)[0].count[0] = i % 20 < i ? i % 20 : i;
    }
    do {
        dsn_shard_copy_some(to, from, &cursor);
        CHECK(to->vnics.high - vnics + to->neighbours.timers - neighbours <= 2 * PART);
        vnics = to->vnics.high;
        neighbours = to->neighbours.timers;
        parts++;
    } while (cursor != 0);
    CHECK(vnics == MANY && neighbours == MANY && parts >= MANY / PART);
    for (uint32_t i = 1; i <= MANY; i++) {
        memcpy(one.address, &i, sizeof(i));
        uint32_t ended = i % 20 < i ? i % 20 : i; /* eight of these would make way for one */
        CHECK(to->vnics.state[dsn_vnic_state(&to->vnics, i)].open[0] == i - RTE_MIN(ended, 8u));
        uint32_t number = dsn_neighbour_find(&to->neighbours, 7, one.address);
        CHECK(number != 0 && to->neighbours.neighbour[number].state == DSN_NEIGHBOUR_REACHABLE);
    }
    dsn_shard_destroy(from);
    dsn_shard_destroy(to);
}

int main(void) {
    neighbours_and_vnics_are_copied();
    all_is_settled();
    expired_are_taken_out();
    all_is_forgotten();
    return 0;
}
