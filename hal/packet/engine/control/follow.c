/* What stands on rows: match structures, keys of the second copy, stamps, what the path derives. */
#include "path.h"
#include "transaction.h"

static const void *row_of(const struct dsn_root *root, const struct dsn_change *change) {
    return dsn_row(root, (enum dsn_table_number)change->table, change->slot);
}

static void match_out(struct dsn_root *root, const struct dsn_change *change, const void *row) {
    struct dsn_table *table = &root->table[change->table];
    if (table->match && change->done & DSN_MOVED)
        dsn_match_of(table->desc)->remove(table->match, row, change->slot);
}

static void match_in(struct dsn_root *root, const struct dsn_change *change) {
    struct dsn_table *table = &root->table[change->table];
    if (table->match && change->done & DSN_MOVED)
        dsn_match_of(table->desc)->insert(table->match, row_of(root, change), change->slot);
}

static void stamp(struct dsn_root *root, const struct dsn_change *change, const struct dsn_root *from) {
    enum dsn_table_number table = (enum dsn_table_number)change->table;
    dsn_stamp_row(root, table, dsn_row_action(from, table, change->slot), row_of(from, change), change->slot,
                  root->generation);
}

void dsn_match_build(struct dsn_transaction *transaction, struct dsn_tables *tables) {
    for (uint32_t i = 0; i < transaction->changes; i++)
        if (transaction->change[i].done & DSN_HAD)
            match_out(tables->idle, &transaction->change[i], row_of(tables->live, &transaction->change[i]));
    for (uint32_t i = 0; i < transaction->changes; i++)
        if (transaction->change[i].done & DSN_HAS)
            match_in(tables->idle, &transaction->change[i]);
    transaction->matched = true;
}

/* What the path derives of the idle copy, whose rows stand: `before` and `after` are the changes whose rows it had, and
 * has. */
static void derive(struct dsn_tables *tables, const struct dsn_transaction *transaction, unsigned before,
                   unsigned after) {
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        if (change->done & before)
            dsn_derive_out(tables->idle, (enum dsn_table_number)change->table, change->slot);
    }
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        if (change->done & after)
            dsn_derive_in(tables->idle, (enum dsn_table_number)change->table, change->slot);
    }
}

void dsn_stamps_build(struct dsn_transaction *transaction, struct dsn_tables *tables) {
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        if (change->done & DSN_HAD)
            stamp(tables->idle, change, tables->live);
        if (change->done & DSN_HAS)
            stamp(tables->idle, change, tables->idle);
    }
    derive(tables, transaction, DSN_HAD, DSN_HAS);
}

/* The keys of a table that each copy has for itself; NULL for none, or for those that both share. */
static struct dsn_index *own_keys(struct dsn_root *root, const struct dsn_change *change) {
    struct dsn_index *keys = &root->table[change->table].keys;
    return keys->entry ? keys : NULL;
}

static uint32_t key_hash(const struct dsn_root *root, const struct dsn_change *change) {
    const struct dsn_table_desc *desc = &dsn_table_desc[change->table];
    return dsn_hash((const uint8_t *)row_of(root, change) + 8, dsn_key_size(desc));
}

static void copy_row(struct dsn_root *to, const struct dsn_root *from, const struct dsn_change *change) {
    struct dsn_table *table = &to->table[change->table];
    memcpy(table->slots + (size_t)change->slot * table->stride, row_of(from, change), table->stride);
    table->action[change->slot] = from->table[change->table].action[change->slot];
}

static uint32_t id_hash(const struct dsn_root *root, const struct dsn_change *change) {
    return dsn_hash_id(dsn_row_id(row_of(root, change)));
}

static void take_back(struct dsn_tables *tables, const struct dsn_change *change, bool matched) {
    struct dsn_root *idle = tables->idle;
    if (matched)
        match_out(idle, change, row_of(idle, change));
    if (change->done & DSN_KEY_IN)
        dsn_index_take(dsn_keys_of(tables, idle, change->table), key_hash(idle, change), change->slot);
    if (change->done & DSN_ID_IN)
        dsn_index_take(&tables->store[change->table].ids, id_hash(idle, change), change->slot);
    dsn_references_count(tables, idle, change, change->resolved, -1);
    idle->table[change->table].action[change->slot] = DSN_NO_ACTION;
}

static void put_back(struct dsn_tables *tables, const struct dsn_change *change, bool matched) {
    struct dsn_root *idle = tables->idle;
    copy_row(idle, tables->live, change);
    if (change->done & DSN_KEY_OUT)
        dsn_index_put(dsn_keys_of(tables, idle, change->table), key_hash(idle, change), change->slot);
    if (change->done & DSN_ID_OUT)
        dsn_index_put(&tables->store[change->table].ids, id_hash(idle, change), change->slot);
    dsn_references_count(tables, idle, change, UINT32_MAX, 1);
    if (matched)
        match_in(idle, change);
}

void dsn_transaction_undo(struct dsn_transaction *transaction, struct dsn_tables *tables) {
    for (uint32_t i = transaction->changes; i-- > 0;)
        if (transaction->change[i].done & DSN_HAS)
            take_back(tables, &transaction->change[i], transaction->matched);
    for (uint32_t i = 0; i < transaction->changes; i++)
        if (transaction->change[i].done & DSN_HAD)
            put_back(tables, &transaction->change[i], transaction->matched);
    tables->idle->generation = tables->live->generation;
    for (int table = 0; table < DSN_TABLES; table++) {
        if (!(transaction->touched >> table & 1))
            continue;
        struct dsn_store *store = &tables->store[table];
        tables->idle->table[table].changed = tables->live->table[table].changed;
        tables->idle->table[table].used = transaction->before[table].used;
        store->fresh = transaction->before[table].fresh;
        store->free_head = transaction->before[table].free_head;
        store->free_count = transaction->before[table].free_count;
    }
    if (transaction->matched)
        derive(tables, transaction, DSN_HAS, DSN_HAD);
    dsn_transaction_reset(transaction);
}

void dsn_transaction_follow(struct dsn_transaction *transaction, struct dsn_tables *tables) {
    struct dsn_root *behind = tables->idle;
    const struct dsn_root *ahead = tables->live;
    behind->generation = ahead->generation;
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        if (!(change->done & DSN_HAD))
            continue;
        match_out(behind, change, row_of(behind, change));
        stamp(behind, change, behind);
        if (change->done & DSN_KEY_OUT && own_keys(behind, change))
            dsn_index_take(own_keys(behind, change), key_hash(behind, change), change->slot);
        if (!(change->done & DSN_HAS))
            behind->table[change->table].action[change->slot] = DSN_NO_ACTION;
    }
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        if (!(change->done & DSN_HAS))
            continue;
        copy_row(behind, ahead, change);
        if (change->done & DSN_KEY_IN && own_keys(behind, change))
            dsn_index_put(own_keys(behind, change), key_hash(behind, change), change->slot);
        match_in(behind, change);
        stamp(behind, change, behind);
    }
    for (int table = 0; table < DSN_TABLES; table++) {
        if (!(transaction->touched >> table & 1))
            continue;
        behind->table[table].changed = ahead->table[table].changed;
        behind->table[table].used = ahead->table[table].used;
    }
    derive(tables, transaction, DSN_HAD, DSN_HAS);
}
