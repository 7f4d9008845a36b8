/* The classifier against a linear scan: random rule sets of every nasty shape, with inserts, removes and lookups
 * mixed. */
#include "match/classify.h"
#include "random.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 700

static struct dsn_row_firewall_rule row[MOST]; /* by slot */
static bool used[MOST];
static uint32_t count;

static bool matches(const struct dsn_row_firewall_rule *rule, const struct dsn_classify_key *key) {
    return rule->policy == key->policy && (rule->direction & key->direction) && key->port >= rule->port_low &&
           key->port <= rule->port_high && key->protocol >= rule->protocol_low &&
           key->protocol <= rule->protocol_high && prefix_covers(rule->source, rule->source_len, key->source) &&
           prefix_covers(rule->destination, rule->destination_len, key->destination);
}

static uint32_t scan(const struct dsn_classify_key *key) {
    uint32_t best = DSN_NO_SLOT;
    for (uint32_t i = 0; i < MOST; i++) {
        if (used[i] && matches(&row[i], key) &&
            (best == DSN_NO_SLOT || row[i].priority < row[best].priority ||
             (row[i].priority == row[best].priority && row[i].id < row[best].id)))
            best = i;
    }
    return best;
}

enum ports { PORTS_ANY, PORTS_EXACT, PORTS_RANGE, PORTS_NESTED, PORTS_MIXED };

struct sort {
    const char *name;
    unsigned groups;
    unsigned v6_percent, any_percent; /* of addresses; of prefixes that are ::/0 */
    unsigned low, high;               /* prefix lengths, as for IPv4; four times as long for IPv6 */
    unsigned shared;                  /* bits that all addresses share, likewise */
    enum ports ports;
    unsigned protocols;  /* 0: any; else that many exact ones; > 10: ranges too */
    unsigned priorities; /* how many different ones */
    unsigned direction;  /* 0: random */
};

static const struct sort shapes[] = {
    {"cloud", 3, 20, 30, 16, 32, 8, PORTS_MIXED, 3, 20, 0},
    {"free", 1, 30, 20, 0, 32, 8, PORTS_MIXED, 12, 5000, 0},
    {"any to any, a port each", 1, 50, 100, 0, 0, 0, PORTS_EXACT, 1, 5000, 0},
    {"any to any, ranges", 1, 50, 100, 0, 0, 0, PORTS_RANGE, 0, 5000, 3},
    {"any to any, nested ranges", 2, 50, 100, 0, 0, 0, PORTS_NESTED, 2, 5000, 0},
    {"all the same", 1, 50, 100, 0, 0, 0, PORTS_ANY, 0, 3, 3},
    {"all the same, own priorities", 1, 50, 100, 0, 0, 0, PORTS_ANY, 0, 1000000, 3},
    {"nested prefixes", 1, 40, 0, 0, 32, 32, PORTS_ANY, 0, 100, 1},
    {"nested prefixes and ranges", 2, 40, 10, 0, 32, 32, PORTS_MIXED, 12, 100, 0},
    {"hosts", 1, 0, 10, 32, 32, 24, PORTS_MIXED, 2, 100, 2},
    {"protocol ranges", 1, 20, 90, 0, 8, 0, PORTS_ANY, 30, 100, 0},
    {"own groups", UINT32_MAX, 20, 30, 0, 32, 8, PORTS_MIXED, 3, 10, 0},
};

static void random_address(const struct sort *shape, bool v6, uint8_t address[16]) {
    static const uint8_t base[2][16] = {
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 130, 3},
        {0x20, 0x01, 0x0d, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
    };
    for (unsigned i = 0; i < 16; i++)
        address[i] = v6 || i >= 12 ? (uint8_t)random64() : base[0][i];
    unsigned same = random_below(shape->shared + 1);
    same = v6 ? same * 4 : 96 + same;
    for (unsigned bit = 0; bit < same; bit++) {
        uint8_t mask = (uint8_t)(0x80u >> bit % 8);
        address[bit / 8] = (uint8_t)((address[bit / 8] & ~mask) | (base[v6][bit / 8] & mask));
    }
}

