/* Memory for as many as there may ever be: large and zero, and no page of it there before it is used. */
#ifndef DSN_PATH_RESERVE_H
#define DSN_PATH_RESERVE_H

#include <stddef.h>
#include <sys/mman.h>

/* NULL: no memory. munmap() gives it back. */
static inline void *dsn_reserve(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

#endif
