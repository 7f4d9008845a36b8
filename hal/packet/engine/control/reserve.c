/* Memory for the rows to come, before the first of them is there. */
#include "memory.h"
#include "path.h"

#include <inttypes.h>

#define MOST_EXTENTS (DSN_MOST_EXTENTS * 5)

/* Rows of a table, and of the one whose rows they belong to: VRFs of routes, policies of rules. */
struct room {
    uint32_t entries, scopes;
};

static size_t need(const struct dsn_extent *extent, struct room room) {
    size_t entries = room.entries;
    if (extent->kind == DSN_EXTENT_A_SCOPE && room.scopes < entries)
        entries = room.scopes;
    if (entries == 0)
        return 0;
    size_t bytes = extent->page ? 2 * extent->page * entries : extent->each * entries + 4096;
    return bytes < extent->size ? bytes : extent->size;
}

static struct room ready(const struct dsn_tables *tables, int number) {
    return (struct room){tables->store[number].ready, tables->store[number].scopes};
}

static unsigned of_index(const struct dsn_index *index, uint32_t capacity, struct dsn_extent *extent) {
    size_t size = dsn_index_bytes(capacity), huge = (size_t)2 << 20;
    if (index->entry == NULL)
        return 0;
    *extent = (struct dsn_extent){index->entry, size, 0, size < huge ? 4096 : huge, DSN_EXTENT_SURE};
    return 1;
}

static struct dsn_extent of_slots(void *begin, uint32_t capacity, size_t each) {
    return (struct dsn_extent){begin, capacity * each, each, 0, DSN_EXTENT_SURE};
}

static unsigned extents_of(struct dsn_tables *tables, int number, struct dsn_extent *extent) {
    struct dsn_store *store = &tables->store[number];
    uint32_t capacity = tables->live->table[number].capacity;
    unsigned count = 0;
    extent[count++] = of_slots(store->note, capacity, sizeof(*store->note));
    extent[count++] = of_slots(store->free, capacity, sizeof(*store->free));
    count += of_index(&store->ids, capacity, extent + count);
    count += of_index(&store->keys, capacity, extent + count);
    for (int side = 0; side < 2; side++) {
        struct dsn_table *table = &tables->root[side].table[number];
        extent[count++] = of_slots(table->slots, capacity, table->stride);
        count += of_index(&table->keys, capacity, extent + count);
        if (table->match)
            count += dsn_match_of(table->desc)->extents(table->match, extent + count);
        count += dsn_derive_extents(&tables->root[side], (enum dsn_table_number)number, extent + count);
    }
    return count;
}

static size_t more_of(struct dsn_tables *tables, int number, struct room room) {
    struct dsn_extent extent[MOST_EXTENTS];
    size_t bytes = 0;
    for (unsigned i = extents_of(tables, number, extent); i-- > 0;)
        bytes += need(&extent[i], room) - need(&extent[i], ready(tables, number));
    return bytes;
}

/* What would be there at worst is counted, and comes as it is touched; so is what is touched all over, until all of it
 * may be. */
static bool take(struct dsn_tables *tables, int number, struct room room) {
    struct dsn_extent extent[MOST_EXTENTS];
    for (unsigned i = extents_of(tables, number, extent); i-- > 0;) {
        size_t before = need(&extent[i], ready(tables, number)), after = need(&extent[i], room);
        if (before == after || (extent[i].page ? after < extent[i].size : extent[i].kind != DSN_EXTENT_SURE))
            continue;
        before = extent[i].page ? 0 : before;
        if (!dsn_memory_take((uint8_t *)extent[i].begin + before, after - before))
            return false;
    }
    tables->store[number].ready = room.entries;
    tables->store[number].scopes = room.scopes;
    return true;
}

static bool full(struct dsn_failure *failure, int table, uint64_t left, size_t bytes, uint32_t entries) {
    dsn_refuse_row(failure, DSN_FULL, table, -1, DSN_NONE_ID, NULL, NULL,
                   "Commit in smaller parts, remove entries, or give the engine more memory.");
    if (left == UINT64_MAX)
        dsn_limit(failure, "the memory that the kernel gives");
    else
        dsn_limit(failure, "%" PRIu64 " MiB of free memory, %zu of them kept", left >> 20, DSN_MEMORY_KEPT >> 20);
    return dsn_got(failure, "%zu MiB more, for %u entries", (bytes >> 20) + 1, entries);
}

struct plan {
    struct room room[DSN_TABLES];
    size_t bytes;
    int largest; /* table */
};

/* Entries of a table when the commit is made; with `ahead` some more, so that single rows seldom come here. */
static uint32_t slots_for(const struct dsn_tables *tables, int number, const uint32_t *wanted, bool ahead) {
    const struct dsn_store *store = &tables->store[number];
    uint32_t again = store->free_count > DSN_SLOTS_AT_REST ? store->free_count - DSN_SLOTS_AT_REST : 0;
    uint64_t slots = (uint64_t)store->fresh + (wanted[number] > again ? wanted[number] - again : 0);
    uint32_t capacity = tables->live->table[number].capacity;
    slots += ahead ? slots / 8 + 64 : 0;
    return slots < capacity ? (uint32_t)slots : capacity;
}

static struct room room_for(const struct dsn_tables *tables, int number, const uint32_t *wanted, bool ahead) {
    const struct dsn_action_desc *action = &dsn_table_desc[number].action[0];
    int scope = action->fields ? action->field[0].ref : -1;
    return (struct room){
        .entries = slots_for(tables, number, wanted, ahead),
        .scopes = scope >= 0 ? slots_for(tables, scope, wanted, ahead) : 0,
    };
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static struct plan plan_for(struct dsn_tables *tables, const uint32_t *wanted, bool ahead) {
    struct plan plan = {.bytes = 0};
    size_t most = 0;
    for (int number = 0; number < DSN_TABLES; number++) {
        struct room is = ready(tables, number), room = room_for(tables, number, wanted, false);
        plan.room[number] = is;
        if (wanted[number] == 0 || (room.entries <= is.entries && room.scopes <= is.scopes))
            continue;
        room = room_for(tables, number, wanted, ahead);
        plan.room[number] = (struct room){larger(room.entries, is.entries), larger(room.scopes, is.scopes)};
        size_t own = more_of(tables, number, plan.room[number]);
        plan.bytes += own;
        if (own >= most) {
            most = own;
            plan.largest = number;
        }
    }
    return plan;
}

bool dsn_tables_reserve(struct dsn_tables *tables, const uint32_t wanted[DSN_TABLES], size_t more,
                        struct dsn_failure *failure) {
    struct plan plan = plan_for(tables, wanted, true);
    if (plan.bytes + more > DSN_MEMORY_SOME) {
        uint64_t left = dsn_memory_free();
        bool fits = left == UINT64_MAX || plan.bytes + more + DSN_MEMORY_KEPT <= left;
        if (!fits)
            plan = plan_for(tables, wanted, false);
        if (!fits && plan.bytes + more + DSN_MEMORY_KEPT > left)
            return full(failure, plan.largest, left, plan.bytes + more, plan.room[plan.largest].entries);
    }
    for (int number = 0; number < DSN_TABLES; number++) {
        struct room is = ready(tables, number), room = plan.room[number];
        if ((room.entries > is.entries || room.scopes > is.scopes) && !take(tables, number, room))
            return full(failure, number, UINT64_MAX, more_of(tables, number, room), room.entries);
    }
    return true;
}
