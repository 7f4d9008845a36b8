/* SNAPSHOT: the live tables, a section for each table and action that has rows, ordered by id, their names, and the
 * owners' tags. */
#include "control.h"
#include "memfd.h"

#include <stdlib.h>

struct entry {
    uint64_t id;
    uint32_t slot;
};

struct writer {
    const struct dsn_tables *tables;
    struct dsn_bulk bulk;
    uint32_t sections;
    uint64_t offset;
};

static int by_id(const void *a, const void *b) {
    uint64_t one = ((const struct entry *)a)->id, other = ((const struct entry *)b)->id;
    return one < other ? -1 : one > other;
}

static uint64_t padded(uint64_t size) {
    return (size + 7) & ~UINT64_C(7);
}

static const char *file_of(const struct dsn_label *label) {
    return label->text + strlen(label->text) + 1;
}

/* Rows of one action in order of id; NULL and *count 0 for none, or where memory lacks (*failed). */
static struct entry *collect(const struct dsn_tables *tables, int table, unsigned action, uint32_t *count,
                             bool *failed) {
    const struct dsn_table *t = &tables->live->table[table];
    uint32_t fresh = tables->store[table].fresh, found = 0, at = 0;
    bool ordered = true;
    for (uint32_t slot = 0; slot < fresh; slot++)
        found += t->action[slot] == action;
    struct entry *entry = found ? malloc(found * sizeof(*entry)) : NULL;
    *failed = found && !entry;
    *count = entry ? found : 0;
    for (uint32_t slot = 0; entry && slot < fresh; slot++) {
        if (t->action[slot] != action)
            continue;
        entry[at] = (struct entry){dsn_row_id(dsn_row(tables->live, (enum dsn_table_number)table, slot)), slot};
        ordered = ordered && (at == 0 || entry[at - 1].id < entry[at].id);
        at++;
    }
    if (!ordered)
        qsort(entry, found, sizeof(*entry), by_id);
    return entry;
}

static uint8_t *begin_section(struct writer *writer, uint16_t kind, int table, unsigned action, uint32_t count,
                              uint32_t stride) {
    struct dsn_section *section = (struct dsn_section *)writer->bulk.data + writer->sections++;
    *section = (struct dsn_section){.kind = kind,
                                    .table = (uint16_t)table,
                                    .action = (uint16_t)action,
                                    .count = count,
                                    .stride = stride,
                                    .offset = writer->offset};
    writer->offset += padded((uint64_t)count * stride);
    return writer->bulk.data + section->offset;
}

static bool write_rows(struct writer *writer, int table, unsigned action) {
    const struct dsn_tables *tables = writer->tables;
    uint32_t count, size = dsn_table_desc[table].action[action].size;
    bool failed;
    struct entry *entry = collect(tables, table, action, &count, &failed);
    if (count) {
        uint8_t *to = begin_section(writer, DSN_INSERT, table, action, count, size);
        for (uint32_t i = 0; i < count; i++, to += size)
            memcpy(to, dsn_row(tables->live, (enum dsn_table_number)table, entry[i].slot), size);
    }
    free(entry);
    return !failed;
}

static uint32_t names_in(const struct dsn_tables *tables, int table) {
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < tables->store[table].fresh; slot++)
        count += tables->store[table].note[slot].label != NULL;
    return count;
}

static void write_names(struct writer *writer, int table) {
    const struct dsn_store *store = &writer->tables->store[table];
    uint32_t count = names_in(writer->tables, table);
    if (count == 0)
        return;
    struct dsn_name *name = (void *)begin_section(writer, DSN_NAMES, table, 0, count, sizeof(*name));
    for (uint32_t slot = 0; slot < store->fresh; slot++) {
        const struct dsn_label *label = store->note[slot].label;
        if (label == NULL)
            continue;
        *name = (struct dsn_name){.id = dsn_row_id(dsn_row(writer->tables->live, (enum dsn_table_number)table, slot)),
                                  .line = label->line};
        memcpy(name->text, label->text, strnlen(label->text, sizeof(name->text) - 1));
        memcpy(name->file, file_of(label), strnlen(file_of(label), sizeof(name->file) - 1));
        name++;
    }
}

static uint32_t owners_in(const struct dsn_tables *tables) {
    uint32_t count = 0;
    for (unsigned owner = 0; owner < tables->owners; owner++)
        count += tables->owner[owner].committed > 0;
    return count;
}

static void write_tags(struct writer *writer) {
    const struct dsn_tables *tables = writer->tables;
    uint32_t count = owners_in(tables);
    struct dsn_owner_tag *tag = (void *)begin_section(writer, DSN_TAGS, 0, 0, count, sizeof(*tag));
    for (unsigned owner = 0; owner < tables->owners; owner++) {
        if (tables->owner[owner].committed == 0)
            continue;
        *tag = (struct dsn_owner_tag){0};
        memcpy(tag->owner, tables->owner[owner].name, sizeof(tag->owner));
        memcpy(tag->tag, tables->owner[owner].tag, sizeof(tag->tag));
        tag++;
    }
}

static uint64_t measure(const struct dsn_tables *tables, uint64_t wanted, uint32_t *sections) {
    uint64_t size = owners_in(tables) * sizeof(struct dsn_owner_tag);
    *sections = 1;
    for (int table = 0; table < DSN_TABLES; table++) {
        if (!(wanted >> table & 1))
            continue;
        const struct dsn_table *t = &tables->live->table[table];
        *sections += t->desc->actions + 1;
        size += padded((uint64_t)t->used * t->desc->row_size);
        size += names_in(tables, table) * sizeof(struct dsn_name);
    }
    return size + *sections * sizeof(struct dsn_section);
}

bool dsn_do_snapshot(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_snapshot_ask *ask = exchange->body;
    uint64_t wanted = ask->tables ? ask->tables : UINT64_MAX;
    uint32_t most;
    struct writer writer = {.tables = &control->tables};
    uint64_t size = measure(&control->tables, wanted, &most);
    if (!dsn_bulk_make(&writer.bulk, "dsn-snapshot", size, &exchange->failure))
        return false;
    writer.offset = most * sizeof(struct dsn_section);
    bool written = true;
    for (int table = 0; table < DSN_TABLES; table++) {
        if (!(wanted >> table & 1))
            continue;
        for (unsigned action = 0; written && action < dsn_table_desc[table].actions; action++)
            written = write_rows(&writer, table, action);
        write_names(&writer, table);
    }
    write_tags(&writer);
    if (written)
        exchange->answer_fd = dsn_bulk_seal(&writer.bulk, writer.offset);
    else
        dsn_bulk_drop(&writer.bulk);
    if (!written || exchange->answer_fd < 0)
        return dsn_refuse(&exchange->failure, DSN_FULL, "snapshot", "", "memory for it", "Ask for fewer tables.");
    struct dsn_committed answer = {.generation = control->tables.live->generation, .number = writer.sections};
    memcpy(answer.tag, control->tables.tag, sizeof(answer.tag));
    dsn_say(exchange, &answer, sizeof(answer));
    return true;
}
