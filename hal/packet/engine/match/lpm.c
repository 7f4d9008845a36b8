/* Longest prefix match for all scopes (VRFs, vNICs) of a table in one structure; docs/adr/0040-*.md says why this one.
 *
 * The 128 bits of an address are cut into 16 levels of eight. A prefix lies in one node: that of its scope, its level
 * (length 1-8: level 0, 9-16: level 1, ...) and its bits above that level. A node has a bit for each of the 510
 * prefixes that may lie in it (tree bitmap, Eatherton 2004) and is found by hash, not by descent, so it never has more
 * nodes than prefixes. A lookup asks the levels that its scope has nodes in; the asks don't depend on each other, so
 * their memory accesses overlap. A last hash leads from the node's bit to the slot. */
#include "lpm_nodes.h"

#include <stdlib.h>

const uint64_t dsn_lpm_mask[LEVELS][2] = {
#define UPTO(n)                                                                                                        \
    {n == 0 ? 0 : n >= 64 ? UINT64_MAX : UINT64_MAX << ((64 - n) & 63), n <= 64 ? 0 : UINT64_MAX << ((128 - n) & 63)}
    UPTO(0),  UPTO(8),  UPTO(16), UPTO(24), UPTO(32), UPTO(40),  UPTO(48),  UPTO(56),
    UPTO(64), UPTO(72), UPTO(80), UPTO(88), UPTO(96), UPTO(104), UPTO(112), UPTO(120),
#undef UPTO
};

/* --- scopes -------------------------------------------------------------------------------------------------- */

static void grow_scopes(struct lpm *lpm) {
    uint32_t split, fresh = dsn_heads_add(&lpm->scope_heads, &split);
    uint32_t *link = &lpm->scope_heads.head[split];
    while (*link != 0) {
        struct scope *scope = &lpm->scope[*link - 1];
        if (dsn_heads_home(&lpm->scope_heads, scope_hash(lpm, scope->id)) == split) {
            link = &scope->next;
            continue;
        }
        uint32_t moved = *link;
        *link = scope->next;
        scope->next = lpm->scope_heads.head[fresh];
        lpm->scope_heads.head[fresh] = moved;
    }
}

static uint32_t hold_scope(struct lpm *lpm, uint64_t id) {
    uint32_t at = find_scope(lpm, id);
    if (at == DSN_MATCH_NONE) {
        if (lpm->scopes * 2 >= lpm->scope_heads.used && lpm->scope_heads.used < lpm->scope_heads.limit) {
            grow_scopes(lpm);
            grow_scopes(lpm);
        }
        at = lpm->free_scope == 0 ? lpm->scope_top++ : lpm->free_scope - 1;
        if (lpm->free_scope != 0)
            lpm->free_scope = lpm->scope[at].next;
        uint32_t *head = &lpm->scope_heads.head[dsn_heads_home(&lpm->scope_heads, scope_hash(lpm, id))];
        lpm->scope[at] = (struct scope){.id = id, .root = DSN_NO_SLOT, .next = *head};
        *head = at + 1;
        lpm->scopes++;
    }
    return at;
}

static void drop_scope(struct lpm *lpm, uint32_t at) {
    struct scope *scope = &lpm->scope[at];
    if (scope->count != 0)
        return;
    uint32_t *link = &lpm->scope_heads.head[dsn_heads_home(&lpm->scope_heads, scope_hash(lpm, scope->id))];
    while (*link != at + 1)
        link = &lpm->scope[*link - 1].next;
    *link = scope->next;
    scope->next = lpm->free_scope;
    lpm->free_scope = at + 1;
    lpm->scopes--;
}

