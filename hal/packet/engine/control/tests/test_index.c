/* Indexes of small and large tables against a plain list: what is there is found, and may be there; and the bit that
 * says so goes with the last entry that has it. */
#include "control/index.h"
#include "path/tests/check.h"

#include <rte_common.h>

#define MOST 600

static uint32_t hashes[MOST]; /* by slot; slots below `there` are in the index */
static uint64_t state = 1;

static uint32_t draw(void) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33);
}

static bool finds(const struct dsn_index *index, uint32_t hash, uint32_t wanted) {
    uint32_t at = dsn_index_home(index, hash), slot;
    while ((slot = dsn_index_next(index, hash, &at)) != DSN_NO_SLOT)
        if (slot == wanted)
            return true;
    return false;
}

static uint32_t first_bits(uint32_t hash) {
    return hash >> (32 - DSN_INDEX_SIEVE_BITS);
}

static void check(const struct dsn_index *index, uint32_t there) {
    bool has[1 << DSN_INDEX_SIEVE_BITS] = {false};
    for (uint32_t slot = 0; slot < there; slot++) {
        CHECK(finds(index, hashes[slot], slot));
        has[first_bits(hashes[slot])] = true;
    }
    for (uint32_t first = 0; first < RTE_DIM(has); first++)
        CHECK(dsn_index_may(index, first << (32 - DSN_INDEX_SIEVE_BITS)) == has[first]);
}

/* Few different first bits: many entries share them, and stand in each other's way. */
static uint32_t hash_of(uint32_t kinds) {
    uint32_t kind = draw() % kinds;
    return (kind == 0 ? UINT32_MAX : kind * 0x9e3779b1u) >> 20 << 20 | (draw() & 0xfffff);
}

static void try_with(uint32_t capacity, uint32_t kinds) {
    struct dsn_index index;
    uint32_t there = 0, most = capacity < MOST ? capacity : MOST;
    CHECK(dsn_index_create(&index, capacity));
    check(&index, 0);
    for (unsigned round = 0; round < 400; round++) {
        bool grows = there == 0 || (there < most && draw() % 8 < (round < 200 ? 5 : 3));
        if (grows) {
            hashes[there] = hash_of(kinds);
            dsn_index_put(&index, hashes[there], there);
            there++;
        } else {
            dsn_index_take(&index, hashes[there - 1], there - 1);
            there--;
        }
        check(&index, there);
    }
    while (there > 0) {
        there--;
        dsn_index_take(&index, hashes[there], there);
    }
    check(&index, 0);
    dsn_index_destroy(&index, capacity);
}

int main(void) {
    CHECK(dsn_index_seed());
    for (uint32_t kinds = 1; kinds <= 1024; kinds *= 4) {
        try_with(1, kinds);
        try_with(20, kinds);
        try_with(4000, kinds);
        try_with(300000, kinds);
    }
    return 0;
}
