/* The inside of a commit, in place on the idle copy: rows out, rows changed, rows in, then references. The order of
 * operations in a commit means nothing, so all that goes is gone before the first row comes. */
#include "transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 32

struct builder {
    struct dsn_transaction *transaction;
    struct dsn_tables *tables;
    struct dsn_root *root; /* the idle one */
    struct dsn_failure *failure;
};

static uint8_t *slot_row(struct dsn_table *table, uint32_t slot) {
    return table->slots + (size_t)slot * table->stride;
}

static struct dsn_change *remember(struct builder *b, int table, uint32_t slot, uint16_t done) {
    struct dsn_change *change = &b->transaction->change[b->transaction->changes++];
    *change = (struct dsn_change){.slot = slot, .table = (uint8_t)table, .done = done};
    b->tables->store[table].note[slot].mark = b->tables->attempt;
    return change;
}

/* Adds `by` to the counts of the first `count` references that a row of `root` holds. */
void dsn_references_count(struct dsn_tables *tables, const struct dsn_root *root, const struct dsn_change *change,
                          unsigned count, int by) {
    enum dsn_table_number number = (enum dsn_table_number)change->table;
    const struct dsn_action_desc *action = &dsn_table_desc[number].action[dsn_row_action(root, number, change->slot)];
    unsigned n = 0;
    for (unsigned i = 0; i < action->fields && n < count; i++) {
        int target = action->field[i].ref;
        if (target < 0)
            continue;
        uint32_t slot = dsn_row_ref(root, number, change->slot, n++);
        if (slot != DSN_NO_SLOT)
            tables->store[target].note[slot].references += (uint32_t)by;
    }
}

static bool twice(struct builder *b, int table, uint32_t index, uint64_t id) {
    dsn_refuse_row(b->failure, DSN_INVALID, table, index, id, "id", "one write a commit",
                   "Leave one of the two writes out.");
    return dsn_got(b->failure, "a second one");
}

/* Has the commit not written to this row yet? */
static bool once(struct builder *b, const struct dsn_section *section, uint32_t index, uint64_t id, uint32_t slot) {
    return b->tables->store[section->table].note[slot].mark != b->tables->attempt ||
           twice(b, section->table, index, id);
}

static bool absent(struct builder *b, const struct dsn_section *section, uint32_t index, uint64_t id) {
    return dsn_refuse_row(b->failure, DSN_INVALID, section->table, index, id, "id", "an id that is in the table",
                          section->kind == DSN_MODIFY ? "Insert it." : "Read the table again.");
}

static void key_out(struct builder *b, struct dsn_change *change, const uint8_t *row) {
    struct dsn_index *keys = dsn_keys_of(b->tables, b->root, change->table);
    change->done |= DSN_MOVED;
    if (keys == NULL)
        return;
    dsn_index_take(keys, dsn_hash(row + 8, dsn_key_size(&dsn_table_desc[change->table])), change->slot);
    change->done |= DSN_KEY_OUT;
}

static void name_key(struct dsn_failure *failure, const struct dsn_table_desc *desc) {
    char *text = failure->error.field;
    size_t room = sizeof(failure->error.field);
    for (unsigned i = 0; i < desc->action[0].fields && desc->action[0].field[i].offset < desc->key_end; i++) {
        int length = snprintf(text, room, "%s%s", i ? ", " : "", desc->action[0].field[i].name);
        if (length < 0 || (size_t)length >= room)
            break;
        text += length;
        room -= (size_t)length;
    }
}

