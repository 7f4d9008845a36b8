/* The rule classifier's insides; docs/adr/0041-*.md says why it is built so.
 *
 * Tuple space search (Srinivasan 1999) with merged tuples (TupleMerge, Daly 2019), each rule group for itself. A tuple
 * is a set of masks: so many bits of the source, of the destination and of the port, and the protocol or not. A rule
 * lies in one tuple whose masks are no finer than its own, in the bucket that its masked fields hash to. A lookup goes
 * through the tuples of its group, direction and IP version in the order of their best rules, and ends where
 * the best rule found comes before all that is left. Buckets are short lists in rule order; what no mask can tell apart
 * (port ranges across the middle, the same prefixes again and again) becomes a tree by port. */
#ifndef DSN_CLASSIFY_H
#define DSN_CLASSIFY_H

#include "common.h"
#include "table.h"

/* Rules are known by slot + 1, tuples and groups by index + 1, so that 0 is none. */

struct rule { /* what a lookup reads */
    uint64_t source[2], destination[2];
    uint8_t source_len, destination_len;
    uint8_t direction;
    uint8_t tree; /* the first of its bucket, and the root of a tree */
    uint8_t protocol_low, protocol_high;
    uint16_t port_low, port_high;
    uint16_t reserved;
    uint32_t priority;
    uint32_t group;
    uint32_t hash;  /* of the masked fields in its tuple; also names the bucket */
    uint32_t next;  /* in its bucket, a list in rule order */
    uint32_t chain; /* of the first in a bucket: the next bucket under the same head */
};
_Static_assert(sizeof(struct rule) == 64, "a cache line");

struct rule_links { /* what only changes read, and lookups in trees or between equal priorities */
    uint64_t id;
    uint32_t tuple;            /* 0: it can match no packet and lies nowhere */
    uint32_t heap[2], heap_up; /* leftist heap of the tuple, by rule order */
    uint32_t tree[2];          /* treap of the bucket, by port_low, then rule order */
    uint32_t tree_first;       /* of all below and itself: the first in rule order */
    uint16_t tree_high;        /* of all below and itself: the highest port */
    uint16_t heap_rank;
};

enum kind {
    KIND_ANY,  /* no address bits */
    KIND_V4,   /* IPv4 packets only: both prefix lengths are those of IPv4 */
    KIND_WIDE, /* 128-bit addresses */
};

struct shape {
    uint8_t kind;
    uint8_t lists; /* bit (direction - 1) * 2 + (0: IPv4, 1: IPv6): packets whose lookups must see it */
    uint8_t source_len, destination_len, port_len, protocol;
};

#define LISTS 4

struct tuple {
    uint64_t seed;
    uint64_t v4_mask; /* source << 32 | destination */
    uint32_t next[LISTS];
    struct shape shape;
    uint16_t port_mask;
    uint32_t best; /* its first rule, root of its heap */
    uint32_t best_priority;
    uint32_t count, group;
    uint32_t free; /* next in the free list */
    uint8_t protocol_mask;
};
_Static_assert(sizeof(struct tuple) <= 128, "tuples are few and hot");

struct group {
    uint64_t id;
    uint32_t list[LISTS]; /* tuples by their best rule */
    uint32_t rules;
    uint32_t next; /* in its chain, or in the free list */
};

struct classifier {
    struct dsn_heads heads; /* signature << 24 | first rule of the first bucket */
    struct dsn_heads group_heads;
    struct rule *rule; /* by slot + 1 */
    struct rule_links *links;
    struct tuple *tuple;
    struct group *group;
    uint64_t seed[DSN_MATCH_SEEDS];
    uint32_t buckets, rules, capacity;
    uint32_t tuples, free_tuple, tuple_top;
    uint32_t groups, free_group, group_top;
    struct dsn_arena arena;
};

#define RULE_MASK ((UINT32_C(1) << 24) - 1)

/* A head's signature has a bit for each of its buckets: most misses end here. */
static inline uint32_t signature(uint32_t hash) {
    return UINT32_C(1) << (24 + (hash >> 29));
}

extern uint64_t dsn_prefix_mask[129][2];

static inline bool covers(const uint64_t prefix[2], unsigned length, const uint64_t address[2]) {
    return (((prefix[0] ^ address[0]) & dsn_prefix_mask[length][0]) |
            ((prefix[1] ^ address[1]) & dsn_prefix_mask[length][1])) == 0;
}

static inline bool is_v4(const uint64_t address[2]) {
    return address[0] == 0 && address[1] >> 32 == 0xffff;
}

struct packet {
    uint64_t source[2], destination[2];
    uint16_t port;
    uint8_t protocol;
};

static inline uint32_t tuple_hash(const struct classifier *c, const struct tuple *tuple, const struct packet *packet) {
    uint64_t address = 0;
    if (tuple->shape.kind == KIND_V4) {
        address = (packet->source[1] << 32 | (uint32_t)packet->destination[1]) & tuple->v4_mask;
    } else if (tuple->shape.kind == KIND_WIDE) {
        const uint64_t *source = dsn_prefix_mask[tuple->shape.source_len];
        const uint64_t *destination = dsn_prefix_mask[tuple->shape.destination_len];
        address = dsn_fold((packet->source[0] & source[0]) ^ c->seed[0], (packet->source[1] & source[1]) ^ c->seed[1]);
        address ^= dsn_fold((packet->destination[0] & destination[0]) ^ c->seed[2],
                            (packet->destination[1] & destination[1]) ^ c->seed[3]);
    }
    uint64_t rest = (uint64_t)(packet->port & tuple->port_mask) << 8 | (packet->protocol & tuple->protocol_mask);
    uint64_t hash = dsn_fold(address ^ tuple->seed, rest ^ c->seed[4]);
    return (uint32_t)hash ^ (uint32_t)(hash >> 32);
}

static inline uint64_t group_hash(const struct classifier *c, uint64_t id) {
    return dsn_fold(id ^ c->seed[5], c->seed[6]);
}

static inline uint32_t find_group(const struct classifier *c, uint64_t id) {
    uint32_t at = c->group_heads.head[dsn_heads_home(&c->group_heads, group_hash(c, id))];
    while (at != 0 && c->group[at].id != id)
        at = c->group[at].next;
    return at;
}

/* Rule order: a decides before b. */
static inline bool before(const struct classifier *c, uint32_t a, uint32_t b) {
    if (c->rule[a].priority != c->rule[b].priority)
        return c->rule[a].priority < c->rule[b].priority;
    return c->links[a].id < c->links[b].id;
}

/* Heaps and trees change in place and return the new root. */
uint32_t dsn_heap_insert(struct classifier *c, uint32_t root, uint32_t at);
uint32_t dsn_heap_remove(struct classifier *c, uint32_t root, uint32_t at);
uint32_t dsn_tree_insert(struct classifier *c, uint32_t root, uint32_t at);
uint32_t dsn_tree_remove(struct classifier *c, uint32_t root, uint32_t at);

#endif
