/* What the LPM costs: bench_lpm FILE (a prefix a line). Prints ns an insert, a lookup and a remove, and bytes. */
#include "match/lpm.h"
#include "random.h"
#include "table.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ASKS (1u << 20)
#define CAPACITY 1200000

static double now(void) { /* of our own work: the machine may be shared */
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static bool parse(const char *line, struct dsn_row_route *row) {
    char text[64];
    unsigned length;
    if (sscanf(line, "%63[^/]/%u", text, &length) != 2)
        return false;
    memset(row, 0, sizeof(*row));
    if (inet_pton(AF_INET6, text, row->prefix) == 1) {
        row->prefix_len = (uint8_t)length;
    } else if (inet_pton(AF_INET, text, row->prefix + 12) == 1) {
        row->prefix[10] = row->prefix[11] = 0xff;
        row->prefix_len = (uint8_t)(96 + length);
    } else {
        return false;
    }
    return true;
}

static uint8_t address[ASKS][16];
static uint64_t scope[ASKS];
static uint32_t slot[ASKS];

/* Addresses within random routes; or, with `far`, anywhere in IPv4 unicast space. */
static void make_asks(const struct dsn_row_route *row, uint32_t rows, bool far, bool v6_only) {
    for (uint32_t i = 0; i < ASKS; i++) {
        const struct dsn_row_route *near = &row[random_below(rows)];
        while (v6_only && near->prefix_len > 96 && near->prefix[0] == 0)
            near = &row[random_below(rows)];
        uint8_t host[16];
        for (unsigned at = 0; at < 16; at++)
            host[at] = (uint8_t)random64();
        memcpy(address[i], near->prefix, 16);
        for (unsigned bit = far ? 96 : near->prefix_len; bit < 128; bit++)
            address[i][bit / 8] =
                (uint8_t)((address[i][bit / 8] & ~(0x80u >> bit % 8)) | (host[bit / 8] & (0x80u >> bit % 8)));
        if (far) {
            memset(address[i], 0, 10);
            address[i][10] = address[i][11] = 0xff;
            address[i][12] = (uint8_t)random_between(1, 223);
        }
        scope[i] = near->vrf;
    }
}

static void lookups(const void *match, const char *what) {
    uint32_t sum = 0, found = 0;
    double best_one = 1e9, best_burst = 1e9;
    for (unsigned round = 0; round < 3; round++) {
        double begin = now();
        for (uint32_t i = 0; i < ASKS; i++)
            sum += dsn_lpm_find(match, scope[i], address[i]);
        double one = (now() - begin) / ASKS;
        begin = now();
        for (uint32_t i = 0; i < ASKS; i += 32)
            dsn_lpm_find_burst(match, 32, scope + i, (const uint8_t(*)[16])(address + i), slot + i);
        double burst = (now() - begin) / ASKS;
        best_one = one < best_one ? one : best_one;
        best_burst = burst < best_burst ? burst : best_burst;
    }
    for (uint32_t i = 0; i < ASKS; i++)
        found += slot[i] != DSN_NO_SLOT;
    printf("  lookup %-28s %6.1f ns one by one, %6.1f ns in bursts of 32 (%.0f %% found, %x)\n", what, best_one,
           best_burst, found * 100.0 / ASKS, sum);
}

static void measure(const char *name, struct dsn_row_route *row, uint32_t rows) {
    for (uint32_t i = rows - 1; i > 0; i--) { /* files are sorted, feeds aren't */
        uint32_t other = random_below(i + 1);
        struct dsn_row_route kept = row[i];
        row[i] = row[other];
        row[other] = kept;
    }
    void *match = dsn_lpm_ops.create(&dsn_table_desc[DSN_TABLE_ROUTE], CAPACITY);
    if (match == NULL) {
        puts("no memory");
        exit(1);
    }
    double begin = now();
    for (uint32_t i = 0; i < rows; i++)
        dsn_lpm_ops.insert(match, &row[i], i);
    double inserted = now();
    printf("%s: %u prefixes, insert %.0f ns (all: %.0f ms), %.1f MB = %.0f bytes a prefix\n", name, rows,
           (inserted - begin) / rows, (inserted - begin) / 1e6, (double)dsn_lpm_ops.bytes(match) / 1e6,
           (double)dsn_lpm_ops.bytes(match) / rows);
    make_asks(row, rows, false, false);
    lookups(match, "in random routes");
    if (rows > 1000) {
        make_asks(row, rows, true, false);
        lookups(match, "random IPv4");
        make_asks(row, rows, false, true);
        lookups(match, "in random IPv6 routes");
    }
    uint32_t churn = rows < 200000 ? rows : 200000;
    begin = now();
    for (uint32_t i = 0; i < churn; i++)
        dsn_lpm_ops.remove(match, &row[i], i);
    double removed = now();
    for (uint32_t i = 0; i < churn; i++)
        dsn_lpm_ops.insert(match, &row[i], i);
    printf("  remove %.0f ns, insert again %.0f ns\n", (removed - begin) / churn, (now() - removed) / churn);
    dsn_lpm_ops.destroy(match);
}

int main(int argc, char **argv) {
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    struct dsn_row_route *row = calloc(CAPACITY, sizeof(*row));
    if (row == NULL)
        return 1;
    static const char *few[] = {"0.0.0.0/0", "10.0.0.0/8",    "10.1.0.0/24", "10.1.1.0/24",     "192.0.2.0/24",
                                "::/0",      "2001:db8::/32", "fd00::/64",   "2001:db8:1::/48", "10.1.2.3/32"};
    for (uint32_t i = 0; i < 10; i++)
        parse(few[i], &row[i]);
    measure("3 routes", row, 3);
    for (uint32_t i = 0; i < 10; i++)
        parse(few[i], &row[i]);
    measure("10 routes", row, 10);
    if (file != NULL) {
        char line[128];
        uint32_t rows = 0;
        while (rows < CAPACITY && fgets(line, sizeof(line), file))
            rows += parse(line, &row[rows]);
        fclose(file);
        measure("Internet", row, rows);
    }
    /* Every level of every address is full: prefixes of all lengths of 9,000 hosts, none covers the asks' last bit. */
    uint32_t rows = 0;
    for (uint32_t host = 0; rows + 128 <= CAPACITY - 1; host++) {
        uint8_t base[16];
        for (unsigned at = 0; at < 16; at++)
            base[at] = (uint8_t)random64();
        for (unsigned length = 24; length <= 127; length++, rows++) {
            memset(&row[rows], 0, sizeof(*row));
            memcpy(row[rows].prefix, base, 16);
            row[rows].prefix[(length - 1) / 8] ^= (uint8_t)(0x80u >> (length - 1) % 8); /* its sibling */
            row[rows].prefix_len = (uint8_t)length;
            keep_bits(row[rows].prefix, length);
        }
    }
    measure("hostile (siblings of every length)", row, rows);
    free(row);
    return 0;
}