static bool key_in(struct builder *b, struct dsn_change *change, uint32_t hash, uint32_t index) {
    struct dsn_index *keys = dsn_keys_of(b->tables, b->root, change->table);
    struct dsn_table *table = &b->root->table[change->table];
    const uint8_t *row = slot_row(table, change->slot);
    size_t size = dsn_key_size(table->desc);
    uint32_t at = dsn_index_home(keys, hash), other;
    while ((other = dsn_index_next(keys, hash, &at)) != DSN_NO_SLOT)
        if (memcmp(slot_row(table, other) + 8, row + 8, size) == 0) {
            dsn_refuse_row(b->failure, DSN_INVALID, change->table, index, dsn_row_id(row), NULL,
                           "a key that no other row has", "Modify that row, or delete it in the same commit.");
            name_key(b->failure, table->desc);
            return dsn_got(b->failure, "the key of id %" PRIu64, dsn_row_id(slot_row(table, other)));
        }
    dsn_index_put(keys, hash, change->slot);
    change->done |= DSN_KEY_IN;
    return true;
}

static void write_row(struct dsn_table *table, uint32_t slot, unsigned action, const uint8_t *from) {
    uint8_t *row = slot_row(table, slot);
    uint32_t size = table->desc->action[action].size;
    memcpy(row, from, size);
    memset(row + size, 0, table->ref_offset - size);
    memset(row + table->ref_offset, 0xff, table->stride - table->ref_offset); /* DSN_NO_SLOT until resolved */
    table->action[slot] = (uint8_t)action;
}

static bool delete_rows(struct builder *b, const struct dsn_section *section) {
    struct dsn_table *table = &b->root->table[section->table];
    struct dsn_store *store = &b->tables->store[section->table];
    const uint64_t *ids = (const uint64_t *)dsn_section_data(b->transaction, section);
    for (uint32_t index = 0; index < section->count; index++) {
        uint64_t id = ids[index];
        if (index % BATCH == 0)
            for (uint32_t i = index; i < section->count && i < index + BATCH; i++)
                dsn_index_prefetch(&store->ids, dsn_hash_id(ids[i]));
        uint32_t slot = dsn_slot_of(b->tables, section->table, id);
        if (slot == DSN_NO_SLOT)
            return absent(b, section, index, id);
        if (!once(b, section, index, id, slot))
            return false;
        struct dsn_change *change = remember(b, section->table, slot, DSN_HAD);
        key_out(b, change, slot_row(table, slot));
        dsn_references_count(b->tables, b->root, change, UINT32_MAX, -1);
        table->action[slot] = DSN_NO_ACTION;
        table->used--;
        store->free[(store->free_head + store->free_count++) % table->capacity] = slot;
    }
    return true;
}

/* Ids stay known until the last row is in, or an id that is taken out and put in again would not be seen. */
static bool forget_ids(struct builder *b, const struct dsn_section *section, uint32_t first) {
    const uint64_t *ids = (const uint64_t *)dsn_section_data(b->transaction, section);
    for (uint32_t index = 0; index < section->count; index++) {
        struct dsn_change *change = &b->transaction->change[first + index];
        dsn_index_take(&b->tables->store[section->table].ids, dsn_hash_id(ids[index]), change->slot);
        change->done |= DSN_ID_OUT;
    }
    return true;
}

static bool modify_rows(struct builder *b, const struct dsn_section *section) {
    struct dsn_table *table = &b->root->table[section->table];
    const struct dsn_action_desc *action = &table->desc->action[section->action];
    const uint8_t *row = dsn_section_data(b->transaction, section);
    for (uint32_t index = 0; index < section->count; index++, row += action->size) {
        uint64_t id = dsn_row_id(row);
        uint32_t slot = dsn_slot_of(b->tables, section->table, id);
        if (slot == DSN_NO_SLOT)
            return absent(b, section, index, id);
        if (!once(b, section, index, id, slot))
            return false;
        struct dsn_change *change = remember(b, section->table, slot, DSN_HAD);
        if (memcmp(slot_row(table, slot) + 8, row + 8, dsn_key_size(table->desc)))
            key_out(b, change, slot_row(table, slot));
        dsn_references_count(b->tables, b->root, change, UINT32_MAX, -1);
        write_row(table, slot, section->action, row);
        change->done |= DSN_HAS;
    }
    return true;
}

