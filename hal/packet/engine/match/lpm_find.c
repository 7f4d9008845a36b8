/* Lookups of the LPM. A wrong guess of the CPU about a level costs more than asking all of them, so the heads of all
 * levels are read without a branch on what is found, and their memory accesses overlap. */
#include "lpm.h"
#include "lpm_nodes.h"

struct ask {
    uint64_t high, low;
    const struct scope *scope; /* NULL: no such scope */
    const struct few *few;     /* instead of levels */
    uint32_t scope_index, levels;
    bool crowded;          /* a head has more nodes than its words name */
    uint32_t node[LEVELS]; /* by level, where `levels` has it */
};

static inline unsigned ask_byte(const struct ask *ask, unsigned level) {
    uint64_t half = level < 8 ? ask->high : ask->low;
    return (unsigned)(half >> (56 - (level & 7) * 8)) & 0xff;
}

static inline unsigned top_level(uint32_t levels) {
    return 31 - (unsigned)__builtin_clz(levels);
}

static inline uint64_t level_hash(const struct lpm *lpm, const struct ask *ask, uint64_t salt, unsigned level) {
    return node_hash(lpm, level, ask->high & dsn_lpm_mask[level][0], (ask->low & dsn_lpm_mask[level][1]) ^ salt);
}

static inline const uint32_t *level_head(const struct lpm *lpm, uint64_t hash) {
    return &lpm->node_heads.head[2 * dsn_heads_home(&lpm->node_heads, hash)];
}

static inline void begin(const struct lpm *lpm, struct ask *ask, uint64_t id, const uint8_t address[16]) {
    ask->high = dsn_load_be64(address);
    ask->low = dsn_load_be64(address + 8);
    ask->scope_index = find_scope(lpm, id);
    ask->scope = NULL;
    ask->few = NULL;
    ask->levels = 0;
    ask->crowded = false;
    if (ask->scope_index == DSN_MATCH_NONE)
        return;
    ask->scope = &lpm->scope[ask->scope_index];
    if (ask->scope->few != 0)
        ask->few = &lpm->few[ask->scope->few];
    else
        ask->levels = ask->scope->levels[family(ask->high, ask->low)];
}

/* Finds the node that a head names for a hash by seven bits of it; node 0 for none. */
static inline uint32_t pick_node(struct ask *ask, const uint32_t *head, uint32_t tag) {
    uint32_t first = ((head[0] ^ tag) & TAG_MASK) == 0 ? head[0] & NODE_MASK : 0;
    uint32_t second = ((head[1] ^ tag) & TAG_MASK) == 0 ? head[1] & NODE_MASK : 0;
    ask->crowded |= (head[1] & MORE) != 0 || (first != 0 && second != 0);
    return first | second;
}

static inline bool is_node(const struct node *node, const struct ask *ask, unsigned level) {
    uint64_t wrong = (node->prefix[0] ^ (ask->high & dsn_lpm_mask[level][0])) |
                     (node->prefix[1] ^ (ask->low & dsn_lpm_mask[level][1]));
    return (wrong | (node->scope ^ ask->scope_index) | (node->level ^ level)) == 0;
}

static inline bool decides(const struct node *node, const struct ask *ask, unsigned level) {
    unsigned byte = ask_byte(ask, level);
    return (node->covered[byte >> 6] >> (byte & 63) & 1) & is_node(node, ask, level);
}

/* The longest level whose picked node covers the address; LEVELS: none does. */
static inline unsigned deciding_level(const struct lpm *lpm, const struct ask *ask) {
    for (uint32_t levels = ask->levels; levels != 0;) {
        unsigned level = top_level(levels);
        levels ^= 1u << level;
        if (decides(&lpm->node[ask->node[level]], ask, level))
            return level;
    }
    return LEVELS;
}

static inline uint32_t key_in(const struct lpm *lpm, uint32_t at, const struct ask *ask, unsigned level) {
    unsigned byte = ask_byte(ask, level);
    return slot_key(at, place_of(byte, 32 - (unsigned)__builtin_clz(covering(&lpm->bits[at], byte))));
}

static inline uint32_t root_of(const struct ask *ask) {
    return ask->scope == NULL ? DSN_NO_SLOT : ask->scope->root;
}

/* A scope's few prefixes, longest first. */
static inline uint32_t find_in_few(const struct few *few, uint32_t count, uint64_t high, uint64_t low) {
    uint32_t covers = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t wrong = ((high ^ few->prefix[0][i]) & few->mask[0][i]) | ((low ^ few->prefix[1][i]) & few->mask[1][i]);
        covers |= (uint32_t)(wrong == 0) << i;
    }
    return covers == 0 ? DSN_NO_SLOT : few->slot[__builtin_ctz(covers)];
}

