#include "tables.h"

#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Large and zero, and no page of it in memory before it is used: capacities are promises, rows are not there yet. */
static void *reserve(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (size >= 4 << 20)
        madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void release(void *memory, size_t size) {
    if (memory)
        munmap(memory, size);
}

int dsn_table_number(const char *name) {
    for (int table = 0; table < DSN_TABLES; table++)
        if (strcmp(dsn_table_desc[table].name, name) == 0)
            return table;
    return -1;
}

const struct dsn_match_ops *dsn_match_of(const struct dsn_table_desc *desc) {
    return desc->match == DSN_LPM ? &dsn_lpm_ops : desc->match == DSN_PRIORITY ? &dsn_priority_ops : NULL;
}

bool dsn_table_counts(int table) {
    return dsn_table_desc[table].counts;
}

static unsigned references_of(const struct dsn_action_desc *action) {
    unsigned count = 0;
    for (unsigned i = 0; i < action->fields; i++)
        count += action->field[i].ref >= 0;
    return count;
}

static bool table_create(struct dsn_table *table, const struct dsn_table_desc *desc, uint32_t capacity) {
    unsigned references = 0;
    for (unsigned i = 0; i < desc->actions; i++) {
        unsigned count = references_of(&desc->action[i]);
        references = count > references ? count : references;
    }
    table->desc = desc;
    table->capacity = capacity;
    table->ref_offset = desc->row_size;
    table->stride = (desc->row_size + references * 4 + 7) & ~7u;
    table->slots = reserve((size_t)capacity * table->stride);
    table->action = malloc(capacity);
    if (table->action == NULL || table->slots == NULL)
        return false;
    memset(table->action, DSN_NO_ACTION, capacity);
    if (desc->match == DSN_EXACT && desc->key_end > 8 && !dsn_index_create(&table->keys, capacity))
        return false;
    const struct dsn_match_ops *match = dsn_match_of(desc);
    return match == NULL || (table->match = match->create(desc, capacity)) != NULL;
}

static void table_destroy(struct dsn_table *table) {
    if (table->desc == NULL)
        return;
    if (table->match)
        dsn_match_of(table->desc)->destroy(table->match);
    dsn_index_destroy(&table->keys, table->capacity);
    free(table->action);
    release(table->slots, (size_t)table->capacity * table->stride);
}

static bool store_create(struct dsn_store *store, const struct dsn_table_desc *desc, uint32_t capacity) {
    store->owner = DSN_NO_OWNER;
    store->note = reserve(capacity * sizeof(*store->note));
    store->free = reserve(capacity * sizeof(*store->free));
    return store->note && store->free && dsn_index_create(&store->ids, capacity) &&
           (desc->match != DSN_LPM || dsn_index_create(&store->keys, capacity));
}

static void store_destroy(struct dsn_store *store, uint32_t capacity) {
    for (uint32_t slot = 0; store->note && slot < store->fresh; slot++)
        free(store->note[slot].label);
    dsn_index_destroy(&store->ids, capacity);
    dsn_index_destroy(&store->keys, capacity);
    release(store->free, capacity * sizeof(*store->free));
    release(store->note, capacity * sizeof(*store->note));
}

bool dsn_tables_create(struct dsn_tables *tables, const uint32_t capacity[DSN_TABLES], struct dsn_failure *failure) {
    memset(tables, 0, sizeof(*tables));
    bool made = true;
    int table = 0;
    for (; made && table < DSN_TABLES; table++) {
        const struct dsn_table_desc *desc = &dsn_table_desc[table];
        tables->root[0].table[table].capacity = tables->root[1].table[table].capacity = capacity[table];
        made = store_create(&tables->store[table], desc, capacity[table]);
        for (int side = 0; made && side < 2; side++)
            made = table_create(&tables->root[side].table[table], desc, capacity[table]);
    }
    if (!made) {
        dsn_refuse_row(failure, DSN_FULL, table - 1, -1, DSN_NONE_ID, "", "memory for two copies of it",
                       "Load with a smaller capacity.");
        dsn_got(failure, "%u entries", capacity[table - 1]);
    }
    for (int side = 0; made && side < 2; side++) {
        made = dsn_root_extras_create(&tables->root[side]);
        if (!made)
            dsn_refuse(failure, DSN_FULL, "engine", "", "memory for what is derived from the tables",
                       "Load with smaller capacities.");
    }
    tables->live = &tables->root[0];
    tables->idle = &tables->root[1];
    if (!made)
        dsn_tables_destroy(tables);
    return made;
}

void dsn_tables_destroy(struct dsn_tables *tables) {
    for (int side = 0; side < 2; side++)
        if (tables->root[side].derived || tables->root[side].stamps)
            dsn_root_extras_destroy(&tables->root[side]);
    for (int table = 0; table < DSN_TABLES; table++) {
        store_destroy(&tables->store[table], tables->root[0].table[table].capacity);
        for (int side = 0; side < 2; side++)
            table_destroy(&tables->root[side].table[table]);
    }
    memset(tables, 0, sizeof(*tables));
}

uint32_t dsn_slot_of(const struct dsn_tables *tables, int table, uint64_t id) {
    const struct dsn_index *ids = &tables->store[table].ids;
    uint32_t hash = dsn_hash_id(id), at = dsn_index_home(ids, hash), slot;
    while ((slot = dsn_index_next(ids, hash, &at)) != DSN_NO_SLOT)
        if (dsn_row_id(dsn_row(tables->idle, (enum dsn_table_number)table, slot)) == id)
            return slot;
    return DSN_NO_SLOT;
}

struct dsn_index *dsn_keys_of(struct dsn_tables *tables, struct dsn_root *root, int table) {
    struct dsn_index *keys = tables->store[table].keys.entry ? &tables->store[table].keys : &root->table[table].keys;
    return keys->entry ? keys : NULL;
}

uint32_t dsn_find(const struct dsn_root *root, enum dsn_table_number number, const void *key) {
    const struct dsn_table *table = &root->table[number];
    if (table->keys.entry == NULL)
        return DSN_NO_SLOT;
    size_t size = dsn_key_size(table->desc);
    uint32_t hash = dsn_hash(key, size), at = dsn_index_home(&table->keys, hash), slot;
    if (!dsn_index_may(&table->keys, hash))
        return DSN_NO_SLOT;
    while ((slot = dsn_index_next(&table->keys, hash, &at)) != DSN_NO_SLOT)
        if (memcmp((const uint8_t *)dsn_row(root, number, slot) + 8, key, size) == 0)
            return slot;
    return DSN_NO_SLOT;
}
