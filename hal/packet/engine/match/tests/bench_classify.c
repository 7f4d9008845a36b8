/* What the classifier costs: ns a lookup, an insert and a remove, and bytes a rule, for rule sets of several shapes. */
#include "random.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ASKS (1u << 16)
#define MOST 131072

static double now(void) { /* of our own work: the machine may be shared */
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static struct dsn_row_firewall_rule row[MOST];
static struct dsn_classify_key key[ASKS];

static void v4(uint8_t address[16], uint32_t value) {
    memset(address, 0, 16);
    address[10] = address[11] = 0xff;
    for (unsigned i = 0; i < 4; i++)
        address[12 + i] = (uint8_t)(value >> (24 - i * 8));
}

static void v6(uint8_t address[16]) {
    for (unsigned i = 0; i < 16; i++)
        address[i] = (uint8_t)random64();
    address[0] = 0x20;
    address[1] = 0x01;
}

static const uint16_t services[] = {22,   25,   53,   80,   110,  123,  143,  161,   389,   443,  445,  514,
                                    636,  993,  1433, 1521, 1723, 2049, 3128, 3306,  3389,  5060, 5432, 5672,
                                    6379, 8000, 8080, 8443, 9090, 9200, 9300, 11211, 27017, 50051};

static void random_service(struct dsn_row_firewall_rule *rule, unsigned any_percent, unsigned range_percent) {
    static const uint8_t protocols[] = {6, 6, 6, 6, 6, 6, 17, 17, 1};
    unsigned draw = random_below(100);
    rule->protocol_low = rule->protocol_high = protocols[random_below(sizeof(protocols))];
    rule->port_high = 65535;
    if (draw < any_percent) {
        if (random_below(3) == 0) {
            rule->protocol_low = 0;
            rule->protocol_high = 255;
        }
    } else if (draw < any_percent + range_percent) {
        if (random_below(2)) {
            rule->port_low = 1024;
        } else {
            rule->port_low = (uint16_t)random_below(60000);
            rule->port_high = (uint16_t)(rule->port_low + random_below(4000));
        }
    } else {
        rule->port_low = rule->port_high = services[random_below(sizeof(services) / sizeof(*services))];
    }
}

/* Of 100 prefixes each, as a tenant's groups are: hosts, subnets, some IPv6; every hundred rows are one rule. */
static void cloud(uint32_t rows) {
    struct dsn_row_firewall_rule rule = {0};
    for (uint32_t i = 0; i < rows; i++) {
        if (i % 100 == 0) {
            rule = (struct dsn_row_firewall_rule){
                .priority = i / 100 * 10,
                .direction = random_below(10) < 6 ? 1 : 2,
            };
            random_service(&rule, 20, 15);
        }
        row[i] = rule;
        uint8_t address[16], length;
        if (random_below(5) == 0) {
            v6(address);
            length = random_below(2) ? 128 : 64;
        } else {
            static const uint8_t lengths[] = {32, 32, 32, 32, 32, 24, 24, 24, 16, 20, 28, 27};
            v4(address, 10u << 24 | (uint32_t)random64() >> 8);
            length = (uint8_t)(96 + lengths[random_below(sizeof(lengths))]);
        }
        keep_bits(address, length);
        memcpy(rule.direction == 1 ? row[i].source : row[i].destination, address, 16);
        *(rule.direction == 1 ? &row[i].source_len : &row[i].destination_len) = length;
    }
}

/* Prefix pairs from trees, services by their popularity: as the seeds of ClassBench (Taylor, 2007) for access lists.
 * In no order: far from how people write them, but nobody forbids it. */
static void unordered(uint32_t rows) {
    static const uint8_t lengths[] = {0,  0,  8,  12, 14, 16, 16, 18, 20, 21, 22, 23, 24, 24,
                                      24, 25, 26, 27, 28, 29, 30, 31, 32, 32, 32, 32, 32, 32};
    uint32_t pool[256];
    for (unsigned i = 0; i < 256; i++) /* each a neighbour of an earlier one */
        pool[i] = i < 8 ? (uint32_t)random64() : pool[random_below(i)] ^ (uint32_t)random64() >> random_between(4, 28);
    for (uint32_t i = 0; i < rows; i++) {
        struct dsn_row_firewall_rule *rule = &row[i];
        *rule = (struct dsn_row_firewall_rule){.priority = i, .direction = 3};
        random_service(rule, 30, 25);
        uint8_t source = lengths[random_below(sizeof(lengths))], destination = lengths[random_below(sizeof(lengths))];
        if (source != 0) {
            v4(rule->source, pool[random_below(256)] ^ (uint32_t)random64() >> random_between(8, 31));
            rule->source_len = (uint8_t)(96 + source);
            keep_bits(rule->source, rule->source_len);
        }
        if (destination != 0) {
            v4(rule->destination, pool[random_below(256)] ^ (uint32_t)random64() >> random_between(8, 31));
            rule->destination_len = (uint8_t)(96 + destination);
            keep_bits(rule->destination, rule->destination_len);
        }
    }
}

/* Nested ones first, as ClassBench orders them: else they would never be reached. */
static void ordered(uint32_t rows) {
    unordered(rows);
    for (uint32_t i = 0; i < rows; i++) {
        unsigned known =
            row[i].source_len % 96 + row[i].destination_len % 96 + (row[i].port_low == row[i].port_high) * 8;
        row[i].priority = (80 - known) * MOST + random_below(20 * MOST);
    }
}

static void ports_each(uint32_t rows) {
    for (uint32_t i = 0; i < rows; i++)
        row[i] = (struct dsn_row_firewall_rule){.priority = i,
                                                .direction = 3,
                                                .protocol_low = 6,
                                                .protocol_high = 6,
                                                .port_low = (uint16_t)(i * 7),
                                                .port_high = (uint16_t)(i * 7)};
}

static void ranges(uint32_t rows) {
    for (uint32_t i = 0; i < rows; i++) {
        uint16_t low = (uint16_t)random_below(65000);
        row[i] = (struct dsn_row_firewall_rule){.priority = random_below(1000000),
                                                .direction = 3,
                                                .protocol_low = 6,
                                                .protocol_high = 6,
                                                .port_low = low,
                                                .port_high = (uint16_t)(low + random_below(500))};
    }
}

static void nested_ranges(uint32_t rows) {
    for (uint32_t i = 0; i < rows; i++) {
        uint16_t half = (uint16_t)(i % 32000);
        row[i] = (struct dsn_row_firewall_rule){.priority = i,
                                                .direction = 3,
                                                .protocol_low = 6,
                                                .protocol_high = 6,
                                                .port_low = (uint16_t)(32767 - half),
                                                .port_high = (uint16_t)(32768 + half)};
    }
}

static void identical(uint32_t rows) {
    for (uint32_t i = 0; i < rows; i++)
        row[i] =
            (struct dsn_row_firewall_rule){.priority = i, .direction = 3, .protocol_high = 255, .port_high = 65535};
}

/* All pairs of prefixes that one source and one destination lie in. */
static void nests(uint32_t rows) {
    for (uint32_t i = 0; i < rows; i++) {
        row[i] = (struct dsn_row_firewall_rule){.priority = i,
                                                .direction = 3,
                                                .protocol_low = 6,
                                                .protocol_high = 6,
                                                .source_len = (uint8_t)(96 + i % 33),
                                                .destination_len = (uint8_t)(96 + i / 33 % 33),
                                                .port_low = (uint16_t)(i / 1089),
                                                .port_high = (uint16_t)(i / 1089)};
        v4(row[i].source, 0x0a010203);
        keep_bits(row[i].source, row[i].source_len);
        v4(row[i].destination, 0x0a0b0c0d);
        keep_bits(row[i].destination, row[i].destination_len);
    }
}

static const struct shape {
    const char *name;
    void (*make)(uint32_t rows);
    bool hostile;
} shapes[] = {
    {"cloud", cloud, false},           {"ordered", ordered, false}, {"unordered", unordered, false},
    {"a port each", ports_each, true}, {"ranges", ranges, true},    {"nested ranges", nested_ranges, true},
    {"identical", identical, true},    {"nests", nests, true},
};

static void random_bits_behind(uint8_t address[16], unsigned length) {
    for (unsigned bit = length; bit < 128; bit++)
        address[bit / 8] =
            (uint8_t)((address[bit / 8] & ~(0x80u >> bit % 8)) | ((uint8_t)random64() & (0x80u >> bit % 8)));
}

static void make_asks(uint32_t rows) {
    for (uint32_t i = 0; i < ASKS; i++) {
        const struct dsn_row_firewall_rule *near = &row[random_below(rows)];
        struct dsn_classify_key *ask = &key[i];
        *ask = (struct dsn_classify_key){.policy = 1};
        memcpy(ask->source, near->source, 16);
        memcpy(ask->destination, near->destination, 16);
        bool six = near->source[0] != 0 || near->destination[0] != 0;
        if (near->source_len < 96)
            six ? v6(ask->source) : v4(ask->source, 10u << 24 | (uint32_t)random64() >> 8);
        else
            random_bits_behind(ask->source, near->source_len);
        if (near->destination_len < 96)
            six ? v6(ask->destination) : v4(ask->destination, 10u << 24 | (uint32_t)random64() >> 8);
        else
            random_bits_behind(ask->destination, near->destination_len);
        ask->direction = near->direction == 3 ? (uint8_t)random_between(1, 2) : near->direction;
        ask->protocol = near->protocol_low == near->protocol_high ? near->protocol_low : 17;
        ask->port = (uint16_t)(near->port_low + random_below((uint32_t)near->port_high - near->port_low + 1));
        if (i % 4 == 3) /* one of four asks for something that nobody thought of */
            ask->port = (uint16_t)random64();
    }
}

static void measure(const struct shape *shape, uint32_t rows) {
    random_state = 7;
    shape->make(rows);
    for (uint32_t i = 0; i < rows; i++) {
        row[i].id = i + 1;
        row[i].policy = 1;
        row[i].verdict = 1;
    }
    make_asks(rows);
    for (uint32_t i = rows - 1; i > 0; i--) {
        uint32_t other = random_below(i + 1);
        struct dsn_row_firewall_rule kept = row[i];
        row[i] = row[other];
        row[other] = kept;
    }
    void *match = dsn_priority_ops.create(&dsn_table_desc[DSN_TABLE_FIREWALL_RULE], MOST);
    if (match == NULL) {
        puts("no memory");
        exit(1);
    }
    double begin = now();
    for (uint32_t i = 0; i < rows; i++)
        dsn_priority_ops.insert(match, &row[i], i);
    double insert = (now() - begin) / rows;
    double bytes = (double)dsn_priority_ops.bytes(match) / rows;
    double best = 1e9;
    uint32_t found = 0, sum = 0;
    for (unsigned round = 0; round < 15; round++) {
        begin = now();
        for (uint32_t i = 0; i < ASKS; i++) {
            key[i].policy = 1 + (sum & 0); /* one lookup after the other, as in a chain of stages */
            uint32_t slot = dsn_classify(match, &key[i]);
            sum += slot;
            found += slot != DSN_NO_SLOT;
        }
        double each = (now() - begin) / ASKS;
        best = each < best ? each : best;
    }
    double slowest = 0, changes = 0;
    uint32_t churn = rows < 20000 ? rows : 20000;
    for (uint32_t i = 0; i < churn; i++) {
        begin = now();
        dsn_priority_ops.remove(match, &row[i], i);
        dsn_priority_ops.insert(match, &row[i], i);
        double took = now() - begin;
        changes += took;
        slowest = took > slowest ? took : slowest;
    }
    printf("%-14s %6u rules: lookup %7.1f ns (%3.0f %% match), insert %6.0f ns, remove + insert %6.0f ns (slowest %.0f "
           "us), "
           "%3.0f bytes a rule\n",
           shape->name, rows, best, found * 100.0 / 15 / ASKS, insert, changes / churn, slowest / 1e3, bytes);
    fflush(stdout);
    dsn_priority_ops.destroy(match);
}

int main(void) {
    static const uint32_t sizes[] = {10, 1000, 10000, 100000};
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        for (unsigned size = shapes[i].hostile ? 2 : 0; size < 4; size++)
            measure(&shapes[i], sizes[size]);
    }
    return 0;
}
