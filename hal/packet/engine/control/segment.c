#include "segment.h"

#include "transaction.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#    define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define LINE 64 /* so that no two workers write one cache line */
#define MOST_ENTRIES ((4u + DSN_TABLES) * 64u + DSN_TABLES + 1u)

/* The directory on its way: first measured, then placed. */
struct plan {
    struct dsn_counter_entry *entry;
    uint32_t entries;
    uint64_t size;
};

static bool has_ids(int table) {
    return table == DSN_TABLE_VNIC || dsn_table_counts(table);
}

static void plan_array(struct plan *plan, const char *prefix, const char *name, uint32_t count, size_t stride,
                       uint16_t worker) {
    struct dsn_counter_entry *entry = &plan->entry[plan->entries++];
    *entry =
        (struct dsn_counter_entry){.offset = plan->size, .count = count, .stride = (uint32_t)stride, .worker = worker};
    snprintf(entry->name, sizeof(entry->name), "%s%s", prefix, name);
    plan->size = (plan->size + count * stride + LINE - 1) / LINE * LINE;
}

static void plan_all(struct plan *plan, const struct dsn_tables *tables, uint16_t workers, uint16_t ports) {
    const struct dsn_table *table = tables->live->table;
    for (int number = 0; number < DSN_TABLES; number++)
        if (has_ids(number))
            plan_array(plan, "ids.", table[number].desc->name, table[number].capacity, 8, DSN_COUNTERS_SHARED);
    plan_array(plan, "", "port", ports, sizeof(struct dsn_port_counters), DSN_COUNTERS_SHARED);
    for (uint16_t worker = 0; worker < workers; worker++) {
        plan_array(plan, "", "drops", DSN_REASONS, 8, worker);
        plan_array(plan, "", "engine", DSN_ENGINE_COUNTERS, 8, worker);
        plan_array(plan, "", "vnic", table[DSN_TABLE_VNIC].capacity, sizeof(struct dsn_vnic_counters), worker);
        plan_array(plan, "", "limits", table[DSN_TABLE_VNIC].capacity, sizeof(struct dsn_limit_counters[DSN_LIMITS]),
                   worker);
        for (int number = 0; number < DSN_TABLES; number++)
            if (dsn_table_counts(number))
                plan_array(plan, "row.", table[number].desc->name, table[number].capacity,
                           sizeof(struct dsn_row_counters), worker);
    }
}

/* In the order of plan_all. */
static void find_all(struct dsn_segment *segment, const struct plan *plan) {
    const struct dsn_counter_entry *entry = plan->entry;
    for (int number = 0; number < DSN_TABLES; number++)
        if (has_ids(number))
            segment->ids[number] = (void *)(segment->data + entry++->offset);
    segment->port = (void *)(segment->data + entry++->offset);
    for (uint16_t worker = 0; worker < segment->workers; worker++) {
        struct dsn_counter_block *block = &segment->block[worker];
        block->drops = (void *)(segment->data + entry++->offset);
        block->engine = (void *)(segment->data + entry++->offset);
        block->vnic = (void *)(segment->data + entry++->offset);
        segment->limits[worker] = (void *)(segment->data + entry++->offset);
        for (int number = 0; number < DSN_TABLES; number++)
            if (dsn_table_counts(number))
                block->row[number] = (void *)(segment->data + entry++->offset);
    }
}