/* Counts a node in or out of the levels that lookups of its scope ask. */
static void count_level(struct lpm *lpm, const struct node *node, int change) {
    bool v4_bits = family(node->prefix[0], node->prefix[1]);
    bool for_v4 = node->level >= V4_LEVEL
                      ? v4_bits
                      : node->prefix[0] == 0 && node->prefix[1] == (V4_LOW & dsn_lpm_mask[node->level][1]);
    bool for_v6 = node->level < V4_LEVEL || !v4_bits;
    for (unsigned v4 = 0; v4 < 2; v4++) {
        if (!(v4 ? for_v4 : for_v6))
            continue;
        uint32_t key = (node->scope + 1) << 5 | v4 << 4 | node->level;
        uint32_t count = (uint32_t)*dsn_map_find(&lpm->levels, key) + (uint32_t)change;
        if (count == 0) {
            dsn_map_remove(&lpm->levels, key);
            lpm->scope[node->scope].levels[v4] &= (uint16_t)~(1u << node->level);
        } else {
            dsn_map_put(&lpm->levels, key, count);
            lpm->scope[node->scope].levels[v4] |= (uint16_t)(1u << node->level);
        }
    }
}

/* --- nodes --------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct lpm *lpm, const struct node *node) {
    return node_hash(lpm, node->level, node->prefix[0], node->prefix[1] ^ scope_salt(lpm, node->scope));
}

static uint32_t *head_of(const struct lpm *lpm, uint64_t hash) {
    return &lpm->node_heads.head[2 * dsn_heads_home(&lpm->node_heads, hash)];
}

/* Puts a node, whose hash is known, under a head. */
static void link_node(struct lpm *lpm, uint32_t *head, uint32_t at, uint64_t hash) {
    uint32_t word = node_tag(hash) | at;
    lpm->node[at].next = 0;
    if (head[0] == 0) {
        head[0] = word;
    } else if (head[1] == 0) {
        head[1] = word;
    } else {
        struct node *second = &lpm->node[head[1] & NODE_MASK];
        lpm->node[at].next = second->next;
        second->next = at;
        head[1] |= MORE;
    }
}

static void unlink_node(struct lpm *lpm, uint32_t *head, uint32_t at) {
    if ((head[0] & NODE_MASK) == at) {
        head[0] = 0;
        if (!(head[1] & MORE))
            return;
        /* Somebody from behind the second word moves up. */
        struct node *second = &lpm->node[head[1] & NODE_MASK];
        uint32_t moved = second->next;
        second->next = lpm->node[moved].next;
        if (second->next == 0)
            head[1] &= ~MORE;
        link_node(lpm, head, moved, hash_of(lpm, &lpm->node[moved]));
    } else if ((head[1] & NODE_MASK) == at) {
        uint32_t first = lpm->node[at].next;
        head[1] = 0;
        if (first != 0)
            head[1] = node_tag(hash_of(lpm, &lpm->node[first])) | first | (lpm->node[first].next != 0 ? MORE : 0);
    } else {
        uint32_t second = head[1] & NODE_MASK;
        uint32_t *link = &lpm->node[second].next;
        while (*link != at)
            link = &lpm->node[*link].next;
        *link = lpm->node[at].next;
        if (lpm->node[second].next == 0)
            head[1] &= ~MORE;
    }
}

static void grow_nodes(struct lpm *lpm) {
    uint32_t split, fresh = dsn_heads_add(&lpm->node_heads, &split);
    uint32_t *from = &lpm->node_heads.head[2 * split], *to = &lpm->node_heads.head[2 * fresh];
    uint32_t first = from[0] & NODE_MASK, at = from[1] & NODE_MASK;
    from[0] = from[1] = 0;
    while (first != 0 || at != 0) { /* the first, then the second and its chain */
        uint32_t node = first != 0 ? first : at;
        if (first != 0)
            first = 0;
        else
            at = lpm->node[at].next;
        uint64_t hash = hash_of(lpm, &lpm->node[node]);
        link_node(lpm, dsn_heads_home(&lpm->node_heads, hash) == split ? from : to, node, hash);
    }
}

static bool same_place(const struct node *node, const struct node *like) {
    return node->prefix[0] == like->prefix[0] && node->prefix[1] == like->prefix[1] && node->scope == like->scope &&
           node->level == like->level;
}