/* All old keys are gone when the first new one comes: two rows may change keys with each other. */
static bool key_rows(struct builder *b, const struct dsn_section *section, uint32_t first) {
    const struct dsn_table *table = &b->root->table[section->table];
    const struct dsn_index *keys = dsn_keys_of(b->tables, b->root, section->table);
    const uint8_t *row = dsn_section_data(b->transaction, section);
    uint32_t hash[BATCH];
    if (keys == NULL)
        return true;
    for (uint32_t index = 0; index < section->count; index++, row += section->stride) {
        /* The index is larger than a cache: its lines are on the way while the batch is hashed. */
        for (uint32_t i = 0; index % BATCH == 0 && i < BATCH && index + i < section->count; i++) {
            hash[i] = dsn_hash(row + i * section->stride + 8, dsn_key_size(table->desc));
            dsn_index_prefetch(keys, hash[i]);
        }
        struct dsn_change *change = &b->transaction->change[first + index];
        if (change->done & DSN_MOVED && !key_in(b, change, hash[index % BATCH], index))
            return false;
    }
    return true;
}

/* Was it this id that the commit took out of the slot? Another row may be there already. */
static bool went(const struct builder *b, enum dsn_table_number table, uint32_t slot, uint64_t id) {
    const struct dsn_root *live = b->tables->live;
    return b->tables->store[table].note[slot].mark == b->tables->attempt &&
           dsn_row_action(live, table, slot) != DSN_NO_ACTION && dsn_row_id(dsn_row(live, table, slot)) == id;
}

static bool new_id(struct builder *b, const struct dsn_section *section, uint32_t index, uint64_t id, uint32_t hash) {
    struct dsn_table *table = &b->root->table[section->table];
    const struct dsn_index *ids = &b->tables->store[section->table].ids;
    uint32_t at = dsn_index_home(ids, hash), slot;
    while ((slot = dsn_index_next(ids, hash, &at)) != DSN_NO_SLOT)
        if (dsn_row_id(slot_row(table, slot)) == id || went(b, section->table, slot, id))
            return once(b, section, index, id, slot) &&
                   dsn_refuse_row(b->failure, DSN_INVALID, section->table, index, id, "id", "an id that is new",
                                  "Modify the row that is there, or choose another id.");
    return true;
}

static void insert_row(struct builder *b, const struct dsn_section *section, const uint8_t *row, uint32_t id_hash) {
    struct dsn_table *table = &b->root->table[section->table];
    struct dsn_store *store = &b->tables->store[section->table];
    uint32_t slot;
    if (store->fresh < table->capacity && store->free_count <= DSN_SLOTS_AT_REST) {
        slot = store->fresh++;
    } else {
        slot = store->free[store->free_head];
        store->free_head = (store->free_head + 1) % table->capacity;
        store->free_count--;
    }
    table->used++;
    remember(b, section->table, slot, DSN_HAS | DSN_MOVED | DSN_ID_IN);
    write_row(table, slot, section->action, row);
    dsn_index_put(&store->ids, id_hash, slot);
}

static bool insert_rows(struct builder *b, const struct dsn_section *section) {
    const struct dsn_store *store = &b->tables->store[section->table];
    const uint8_t *row = dsn_section_data(b->transaction, section);
    uint32_t hash[BATCH];
    for (uint32_t index = 0; index < section->count; index++, row += section->stride) {
        for (uint32_t i = 0; index % BATCH == 0 && i < BATCH && index + i < section->count; i++) {
            hash[i] = dsn_hash_id(dsn_row_id(row + i * section->stride));
            dsn_index_prefetch(&store->ids, hash[i]);
        }
        if (!new_id(b, section, index, dsn_row_id(row), hash[index % BATCH]))
            return false;
        insert_row(b, section, row, hash[index % BATCH]);
    }
    return true;
}

struct wanted {
    uint64_t id;
    uint32_t section, index;
};

static int by_id(const void *a, const void *b) {
    const struct wanted *one = a, *other = b;
    if (one->id != other->id)
        return one->id < other->id ? -1 : 1;
    return one->section != other->section ? (one->section < other->section ? -1 : 1)
                                          : (one->index < other->index ? -1 : one->index > other->index);
}

