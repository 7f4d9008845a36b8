/* The LPM's insides, shared by its two halves: lpm.c changes it, lpm_find.c looks. */
#ifndef DSN_LPM_NODES_H
#define DSN_LPM_NODES_H

#include "common.h"
#include "table.h"

#define STRIDE 8
#define LEVELS 16
#define V4_LEVEL 12 /* from here on a node lies wholly within or wholly outside the mapped IPv4 addresses */
#define V4_LOW UINT64_C(0x0000ffff00000000)
#define FEW 16

/* Which of the 510 prefixes that may lie in a node do. Length 8 (within the node): words 0-3, 7: words 4 and 5, 6: word
 * 6, 1-5: bit (1 << length) - 2 + value of word 7. So the place of a prefix is a number below 512, and none is both
 * longer and at a lower place than one that it lies in, from the last word to the first. */
struct bits {
    uint64_t word[8];
};
_Static_assert(sizeof(struct bits) == 64, "a cache line");

struct node {
    uint64_t prefix[2];
    uint64_t covered[4]; /* a bit for each value of the level's eight: some prefix here covers it */
    uint32_t scope;
    uint16_t level, count;
    uint32_t next; /* behind the second of its head, or in the free list */
    uint32_t reserved;
};
_Static_assert(sizeof(struct node) == 64, "a cache line: all that a lookup needs of a level that doesn't decide");

/* All prefixes of a scope that has but a few, longest first: a scan is faster than any search. */
struct few {
    uint64_t prefix[2][FEW], mask[2][FEW];
    uint32_t slot[FEW];
    uint32_t next; /* in the free list */
    uint32_t reserved[15];
};
_Static_assert(sizeof(struct few) % 64 == 0, "whole cache lines");

struct scope {
    uint64_t id;
    uint32_t count;     /* prefixes */
    uint32_t few;       /* while count <= FEW, and there are any left; 0: none */
    uint16_t levels[2]; /* with nodes that can match: [0] IPv6, [1] IPv4 addresses */
    uint32_t root;      /* slot of ::/0 */
    uint32_t next;      /* in its chain, or in the free list; + 1 */
    uint32_t reserved;
};
_Static_assert(sizeof(struct scope) == 32, "two in a cache line");

struct lpm {
    struct dsn_heads node_heads; /* two words a head, see below */
    struct dsn_heads scope_heads;
    struct node *node;
    struct bits *bits; /* of the node with the same index */
    struct scope *scope;
    struct few *few;
    struct dsn_map slots;  /* node << 9 | place -> slot */
    struct dsn_map levels; /* (scope + 1) << 5 | family << 4 | level -> how many nodes */
    uint64_t seed[DSN_MATCH_SEEDS];
    uint64_t level_seed[LEVELS];
    uint32_t nodes, free_node, node_top; /* in use; free list; touched so far. Node 0 is none and never matches */
    uint32_t scopes, free_scope, scope_top;
    uint32_t free_few, few_top, few_limit; /* few 0 is none */
    uint32_t entries, capacity;
    uint16_t prefix_at, length_at;
    struct dsn_arena arena;
};

/* A head has two words: a node's index with seven bits of its hash, 0 for none. Where a third node has the same head,
 * the second word says so and nodes follow from that node's `next`. */
enum { NODE_BITS = 24, TAG_BITS = 7 };
#define NODE_MASK ((UINT32_C(1) << NODE_BITS) - 1)
#define TAG_MASK (((UINT32_C(1) << TAG_BITS) - 1) << NODE_BITS)
#define MORE (UINT32_C(1) << 31)
#define MAX_CAPACITY ((UINT32_C(1) << 23) - 2) /* node << 9 has to fit */

static inline uint64_t mask_high(unsigned length) {
    return length == 0 ? 0 : length >= 64 ? UINT64_MAX : UINT64_MAX << (64 - length);
}

static inline uint64_t mask_low(unsigned length) {
    return length <= 64 ? 0 : UINT64_MAX << (128 - length);
}

extern const uint64_t dsn_lpm_mask[LEVELS][2]; /* bits above a level */

/* `low` carries the scope already: low ^ scope_salt. */
static inline uint64_t node_hash(const struct lpm *lpm, unsigned level, uint64_t high, uint64_t low) {
    return dsn_fold(high ^ lpm->level_seed[level], low);
}

static inline uint64_t scope_salt(const struct lpm *lpm, uint32_t scope) {
    return lpm->seed[0] ^ scope * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint32_t node_tag(uint64_t hash) {
    return (uint32_t)(hash >> (64 - TAG_BITS)) << NODE_BITS;
}

static inline uint64_t scope_hash(const struct lpm *lpm, uint64_t id) {
    return dsn_fold(id ^ lpm->seed[4], lpm->seed[5]);
}

static inline uint32_t find_scope(const struct lpm *lpm, uint64_t id) {
    uint32_t at = lpm->scope_heads.head[dsn_heads_home(&lpm->scope_heads, scope_hash(lpm, id))];
    while (at != 0 && lpm->scope[at - 1].id != id)
        at = lpm->scope[at - 1].next;
    return at - 1; /* DSN_MATCH_NONE where there is none */
}

static inline unsigned family(uint64_t high, uint64_t low) {
    return high == 0 && low >> 32 == V4_LOW >> 32;
}

/* The prefixes of a node that cover the address: bit l - 1 for that of length l within the node. */
static inline uint32_t covering(const struct bits *bits, unsigned byte) {
    uint64_t eight = bits->word[byte >> 6] >> (byte & 63) & 1;
    uint64_t seven = bits->word[4 + (byte >> 7)] >> (byte >> 1 & 63) & 1;
    uint64_t six = bits->word[6] >> (byte >> 2) & 1;
    uint64_t rest = bits->word[7]; /* length l, value v: bit (1 << l) - 2 + v */
    uint64_t five = rest >> (30 + (byte >> 3)) & 1, four = rest >> (14 + (byte >> 4)) & 1;
    uint64_t three = rest >> (6 + (byte >> 5)) & 1, two = rest >> (2 + (byte >> 6)) & 1, one = rest >> (byte >> 7) & 1;
    return (uint32_t)(eight << 7 | seven << 6 | six << 5 | five << 4 | four << 3 | three << 2 | two << 1 | one);
}

/* The place of the prefix of that length that covers the byte. */
static inline unsigned place_of(unsigned byte, unsigned length) {
    static const uint16_t first[9] = {0, 448, 450, 454, 462, 478, 384, 256, 0};
    return first[length] + (byte >> (STRIDE - length));
}

static inline uint32_t slot_key(uint32_t node, unsigned place) {
    return node << 9 | place;
}

#endif