/* 0: there is none. */
static uint32_t find_node(const struct lpm *lpm, const uint32_t *head, const struct node *like) {
    uint32_t at = head[0] & NODE_MASK;
    if (at != 0 && same_place(&lpm->node[at], like))
        return at;
    for (at = head[1] & NODE_MASK; at != 0 && !same_place(&lpm->node[at], like);)
        at = lpm->node[at].next;
    return at;
}

static uint32_t make_node(struct lpm *lpm, const struct node *like, uint64_t hash) {
    if (lpm->nodes * 2 >= lpm->node_heads.used && lpm->node_heads.used < lpm->node_heads.limit) {
        grow_nodes(lpm); /* twice a node, so that heads keep being twice as many */
        grow_nodes(lpm);
    }
    uint32_t at = lpm->free_node;
    if (at == 0)
        at = lpm->node_top++;
    else
        lpm->free_node = lpm->node[at].next;
    lpm->node[at] = *like;
    link_node(lpm, head_of(lpm, hash), at, hash);
    lpm->nodes++;
    count_level(lpm, like, 1);
    return at;
}

static void free_node(struct lpm *lpm, uint32_t *head, uint32_t at) {
    count_level(lpm, &lpm->node[at], -1);
    unlink_node(lpm, head, at);
    lpm->node[at].next = lpm->free_node;
    lpm->node[at].level = LEVELS; /* matches no ask */
    lpm->free_node = at;
    lpm->nodes--;
}

/* --- few ----------------------------------------------------------------------------------------------------- */

static unsigned few_length(const struct few *few, unsigned i) {
    return (unsigned)(__builtin_popcountll(few->mask[0][i]) + __builtin_popcountll(few->mask[1][i]));
}

static void few_move(struct few *few, unsigned to, unsigned from) {
    for (unsigned half = 0; half < 2; half++) {
        few->prefix[half][to] = few->prefix[half][from];
        few->mask[half][to] = few->mask[half][from];
    }
    few->slot[to] = few->slot[from];
}

/* Before a prefix is counted in: it joins the few, or makes them too many. */
static void few_insert(struct lpm *lpm, struct scope *scope, const uint64_t prefix[2], unsigned length, uint32_t slot) {
    if (scope->count == 0) {
        scope->few = lpm->free_few;
        if (scope->few != 0)
            lpm->free_few = lpm->few[scope->few].next;
        else if (lpm->few_top < lpm->few_limit)
            scope->few = lpm->few_top++;
    }
    if (scope->few == 0)
        return;
    struct few *few = &lpm->few[scope->few];
    if (scope->count == FEW) {
        few->next = lpm->free_few;
        lpm->free_few = scope->few;
        scope->few = 0;
        return;
    }
    unsigned at = scope->count;
    for (; at > 0 && few_length(few, at - 1) < length; at--)
        few_move(few, at, at - 1);
    few->prefix[0][at] = prefix[0];
    few->prefix[1][at] = prefix[1];
    few->mask[0][at] = mask_high(length);
    few->mask[1][at] = mask_low(length);
    few->slot[at] = slot;
}

/* Before a prefix is counted out. */
static void few_remove(struct lpm *lpm, struct scope *scope, uint32_t slot) {
    if (scope->few == 0)
        return;
    struct few *few = &lpm->few[scope->few];
    unsigned at = 0;
    while (few->slot[at] != slot)
        at++;
    for (; at + 1 < scope->count; at++)
        few_move(few, at, at + 1);
    if (scope->count == 1) {
        few->next = lpm->free_few;
        lpm->free_few = scope->few;
        scope->few = 0;
    }
}

/* --- the table's side ---------------------------------------------------------------------------------------- */

struct where {
    uint64_t scope, prefix[2];
    unsigned length, place;
    unsigned first, last; /* values of the level's eight bits that it covers */
    struct node like;
};

