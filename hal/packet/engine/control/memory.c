#include "memory.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#    define MADV_POPULATE_READ 22
#    define MADV_POPULATE_WRITE 23
#endif

#define PAGE ((uintptr_t)4096)

uint64_t dsn_memory_free(void) {
    return dsn_memory_free_in("/proc", "/sys/fs/cgroup");
}

static bool populate(const void *begin, size_t size, int how) {
    uintptr_t from = (uintptr_t)begin & ~(PAGE - 1), to = ((uintptr_t)begin + size + PAGE - 1) & ~(PAGE - 1);
    int done = 0;
    while (size > 0 && (done = madvise((void *)from, to - from, how)) != 0 && (errno == EAGAIN || errno == EINTR)) {}
    return done == 0 || errno == EINVAL; /* before Linux 5.14 they come when they are touched */
}

bool dsn_memory_take(void *begin, size_t size) {
    return populate(begin, size, MADV_POPULATE_WRITE);
}

bool dsn_memory_read(const void *begin, size_t size) {
    return populate(begin, size, MADV_POPULATE_READ);
}
