/* The rule classifier's insides; docs/adr/0041-*.md says why it is built so.
 *
 * Tuple space search (Srinivasan 1999) with merged tuples (TupleMerge, Daly 2019), each rule group for itself. A tuple
 * is a set of masks: so many bits of the source, of the destination and of the port, and the protocol or not. A rule
 * lies in one tuple whose masks are no finer than its own, in the bucket that its masked fields hash to. A lookup goes
 * through the tuples of its group, direction and IP version in the order of their best rules, and ends where the best
 * rule found comes before all that is left. Buckets are short lists in rule order; what no mask can tell apart (port
 * ranges across the middle, the same prefixes again and again) becomes a tree by port. */
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
    uint64_t v4_mask;    /* source << 32 | destination; 0 where the kind is another */
    uint64_t sieve_mask; /* 0 for KIND_ANY: it has no next bits */
    uint32_t next[LISTS];
    uint32_t rest_mask; /* port << 8 | protocol */
    uint32_t best_priority;
    uint32_t best; /* its first rule, root of its heap */
    uint32_t group;
    struct shape shape;
    uint8_t reserved[2];
};
_Static_assert(sizeof(struct tuple) == 64, "a cache line");

struct group {
    uint64_t id;
    uint32_t list[LISTS]; /* tuples by their best rule */
    uint32_t rules, tuples;
    uint32_t next; /* in its chain, or in the free list */
    uint32_t reserved;
};

/* All that a lookup needs to know of a chain of buckets it won't find anything in. */
struct head {
    uint64_t sieve;
    uint32_t first;    /* rule of the first bucket */
    uint32_t priority; /* the lowest below it */
};

struct classifier {
    struct dsn_heads heads; /* of chains of buckets; its own array is not used, */
    struct head *head;      /* but this */
    struct dsn_heads group_heads;
    struct rule *rule; /* by slot + 1 */
    struct rule_links *links;
    struct tuple *tuple;
    struct group *group;
    uint64_t seed[DSN_MATCH_SEEDS];
    uint32_t buckets, rules, capacity;
    uint32_t tuples, free_tuple, tuple_top; /* a free one's `group` is the next free one */
    uint32_t groups, free_group, group_top;
    struct dsn_arena arena;
};

/* A head's sieve is five groups of bits, of which a packet needs one each: by hash, protocol, port and the next four
 * bits of source and destination behind the tuple's masks. Each rule under the head sets those of all packets that it
 * could match. So most lookups of a tuple end before they touch a rule. */
enum { SIEVE_HASH = 0, SIEVE_PROTOCOL = 8, SIEVE_PORT = 16, SIEVE_SOURCE = 32, SIEVE_DESTINATION = 48 };

static inline uint64_t sieve_hash(uint32_t hash) {
    return UINT64_C(1) << (SIEVE_HASH + (hash >> 29));
}

static inline uint64_t sieve_port(uint16_t port) {
    return UINT64_C(1) << (SIEVE_PORT + ((port * 0x9e3779b1u) >> 28));
}

static inline uint64_t sieve_protocol(uint8_t protocol) {
    return UINT64_C(1) << (SIEVE_PROTOCOL + ((protocol ^ protocol >> 3) & 7)); /* TCP, UDP, ICMP and ICMPv6 differ */
}

extern uint64_t dsn_prefix_mask[129][2];

static inline bool covers(const uint64_t prefix[2], unsigned length, const uint64_t address[2]) {
    return (((prefix[0] ^ address[0]) & dsn_prefix_mask[length][0]) |
            ((prefix[1] ^ address[1]) & dsn_prefix_mask[length][1])) == 0;
}

static inline bool is_v4(const uint64_t address[2]) {
    return address[0] == 0 && address[1] >> 32 == 0xffff;
}

/* A packet's fields, or the first of those that a rule covers. */
struct packet {
    uint64_t source[2], destination[2];
    uint64_t v4;   /* source << 32 | destination, where they are IPv4 addresses */
    uint32_t rest; /* port << 8 | protocol */
};

static inline void set_packet(struct packet *packet, uint16_t port, uint8_t protocol) {
    packet->v4 = packet->source[1] << 32 | (uint32_t)packet->destination[1];
    packet->rest = (uint32_t)port << 8 | protocol;
}

static inline uint32_t tuple_hash(const struct classifier *c, const struct tuple *tuple, const struct packet *packet) {
    uint64_t address = packet->v4 & tuple->v4_mask;
    if (tuple->shape.kind == KIND_WIDE) {
        const uint64_t *source = dsn_prefix_mask[tuple->shape.source_len];
        const uint64_t *destination = dsn_prefix_mask[tuple->shape.destination_len];
        address = dsn_fold((packet->source[0] & source[0]) ^ c->seed[0], (packet->source[1] & source[1]) ^ c->seed[1]);
        address ^= dsn_fold((packet->destination[0] & destination[0]) ^ c->seed[2],
                            (packet->destination[1] & destination[1]) ^ c->seed[3]);
    }
    return (uint32_t)dsn_fold(address ^ tuple->seed, (packet->rest & tuple->rest_mask) ^ c->seed[4]);
}

/* The four bits behind the first `length` of an address. */
static inline unsigned next_bits(const uint64_t address[2], unsigned length) {
    if (length >= 128)
        return 0;
    return (unsigned)((((unsigned __int128)address[0] << 64 | address[1]) << length) >> 124);
}

static inline uint64_t sieve_addresses(const struct tuple *tuple, const struct packet *packet) {
    unsigned source_len = tuple->shape.source_len, destination_len = tuple->shape.destination_len;
    unsigned source, destination;
    if (tuple->shape.kind == KIND_WIDE) {
        source = next_bits(packet->source, source_len);
        destination = next_bits(packet->destination, destination_len);
    } else { /* bits of the destination behind the source's end do no harm: no rule knows them */
        source = (unsigned)(packet->v4 << source_len >> 60);
        destination = (unsigned)(packet->v4 << 32 << destination_len >> 60);
    }
    return (UINT64_C(1) << SIEVE_SOURCE << source | UINT64_C(1) << SIEVE_DESTINATION << destination) &
           tuple->sieve_mask;
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

/* Of a prefix that covers IPv4 addresses: its length as one of theirs. */
static inline uint8_t v4_length(unsigned length) {
    return (uint8_t)(length < 96 ? 0 : length - 96);
}

/* A rule whose tuple and hash are set joins its bucket, or leaves it. */
void dsn_bucket_add(struct classifier *c, uint32_t at);
void dsn_bucket_take(struct classifier *c, uint32_t at);
/* Rules in a bucket, counted no further than `most`; a tree has more. */
unsigned dsn_bucket_length(const struct classifier *c, uint32_t hash, uint32_t group, unsigned most);

/* Heaps and trees change in place and return the new root. */
uint32_t dsn_heap_insert(struct classifier *c, uint32_t root, uint32_t at);
uint32_t dsn_heap_remove(struct classifier *c, uint32_t root, uint32_t at);
uint32_t dsn_tree_insert(struct classifier *c, uint32_t root, uint32_t at);
uint32_t dsn_tree_remove(struct classifier *c, uint32_t root, uint32_t at);

#endif
