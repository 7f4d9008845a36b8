/* The outside of a commit: can these bytes be one, and may this owner make it? */
#include "build_config.h"
#include "check.h"
#include "memfd.h"
#include "memory.h"
#include "transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_BYTES ((size_t)4 << 30)
#define MOST_SECTIONS 4096

static bool corrupt(struct dsn_failure *failure, uint32_t section, const char *limit, uint64_t got) {
    char what[64];
    snprintf(what, sizeof(what), "section %u of the commit", section);
    dsn_refuse(failure, DSN_CORRUPT, what, "", limit, NULL);
    return dsn_got(failure, "%" PRIu64, got);
}

static uint32_t element_size(const struct dsn_section *section) {
    switch (section->kind) {
    case DSN_INSERT:
    case DSN_MODIFY: return dsn_table_desc[section->table].action[section->action].size;
    case DSN_NAMES: return sizeof(struct dsn_name);
    default: return 8;
    }
}

static bool section_valid(const struct dsn_transaction *transaction, uint32_t number, struct dsn_failure *failure) {
    const struct dsn_section *section = &transaction->section[number];
    if (section->kind < DSN_INSERT || section->kind > DSN_NAMES)
        return corrupt(failure, number, "kind 1..5", section->kind);
    if (section->table >= DSN_TABLES)
        return corrupt(failure, number, "a table of the engine's schema", section->table);
    bool rows = section->kind == DSN_INSERT || section->kind == DSN_MODIFY;
    if (section->action >= (rows ? dsn_table_desc[section->table].actions : 1))
        return corrupt(failure, number, "an action of the table", section->action);
    if (section->reserved)
        return corrupt(failure, number, "reserved 0", section->reserved);
    if (section->stride != element_size(section))
        return corrupt(failure, number, "stride of the row in the engine's schema", section->stride);
    if (section->offset % 8 || section->offset < transaction->head.sections * sizeof(*section) ||
        section->offset > transaction->size)
        return corrupt(failure, number, "offset behind the sections, a multiple of 8, inside the memfd",
                       section->offset);
    if ((uint64_t)section->count * section->stride > transaction->size - section->offset)
        return corrupt(failure, number, "data inside the memfd", section->count);
    return true;
}

#define MOST_IN_VAIN 65536

/* Many more elements than a table has entries are wrong before they are looked at: so a request that is mostly holes
 * costs no more memory than the tables did. */
static bool section_fits(const struct dsn_tables *tables, const struct dsn_section *section,
                         struct dsn_failure *failure) {
    const struct dsn_table *table = &tables->live->table[section->table];
    if (section->count <= table->capacity || section->count <= MOST_IN_VAIN)
        return true;
    dsn_refuse_row(failure, section->kind == DSN_INSERT ? DSN_FULL : DSN_INVALID, section->table, table->capacity,
                   DSN_NONE_ID, NULL, NULL, section->kind == DSN_INSERT ? "Load with a larger capacity." : NULL);
    dsn_limit(failure, "%u entries", table->capacity);
    return dsn_got(failure, "%u", section->count);
}

static bool owned(const struct dsn_transaction *transaction, const struct dsn_tables *tables, int table,
                  struct dsn_failure *failure) {
    const struct dsn_owner *owner = &tables->owner[transaction->owner];
    if (owner->tables >> table & 1)
        return true;
    dsn_refuse_row(failure, DSN_DENIED, table, -1, DSN_NONE_ID, NULL, NULL, "Name its owner when the card is loaded.");
    dsn_limit(failure, "written by owner %s", tables->owner[tables->store[table].owner].name);
    return dsn_got(failure, "owner %s", owner->name);
}

/* A stage that the schema knows and nobody compiled, or that nobody knows, would be a hole in every chain it is in. */
#define BUILT(name) #name,
static const char *const built_stages[] = {DSN_BUILT_STAGES(BUILT) NULL};

