/* A commit for which memory lacks is FULL before anything changes; one for which it was there touches nothing that
 * isn't. */
#include "control/memory.h"
#include "control/tests/commits.h"
#include "path/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct dsn_tables tables;

/* --- in the place of memory.c --- */

static uint64_t left = UINT64_MAX;
static unsigned asked, gives = UINT_MAX;

uint64_t dsn_memory_free(void) {
    return left;
}

bool dsn_memory_take(void *begin, size_t size) {
    uintptr_t from = (uintptr_t)begin & ~(uintptr_t)4095, to = ((uintptr_t)begin + size + 4095) & ~(uintptr_t)4095;
    return asked++ < gives && (size == 0 || madvise((void *)from, to - from, 23 /* MADV_POPULATE_WRITE */) == 0);
}

bool dsn_memory_read(const void *begin, size_t size) {
    (void)begin, (void)size;
    return asked++ < gives;
}

/* --- commits --- */

#define ROUTES 32000
#define CAPACITY 32768

static void create(void) {
    uint32_t capacities[DSN_TABLES];
    struct dsn_failure failure;
    for (int table = 0; table < DSN_TABLES; table++)
        capacities[table] = CAPACITY;
    CHECK(dsn_tables_create(&tables, capacities, &failure));
    begin();
    *(struct dsn_row_vrf *)section(DSN_INSERT, DSN_TABLE_VRF, 1) = (struct dsn_row_vrf){.id = 1};
    *(struct dsn_row_next_hop *)section(DSN_INSERT, DSN_TABLE_NEXT_HOP, 1) = (struct dsn_row_next_hop){.id = 1};
    *(struct dsn_row_firewall_policy *)section(DSN_INSERT, DSN_TABLE_FIREWALL_POLICY, 1) =
        (struct dsn_row_firewall_policy){.id = 1};
    commit(&tables);
}

static void put_v4(uint8_t address[16], uint32_t v4) {
    memset(address + 10, 0xff, 2);
    dsn_put32(address + 12, v4);
}

static void routes(uint32_t first, uint32_t count) {
    begin();
    struct dsn_row_route *row = section(DSN_INSERT, DSN_TABLE_ROUTE, count);
    for (uint32_t i = first; i < first + count; i++, row++) {
        *row = (struct dsn_row_route){.id = i, .vrf = 1, .prefix_len = 96 + 24, .next_hop = 1};
        put_v4(row->prefix, i * 7 << 8);
    }
}

static void rules(uint32_t count) {
    struct dsn_row_firewall_rule *row = section(DSN_INSERT, DSN_TABLE_FIREWALL_RULE, count);
    for (uint32_t i = 0; i < count; i++, row++) {
        *row = (struct dsn_row_firewall_rule){.id = i, .policy = 1, .priority = i, .direction = 3, .verdict = 1};
        row->protocol_high = 255;
        row->port_low = row->port_high = (uint16_t)i;
        row->source_len = row->destination_len = (uint8_t)(96 + i % 33);
        put_v4(row->source, (uint32_t)(i * UINT64_C(2654435761)) & (uint32_t)(UINT64_MAX << (32 - i % 33)));
        put_v4(row->destination, 0);
    }
}

static uint32_t used(enum dsn_table_number table) {
    CHECK(tables.live->table[table].used == tables.idle->table[table].used);
    return tables.live->table[table].used;
}

static bool is_refused(struct dsn_failure *failure) {
    uint64_t generation = tables.live->generation;
    uint32_t before = used(DSN_TABLE_ROUTE), fresh = tables.store[DSN_TABLE_ROUTE].fresh;
    bool built = build(&tables, failure);
    if (!built) {
        CHECK(failure->kind == DSN_FULL && strcmp(failure->error.what, "table route") == 0);
        CHECK(failure->error.limit[0] && failure->error.got[0] && failure->error.fix[0]);
        CHECK(tables.live->generation == generation && tables.idle->generation == generation);
        CHECK(used(DSN_TABLE_ROUTE) == before && tables.store[DSN_TABLE_ROUTE].fresh == fresh);
    } else {
        make(&tables, true);
    }
    end();
    return !built;
}

static void lacks_what_is_free(void) {
    struct dsn_failure failure;
    create();
    left = DSN_MEMORY_KEPT + DSN_MEMORY_SOME * 3 / 2;
    routes(0, ROUTES);
    CHECK(is_refused(&failure));
    printf("%s: %s; limit: %s; got: %s; %s\n", failure.error.what, failure.error.field, failure.error.limit,
           failure.error.got, failure.error.fix);
    routes(0, 10); /* a smaller one */
    CHECK(!is_refused(&failure));
    left = UINT64_C(1) << 30;
    routes(10, ROUTES);
    CHECK(!is_refused(&failure));
    CHECK(used(DSN_TABLE_ROUTE) == ROUTES + 10);
    left = UINT64_MAX;
    dsn_tables_destroy(&tables);
}

/* Wherever it is that the kernel has no more. */
static void lacks_at_any_place(void) {
    struct dsn_failure failure;
    unsigned refused = 0;
    create();
    routes(0, ROUTES);
    for (;; refused++) {
        asked = 0;
        gives = refused;
        if (!is_refused(&failure))
            break;
        routes(0, ROUTES);
    }
    printf("refused wherever one of %u arrays can't be had\n", refused);
    CHECK(refused > 10 && used(DSN_TABLE_ROUTE) == ROUTES);
    gives = UINT_MAX;
    dsn_tables_destroy(&tables);
}

