/* Interned op lists: equal ones once, counted, forgotten with the last reference, as many as there is room for. */
#include "path/ops.h"
#include "path/tests/check.h"

#define ROOM 1000
#define SAME 40

static uint32_t *head_of(struct dsn_ops_table *table, uint32_t number) {
    return &table->head[table->entry[number].hash & table->mask];
}

/* Lists that hang in one chain of one table are spread over another's. */
static void check_seed(void) {
    struct dsn_ops_table table, other;
    uint32_t *head = NULL, heads = 0;
    unsigned found = 0;
    bool fresh;
    CHECK(dsn_ops_create(&table, ROOM) && dsn_ops_create(&other, ROOM));
    for (uint64_t id = 1; found < SAME; id++) {
        struct dsn_ops ops = {.ops = DSN_OP_SEND, .egress_id = id};
        uint32_t number = dsn_ops_intern(&table, &ops, &fresh);
        head = head != NULL ? head : head_of(&table, number);
        if (head_of(&table, number) == head) {
            uint32_t there = dsn_ops_intern(&other, &ops, &fresh);
            heads += *head_of(&other, there) == there && other.entry[there].next == 0; /* the first of its chain */
            found++;
        }
        CHECK(dsn_ops_release(&table, number));
    }
    CHECK(heads > SAME / 2);
    dsn_ops_destroy(&table);
    dsn_ops_destroy(&other);
}

/* What two directions have by turns is found again, and isn't once nobody has it. */
static void check_turns(void) {
    struct dsn_ops_table table;
    struct dsn_ops there = {.ops = DSN_OP_SEND, .egress_id = 1}, back = {.ops = DSN_OP_SEND, .egress_id = 2};
    uint32_t number[2] = {0, 0};
    bool fresh;
    CHECK(dsn_ops_create(&table, ROOM));
    for (unsigned turn = 0; turn < 3; turn++) {
        number[0] = dsn_ops_intern(&table, &there, &fresh);
        CHECK(number[0] != 0 && fresh == (turn == 0));
        number[1] = dsn_ops_intern(&table, &back, &fresh);
        CHECK(number[1] != 0 && number[1] != number[0] && fresh == (turn == 0) && table.used == 2);
    }
    CHECK(!dsn_ops_release(&table, number[0]) && !dsn_ops_release(&table, number[0]));
    CHECK(dsn_ops_release(&table, number[0]) && table.used == 1);
    struct dsn_ops other = {.ops = DSN_OP_DROP};
    CHECK(dsn_ops_intern(&table, &other, &fresh) == number[0] && fresh); /* in its place */
    number[0] = dsn_ops_intern(&table, &there, &fresh);
    CHECK(fresh && number[0] != number[1] && dsn_ops_at(&table, number[0])->egress_id == 1);
    CHECK(dsn_ops_intern(&table, &back, &fresh) == number[1] && !fresh);
    dsn_ops_destroy(&table);
}

int main(void) {
    struct dsn_ops_table table;
    uint32_t number[ROOM];
    bool fresh;
    CHECK(dsn_ops_create(&table, ROOM));
    for (uint32_t i = 0; i < ROOM; i++) {
        struct dsn_ops ops = {.ops = DSN_OP_SEND, .egress_id = i % 250, .mtu = (uint16_t)(i / 250)};
        number[i] = dsn_ops_intern(&table, &ops, &fresh);
        CHECK(number[i] != 0 && fresh && table.used == i + 1);
        CHECK(dsn_ops_intern(&table, &ops, &fresh) == number[i] && !fresh && table.used == i + 1);
    }
    struct dsn_ops more = {.ops = DSN_OP_DROP};
    CHECK(dsn_ops_intern(&table, &more, &fresh) == 0);
    CHECK(!dsn_ops_release(&table, number[7]) && dsn_ops_release(&table, number[7]) && table.used == ROOM - 1);
    CHECK(dsn_ops_intern(&table, &more, &fresh) == number[7] && fresh);
    for (uint32_t i = 0; i < ROOM; i++) {
        if (i == 7)
            continue;
        CHECK(dsn_ops_at(&table, number[i])->egress_id == i % 250 && dsn_ops_at(&table, number[i])->mtu == i / 250);
        CHECK(!dsn_ops_release(&table, number[i]) && dsn_ops_release(&table, number[i]));
    }
    CHECK(dsn_ops_release(&table, number[7]) && table.used == 0);
    dsn_ops_destroy(&table);
    check_seed();
    check_turns();
    return 0;
}
