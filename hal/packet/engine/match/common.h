/* What both match structures are made of: seeded hashes, a growing array of chain heads, and a small exact map.
 *
 * Nothing here is ever seen from outside: each structure draws a secret seed, so nobody can choose keys that collide.
 * All memory is taken at create for `capacity` entries. Arrays are used densely from their front and heads grow with
 * the entries, so a small table touches little of it. */
#ifndef DSN_MATCH_COMMON_H
#define DSN_MATCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSN_MATCH_NONE UINT32_MAX
#define DSN_MATCH_SEEDS 8
#define DSN_MATCH_MAX_CAPACITY (1u << 24) /* indexes share a word with 7 or 8 bits of something else */

/* One block of zeroed memory with arrays in it. It ends where a page begins that nobody may touch: what runs over its
 * end stops the engine and changes nothing. */
struct dsn_arena {
    void *raw; /* what is mapped, `size` bytes, that page among them */
    size_t size;
    uint8_t *next;
};
/* Adds the bytes of an array to *total; then, after dsn_arena_create(total), takes it from there. */
static inline size_t dsn_arena_size(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}
bool dsn_arena_create(struct dsn_arena *arena, size_t bytes);
void *dsn_arena_take(struct dsn_arena *arena, size_t bytes);
void dsn_arena_destroy(struct dsn_arena *arena);

void dsn_match_seed(uint64_t seed[DSN_MATCH_SEEDS]);

static inline uint64_t dsn_fold(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t dsn_load_be64(const uint8_t *bytes) {
    uint64_t value;
    __builtin_memcpy(&value, bytes, 8);
    return __builtin_bswap64(value);
}

/* Chain heads in a number that grows by one at a time (linear hashing, Litwin 1980): no entry ever waits for a
 * whole table to be hashed anew. 0 is an empty chain. */
struct dsn_heads {
    uint32_t *head;
    uint32_t used, limit;
    uint32_t mask; /* the power of two above used - 1, less one */
};

#define DSN_HEADS_FIRST 16u

static inline uint32_t dsn_heads_limit(uint32_t capacity) {
    uint32_t limit = DSN_HEADS_FIRST;
    while (limit < 2 * capacity)
        limit *= 2;
    return limit;
}

static inline void dsn_heads_init(struct dsn_heads *heads, uint32_t *memory, uint32_t limit) {
    *heads = (struct dsn_heads){memory, DSN_HEADS_FIRST, limit, DSN_HEADS_FIRST - 1};
}

static inline uint32_t dsn_heads_home(const struct dsn_heads *heads, uint64_t hash) {
    uint32_t home = (uint32_t)hash & heads->mask;
    return home &
           (heads->mask >> (home >= heads->used)); /* not by a branch, which would be guessed wrong half the time */
}

/* Adds a head. Returns its index; the chain of *split may hold entries that now belong to it. */
static inline uint32_t dsn_heads_add(struct dsn_heads *heads, uint32_t *split) {
    uint32_t index = heads->used++;
    if (index > heads->mask)
        heads->mask = heads->mask * 2 + 1;
    *split = index & (heads->mask >> 1);
    return index;
}

/* uint32 -> uint32 for keys other than 0, at most two thirds full: linear probing, deletion by shifting back. */
struct dsn_map {
    uint64_t *cell; /* key << 32 | value; 0: empty */
    uint32_t cells;
    uint64_t seed;
};

static inline uint32_t dsn_map_cells(uint32_t capacity) {
    return capacity + capacity / 2 + 8;
}

static inline uint32_t dsn_map_home(const struct dsn_map *map, uint32_t key) {
    uint64_t mixed = dsn_fold(key ^ map->seed, 0x9e3779b97f4a7c15u);
    return (uint32_t)(((mixed & UINT32_MAX) * map->cells) >> 32);
}

/* The cell of a key, or the empty cell where it would go. */
static inline uint64_t *dsn_map_find(const struct dsn_map *map, uint32_t key) {
    uint32_t at = dsn_map_home(map, key);
    while (map->cell[at] != 0 && (uint32_t)(map->cell[at] >> 32) != key)
        at = at + 1 == map->cells ? 0 : at + 1;
    return &map->cell[at];
}

static inline void dsn_map_put(struct dsn_map *map, uint32_t key, uint32_t value) {
    *dsn_map_find(map, key) = (uint64_t)key << 32 | value;
}

void dsn_map_remove(struct dsn_map *map, uint32_t key);

#endif
