#include "path/order.h"

#include "match/common.h"

#include <stdlib.h>

bool dsn_order_create(struct dsn_order *order, uint32_t capacity, uint64_t *looked) {
    uint64_t seed[DSN_MATCH_SEEDS];
    dsn_match_seed(seed);
    *order = (struct dsn_order){.node = calloc(capacity ? capacity : 1, sizeof(*order->node)), .looked = looked};
    order->seed = seed[0];
    return order->node != NULL;
}

void dsn_order_destroy(struct dsn_order *order) {
    free(order->node);
    *order = (struct dsn_order){0};
}

static struct dsn_order_node *node_at(const struct dsn_order *order, uint32_t number) {
    return &order->node[number - 1];
}

static uint64_t height(const struct dsn_order *order, uint32_t number) {
    return dsn_fold(number ^ order->seed, UINT64_C(0x9e3779b97f4a7c15));
}

static int compare(const struct dsn_order_key *a, const struct dsn_order_key *b) {
    for (unsigned n = 0; n < 4; n++)
        if (a->word[n] != b->word[n])
            return a->word[n] < b->word[n] ? -1 : 1;
    return 0;
}

void dsn_order_put(struct dsn_order *order, uint32_t slot, struct dsn_order_key key) {
    uint32_t number = slot + 1, at, *link = &order->root;
    uint64_t mine = height(order, number);
    for (at = *link; at != 0 && height(order, at) >= mine; at = *link) {
        ++*order->looked;
        link = compare(&node_at(order, at)->key, &key) < 0 ? &node_at(order, at)->right : &node_at(order, at)->left;
    }
    /* What stood here is parted by the key and hangs below. */
    struct dsn_order_node *node = node_at(order, number);
    uint32_t *low = &node->left, *high = &node->right;
    node->key = key;
    while (at != 0) {
        struct dsn_order_node *other = node_at(order, at);
        ++*order->looked;
        if (compare(&other->key, &key) < 0) {
            *low = at;
            low = &other->right;
            at = other->right;
        } else {
            *high = at;
            high = &other->left;
            at = other->left;
        }
    }
    *low = *high = 0;
    *link = number;
    ++*order->looked;
}

void dsn_order_take(struct dsn_order *order, uint32_t slot) {
    uint32_t number = slot + 1, *link = &order->root;
    const struct dsn_order_key *key = &order->node[slot].key;
    while (*link != number) {
        struct dsn_order_node *node = node_at(order, *link);
        ++*order->looked;
        link = compare(&node->key, key) < 0 ? &node->right : &node->left;
    }
    uint32_t low = order->node[slot].left, high = order->node[slot].right;
    while (low != 0 && high != 0) {
        ++*order->looked;
        if (height(order, low) > height(order, high)) {
            *link = low;
            link = &node_at(order, low)->right;
            low = *link;
        } else {
            *link = high;
            link = &node_at(order, high)->left;
            high = *link;
        }
    }
    *link = low != 0 ? low : high;
    order->node[slot] = (struct dsn_order_node){0};
    ++*order->looked;
}

/* The first entry at or behind the key (past: only behind), or the last one before it. */
static uint32_t search(const struct dsn_order *order, const struct dsn_order_key *key, bool past, bool before,
                       uint64_t *looked) {
    uint32_t found = 0, at = order->root, count = 1;
    for (; at != 0; count++) {
        const struct dsn_order_node *node = node_at(order, at);
        int side = compare(&node->key, key);
        bool low = side < 0 || (past && side == 0);
        if (low == before)
            found = at;
        at = low ? node->right : node->left;
    }
    if (looked != NULL)
        *looked += count;
    return found != 0 ? found - 1 : DSN_NO_SLOT;
}

uint32_t dsn_order_from(const struct dsn_order *order, const struct dsn_order_key *key, uint64_t *looked) {
    return search(order, key, false, false, looked);
}

uint32_t dsn_order_before(const struct dsn_order *order, const struct dsn_order_key *key, uint64_t *looked) {
    return search(order, key, false, true, looked);
}

uint32_t dsn_order_next(const struct dsn_order *order, uint32_t slot, uint64_t *looked) {
    return search(order, &order->node[slot].key, true, false, looked);
}
