/* Is an array of rows what it must be? Every byte is looked at: whoever sent it isn't trusted. */
#ifndef DSN_CHECK_H
#define DSN_CHECK_H

#include "error.h"
#include "schema.h"

#include <stddef.h>

/* Ranges, padding, bits beyond prefixes, names. False: `failure` tells the first wrong row, and in it the first wrong
 * field in wire order. */
bool dsn_check_rows(int table, unsigned action, const uint8_t *rows, uint32_t count, struct dsn_failure *failure);

/* Text of a fixed field: ended by NUL, NULs behind it, no control characters. */
bool dsn_check_text(const char *text, size_t size);

#endif
