/* Commits without sockets: rows into sections, and a commit's way through both copies, step by step. */
#ifndef DSN_CONTROL_TESTS_COMMITS_H
#define DSN_CONTROL_TESTS_COMMITS_H

#include "control/transaction.h"
#include "path/tests/check.h"

#define MOST_ROWS 65536 /* rows of a commit, of 96 bytes */
#define MOST_PARTS 64

static struct {
    struct dsn_section section[MOST_PARTS];
    uint8_t data[MOST_ROWS * 96];
} request;
static struct dsn_transaction transaction;
static size_t filled;

static void begin(void) {
    memset(&transaction, 0, sizeof(transaction));
    transaction.head.base = UINT64_MAX;
    filled = 0;
}

/* Room for so many rows, or ids. */
static void *section(unsigned kind, enum dsn_table_number table, uint32_t count) {
    uint32_t number = transaction.head.sections++;
    CHECK(number < MOST_PARTS);
    uint32_t stride = kind == DSN_DELETE ? 8 : dsn_table_desc[table].action[0].size;
    CHECK(filled + (size_t)count * stride <= sizeof(request.data));
    uint8_t *at = request.data + filled;
    request.section[number] = (struct dsn_section){
        .kind = (uint16_t)kind,
        .table = (uint16_t)table,
        .count = count,
        .stride = stride,
        .offset = (uint64_t)(at - (uint8_t *)&request),
    };
    memset(at, 0, (size_t)count * stride);
    filled += (size_t)count * stride;
    return at;
}

static bool build(struct dsn_tables *tables, struct dsn_failure *failure) {
    memset(failure, 0, sizeof(*failure));
    transaction.data = (const uint8_t *)&request;
    transaction.size = sizeof(request);
    transaction.section = request.section;
    return dsn_transaction_build(&transaction, tables, failure);
}

/* What was built becomes live; the other copy follows, unless it is told to wait. */
static void make(struct dsn_tables *tables, bool follow) {
    struct dsn_root *made = tables->idle;
    tables->idle = tables->live;
    tables->live = made;
    dsn_transaction_made(&transaction, tables);
    if (follow)
        dsn_transaction_follow(&transaction, tables);
}

static void end(void) {
    dsn_transaction_reset(&transaction);
}

/* A commit that has to be taken. */
static void commit(struct dsn_tables *tables) {
    struct dsn_failure failure;
    if (!build(tables, &failure))
        fprintf(stderr, "refused: %s %s %s\n", failure.error.what, failure.error.field, failure.error.limit);
    CHECK(failure.kind == 0);
    make(tables, true);
    end();
}

#endif
