#include "error.h"

#include "schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool dsn_refuse(struct dsn_failure *failure, enum dsn_kind kind, const char *what, const char *field, const char *limit,
                const char *fix) {
    struct dsn_error *error = &failure->error;
    memset(error, 0, sizeof(*error));
    failure->kind = (uint16_t)kind;
    error->table = error->row = -1;
    error->id = DSN_NONE_ID;
    snprintf(error->what, sizeof(error->what), "%s", what ? what : "");
    snprintf(error->field, sizeof(error->field), "%s", field ? field : "");
    snprintf(error->limit, sizeof(error->limit), "%s", limit ? limit : "");
    snprintf(error->fix, sizeof(error->fix), "%s", fix ? fix : "");
    return false;
}

bool dsn_refuse_row(struct dsn_failure *failure, enum dsn_kind kind, int table, int64_t row, uint64_t id,
                    const char *field, const char *limit, const char *fix) {
    char what[64];
    snprintf(what, sizeof(what), "table %s", dsn_table_desc[table].name);
    dsn_refuse(failure, kind, what, field, limit, fix);
    failure->error.table = table;
    failure->error.row = (int32_t)row;
    failure->error.id = id;
    return false;
}

bool dsn_got(struct dsn_failure *failure, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->error.got, sizeof(failure->error.got), format, arguments);
    va_end(arguments);
    return false;
}

bool dsn_limit(struct dsn_failure *failure, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->error.limit, sizeof(failure->error.limit), format, arguments);
    va_end(arguments);
    return false;
}
