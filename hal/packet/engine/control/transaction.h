/* A commit on its way: its sections as handed in, and what was done to the idle copy because of it.
 *
 * open -> build (the idle copy is the generation to come, or unchanged if refused) -> undo, or the root is swapped and
 * nobody reads the old one any more -> made (notes) -> follow (the copy that packets left becomes the same) -> close.
 * The live copy is the undo log: it still holds every row that was changed. */
#ifndef DSN_TRANSACTION_H
#define DSN_TRANSACTION_H

#include "tables.h"

enum dsn_done {
    DSN_HAD = 1,    /* there was a row in the slot */
    DSN_HAS = 2,    /* there is one now */
    DSN_ID_OUT = 4, /* what the notes lost and got */
    DSN_ID_IN = 8,
    DSN_KEY_OUT = 16,
    DSN_KEY_IN = 32,
    DSN_MOVED = 64, /* came, went or has another key: match structures and keys of the other copy follow */
};

struct dsn_change {
    uint32_t slot;
    uint8_t table, resolved; /* references that were counted */
    uint16_t done;
};

struct dsn_relabel {
    uint32_t slot;
    uint32_t table;
    struct dsn_label *label; /* NULL: none any more */
};

struct dsn_transaction {
    struct dsn_commit head;
    unsigned owner;
    const uint8_t *data; /* the memfd, sealed, mapped read-only */
    size_t size;
    const struct dsn_section *section;

    struct dsn_change *change;
    uint32_t changes;
    uint32_t *first; /* change of each section's first row */
    struct dsn_relabel *relabel;
    uint32_t relabels;
    uint64_t touched; /* a bit a table */
    bool checked;     /* rows were looked at, field by field */
    bool matched;     /* match structures and what the path derives hold what was built */
    struct {
        uint32_t used, free_head, free_count, fresh;
    } before[DSN_TABLES];
};

/* Takes fd, -1 for none. CORRUPT where the bytes can't be a commit, DENIED where it writes tables of others. */
bool dsn_transaction_open(struct dsn_transaction *transaction, const struct dsn_tables *tables, unsigned owner,
                          const struct dsn_commit *head, int fd, struct dsn_failure *failure);
bool dsn_transaction_build(struct dsn_transaction *transaction, struct dsn_tables *tables, struct dsn_failure *failure);
void dsn_transaction_undo(struct dsn_transaction *transaction, struct dsn_tables *tables);
/* After the swap: `live` is what was built. */
void dsn_transaction_made(struct dsn_transaction *transaction, struct dsn_tables *tables);
void dsn_transaction_follow(struct dsn_transaction *transaction, struct dsn_tables *tables);
void dsn_transaction_close(struct dsn_transaction *transaction);
void dsn_transaction_reset(struct dsn_transaction *transaction); /* as it was opened */

static inline const uint8_t *dsn_section_data(const struct dsn_transaction *transaction,
                                              const struct dsn_section *section) {
    return transaction->data + section->offset;
}

/* Every field of every row and name; once, for sealed bytes don't change. */
bool dsn_content_check(struct dsn_transaction *transaction, const struct dsn_tables *tables,
                       struct dsn_failure *failure);
/* Does every profile name stages that have code? */
bool dsn_stages_check(const struct dsn_transaction *transaction, struct dsn_failure *failure);

/* Of what refers to the row, for an error's words: false if nothing is found. */
bool dsn_referrer(const struct dsn_tables *tables, int table, uint32_t slot, int *by_table, uint64_t *by_id);

/* The parts of build: in place (rows.c), then match structures, stamps, derived state (follow.c). */
bool dsn_rows_build(struct dsn_transaction *transaction, struct dsn_tables *tables, struct dsn_failure *failure);
void dsn_match_build(struct dsn_transaction *transaction, struct dsn_tables *tables);
void dsn_stamps_build(struct dsn_transaction *transaction, struct dsn_tables *tables);
void dsn_references_count(struct dsn_tables *tables, const struct dsn_root *root, const struct dsn_change *change,
                          unsigned count, int by);

#endif