/* What is wrong with ids is told before that rows don't fit; they aren't in the index then, and are sorted instead. */
static bool new_ids(struct builder *b, int table, uint64_t count) {
    struct wanted *wanted = malloc(count * sizeof(*wanted));
    uint64_t found = 0;
    bool well = true;
    for (uint32_t i = 0; wanted && i < b->transaction->head.sections; i++) {
        const struct dsn_section *section = &b->transaction->section[i];
        const uint8_t *row = dsn_section_data(b->transaction, section);
        if (section->kind != DSN_INSERT || section->table != table)
            continue;
        for (uint32_t index = 0; well && index < section->count; index++, row += section->stride) {
            wanted[found++] = (struct wanted){dsn_row_id(row), i, index};
            well = new_id(b, section, index, dsn_row_id(row), dsn_hash_id(dsn_row_id(row)));
        }
    }
    if (wanted && well)
        qsort(wanted, found, sizeof(*wanted), by_id);
    for (uint64_t i = 1; wanted && well && i < found; i++)
        if (wanted[i].id == wanted[i - 1].id)
            well = twice(b, table, wanted[i].index, wanted[i].id);
    free(wanted);
    return well;
}

static bool room(struct builder *b) {
    uint64_t wanted[DSN_TABLES] = {0};
    int full = -1;
    for (uint32_t i = 0; i < b->transaction->head.sections; i++)
        if (b->transaction->section[i].kind == DSN_INSERT)
            wanted[b->transaction->section[i].table] += b->transaction->section[i].count;
    for (int number = DSN_TABLES; number-- > 0;)
        if (b->root->table[number].used + wanted[number] > b->root->table[number].capacity)
            full = number;
    if (full < 0)
        return true;
    for (int number = 0; number < DSN_TABLES; number++)
        if (wanted[number] && !new_ids(b, number, wanted[number]))
            return false;
    dsn_refuse_row(b->failure, DSN_FULL, full, -1, DSN_NONE_ID, NULL, NULL,
                   "Remove entries, or load with a larger capacity.");
    dsn_limit(b->failure, "%u entries", b->root->table[full].capacity);
    return dsn_got(b->failure, "%" PRIu64 " entries", b->root->table[full].used + wanted[full]);
}

static bool resolve_rows(struct builder *b, const struct dsn_section *section, uint32_t first) {
    struct dsn_table *table = &b->root->table[section->table];
    const struct dsn_action_desc *action = &table->desc->action[section->action];
    unsigned n = 0;
    for (unsigned i = 0; i < action->fields; i++) {
        const struct dsn_field_desc *field = &action->field[i];
        if (field->ref < 0)
            continue;
        const uint8_t *at = dsn_section_data(b->transaction, section) + field->offset;
        uint64_t last = DSN_NONE_ID;
        uint32_t target = DSN_NO_SLOT; /* rows beside each other often refer to the same one */
        for (uint32_t index = 0; index < section->count; index++, at += section->stride) {
            struct dsn_change *change = &b->transaction->change[first + index];
            uint64_t id = dsn_row_id(at);
            if (id != last) {
                last = id;
                target = id == DSN_NONE_ID ? DSN_NO_SLOT : dsn_slot_of(b->tables, field->ref, id);
                if (id != DSN_NONE_ID && target == DSN_NO_SLOT) {
                    dsn_refuse_row(b->failure, DSN_INVALID, section->table, index,
                                   dsn_row_id(slot_row(table, change->slot)), field->name, NULL,
                                   "Insert that row first, or in the same commit.");
                    dsn_limit(b->failure, "an id of table %s", dsn_table_desc[field->ref].name);
                    return dsn_got(b->failure, "%" PRIu64, id);
                }
            }
            memcpy(slot_row(table, change->slot) + table->ref_offset + n * 4, &target, 4);
            if (target != DSN_NO_SLOT)
                b->tables->store[field->ref].note[target].references++;
            change->resolved = (uint8_t)(n + 1);
        }
        n++;
    }
    return true;
}