static long faults(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt;
}

/* What was reserved is what is touched, by the commit and by its copy: few pages come behind it. */
static void touches_what_was_reserved(void) {
    static const uint32_t wanted[DSN_TABLES] = {[DSN_TABLE_ROUTE] = ROUTES, [DSN_TABLE_FIREWALL_RULE] = ROUTES};
    struct dsn_failure failure;
    create();
    routes(0, ROUTES);
    rules(ROUTES);
    long before = faults();
    CHECK(dsn_tables_reserve(&tables, wanted, 0, &failure));
    long reserved = faults();
    CHECK(build(&tables, &failure));
    make(&tables, true);
    long made = faults();
    end();
    printf("%ld pages while it was reserved, %ld when it was made\n", reserved - before, made - reserved);
    CHECK(made - reserved < 2000); /* of what was only counted, for the keys might have been worse, and a sanitizer's */
    dsn_tables_destroy(&tables);
}

/* However often rows come and go, in whatever part of a commit: no more memory than for what is there, and a few. */
static void uses_slots_again(void) {
    static const uint32_t parts[] = {1, 7, DSN_SLOTS_AT_REST + 1, 1000};
    const struct dsn_store *store = &tables.store[DSN_TABLE_ROUTE];
    struct dsn_failure failure;
    uint32_t oldest = 0, next = 2000, ready = 0;
    create();
    routes(0, next);
    CHECK(!is_refused(&failure));
    for (unsigned turn = 0; turn < 400; turn++) {
        uint32_t part = parts[turn % RTE_DIM(parts)], together = turn / RTE_DIM(parts) % 3;
        if (together == 2) { /* in with the new, out with the old */
            routes(next, part);
        } else {
            begin();
        }
        uint64_t *ids = section(DSN_DELETE, DSN_TABLE_ROUTE, part);
        for (uint32_t i = 0; i < part; i++)
            ids[i] = oldest++;
        if (together == 1) { /* a commit that is refused gives back what it took */
            *(uint64_t *)section(DSN_DELETE, DSN_TABLE_ROUTE, 1) = UINT64_C(1) << 40;
            uint32_t fresh = store->fresh, free = store->free_count;
            CHECK(!build(&tables, &failure) && failure.kind != DSN_FULL);
            end();
            CHECK(store->fresh == fresh && store->free_count == free);
            oldest -= part;
            continue;
        }
        CHECK(!is_refused(&failure));
        if (together == 0) {
            routes(next, part);
            CHECK(!is_refused(&failure));
        }
        next += part;
        if (turn < 40)
            ready = store->ready;
        CHECK(used(DSN_TABLE_ROUTE) == 2000 && store->fresh - store->free_count == 2000);
    }
    printf("2000 routes, %u that came and went, in %u slots, memory for %u\n", next - 2000, store->fresh, store->ready);
    CHECK(store->fresh <= 2000 + DSN_SLOTS_AT_REST && store->ready == ready);
    dsn_tables_destroy(&tables);
}

/* --- what the kernel tells --- */

static char folder[] = "memory-XXXXXX";

static void write_text(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (char *at = path; (at = strchr(at + 1, '/')) != NULL; *at = '/') {
        *at = 0;
        CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
    }
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static uint64_t told(void) {
    char proc[64], cgroups[64];
    snprintf(proc, sizeof(proc), "%s/proc", folder);
    snprintf(cgroups, sizeof(cgroups), "%s/cg", folder);
    return dsn_memory_free_in(proc, cgroups);
}

static void reads_what_the_kernel_tells(void) {
    CHECK(mkdtemp(folder) != NULL);
    CHECK(told() == UINT64_MAX);
    write_text("proc/meminfo", "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:   8192 kB\nSwapFree:  4096 kB\n");
    CHECK(told() == (UINT64_C(12) << 20));
    write_text("proc/self/cgroup", "0::/system.slice/dsn.service\n");
    CHECK(told() == (UINT64_C(12) << 20));
    write_text("cg/system.slice/dsn.service/memory.max", "max\n");
    write_text("cg/system.slice/dsn.service/memory.current", "4096\n");
    CHECK(told() == (UINT64_C(12) << 20));
    write_text("cg/system.slice/memory.max", "10485760\n");
    write_text("cg/system.slice/memory.current", "9437184\n");
    CHECK(told() == (UINT64_C(1) << 20));
    write_text("cg/system.slice/memory.stat", "anon 1\nfile 2\ninactive_file 1048576\nactive_file 3\n");
    CHECK(told() == (UINT64_C(2) << 20));
    write_text("cg/system.slice/memory.current", "99437184\n");
    CHECK(told() == 0);
    write_text("proc/self/cgroup", "3:cpu:/x\n2:memory:/dsn\n0::/\n");
    CHECK(told() == (UINT64_C(12) << 20));
    write_text("cg/memory/dsn/memory.limit_in_bytes", "4194304\n");
    write_text("cg/memory/dsn/memory.usage_in_bytes", "1048576\n");
    CHECK(told() == (UINT64_C(3) << 20));
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK(system(command) == 0);
}

int main(void) {
    CHECK(dsn_index_seed());
    reads_what_the_kernel_tells();
    lacks_what_is_free();
    lacks_at_any_place();
    touches_what_was_reserved();
    uses_slots_again();
    return 0;
}
