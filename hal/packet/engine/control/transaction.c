#include "transaction.h"

#include "memory.h"
#include "path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool stale(struct dsn_failure *failure, const char *what, uint64_t changed, uint64_t base) {
    dsn_refuse(failure, DSN_STALE, what, "base", NULL, "Read again and compute the commit anew.");
    dsn_limit(failure, "generation %" PRIu64 " or later", changed);
    return dsn_got(failure, "%" PRIu64, base);
}

/* `base` is judged by what this owner writes and said it depends on; what others wrote since is none of its
 * business. */
static bool fresh(const struct dsn_transaction *transaction, const struct dsn_tables *tables,
                  struct dsn_failure *failure) {
    uint64_t base = transaction->head.base;
    /* A base from an engine before this one says nothing about this one's tables. */
    if (base != UINT64_MAX && base > tables->live->generation) {
        stale(failure, "commit", 0, base);
        return dsn_limit(failure, "at most generation %" PRIu64, tables->live->generation);
    }
    const struct dsn_owner *owner = &tables->owner[transaction->owner];
    if (base < owner->changed) {
        char what[64];
        snprintf(what, sizeof(what), "tables of %s", owner->name);
        return stale(failure, what, owner->changed, base);
    }
    for (uint32_t i = 0; i < transaction->head.sections; i++) {
        const struct dsn_section *section = &transaction->section[i];
        if (section->kind != DSN_DEPENDS)
            continue;
        const uint64_t *ids = (const uint64_t *)dsn_section_data(transaction, section);
        for (uint32_t index = 0; index < section->count; index++) {
            uint32_t slot = dsn_slot_of(tables, section->table, ids[index]);
            uint64_t changed = slot == DSN_NO_SLOT ? 0 : tables->store[section->table].note[slot].changed;
            if (slot != DSN_NO_SLOT && base >= changed)
                continue;
            dsn_refuse_row(failure, DSN_STALE, section->table, index, ids[index], "depends",
                           slot == DSN_NO_SLOT ? "a row that is there" : NULL,
                           "Read again and compute the commit anew.");
            if (slot != DSN_NO_SLOT) {
                dsn_limit(failure, "unchanged since generation %" PRIu64, base);
                dsn_got(failure, "changed by generation %" PRIu64, changed);
            }
            return false;
        }
    }
    return true;
}

static struct dsn_label *label_of(const struct dsn_name *name) {
    size_t text = strlen(name->text) + 1, file = strlen(name->file) + 1;
    struct dsn_label *label = malloc(sizeof(*label) + text + file);
    if (label) {
        label->line = name->line;
        memcpy(label->text, name->text, text);
        memcpy(label->text + text, name->file, file);
    }
    return label;
}

/* Copied before anything is seen, so that memory can't lack behind the point of no return. */
static bool names_build(struct dsn_transaction *transaction, const struct dsn_tables *tables,
                        struct dsn_failure *failure) {
    size_t count = 0;
    for (uint32_t i = 0; i < transaction->head.sections; i++)
        if (transaction->section[i].kind == DSN_NAMES)
            count += transaction->section[i].count;
    if (count == 0)
        return true;
    transaction->relabel = calloc(count, sizeof(*transaction->relabel));
    bool memory = transaction->relabel != NULL;
    for (uint32_t i = 0; memory && i < transaction->head.sections; i++) {
        const struct dsn_section *section = &transaction->section[i];
        if (section->kind != DSN_NAMES)
            continue;
        const struct dsn_name *name = (const struct dsn_name *)dsn_section_data(transaction, section);
        for (uint32_t index = 0; memory && index < section->count; index++, name++) {
            uint32_t slot = dsn_slot_of(tables, section->table, name->id);
            if (slot == DSN_NO_SLOT)
                return dsn_refuse_row(failure, DSN_INVALID, section->table, index, name->id, "name",
                                      "an id that is in the table after the commit", "Leave the name out.");
            struct dsn_label *label = label_of(name);
            memory = label != NULL;
            transaction->relabel[transaction->relabels++] = (struct dsn_relabel){slot, section->table, label};
        }
    }
    if (!memory)
        dsn_refuse(failure, DSN_FULL, "commit", "names", "memory for them", NULL);
    return memory;
}

