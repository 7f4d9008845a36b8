#include "common.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

bool dsn_arena_create(struct dsn_arena *arena, size_t bytes) {
    /* Mapped, not from the heap: nothing has touched its pages yet. A sanitizer that watches a heap touches an eighth
     * of every block at its begin and at its end, which for a few hundred megabytes is most of an engine's start. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    *arena = (struct dsn_arena){.raw = memory, .size = whole + page, .next = memory + whole - dsn_arena_size(bytes)};
    if (mprotect(memory + whole, page, PROT_NONE) == 0)
        return true;
    dsn_arena_destroy(arena);
    return false;
}

void *dsn_arena_take(struct dsn_arena *arena, size_t bytes) {
    uint8_t *block = arena->next;
    arena->next += dsn_arena_size(bytes);
    return block;
}

void dsn_arena_destroy(struct dsn_arena *arena) {
    if (arena->raw != NULL)
        munmap(arena->raw, arena->size);
    *arena = (struct dsn_arena){0};
}

void dsn_match_seed(uint64_t seed[DSN_MATCH_SEEDS]) {
    if (getrandom(seed, DSN_MATCH_SEEDS * sizeof(*seed), 0) != (ssize_t)(DSN_MATCH_SEEDS * sizeof(*seed))) {
        /* Never seen on Linux for so few bytes. Guessable seeds cost time, not correctness. */
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t mixed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30 ^ (uint64_t)getpid() << 50;
        for (unsigned i = 0; i < DSN_MATCH_SEEDS; i++)
            seed[i] = mixed = dsn_fold(mixed ^ 0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u + i);
    }
    for (unsigned i = 0; i < DSN_MATCH_SEEDS; i++)
        seed[i] |= 1; /* a factor of 0 would lose the other one */
}

void dsn_map_remove(struct dsn_map *map, uint32_t key) {
    uint32_t hole = (uint32_t)(dsn_map_find(map, key) - map->cell);
    uint32_t at = hole;
    for (;;) {
        at = at + 1 == map->cells ? 0 : at + 1;
        uint64_t cell = map->cell[at];
        if (cell == 0)
            break;
        /* It may fill the hole if its home doesn't lie behind the hole, seen around the end. */
        uint32_t home = dsn_map_home(map, (uint32_t)(cell >> 32));
        uint32_t reach = at >= home ? at - home : at + map->cells - home;
        uint32_t gap = at >= hole ? at - hole : at + map->cells - hole;
        if (reach >= gap) {
            map->cell[hole] = cell;
            hole = at;
        }
    }
    map->cell[hole] = 0;
}
