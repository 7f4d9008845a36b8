/* A set of slots in the order of a key that each was put in with, so that what hangs on a row is found without looking
 * at the rest: vNICs of a profile, addresses of a subnet, members of a group. A treap by slot (Seidel and Aragon 1996):
 * what it costs grows with the logarithm of the entries, whatever keys a writer chooses, for the seed of its shape is
 * secret. Memory for `capacity` slots is taken at create; nothing else can fail. */
#ifndef DSN_PATH_ORDER_H
#define DSN_PATH_ORDER_H

#include "table.h"

struct dsn_order_key { /* compared word by word; no two entries have the same */
    uint64_t word[4];
};

struct dsn_order_node {
    struct dsn_order_key key;
    uint32_t left, right; /* slot + 1; 0: nothing there */
};

struct dsn_order {
    struct dsn_order_node *node; /* by slot */
    uint32_t root;
    uint64_t seed;
    uint64_t *looked; /* counts the entries that were looked at or written */
};

bool dsn_order_create(struct dsn_order *order, uint32_t capacity, uint64_t *looked);
void dsn_order_destroy(struct dsn_order *order);
void dsn_order_put(struct dsn_order *order, uint32_t slot, struct dsn_order_key key);
void dsn_order_take(struct dsn_order *order, uint32_t slot); /* it is there, with the key it was put in with */

/* The first entry at or behind this key, the last one before it, the first one behind that of a slot; DSN_NO_SLOT.
 * Workers ask too, each on the copy that is live: *looked counts where it isn't NULL. */
uint32_t dsn_order_from(const struct dsn_order *order, const struct dsn_order_key *key, uint64_t *looked);
uint32_t dsn_order_before(const struct dsn_order *order, const struct dsn_order_key *key, uint64_t *looked);
uint32_t dsn_order_next(const struct dsn_order *order, uint32_t slot, uint64_t *looked);

static inline const struct dsn_order_key *dsn_order_key(const struct dsn_order *order, uint32_t slot) {
    return &order->node[slot].key;
}

#endif
