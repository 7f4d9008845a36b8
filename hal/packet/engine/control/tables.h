/* What the control thread knows of the tables beyond the two copies that packets see: where ids are, which slots are
 * free, who refers to a row, what it is called. One of it, for both copies agree on slots. */
#ifndef DSN_TABLES_H
#define DSN_TABLES_H

#include "error.h"
#include "index.h"

_Static_assert(DSN_TABLES <= 64, "a set of tables is a word of 64 bits");

#define DSN_NO_OWNER 0xff

struct dsn_label { /* a name as kept */
    uint32_t line;
    char text[]; /* and the file behind it, both ended by NUL */
};

struct dsn_note {        /* of a slot */
    uint64_t changed;    /* generation that last wrote the row */
    uint32_t references; /* fields of rows that hold its id */
    uint32_t mark;       /* the attempt that last wrote it: two writes to one row in a commit are seen so */
    struct dsn_label *label;
};

/* So many that are free are left alone, and slots that were never used are taken instead. No more: what is never used
 * again is memory that each commit takes a bit of. */
#define DSN_SLOTS_AT_REST 64

struct dsn_store {
    struct dsn_index ids;
    struct dsn_index keys; /* of LPM tables, which packets never look up exactly; EXACT ones have theirs in each copy */
    struct dsn_note *note;
    uint32_t *free; /* a ring: what was freed first is used first, once DSN_SLOTS_AT_REST more were */
    uint32_t free_head, free_count;
    uint32_t fresh;         /* slots from here on were never used */
    uint32_t ready, scopes; /* for so many slots memory is there, of so many VRFs, say (reserve.c) */
    uint8_t owner;          /* place in dsn_tables.owner */
};

struct dsn_owner {
    char name[32];
    uint64_t tables;    /* a bit a table */
    uint64_t changed;   /* generation of its last commit that changed a row or a name */
    uint64_t committed; /* generation of its last commit */
    bool awaited;       /* nothing is forwarded before its first */
    char tag[128];      /* of its last commit */
    struct dsn_outcomes *outcomes;
};

struct dsn_tables {
    struct dsn_root root[2];
    struct dsn_root *live, *idle;
    struct dsn_store store[DSN_TABLES];
    struct dsn_owner owner[DSN_TABLES + 1];
    unsigned owners;
    uint32_t attempt; /* counts commits that were tried */
    char tag[128];    /* of the live generation */
};

/* Both copies and the notes, for this many entries each. False: no memory, or none for `path`'s share of a root. */
bool dsn_tables_create(struct dsn_tables *tables, const uint32_t capacity[DSN_TABLES], struct dsn_failure *failure);
void dsn_tables_destroy(struct dsn_tables *tables);

/* Number of the table, or -1. */
int dsn_table_number(const char *name);
const struct dsn_match_ops *dsn_match_of(const struct dsn_table_desc *desc);
/* Tables whose rows count hits, packets and bytes, as declared. */
bool dsn_table_counts(int table);

static inline uint64_t dsn_row_id(const void *row) {
    uint64_t id;
    memcpy(&id, row, 8);
    return id;
}

/* Slot of an id as the idle copy has it (between commits both have the same); DSN_NO_SLOT. */
uint32_t dsn_slot_of(const struct dsn_tables *tables, int table, uint64_t id);

/* The index that keeps this table's keys apart as seen from a root; NULL where keys need not be unique. */
struct dsn_index *dsn_keys_of(struct dsn_tables *tables, struct dsn_root *root, int table);
static inline size_t dsn_key_size(const struct dsn_table_desc *desc) {
    return desc->key_end - 8u;
}

#endif
