/* The LPM against a linear scan: random tables of every nasty shape, with inserts, removes and lookups mixed. */
#include "match/lpm.h"
#include "random.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 600

static struct dsn_row_route row[MOST]; /* by slot */
static bool used[MOST];
static uint32_t count;

static uint32_t scan(uint64_t scope, const uint8_t address[16]) {
    uint32_t best = DSN_NO_SLOT;
    for (uint32_t i = 0; i < MOST; i++) {
        if (used[i] && row[i].vrf == scope && prefix_covers(row[i].prefix, row[i].prefix_len, address) &&
            (best == DSN_NO_SLOT || row[i].prefix_len > row[best].prefix_len))
            best = i;
    }
    return best;
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct shape {
    const char *name;
    unsigned scopes;
    unsigned v4_percent;
    unsigned shared;    /* bits that many prefixes share: nests and neighbours */
    unsigned low, high; /* prefix lengths */
};

static const struct shape shapes[] = {
    {"internet", 1, 80, 16, 8, 64},         {"few", 2, 50, 0, 0, 128},
    {"nested", 1, 0, 128, 0, 128},          {"nested v4", 3, 100, 128, 96, 128},
    {"hosts", 40, 50, 100, 126, 128},       {"own scopes", UINT32_MAX, 50, 64, 0, 128},
    {"around mapped", 2, 100, 96, 60, 110}, {"one node", 1, 100, 114, 115, 120},
};

static void random_address(const struct shape *shape, uint8_t address[16]) {
    static const uint8_t base[2][16] = {{0x20, 0x01, 0x0d, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                                        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3}};
    bool v4 = random_below(100) < shape->v4_percent;
    unsigned same = shape->shared == 128 ? random_between(v4 ? 96 : 0, 128) : random_below(shape->shared + 1);
    for (unsigned i = 0; i < 16; i++)
        address[i] = (uint8_t)random64();
    if (v4)
        memcpy(address, mapped, 12);
    for (unsigned bit = 0; bit < same; bit++) {
        uint8_t mask = (uint8_t)(0x80u >> bit % 8);
        address[bit / 8] = (uint8_t)((address[bit / 8] & ~mask) | (base[v4][bit / 8] & mask));
    }
}

static uint64_t random_scope(const struct shape *shape) {
    return shape->scopes == UINT32_MAX ? random64() : random_below(shape->scopes) * UINT64_C(0x100000001);
}

static bool insert(void *match, const struct shape *shape, uint32_t capacity) {
    struct dsn_row_route made = {.id = random64(), .vrf = random_scope(shape)};
    random_address(shape, made.prefix);
    made.prefix_len = (uint8_t)random_between(shape->low, shape->high);
    keep_bits(made.prefix, made.prefix_len);
    uint32_t slot = DSN_NO_SLOT;
    for (uint32_t i = 0; i < capacity; i++) {
        if (!used[i])
            slot = i;
        else if (row[i].vrf == made.vrf && row[i].prefix_len == made.prefix_len &&
                 memcmp(row[i].prefix, made.prefix, 16) == 0)
            return false;
    }
    row[slot] = made;
    used[slot] = true;
    count++;
    dsn_lpm_ops.insert(match, &row[slot], slot);
    return true;
}

static void take_out(void *match, uint32_t capacity) {
    uint32_t slot = random_below(capacity);
    while (!used[slot])
        slot = slot + 1 == capacity ? 0 : slot + 1;
    dsn_lpm_ops.remove(match, &row[slot], slot);
    used[slot] = false;
    count--;
}

static bool look(const void *match, const struct shape *shape, uint32_t capacity, uint32_t asks) {
    uint64_t scope[33];
    uint8_t address[33][16];
    uint32_t slot[33];
    while (asks != 0) {
        uint32_t burst = random_between(1, 33);
        for (uint32_t i = 0; i < burst; i++) {
            scope[i] = random_scope(shape);
            random_address(shape, address[i]);
            uint32_t near = random_below(capacity);
            if (used[near] && random_below(2)) { /* an address that something covers */
                scope[i] = row[near].vrf;
                for (unsigned bit = 0; bit < row[near].prefix_len; bit++) {
                    uint8_t mask = (uint8_t)(0x80u >> bit % 8);
                    address[i][bit / 8] = (uint8_t)((address[i][bit / 8] & ~mask) | (row[near].prefix[bit / 8] & mask));
                }
            }
        }
        dsn_lpm_find_burst(match, burst, scope, (const uint8_t(*)[16])address, slot);
        for (uint32_t i = 0; i < burst; i++) {
            uint32_t expected = scan(scope[i], address[i]), one = dsn_lpm_find(match, scope[i], address[i]);
            if (one != expected || slot[i] != expected) {
                printf("%s, %" PRIu32 " entries: expected slot %" PRIu32 ", got %" PRIu32 ", in a burst %" PRIu32 "\n",
                       shape->name, count, expected, one, slot[i]);
                return false;
            }
        }
        asks -= burst < asks ? burst : asks;
    }
    return true;
}

static bool run(const struct shape *shape, uint32_t capacity, unsigned steps) {
    void *match = dsn_lpm_ops.create(&dsn_table_desc[DSN_TABLE_ROUTE], capacity);
    if (match == NULL) {
        puts("no memory");
        return false;
    }
    count = 0;
    memset(used, 0, sizeof(used));
    bool good = true;
    for (unsigned step = 0; good && step < steps; step++) {
        /* Fill to the brim, drain to nothing, and back, with some of the other on the way. */
        bool filling = step / (2 * capacity) % 2 == 0;
        if (count < capacity && (count == 0 || (random_below(10) < 8) == filling))
            insert(match, shape, capacity);
        else
            take_out(match, capacity);
        good = look(match, shape, capacity, 3);
    }
    good = good && look(match, shape, capacity, 300);
    while (good && count != 0)
        take_out(match, capacity);
    good = good && look(match, shape, capacity, 30);
    dsn_lpm_ops.destroy(match);
    return good;
}

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 6;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
            random_state = round * 1000 + i;
            uint32_t capacity = round % 3 == 0 ? random_between(1, 12) : random_between(13, MOST);
            if (!run(&shapes[i], capacity, capacity * 8)) {
                printf("round %u\n", round);
                return 1;
            }
        }
    }
    if (dsn_lpm_ops.create(&dsn_table_desc[DSN_TABLE_ROUTE], UINT32_MAX) != NULL) {
        puts("a capacity beyond all bounds was promised");
        return 1;
    }
    printf("%u rounds agree\n", rounds);
    return 0;
}
