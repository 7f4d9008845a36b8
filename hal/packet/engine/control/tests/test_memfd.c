/* Answers in memfds: what somebody holds a page of for a moment is sealed when he has let it go. */
#include "control/memfd.h"
#include "path/tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 4096

static void *let_go(void *memory) {
    usleep(5000);
    munmap(memory, SIZE);
    return NULL;
}

/* A second writable mapping keeps a memfd from being sealed, with the errno that a page under way has. */
static void *hold(const struct dsn_bulk *bulk) {
    void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bulk->fd, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void sealed_when_it_is_let_go(void) {
    struct dsn_failure failure = {0};
    struct dsn_bulk bulk;
    pthread_t holder;
    CHECK(dsn_bulk_make(&bulk, "test", SIZE, &failure));
    memcpy(bulk.data, "answer", 7);
    CHECK(pthread_create(&holder, NULL, let_go, hold(&bulk)) == 0);
    int fd = dsn_bulk_seal(&bulk, 7);
    pthread_join(holder, NULL);
    char bytes[8] = "";
    CHECK(fd >= 0);
    CHECK((fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_SEAL)) == (F_SEAL_WRITE | F_SEAL_SEAL));
    CHECK(read(fd, bytes, sizeof(bytes)) == 7 && strcmp(bytes, "answer") == 0);
    close(fd);
}

static void refused_while_it_is_held(void) {
    struct dsn_failure failure = {0};
    struct dsn_bulk bulk;
    CHECK(dsn_bulk_make(&bulk, "test", SIZE, &failure));
    void *memory = hold(&bulk);
    CHECK(dsn_bulk_seal(&bulk, 7) < 0 && errno == EBUSY);
    munmap(memory, SIZE);
}

int main(void) {
    sealed_when_it_is_let_go();
    refused_while_it_is_held();
    return 0;
}