static uint8_t random_prefix(const struct sort *shape, bool v6, uint8_t prefix[16]) {
    memset(prefix, 0, 16);
    if (random_below(100) < shape->any_percent)
        return 0;
    random_address(shape, v6, prefix);
    unsigned length = random_between(shape->low, shape->high);
    length = v6 ? length * 4 : random_below(30) == 0 ? random_below(129) : 96 + length;
    keep_bits(prefix, length);
    return (uint8_t)length;
}

static uint64_t random_group(const struct sort *shape) {
    return shape->groups == UINT32_MAX ? random64() : random_below(shape->groups) * UINT64_C(0x100000003);
}

static void random_ports(enum ports ports, uint16_t *low, uint16_t *high) {
    uint16_t a = (uint16_t)random_below(random_below(2) ? 65536 : 64), b = (uint16_t)random64();
    *low = 0;
    *high = 65535;
    if (ports == PORTS_MIXED)
        ports = random_below(4);
    if (ports == PORTS_EXACT) {
        *low = *high = a;
    } else if (ports == PORTS_RANGE) {
        *low = a < b ? a : b;
        *high = a < b ? b : a;
    } else if (ports == PORTS_NESTED) {
        *low = (uint16_t)(32768 - a / 2);
        *high = (uint16_t)(32767 + a / 2);
        if (*high < *low)
            *high = *low;
    }
}

static void insert(void *match, const struct sort *shape, uint32_t capacity) {
    uint32_t slot = random_below(capacity);
    while (used[slot])
        slot = slot + 1 == capacity ? 0 : slot + 1;
    struct dsn_row_firewall_rule *rule = &row[slot];
    *rule = (struct dsn_row_firewall_rule){
        .id = random64(),
        .policy = random_group(shape),
        .priority = random_below(shape->priorities),
        .direction = (uint8_t)(shape->direction ? shape->direction : random_between(1, 3)),
        .protocol_high = 255,
    };
    bool v6 = random_below(100) < shape->v6_percent;
    rule->source_len = random_prefix(shape, v6, rule->source);
    /* Now and then the other version: such a rule matches nothing. */
    rule->destination_len = random_prefix(shape, random_below(50) == 0 ? !v6 : v6, rule->destination);
    random_ports(shape->ports, &rule->port_low, &rule->port_high);
    if (random_below(100) == 0) { /* backwards: nothing either */
        rule->port_low = 10;
        rule->port_high = 9;
    }
    if (shape->protocols != 0 && random_below(3) != 0) {
        rule->protocol_low = rule->protocol_high = (uint8_t)random_below(shape->protocols);
        if (shape->protocols > 10 && random_below(2))
            rule->protocol_high = (uint8_t)random_between(rule->protocol_low, shape->protocols);
    }
    used[slot] = true;
    count++;
    dsn_priority_ops.insert(match, rule, slot);
}

static void take_out(void *match, uint32_t capacity) {
    uint32_t slot = random_below(capacity);
    while (!used[slot])
        slot = slot + 1 == capacity ? 0 : slot + 1;
    dsn_priority_ops.remove(match, &row[slot], slot);
    used[slot] = false;
    count--;
}

/* Makes an address lie in a prefix, where both are of one IP version. */
static void move_into(const uint8_t prefix[16], unsigned length, uint8_t address[16]) {
    bool v6 = address[10] != 0xff || address[0] != 0;
    if (length < 96 ? !v6 : (prefix[10] != 0xff || prefix[0] != 0) != v6)
        return;
    for (unsigned bit = 0; bit < length; bit++) {
        uint8_t mask = (uint8_t)(0x80u >> bit % 8);
        address[bit / 8] = (uint8_t)((address[bit / 8] & ~mask) | (prefix[bit / 8] & mask));
    }
}

