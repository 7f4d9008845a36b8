/* Declared tables inside the engine: two copies of each (left and right) under two roots.
 *
 * Readers (workers, once a burst; shards) take a root and see one generation. The control thread applies a commit to
 * the idle root with an undo log, swaps the root pointer, waits for the grace period (rte_rcu_qsbr) and applies the
 * same operations to the other one. A row's slot is the same in both copies and stays while the row lives, so slots
 * serve as handles; a row's id is its name outside the engine. */
#ifndef DSN_TABLE_H
#define DSN_TABLE_H

#include "schema.h" /* of the build: generated/, or a wider one with more stages */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define DSN_NO_SLOT UINT32_MAX
#define DSN_NO_ACTION 0xff

struct dsn_root;

/* An array that rows of a table need: reserved, and there only as far as it was touched. */
enum dsn_extent_kind {
    DSN_EXTENT_SURE,     /* as much as rows */
    DSN_EXTENT_AT_WORST, /* as much as rows, depending on their keys */
    DSN_EXTENT_A_SCOPE,  /* at worst as much as the rows that they belong to: VRFs, policies */
};
struct dsn_extent {
    void *begin;
    size_t size;
    size_t each; /* bytes an entry, from the front on */
    size_t page; /* not 0: touched all over instead, two pages of this size an entry at most */
    enum dsn_extent_kind kind;
};
#define DSN_MOST_EXTENTS 8 /* of a match structure, or of what the path derives from a table */

/* Match structures of LPM and PRIORITY tables (engine/match/). They hold slots, never copies of actions. Memory for
 * `capacity` entries, whatever their keys are, is taken at create; insert can't fail while capacity holds: what a
 * commit takes out goes first. remove gets the row as it was inserted.
 * All calls are made by the control thread on the idle copy; lookups run in workers on the live one. */
struct dsn_match_ops {
    void *(*create)(const struct dsn_table_desc *desc, uint32_t capacity); /* NULL: no memory */
    void (*destroy)(void *match);
    void (*insert)(void *match, const void *row, uint32_t slot);
    void (*remove)(void *match, const void *row, uint32_t slot);
    size_t (*bytes)(const void *match); /* in use, for `capabilities` and the bench */
    unsigned (*extents)(const void *match, struct dsn_extent extent[DSN_MOST_EXTENTS]); /* how many */
};
extern const struct dsn_match_ops dsn_lpm_ops;      /* match/lpm.c */
extern const struct dsn_match_ops dsn_priority_ops; /* match/classify.c */

/* Open addressing from 32-bit hashes to slots, at most two thirds full, never resized (control/index.c). An entry is
 * the hash above slot + 1; 0 is empty. Behind the entries stands a bit for each first twelve of a hash that is there:
 * most of what a packet asks a small table for isn't there, and an entry is a cache miss of its own. */
struct dsn_index {
    uint64_t *entry; /* NULL: there is none */
    uint8_t bits;
};

struct dsn_table {
    const struct dsn_table_desc *desc;
    uint32_t capacity, used;
    uint32_t stride;       /* bytes of a slot: the largest row, then its resolved references (uint32_t each) */
    uint32_t ref_offset;   /* where the references begin in a slot */
    uint8_t *slots;        /* capacity * stride */
    uint8_t *action;       /* capacity; DSN_NO_ACTION where empty */
    struct dsn_index keys; /* over bytes 8..key_end; EXACT tables that have a key */
    void *match;           /* LPM or PRIORITY structure, else NULL */
    uint64_t changed;      /* generation of the last commit that touched the table */
};

/* What the path precomputes from small tables, so that a packet never searches them (path/derive.c): chains of
 * stages, a subnet's own addresses, uplinks by port. */
struct dsn_derived;
struct dsn_stamps;

struct dsn_root {
    uint64_t generation; /* 0: nothing was committed yet */
    bool awaits;         /* an owner who has to have committed before anything is forwarded hasn't */
    struct dsn_table table[DSN_TABLES];
    struct dsn_derived *derived;
    struct dsn_stamps *stamps; /* path/stamps.h */
};

static inline const void *dsn_row(const struct dsn_root *root, enum dsn_table_number table, uint32_t slot) {
    return root->table[table].slots + (size_t)slot * root->table[table].stride;
}

static inline uint8_t dsn_row_action(const struct dsn_root *root, enum dsn_table_number table, uint32_t slot) {
    return root->table[table].action[slot];
}

/* Slot that the n-th reference field (in declared order, key fields first) of a row points to; DSN_NO_SLOT for none. */
static inline uint32_t dsn_row_ref(const struct dsn_root *root, enum dsn_table_number table, uint32_t slot,
                                   unsigned n) {
    const struct dsn_table *t = &root->table[table];
    uint32_t ref;
    memcpy(&ref, t->slots + (size_t)slot * t->stride + t->ref_offset + n * 4, 4);
    return ref;
}

/* `key` is the key's bytes as in the row (from offset 8, padding zero). Returns a slot or DSN_NO_SLOT. */
uint32_t dsn_find(const struct dsn_root *root, enum dsn_table_number table, const void *key);

/* Longest prefix: `scope` is the id in the key's first field (vrf, vnic), address 16 bytes. match/lpm_find.c */
uint32_t dsn_lpm_find(const void *match, uint64_t scope, const uint8_t address[16]);

/* First rule by (priority, id). Source and destination are of one IP version. match/classify_find.c */
struct dsn_classify_key {
    uint64_t policy;
    uint8_t source[16], destination[16];
    uint16_t port;
    uint8_t protocol, direction;
};
uint32_t dsn_classify(const void *match, const struct dsn_classify_key *key);

#endif