static struct where where_of(const struct lpm *lpm, const uint8_t *row) {
    const uint8_t *prefix = row + lpm->prefix_at;
    struct where where = {.length = row[lpm->length_at]};
    memcpy(&where.scope, row + 8, 8);
    where.prefix[0] = dsn_load_be64(prefix);
    where.prefix[1] = dsn_load_be64(prefix + 8);
    if (where.length == 0)
        return where;
    unsigned level = (where.length - 1) / STRIDE, within = where.length - level * STRIDE;
    where.first = prefix[level];
    where.last = prefix[level] | ((1u << (STRIDE - within)) - 1);
    where.place = place_of(where.first, within);
    where.like.level = (uint16_t)level;
    where.like.prefix[0] = where.prefix[0] & dsn_lpm_mask[level][0];
    where.like.prefix[1] = where.prefix[1] & dsn_lpm_mask[level][1];
    return where;
}

static void lpm_insert(void *match, const void *row, uint32_t slot) {
    struct lpm *lpm = match;
    struct where where = where_of(lpm, row);
    uint32_t scope = hold_scope(lpm, where.scope);
    few_insert(lpm, &lpm->scope[scope], where.prefix, where.length, slot);
    lpm->scope[scope].count++;
    lpm->entries++;
    if (where.length == 0) {
        lpm->scope[scope].root = slot;
        return;
    }
    where.like.scope = scope;
    uint64_t hash = hash_of(lpm, &where.like);
    uint32_t at = find_node(lpm, head_of(lpm, hash), &where.like);
    if (at == 0)
        at = make_node(lpm, &where.like, hash);
    lpm->bits[at].word[where.place / 64] |= UINT64_C(1) << where.place % 64;
    for (unsigned value = where.first; value <= where.last; value++)
        lpm->node[at].covered[value / 64] |= UINT64_C(1) << value % 64;
    lpm->node[at].count++;
    dsn_map_put(&lpm->slots, slot_key(at, where.place), slot);
}

static void lpm_remove(void *match, const void *row, uint32_t slot) {
    struct lpm *lpm = match;
    struct where where = where_of(lpm, row);
    uint32_t scope = find_scope(lpm, where.scope);
    few_remove(lpm, &lpm->scope[scope], slot);
    if (where.length == 0) {
        lpm->scope[scope].root = DSN_NO_SLOT;
    } else {
        where.like.scope = scope;
        uint32_t *head = head_of(lpm, hash_of(lpm, &where.like));
        uint32_t at = find_node(lpm, head, &where.like);
        lpm->bits[at].word[where.place / 64] &= ~(UINT64_C(1) << where.place % 64);
        for (unsigned value = where.first; value <= where.last; value++) {
            if (covering(&lpm->bits[at], value) == 0)
                lpm->node[at].covered[value / 64] &= ~(UINT64_C(1) << value % 64);
        }
        dsn_map_remove(&lpm->slots, slot_key(at, where.place));
        if (--lpm->node[at].count == 0)
            free_node(lpm, head, at);
    }
    lpm->scope[scope].count--;
    drop_scope(lpm, scope);
    lpm->entries--;
}

static void lpm_destroy(void *match) {
    struct lpm *lpm = match;
    if (lpm == NULL)
        return;
    dsn_arena_destroy(&lpm->arena);
    free(lpm);
}