static bool map(struct dsn_segment *segment, bool reserve) {
    segment->fd = memfd_create("dsn-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (segment->fd < 0 || ftruncate(segment->fd, (off_t)segment->size) < 0)
        return false;
    if (reserve && fallocate(segment->fd, 0, 0, (off_t)segment->size) < 0)
        return false;
    void *memory = mmap(NULL, segment->size, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, 0);
    if (memory == MAP_FAILED)
        return false;
    segment->data = memory;
    /* From here on nobody else can map it writable. */
    return fcntl(segment->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
}

bool dsn_segment_create(struct dsn_segment *segment, const struct dsn_tables *tables, uint16_t workers,
                        struct dsn_port *const *ports, uint16_t port_count, bool reserve, struct dsn_failure *failure) {
    struct plan plan = {.entry = calloc(MOST_ENTRIES, sizeof(*plan.entry))};
    *segment = (struct dsn_segment){
        .fd = -1,
        .workers = workers,
        .block = calloc(workers, sizeof(*segment->block)),
        .limits = calloc(workers, sizeof(*segment->limits)),
    };
    bool made = plan.entry && segment->block && segment->limits;
    if (made) {
        plan_all(&plan, tables, workers, port_count); /* once for the number of entries, which stand in front */
        plan.size = (sizeof(struct dsn_counter_header) + plan.entries * sizeof(*plan.entry) + LINE - 1) / LINE * LINE;
        plan.entries = 0;
        plan_all(&plan, tables, workers, port_count);
        segment->size = plan.size;
        made = map(segment, reserve);
    }
    if (made) {
        struct dsn_counter_header *header = (void *)segment->data;
        *header = (struct dsn_counter_header){.magic = DSN_COUNTERS_MAGIC,
                                              .version = DSN_COUNTERS_VERSION,
                                              .size = plan.size,
                                              .entries = plan.entries,
                                              .entry_size = sizeof(*plan.entry),
                                              .generation = tables->live->generation};
        memcpy(header + 1, plan.entry, plan.entries * sizeof(*plan.entry));
        find_all(segment, &plan);
        for (uint16_t i = 0; i < port_count; i++)
            segment->port[i].number = ports[i]->number;
    } else {
        dsn_refuse(failure, DSN_FULL, "counter segment", "", "memory for it", "Load with smaller capacities.");
        dsn_got(failure, "%zu bytes: %s", segment->size, strerror(errno));
        dsn_segment_destroy(segment);
    }
    free(plan.entry);
    return made;
}

void dsn_segment_destroy(struct dsn_segment *segment) {
    if (segment->data)
        munmap(segment->data, segment->size);
    if (segment->block && segment->fd >= 0)
        close(segment->fd);
    free(segment->block);
    free(segment->limits);
    *segment = (struct dsn_segment){.fd = -1};
}

void dsn_segment_clear(struct dsn_segment *segment, int table, uint32_t slot) {
    for (uint16_t worker = 0; worker < segment->workers; worker++) {
        struct dsn_counter_block *block = &segment->block[worker];
        if (block->row[table])
            block->row[table][slot] = (struct dsn_row_counters){0};
        if (table == DSN_TABLE_VNIC) {
            block->vnic[slot] = (struct dsn_vnic_counters){0};
            memset(segment->limits[worker][slot], 0, sizeof(segment->limits[worker][slot]));
        }
    }
}

static void publish(struct dsn_segment *segment, const struct dsn_root *root, int table, uint32_t slot) {
    enum dsn_table_number number = (enum dsn_table_number)table;
    bool there = dsn_row_action(root, number, slot) != DSN_NO_ACTION;
    segment->ids[table][slot] = there ? dsn_row_id(dsn_row(root, number, slot)) : DSN_NONE_ID;
}

static void publish_generation(struct dsn_segment *segment, const struct dsn_root *root) {
    struct dsn_counter_header *header = (void *)segment->data;
    __atomic_store_n(&header->generation, root->generation, __ATOMIC_RELEASE);
}

void dsn_segment_follow(struct dsn_segment *segment, const struct dsn_root *root, const struct dsn_change *change,
                        uint32_t changes) {
    for (uint32_t i = 0; i < changes; i++)
        if (segment->ids[change[i].table])
            publish(segment, root, change[i].table, change[i].slot);
    publish_generation(segment, root);
}

void dsn_segment_ids(struct dsn_segment *segment, const struct dsn_tables *tables) {
    for (int table = 0; table < DSN_TABLES; table++) {
        if (!segment->ids[table])
            continue;
        uint32_t fresh = tables->store[table].fresh, capacity = tables->live->table[table].capacity;
        for (uint32_t slot = 0; slot < fresh; slot++)
            publish(segment, tables->live, table, slot);
        for (uint32_t slot = fresh; slot < capacity; slot++)
            segment->ids[table][slot] = DSN_NONE_ID;
    }
    publish_generation(segment, tables->live);
}

int dsn_segment_share(const struct dsn_segment *segment, struct dsn_failure *failure) {
    int fd = fcntl(segment->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        dsn_refuse(failure, DSN_FULL, "counter segment", "", "a descriptor for it", "Close connections.");
    return fd;
}
