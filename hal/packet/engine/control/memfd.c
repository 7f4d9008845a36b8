#include "memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Up to this many bytes are copied out instead: to take a mapping away interrupts every CPU that runs a worker. */
#define COPIED ((size_t)64 << 10)

static uint8_t *copy(int fd, size_t size) {
    uint8_t *bytes = malloc(size);
    size_t got = 0;
    while (bytes && got < size) {
        ssize_t some = pread(fd, bytes + got, size - got, (off_t)got);
        if (some <= 0) {
            free(bytes);
            return NULL;
        }
        got += (size_t)some;
    }
    return bytes;
}

static bool corrupt(struct dsn_failure *failure, const char *limit, const char *fix) {
    return dsn_refuse(failure, DSN_CORRUPT, "memfd of the request", "", limit, fix);
}

bool dsn_memfd_map(int fd, size_t least, size_t most, const uint8_t **data, size_t *size, struct dsn_failure *failure) {
    struct stat status;
    struct statfs filesystem;
    int seals = fcntl(fd, F_GET_SEALS);
    bool told = fstat(fd, &status) == 0 && fstatfs(fd, &filesystem) == 0;
    /* Not hugetlbfs: there a page that was never written may fail to appear when it is read. */
    if (!told || seals < 0 || !S_ISREG(status.st_mode) || filesystem.f_type != TMPFS_MAGIC) {
        close(fd);
        return corrupt(failure, "a memfd of ordinary pages", "Make it with memfd_create and MFD_ALLOW_SEALING.");
    }
    if ((seals & SEALS) != SEALS) {
        close(fd);
        return corrupt(failure, "sealed: F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE", "Seal it before it is sent.");
    }
    if ((uint64_t)status.st_size < least || (uint64_t)status.st_size > most) {
        close(fd);
        corrupt(failure, NULL, NULL);
        dsn_limit(failure, "%zu..%zu bytes", least, most);
        return dsn_got(failure, "%lld", (long long)status.st_size);
    }
    *size = (size_t)status.st_size;
    *data = NULL;
    if (*size && *size <= COPIED) {
        *data = copy(fd, *size);
        if (*data == NULL) {
            close(fd);
            return dsn_refuse(failure, DSN_FULL, "memfd of the request", "", "memory to read it", NULL);
        }
    } else if (*size) {
        void *memory = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (memory == MAP_FAILED) {
            close(fd);
            return dsn_refuse(failure, DSN_FULL, "memfd of the request", "", "address space to map it", NULL);
        }
        *data = memory;
    }
    close(fd);
    return true;
}

void dsn_memfd_unmap(const uint8_t *data, size_t size) {
    if (data && size > COPIED)
        munmap((void *)(uintptr_t)data, size);
    else
        free((void *)(uintptr_t)data);
}

bool dsn_bulk_make(struct dsn_bulk *bulk, const char *name, size_t size, struct dsn_failure *failure) {
    *bulk = (struct dsn_bulk){.fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), .size = size};
    /* Allocated now: a page that can't be had later would be a SIGBUS. */
    if (bulk->fd < 0 || (size && fallocate(bulk->fd, 0, 0, (off_t)size) < 0))
        goto refuse;
    if (size) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bulk->fd, 0);
        if (memory == MAP_FAILED)
            goto refuse;
        bulk->data = memory;
    }
    return true;
refuse:
    dsn_refuse(failure, DSN_FULL, "memfd of the answer", "", "memory for it", "Ask for less at once.");
    dsn_got(failure, "%zu bytes: %s", size, strerror(errno));
    dsn_bulk_drop(bulk);
    return false;
}

/* EBUSY: somebody holds one of its pages for a moment, as the kernel does where it moves them. */
static bool seal(int fd, int seals) {
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int tries = 0; fcntl(fd, F_ADD_SEALS, seals) < 0; tries++) {
        if (errno != EBUSY || tries == 20)
            return false;
        (void)nanosleep(&moment, NULL);
    }
    return true;
}

int dsn_bulk_seal(struct dsn_bulk *bulk, size_t used) {
    int fd = bulk->fd;
    if (bulk->data)
        munmap(bulk->data, bulk->size);
    *bulk = (struct dsn_bulk){.fd = -1};
    if (ftruncate(fd, (off_t)used) < 0 || !seal(fd, SEALS | F_SEAL_SEAL)) {
        int failed = errno;
        close(fd);
        errno = failed;
        return -1;
    }
    return fd;
}

void dsn_bulk_drop(struct dsn_bulk *bulk) {
    if (bulk->data)
        munmap(bulk->data, bulk->size);
    if (bulk->fd >= 0)
        close(bulk->fd);
    *bulk = (struct dsn_bulk){.fd = -1};
}

int dsn_bulk_copy(const char *name, const void *bytes, size_t size, struct dsn_failure *failure) {
    struct dsn_bulk bulk;
    if (!dsn_bulk_make(&bulk, name, size, failure))
        return -1;
    if (size)
        memcpy(bulk.data, bytes, size);
    int fd = dsn_bulk_seal(&bulk, size);
    if (fd < 0) {
        int failed = errno;
        dsn_refuse(failure, DSN_FULL, "memfd of the answer", "", "sealed", "Ask again.");
        dsn_got(failure, "%s", strerror(failed));
    }
    return fd;
}