/* Where heads are crowded: node by node. */
static __attribute__((noinline)) uint32_t find_slowly(const struct lpm *lpm, const struct ask *ask) {
    uint64_t salt = scope_salt(lpm, ask->scope_index);
    for (uint32_t levels = ask->levels; levels != 0;) {
        unsigned level = top_level(levels);
        levels ^= 1u << level;
        const uint32_t *head = level_head(lpm, level_hash(lpm, ask, salt, level));
        uint32_t at = head[0] & NODE_MASK;
        if (!is_node(&lpm->node[at], ask, level)) {
            at = head[1] & NODE_MASK;
            while (at != 0 && !is_node(&lpm->node[at], ask, level))
                at = lpm->node[at].next;
        }
        if (decides(&lpm->node[at], ask, level))
            return (uint32_t)*dsn_map_find(&lpm->slots, key_in(lpm, at, ask, level));
    }
    return root_of(ask);
}

uint32_t dsn_lpm_find(const void *match, uint64_t scope, const uint8_t address[16]) {
    const struct lpm *lpm = match;
    struct ask ask;
    begin(lpm, &ask, scope, address);
    if (ask.few != NULL)
        return find_in_few(ask.few, ask.scope->count, ask.high, ask.low);
    uint64_t salt = scope_salt(lpm, ask.scope_index);
    for (uint32_t levels = ask.levels; levels != 0; levels &= levels - 1) {
        unsigned level = (unsigned)__builtin_ctz(levels);
        uint64_t hash = level_hash(lpm, &ask, salt, level);
        ask.node[level] = pick_node(&ask, level_head(lpm, hash), node_tag(hash));
    }
    if (__builtin_expect(ask.crowded, false))
        return find_slowly(lpm, &ask);
    unsigned level = deciding_level(lpm, &ask);
    if (level == LEVELS)
        return root_of(&ask);
    return (uint32_t)*dsn_map_find(&lpm->slots, key_in(lpm, ask.node[level], &ask, level));
}

#define BATCH 16

/* Asks for all heads, then for all nodes, then for what the deciding nodes say: the memory accesses of each step
 * overlap. */
static void find_batch(const struct lpm *lpm, uint32_t count, const uint64_t *scope, const uint8_t (*address)[16],
                       uint32_t *slot) {
    struct ask ask[BATCH];
    const uint32_t *head[BATCH][LEVELS];
    uint32_t tag[BATCH][LEVELS], key[BATCH];
    unsigned decided[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        begin(lpm, &ask[i], scope[i], address[i]);
        uint64_t salt = scope_salt(lpm, ask[i].scope_index);
        for (uint32_t levels = ask[i].levels; levels != 0; levels &= levels - 1) {
            unsigned level = (unsigned)__builtin_ctz(levels);
            uint64_t hash = level_hash(lpm, &ask[i], salt, level);
            head[i][level] = level_head(lpm, hash);
            tag[i][level] = node_tag(hash);
            __builtin_prefetch(head[i][level]);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t levels = ask[i].levels; levels != 0; levels &= levels - 1) {
            unsigned level = (unsigned)__builtin_ctz(levels);
            ask[i].node[level] = pick_node(&ask[i], head[i][level], tag[i][level]);
            __builtin_prefetch(&lpm->node[ask[i].node[level]]);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        decided[i] = LEVELS;
        if (ask[i].few != NULL)
            slot[i] = find_in_few(ask[i].few, ask[i].scope->count, ask[i].high, ask[i].low);
        else if (ask[i].crowded)
            slot[i] = find_slowly(lpm, &ask[i]);
        else if ((decided[i] = deciding_level(lpm, &ask[i])) == LEVELS)
            slot[i] = root_of(&ask[i]);
        else
            __builtin_prefetch(&lpm->bits[ask[i].node[decided[i]]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (decided[i] == LEVELS)
            continue;
        key[i] = key_in(lpm, ask[i].node[decided[i]], &ask[i], decided[i]);
        __builtin_prefetch(&lpm->slots.cell[dsn_map_home(&lpm->slots, key[i])]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (decided[i] != LEVELS)
            slot[i] = (uint32_t)*dsn_map_find(&lpm->slots, key[i]);
    }
}

void dsn_lpm_find_burst(const void *match, uint32_t count, const uint64_t *scope, const uint8_t (*address)[16],
                        uint32_t *slot) {
    while (count != 0) {
        uint32_t batch = count < BATCH ? count : BATCH;
        find_batch(match, batch, scope, address, slot);
        scope += batch, address += batch, slot += batch, count -= batch;
    }
}
