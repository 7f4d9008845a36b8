/* Errors on their way to whoever asked: a kind of the contract, and the place, limit and fix that Python makes a
 * sentence of (hal/errors.py). */
#ifndef DSN_ERROR_H
#define DSN_ERROR_H

#include "wire.h"

#include <stdbool.h>

enum dsn_kind {
    DSN_INVALID = 1,
    DSN_BUSY,
    DSN_FULL,
    DSN_STALE,
    DSN_TIMEOUT,
    DSN_DENIED,
    DSN_CORRUPT,
    DSN_LOST,
    DSN_UNSUPPORTED,
};

struct dsn_failure {
    uint16_t kind; /* 0: none */
    struct dsn_error error;
};

/* Both begin an error anew and are false, so that a check ends with `return dsn_refuse(...)`. NULL: left empty. */
bool dsn_refuse(struct dsn_failure *failure, enum dsn_kind kind, const char *what, const char *field, const char *limit,
                const char *fix);
/* About a row: what is "table NAME"; row is its index in the array that was handed in, or -1. */
bool dsn_refuse_row(struct dsn_failure *failure, enum dsn_kind kind, int table, int64_t row, uint64_t id,
                    const char *field, const char *limit, const char *fix);

/* What was there instead, and a limit that is made of numbers; both false. */
bool dsn_got(struct dsn_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool dsn_limit(struct dsn_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
