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

int main(void) {
    all_is_settled();
    expired_are_taken_out();
    all_is_forgotten();
    return 0;
}