/* Memory for what comes and for all that may have to be undone, before anything is done. */
static bool reserve(struct dsn_transaction *transaction, struct dsn_tables *tables, struct dsn_failure *failure) {
    uint64_t rows[DSN_TABLES] = {0}, gone[DSN_TABLES] = {0}, count = 0, names = 0;
    uint32_t wanted[DSN_TABLES] = {0};
    int most = 0;
    for (uint32_t i = 0; i < transaction->head.sections; i++) {
        const struct dsn_section *section = &transaction->section[i];
        names += section->kind == DSN_NAMES ? section->count : 0;
        if (section->kind > DSN_DELETE)
            continue;
        count += section->count;
        rows[section->table] += section->kind == DSN_INSERT ? section->count : 0;
        gone[section->table] += section->kind == DSN_DELETE ? section->count : 0;
        most = section->count > rows[most] ? (int)section->table : most;
    }
    for (int table = 0; table < DSN_TABLES; table++) {
        uint64_t stay = tables->idle->table[table].used + rows[table];
        if (stay <= tables->idle->table[table].capacity + gone[table]) /* else it will be refused for that */
            wanted[table] = (uint32_t)rows[table];
    }
    size_t undo = count * sizeof(*transaction->change);
    if (!dsn_tables_reserve(tables, wanted, undo + names * sizeof(struct dsn_name), failure))
        return false;
    if (transaction->head.sections)
        transaction->first = calloc(transaction->head.sections, sizeof(*transaction->first));
    if (count && count < UINT32_MAX)
        transaction->change = malloc(undo);
    if ((!count || (transaction->change && dsn_memory_take(transaction->change, undo))) &&
        (!transaction->head.sections || transaction->first))
        return true;
    dsn_refuse_row(failure, DSN_FULL, most, -1, DSN_NONE_ID, NULL, "the memory that the kernel gives",
                   "Commit in smaller parts, or give the engine more memory.");
    return dsn_got(failure, "%zu KiB more, to undo %" PRIu64 " changes", (undo >> 10) + 1, count);
}

static bool begin(struct dsn_transaction *transaction, struct dsn_tables *tables, struct dsn_failure *failure) {
    dsn_transaction_reset(transaction);
    for (uint32_t i = 0; i < transaction->head.sections; i++) {
        const struct dsn_section *section = &transaction->section[i];
        if (section->kind > DSN_DELETE || section->count == 0)
            continue;
        transaction->touched |= UINT64_C(1) << section->table;
        transaction->before[section->table].used = tables->idle->table[section->table].used;
        transaction->before[section->table].fresh = tables->store[section->table].fresh;
        transaction->before[section->table].free_head = tables->store[section->table].free_head;
        transaction->before[section->table].free_count = tables->store[section->table].free_count;
    }
    tables->attempt++;
    return reserve(transaction, tables, failure);
}

/* Does anybody lack whose rows have to be there, once this is made? */
static bool awaits(const struct dsn_transaction *transaction, const struct dsn_tables *tables) {
    for (unsigned owner = 0; owner < tables->owners; owner++)
        if (tables->owner[owner].awaited && !tables->owner[owner].committed && owner != transaction->owner)
            return true;
    return false;
}

bool dsn_transaction_build(struct dsn_transaction *transaction, struct dsn_tables *tables,
                           struct dsn_failure *failure) {
    if (!fresh(transaction, tables, failure) || !dsn_content_check(transaction, tables, failure) ||
        !begin(transaction, tables, failure))
        return false;
    bool well = dsn_rows_build(transaction, tables, failure) && names_build(transaction, tables, failure) &&
                dsn_stages_check(transaction, failure);
    if (well) {
        dsn_match_build(transaction, tables);
        tables->idle->generation = tables->live->generation + 1;
        tables->idle->awaits = awaits(transaction, tables);
        for (int table = 0; table < DSN_TABLES; table++)
            if (transaction->touched >> table & 1)
                tables->idle->table[table].changed = tables->idle->generation;
        dsn_stamps_build(transaction, tables);
    } else {
        dsn_transaction_undo(transaction, tables);
    }
    return well;
}

void dsn_transaction_made(struct dsn_transaction *transaction, struct dsn_tables *tables) {
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        struct dsn_note *note = &tables->store[change->table].note[change->slot];
        if (change->done & DSN_HAS)
            note->changed = tables->live->generation;
        if (change->done & DSN_ID_OUT) {
            free(note->label);
            note->label = NULL;
        }
    }
    for (uint32_t i = 0; i < transaction->relabels; i++) {
        struct dsn_relabel *relabel = &transaction->relabel[i];
        struct dsn_note *note = &tables->store[relabel->table].note[relabel->slot];
        free(note->label);
        note->label = relabel->label;
        relabel->label = NULL;
    }
    struct dsn_owner *owner = &tables->owner[transaction->owner];
    owner->committed = tables->live->generation;
    if (transaction->changes || transaction->relabels)
        owner->changed = tables->live->generation;
    memcpy(owner->tag, transaction->head.tag, sizeof(tables->tag));
    memcpy(tables->tag, transaction->head.tag, sizeof(tables->tag));
}
