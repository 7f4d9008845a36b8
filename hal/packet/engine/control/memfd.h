/* Bulk data in memfds: those handed in are sealed or refused, those handed out are sealed. */
#ifndef DSN_MEMFD_H
#define DSN_MEMFD_H

#include "error.h"

#include <stddef.h>

/* What a client sent, read-only: mapped, or copied if it is little. Takes fd. False: not a memfd, not sealed against
 * change, smaller than `least` or larger than `most`. Pages that were never written may be mapped too: touch no more
 * than the request accounts for. */
bool dsn_memfd_map(int fd, size_t least, size_t most, const uint8_t **data, size_t *size, struct dsn_failure *failure);
void dsn_memfd_unmap(const uint8_t *data, size_t size);

/* One to hand out: made with room for `size` bytes at `data` (NULL for 0), then sealed to `used` bytes and returned. */
struct dsn_bulk {
    int fd;
    uint8_t *data;
    size_t size;
};
bool dsn_bulk_make(struct dsn_bulk *bulk, const char *name, size_t size, struct dsn_failure *failure);
int dsn_bulk_seal(struct dsn_bulk *bulk, size_t used);
void dsn_bulk_drop(struct dsn_bulk *bulk);
/* A sealed copy of bytes, or -1. */
int dsn_bulk_copy(const char *name, const void *bytes, size_t size, struct dsn_failure *failure);

#endif
