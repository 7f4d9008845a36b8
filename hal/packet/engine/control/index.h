/* Hashes to slots: ids and keys of tables. Who asks compares the row himself: only 32 bits of the hash are kept. */
#ifndef DSN_INDEX_H
#define DSN_INDEX_H

#include "table.h"

/* Called once, before any table is made: the seed is secret, so that nobody can choose keys that collide. */
bool dsn_index_seed(void);

bool dsn_index_create(struct dsn_index *index, uint32_t capacity); /* false: no memory */
void dsn_index_destroy(struct dsn_index *index, uint32_t capacity);
size_t dsn_index_bytes(uint32_t capacity);

uint32_t dsn_hash(const void *data, size_t size); /* size: a multiple of 8 */
static inline uint32_t dsn_hash_id(uint64_t id) {
    return dsn_hash(&id, 8);
}

static inline uint32_t dsn_index_home(const struct dsn_index *index, uint32_t hash) {
    return hash >> (32 - index->bits);
}

#define DSN_INDEX_SIEVE_BITS 12

static inline uint64_t *dsn_index_sieve(const struct dsn_index *index, uint32_t hash) {
    return index->entry + (UINT64_C(1) << index->bits) + (hash >> (32 - DSN_INDEX_SIEVE_BITS)) / 64;
}

/* False: no row has this hash. */
static inline bool dsn_index_may(const struct dsn_index *index, uint32_t hash) {
    return *dsn_index_sieve(index, hash) >> (hash >> (32 - DSN_INDEX_SIEVE_BITS)) % 64 & 1;
}

static inline void dsn_index_prefetch(const struct dsn_index *index, uint32_t hash) {
    __builtin_prefetch(&index->entry[dsn_index_home(index, hash)], 1);
}

/* Walks the slots whose rows have this hash: begin with *at = dsn_index_home(), stop at DSN_NO_SLOT. */
static inline uint32_t dsn_index_next(const struct dsn_index *index, uint32_t hash, uint32_t *at) {
    uint32_t mask = (1u << index->bits) - 1;
    for (;;) {
        uint64_t entry = index->entry[*at & mask];
        if (entry == 0)
            return DSN_NO_SLOT;
        (*at)++;
        if (entry >> 32 == hash)
            return (uint32_t)entry - 1;
    }
}

void dsn_index_put(struct dsn_index *index, uint32_t hash, uint32_t slot);  /* there is room: capacity is a promise */
void dsn_index_take(struct dsn_index *index, uint32_t hash, uint32_t slot); /* it is there */

#endif
