#include "index.h"

#include <sys/mman.h>
#include <sys/random.h>

static uint64_t seed[2];

bool dsn_index_seed(void) {
    bool drawn = getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed);
    seed[1] |= 1;
    return drawn;
}

static inline uint64_t fold(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t dsn_hash(const void *data, size_t size) {
    uint64_t hash = seed[0] ^ size;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)data + at, 8);
        hash = fold(hash ^ word, seed[1]) + UINT64_C(0x9e3779b97f4a7c15);
    }
    hash = fold(hash, UINT64_C(0xd6e8feb86659fd93));
    return (uint32_t)(hash >> 32);
}

/* At most two thirds full: linear probing then looks at two entries for a hit, five for a miss. */
static uint8_t bits_for(uint32_t capacity) {
    uint8_t bits = 3;
    while ((UINT64_C(1) << bits) * 2 < (uint64_t)capacity * 3)
        bits++;
    return bits;
}

#define SIEVE ((UINT64_C(1) << DSN_INDEX_SIEVE_BITS) / 8)

size_t dsn_index_bytes(uint32_t capacity) {
    return (sizeof(uint64_t) << bits_for(capacity)) + SIEVE;
}

bool dsn_index_create(struct dsn_index *index, uint32_t capacity) {
    void *memory = mmap(NULL, dsn_index_bytes(capacity), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, dsn_index_bytes(capacity), MADV_HUGEPAGE);
    index->entry = memory;
    index->bits = bits_for(capacity);
    return true;
}

void dsn_index_destroy(struct dsn_index *index, uint32_t capacity) {
    if (index->entry)
        munmap(index->entry, dsn_index_bytes(capacity));
    index->entry = NULL;
}

void dsn_index_put(struct dsn_index *index, uint32_t hash, uint32_t slot) {
    uint32_t mask = (1u << index->bits) - 1, at = dsn_index_home(index, hash);
    while (index->entry[at])
        at = (at + 1) & mask;
    index->entry[at] = (uint64_t)hash << 32 | (slot + 1);
    *dsn_index_sieve(index, hash) |= UINT64_C(1) << (hash >> (32 - DSN_INDEX_SIEVE_BITS)) % 64;
}

/* Takes the bit away that no entry has any more. Those that could have it stand from its first home on, in a row. */
static void sieve_again(struct dsn_index *index, uint32_t hash) {
    uint32_t mask = (1u << index->bits) - 1, first = hash >> (32 - DSN_INDEX_SIEVE_BITS);
    uint32_t at = dsn_index_home(index, first << (32 - DSN_INDEX_SIEVE_BITS));
    uint32_t end = dsn_index_home(index, hash | (UINT32_MAX >> DSN_INDEX_SIEVE_BITS)) + 1;
    for (; at < end || index->entry[at & mask] != 0; at++)
        if (index->entry[at & mask] != 0 && index->entry[at & mask] >> (64 - DSN_INDEX_SIEVE_BITS) == first)
            return;
    *dsn_index_sieve(index, hash) &= ~(UINT64_C(1) << first % 64);
}

void dsn_index_take(struct dsn_index *index, uint32_t hash, uint32_t slot) {
    uint32_t mask = (1u << index->bits) - 1, hole = dsn_index_home(index, hash);
    uint64_t wanted = (uint64_t)hash << 32 | (slot + 1);
    while (index->entry[hole] != wanted) {
        if (index->entry[hole] == 0)
            return;
        hole = (hole + 1) & mask;
    }
    /* Close the gap: what was pushed behind the hole by others moves up, so that no tombstone ever slows a miss. */
    for (uint32_t at = (hole + 1) & mask; index->entry[at]; at = (at + 1) & mask) {
        uint32_t home = dsn_index_home(index, (uint32_t)(index->entry[at] >> 32));
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        index->entry[hole] = index->entry[at];
        hole = at;
    }
    index->entry[hole] = 0;
    sieve_again(index, hash);
}