bool dsn_referrer(const struct dsn_tables *tables, int table, uint32_t slot, int *by_table, uint64_t *by_id) {
    for (int number = 0; number < DSN_TABLES; number++) {
        const struct dsn_table *other = &tables->idle->table[number];
        for (uint32_t at = 0; at < tables->store[number].fresh; at++) {
            if (other->action[at] == DSN_NO_ACTION)
                continue;
            const struct dsn_action_desc *action = &other->desc->action[other->action[at]];
            for (unsigned i = 0, n = 0; i < action->fields; i++) {
                if (action->field[i].ref < 0)
                    continue;
                if (dsn_row_ref(tables->idle, (enum dsn_table_number)number, at, n++) == slot &&
                    action->field[i].ref == table) {
                    *by_table = number;
                    *by_id = dsn_row_id(dsn_row(tables->idle, (enum dsn_table_number)number, at));
                    return true;
                }
            }
        }
    }
    return false;
}

/* Asked when all references that go are gone and none that come has come: whatever holds a deleted row now stays. */
static bool unreferenced(struct builder *b, const struct dsn_section *section, uint32_t first) {
    const uint64_t *ids = (const uint64_t *)dsn_section_data(b->transaction, section);
    for (uint32_t index = 0; index < section->count; index++) {
        uint32_t slot = b->transaction->change[first + index].slot;
        if (b->tables->store[section->table].note[slot].references == 0)
            continue;
        int by_table = 0;
        uint64_t by_id = 0;
        dsn_refuse_row(b->failure, DSN_INVALID, section->table, index, ids[index], "id", "no row that refers to it",
                       "Remove or change those in the same commit.");
        if (dsn_referrer(b->tables, section->table, slot, &by_table, &by_id))
            dsn_got(b->failure, "table %s id %" PRIu64 " refers to it", dsn_table_desc[by_table].name, by_id);
        return false;
    }
    return true;
}

/* Does one kind of sections; a change a row is made there, the first of a section's at `first`. */
static bool change_all(struct builder *b, enum dsn_section_kind kind,
                       bool (*step)(struct builder *, const struct dsn_section *)) {
    for (uint32_t i = 0; i < b->transaction->head.sections; i++) {
        if (b->transaction->section[i].kind != kind)
            continue;
        b->transaction->first[i] = b->transaction->changes;
        if (!step(b, &b->transaction->section[i]))
            return false;
    }
    return true;
}

static bool look_at_all(struct builder *b, unsigned kinds,
                        bool (*step)(struct builder *, const struct dsn_section *, uint32_t first)) {
    for (uint32_t i = 0; i < b->transaction->head.sections; i++)
        if (kinds >> b->transaction->section[i].kind & 1 &&
            !step(b, &b->transaction->section[i], b->transaction->first[i]))
            return false;
    return true;
}

bool dsn_rows_build(struct dsn_transaction *transaction, struct dsn_tables *tables, struct dsn_failure *failure) {
    struct dsn_failure held = {0};
    struct builder b = {transaction, tables, tables->idle, failure};
    const unsigned written = 1 << DSN_INSERT | 1 << DSN_MODIFY;
    if (!change_all(&b, DSN_DELETE, delete_rows) || !change_all(&b, DSN_MODIFY, modify_rows) || !room(&b))
        return false;
    /* Told last, for it follows from the rest, but only now is it seen: slots of deleted rows may be used again. */
    b.failure = &held;
    look_at_all(&b, 1 << DSN_DELETE, unreferenced);
    b.failure = failure;
    if (!change_all(&b, DSN_INSERT, insert_rows) || !look_at_all(&b, 1 << DSN_DELETE, forget_ids) ||
        !look_at_all(&b, written, key_rows) || !look_at_all(&b, written, resolve_rows))
        return false;
    if (held.kind)
        *failure = held;
    return held.kind == 0;
}