static void *lpm_create(const struct dsn_table_desc *desc, uint32_t capacity) {
    if (capacity > MAX_CAPACITY)
        return NULL;
    struct lpm *lpm = calloc(1, sizeof(*lpm));
    if (lpm == NULL)
        return NULL;
    for (uint16_t i = 0; i < desc->action[0].fields; i++) {
        const struct dsn_field_desc *field = &desc->action[0].field[i];
        if (field->type == DSN_PREFIX && field->offset < desc->key_end) {
            lpm->prefix_at = field->offset;
            lpm->length_at = field->offset + field->size;
        }
    }
    lpm->capacity = capacity;
    uint32_t heads = dsn_heads_limit(capacity);
    uint32_t slot_cells = dsn_map_cells(capacity), level_cells = dsn_map_cells(2 * capacity);
    uint32_t fews = capacity / 8 + 64; /* only a help: scopes that get none do without */
    size_t sizes[] = {
        2 * heads * sizeof(uint32_t),         heads * sizeof(uint32_t),        (capacity + 1) * sizeof(struct node),
        (capacity + 1) * sizeof(struct bits), capacity * sizeof(struct scope), fews * sizeof(struct few),
        slot_cells * sizeof(uint64_t),        level_cells * sizeof(uint64_t),
    };
    size_t total = 0;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        total += dsn_arena_size(sizes[i]);
    if (!dsn_arena_create(&lpm->arena, total)) {
        free(lpm);
        return NULL;
    }
    dsn_match_seed(lpm->seed);
    for (unsigned level = 0; level < LEVELS; level++)
        lpm->level_seed[level] = dsn_fold(lpm->seed[1] + level, lpm->seed[2]);
    dsn_heads_init(&lpm->node_heads, dsn_arena_take(&lpm->arena, sizes[0]), heads);
    dsn_heads_init(&lpm->scope_heads, dsn_arena_take(&lpm->arena, sizes[1]), heads);
    lpm->node = dsn_arena_take(&lpm->arena, sizes[2]);
    lpm->node[0].level = LEVELS;
    lpm->node_top = 1;
    lpm->bits = dsn_arena_take(&lpm->arena, sizes[3]);
    lpm->scope = dsn_arena_take(&lpm->arena, sizes[4]);
    lpm->few = dsn_arena_take(&lpm->arena, sizes[5]);
    lpm->few_top = 1;
    lpm->few_limit = fews;
    lpm->slots = (struct dsn_map){dsn_arena_take(&lpm->arena, sizes[6]), slot_cells, lpm->seed[6]};
    lpm->levels = (struct dsn_map){dsn_arena_take(&lpm->arena, sizes[7]), level_cells, lpm->seed[7]};
    return lpm;
}

static size_t lpm_bytes(const void *match) {
    const struct lpm *lpm = match;
    size_t bytes = sizeof(*lpm) + (2 * lpm->node_heads.used + lpm->scope_heads.used) * sizeof(uint32_t) +
                   lpm->node_top * (sizeof(struct node) + sizeof(struct bits)) + lpm->scope_top * sizeof(struct scope) +
                   lpm->few_top * sizeof(struct few);
    /* Maps are touched all over: a page a key at most. */
    size_t maps = (lpm->slots.cells + lpm->levels.cells) * sizeof(uint64_t), pages = (size_t)lpm->entries * 4096;
    return bytes + (pages < maps ? pages : maps);
}

/* Heads are at most twice as many as entries, those of nodes in pairs. */
static unsigned lpm_extents(const void *match, struct dsn_extent *extent) {
    const enum dsn_extent_kind worst = DSN_EXTENT_AT_WORST, scope = DSN_EXTENT_A_SCOPE;
    const struct lpm *lpm = match;
    size_t heads = lpm->node_heads.limit, entries = (size_t)lpm->capacity + 1, word = sizeof(uint32_t);
    struct dsn_extent all[] = {
        {lpm->node_heads.head, 2 * heads * word, 4 * word, 0, worst},
        {lpm->scope_heads.head, heads * word, 2 * word, 0, scope},
        {lpm->node, entries * sizeof(struct node), sizeof(struct node), 0, worst},
        {lpm->bits, entries * sizeof(struct bits), sizeof(struct bits), 0, worst},
        {lpm->scope, (entries - 1) * sizeof(struct scope), sizeof(struct scope), 0, scope},
        {lpm->few, (size_t)lpm->few_limit * sizeof(struct few), sizeof(struct few), 0, scope},
        {lpm->slots.cell, (size_t)lpm->slots.cells * sizeof(uint64_t), 0, 4096, worst},
        {lpm->levels.cell, (size_t)lpm->levels.cells * sizeof(uint64_t), 0, 4096, worst},
    };
    memcpy(extent, all, sizeof(all));
    return sizeof(all) / sizeof(*all);
}

const struct dsn_match_ops dsn_lpm_ops = {lpm_create, lpm_destroy, lpm_insert, lpm_remove, lpm_bytes, lpm_extents};
