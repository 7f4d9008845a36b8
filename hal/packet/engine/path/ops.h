/* Op lists: what the packets of one direction of a connection have to pass and where they go. The set of ops is
 * closed and their order in a list is fixed, so a list is a word of bits with its operands. Equal lists are kept once
 * and counted; a connection holds their numbers. */
#ifndef DSN_PATH_OPS_H
#define DSN_PATH_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dsn_op { /* in the order in which they are done */
              DSN_OP_CHECK_SOURCE_MAC = 1 << 0,
              DSN_OP_CHECK_DESTINATION_MAC = 1 << 1,
              DSN_OP_DROP = 1 << 2,
              DSN_OP_TRACK = 1 << 3,
              DSN_OP_METER = 1 << 4,
              DSN_OP_COUNT = 1 << 5,
              DSN_OP_REWRITE_TTL = 1 << 6,
              DSN_OP_REWRITE_MACS = 1 << 7,
              DSN_OP_NEIGHBOUR = 1 << 8, /* the destination MAC is a neighbour's */
              DSN_OP_POP = 1 << 9,
              DSN_OP_PUSH = 1 << 10,
              DSN_OP_PUNT = 1 << 11,
              DSN_OP_SEND = 1 << 12,
};

struct dsn_ops {
    uint32_t ops;
    uint32_t egress;    /* slot in table vnic */
    uint64_t egress_id; /* the same by its id */
    uint64_t vrf;       /* of the punt tap */
    uint32_t neighbour; /* number in the shard's neighbours; 0: none */
    uint16_t port;      /* index; DSN_NO_PORT where the egress row's isn't there */
    uint16_t mtu;
    uint16_t reason; /* of drop */
    uint16_t pop, push;
    uint8_t check_mac[6]; /* destination MAC of the first packet in this direction; compared where bridged */
    uint8_t destination[6], source[6]; /* what MACs are rewritten to */
    uint8_t zero[8];
};
_Static_assert(sizeof(struct dsn_ops) == 64, "dsn_ops");

/* The template that most packets take: routed from and to untagged frames of a vNIC or uplink. What else may be in the
 * list: DSN_OP_CHECK_SOURCE_MAC, DSN_OP_TRACK, DSN_OP_NEIGHBOUR. */
#define DSN_OPS_USUAL (DSN_OP_COUNT | DSN_OP_REWRITE_TTL | DSN_OP_REWRITE_MACS | DSN_OP_SEND)
#define DSN_OPS_RARE                                                                                                   \
    (DSN_OP_CHECK_DESTINATION_MAC | DSN_OP_DROP | DSN_OP_METER | DSN_OP_POP | DSN_OP_PUSH | DSN_OP_PUNT)

#define DSN_NO_PORT UINT16_MAX

struct dsn_ops_entry {
    struct dsn_ops ops;
    uint32_t references, next;
    uint64_t hash;
    uint8_t unused[48];
};

struct dsn_ops_table {
    struct dsn_ops_entry *entry; /* numbers begin with 1 */
    uint32_t *head;
    uint32_t mask, capacity, high, free, used;
    uint32_t latest[2]; /* interned, of which the next one's are likely to be: a connection has two */
    uint64_t seed[2]; /* secret: who sends the first packets of connections must not choose the chain of their lists */
};

/* Room for as many different lists as there are lines: interning can't fail. */
bool dsn_ops_create(struct dsn_ops_table *table, uint32_t capacity);
void dsn_ops_destroy(struct dsn_ops_table *table);
/* The list's number, with one more reference; 0: no room. *fresh: it wasn't there yet. */
uint32_t dsn_ops_intern(struct dsn_ops_table *table, const struct dsn_ops *ops, bool *fresh);
/* One reference less; true where it was the last one (its content can be read until the next intern). */
bool dsn_ops_release(struct dsn_ops_table *table, uint32_t number);

static inline const struct dsn_ops *dsn_ops_at(const struct dsn_ops_table *table, uint32_t number) {
    return &table->entry[number].ops;
}

#endif