static bool among(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

bool dsn_stages_check(const struct dsn_transaction *transaction, struct dsn_failure *failure) {
    for (uint32_t i = 0; i < transaction->head.sections; i++) {
        const struct dsn_section *section = &transaction->section[i];
        if (section->table != DSN_TABLE_PROFILE_STAGE || section->kind > DSN_MODIFY)
            continue;
        const struct dsn_row_profile_stage *row = (const void *)dsn_section_data(transaction, section);
        for (uint32_t index = 0; index < section->count; index++, row++) {
            if (among(row->stage, built_stages, sizeof(built_stages) / sizeof(built_stages[0]) - 1))
                continue;
            bool known = among(row->stage, dsn_stage_name + 1, DSN_STAGES - 1); /* 0 is the frame, no stage of chains */
            dsn_refuse_row(failure, known ? DSN_UNSUPPORTED : DSN_INVALID, section->table, index, row->id, "stage",
                           known ? "a stage with stage.c" : "a stage of the engine's schema",
                           known ? "Write its stage.c and build the engine with it." : NULL);
            return dsn_got(failure, "%.23s", row->stage);
        }
    }
    return true;
}

static bool content_valid(const struct dsn_transaction *transaction, const struct dsn_section *section,
                          struct dsn_failure *failure) {
    const uint8_t *data = dsn_section_data(transaction, section);
    size_t size = (size_t)section->count * section->stride;
    /* Behind holes of the sender's memfd there is nothing yet. */
    if (size > DSN_MEMORY_SOME && !dsn_memory_read(data, size)) {
        dsn_refuse_row(failure, DSN_FULL, section->table, -1, DSN_NONE_ID, NULL, "the memory that the kernel gives",
                       "Commit in smaller parts, or give the engine more memory.");
        return dsn_got(failure, "%zu MiB, to read %u rows", size >> 20, section->count);
    }
    if (section->kind == DSN_INSERT || section->kind == DSN_MODIFY)
        return dsn_check_rows(section->table, section->action, data, section->count, failure);
    const struct dsn_name *name = (const struct dsn_name *)data;
    for (uint32_t index = 0; section->kind == DSN_NAMES && index < section->count; index++, name++) {
        bool text = name->text[0] && dsn_check_text(name->text, sizeof(name->text));
        if (text && dsn_check_text(name->file, sizeof(name->file)) && name->reserved == 0)
            continue;
        return dsn_refuse_row(
            failure, DSN_INVALID, section->table, index, name->id, text ? "file" : "name",
            text ? "up to 127 bytes without control characters" : "1..63 bytes without control characters", NULL);
    }
    return true;
}

bool dsn_content_check(struct dsn_transaction *transaction, const struct dsn_tables *tables,
                       struct dsn_failure *failure) {
    for (uint32_t i = 0; !transaction->checked && i < transaction->head.sections; i++) {
        const struct dsn_section *section = &transaction->section[i];
        if (!section_fits(tables, section, failure) || !content_valid(transaction, section, failure))
            return false;
    }
    transaction->checked = true;
    return true;
}

static bool outside_valid(const struct dsn_transaction *transaction, const struct dsn_tables *tables,
                          struct dsn_failure *failure) {
    const struct dsn_section *section = transaction->section;
    for (uint32_t i = 0; i < transaction->head.sections; i++)
        if (!section_valid(transaction, i, failure))
            return false;
    for (uint32_t i = 0; i < transaction->head.sections; i++)
        if (section[i].kind != DSN_DEPENDS && !owned(transaction, tables, section[i].table, failure))
            return false;
    return true;
}

/* What the request is, is clear: a client that doesn't ask the driver is told, as of a name, and goes on. */
static bool tag_valid(const struct dsn_commit *head, struct dsn_failure *failure) {
    return dsn_check_text(head->tag, sizeof(head->tag)) ||
           dsn_refuse(failure, DSN_INVALID, "commit", "tag", "0..127 bytes without control characters", NULL);
}

bool dsn_transaction_open(struct dsn_transaction *transaction, const struct dsn_tables *tables, unsigned owner,
                          const struct dsn_commit *head, int fd, struct dsn_failure *failure) {
    memset(transaction, 0, sizeof(*transaction));
    transaction->head = *head;
    transaction->owner = owner;
    size_t least = head->sections * sizeof(struct dsn_section);
    if (fd >= 0 && !dsn_memfd_map(fd, least, MOST_BYTES, &transaction->data, &transaction->size, failure))
        return false;
    transaction->section = (const struct dsn_section *)transaction->data;
    bool well = head->sections <= MOST_SECTIONS && head->reserved == 0 && least <= transaction->size;
    if (!well)
        dsn_refuse(failure, DSN_CORRUPT, "commit", "", "up to 4096 sections in a memfd, reserved 0", NULL);
    well = well && outside_valid(transaction, tables, failure) && tag_valid(head, failure);
    if (!well)
        dsn_transaction_close(transaction);
    return well;
}

void dsn_transaction_reset(struct dsn_transaction *transaction) {
    for (uint32_t i = 0; i < transaction->relabels; i++)
        free(transaction->relabel[i].label);
    free(transaction->relabel);
    free(transaction->change);
    free(transaction->first);
    transaction->relabel = NULL;
    transaction->change = NULL;
    transaction->first = NULL;
    transaction->relabels = transaction->changes = 0;
    transaction->touched = 0;
    transaction->matched = false;
}

void dsn_transaction_close(struct dsn_transaction *transaction) {
    dsn_transaction_reset(transaction);
    dsn_memfd_unmap(transaction->data, transaction->size);
    memset(transaction, 0, sizeof(*transaction));
}