static uint32_t hits, asks;

static bool look(const void *match, const struct sort *shape, uint32_t capacity) {
    struct dsn_classify_key key = {
        .policy = random_group(shape),
        .port = (uint16_t)random_below(random_below(2) ? 65536 : 64),
        .protocol = (uint8_t)random_below(shape->protocols + 3),
        .direction = (uint8_t)random_between(1, 2),
    };
    bool v6 = random_below(100) < shape->v6_percent;
    random_address(shape, v6, key.source);
    random_address(shape, v6, key.destination);
    const struct dsn_row_firewall_rule *near = &row[random_below(capacity)];
    if (used[near - row] && random_below(3)) { /* what a rule covers, or just not */
        key.policy = near->policy;
        move_into(near->source, near->source_len, key.source);
        move_into(near->destination, near->destination_len, key.destination);
        key.port = (uint16_t)(near->port_low + random_below((uint32_t)near->port_high - near->port_low + 3) - 1);
        key.protocol = near->protocol_low;
    }
    uint32_t expected = scan(&key), got = dsn_classify(match, &key);
    asks++;
    hits += expected != DSN_NO_SLOT;
    if (got != expected)
        printf("%s, %" PRIu32 " rules: expected slot %" PRIu32 ", got %" PRIu32 "\n", shape->name, count, expected,
               got);
    return got == expected;
}

static bool run(const struct sort *shape, uint32_t capacity) {
    void *match = dsn_priority_ops.create(&dsn_table_desc[DSN_TABLE_FIREWALL_RULE], capacity);
    if (match == NULL) {
        puts("no memory");
        return false;
    }
    count = 0;
    memset(used, 0, sizeof(used));
    bool good = true;
    for (unsigned step = 0; good && step < 8 * capacity; step++) {
        /* Fill to the brim, drain to nothing, and back, with some of the other on the way. */
        bool filling = step / (2 * capacity) % 2 == 0;
        if (count < capacity && (count == 0 || (random_below(10) < 8) == filling))
            insert(match, shape, capacity);
        else
            take_out(match, capacity);
        good = look(match, shape, capacity) && look(match, shape, capacity);
    }
    while (good && count != 0) {
        take_out(match, capacity);
        good = look(match, shape, capacity);
    }
    dsn_priority_ops.destroy(match);
    return good;
}

/* What the classifier takes for granted of its own hashes: 64 neighbours have all bits of a sieve between them. */
static bool sieves_are_whole(void) {
    for (uint32_t low = 0; low + 63 <= UINT16_MAX; low++) {
        uint64_t ports = 0, protocols = 0;
        for (uint32_t i = low; i < low + 64; i++) {
            ports |= sieve_port((uint16_t)i);
            protocols |= sieve_protocol((uint8_t)i);
        }
        if (ports != UINT64_C(0xffff) << SIEVE_PORT || protocols != UINT64_C(0xff) << SIEVE_PROTOCOL)
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 6;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
            random_state = round * 1000 + i;
            if (!run(&shapes[i], round % 3 == 0 ? random_between(1, 40) : random_between(41, MOST))) {
                printf("round %u\n", round);
                return 1;
            }
        }
    }
    if (dsn_priority_ops.create(&dsn_table_desc[DSN_TABLE_FIREWALL_RULE], UINT32_MAX) != NULL ||
        dsn_priority_ops.create(&dsn_table_desc[DSN_TABLE_ROUTE], 10) != NULL) {
        puts("created what can't be");
        return 1;
    }
    if (!sieves_are_whole()) {
        puts("64 neighbours lack a bit of the sieve");
        return 1;
    }
    printf("%u rounds agree; %.0f %% of %" PRIu32 " packets matched a rule\n", rounds, hits * 100.0 / asks, asks);
    return 0;
}
