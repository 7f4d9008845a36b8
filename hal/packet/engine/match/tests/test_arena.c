/* Arrays of a match structure lie in one block, all zeros; behind its end nobody reads or writes. */
#include "match/common.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The signal that ends a process which writes there; 0: it may. */
static int end_of_writing(volatile uint8_t *there) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's own handler would end it in another way */
        *there = 1;
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child ? WTERMSIG(status) : -1;
}

int main(void) {
    static const size_t sizes[] = {64, 100, 4096, 3 * 4096 + 64, (size_t)64 << 20};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct dsn_arena arena;
        if (!dsn_arena_create(&arena, 2 * dsn_arena_size(sizes[i]))) {
            puts("no memory");
            return 1;
        }
        uint8_t *first = dsn_arena_take(&arena, sizes[i]), *second = dsn_arena_take(&arena, sizes[i]);
        uint8_t *end = second + dsn_arena_size(sizes[i]);
        if (second < first + sizes[i] || (uintptr_t)first % 64 != 0 || (uintptr_t)second % 64 != 0) {
            printf("%zu bytes: arrays at %p and %p\n", sizes[i], (void *)first, (void *)second);
            return 1;
        }
        for (uint8_t *byte = first; byte < end; byte += 61)
            if (*byte != 0) {
                printf("%zu bytes: not zero\n", sizes[i]);
                return 1;
            }
        int within = end_of_writing(end - 1), behind = end_of_writing(end);
        dsn_arena_destroy(&arena);
        int after = end_of_writing(first);
        if (within != 0 || behind != SIGSEGV || after != SIGSEGV) {
            printf("%zu bytes: writing ends with %d, behind them with %d, after them with %d\n", sizes[i], within,
                   behind, after);
            return 1;
        }
        dsn_arena_destroy(&arena);
    }
    struct dsn_arena none;
    if (dsn_arena_create(&none, SIZE_MAX / 4)) {
        puts("more memory than there is was promised");
        return 1;
    }
    return 0;
}
