/* How much memory can be had, as the kernel tells it. */
#include "memory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool read_text(const char *folder, const char *below, const char *name, char *text, size_t size) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s%s/%s", folder, below, name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

/* The number behind a word of a text; 0: it isn't there. */
static uint64_t number_of(const char *text, const char *word) {
    const char *at = strstr(text, word);
    return at != NULL ? strtoull(at + strlen(word), NULL, 10) : 0;
}

static uint64_t number_in(const char *folder, const char *below, const char *name) {
    char text[64];
    if (!read_text(folder, below, name, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
        return UINT64_MAX; /* "max", too */
    return strtoull(text, NULL, 10);
}

/* Of one cgroup: pages of files that nobody uses are given back when they are needed. */
static uint64_t left_in(const char *root, const char *group, const char *most, const char *used, const char *idle) {
    static char text[8192];
    uint64_t limit = number_in(root, group, most), now = number_in(root, group, used), back = 0;
    if (limit == UINT64_MAX || now == UINT64_MAX)
        return UINT64_MAX;
    if (read_text(root, group, "memory.stat", text, sizeof(text)))
        back = number_of(text, idle);
    now -= back < now ? back : now;
    return limit > now ? limit - now : 0;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Of the cgroup and of all above it. */
static uint64_t left_up(const char *root, char *group, bool second) {
    uint64_t left = UINT64_MAX;
    for (;;) {
        left = least(left, second ? left_in(root, group, "memory.max", "memory.current", "\ninactive_file ")
                                  : left_in(root, group, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                            "\ntotal_inactive_file "));
        char *end = strrchr(group, '/');
        if (end == NULL)
            return left;
        *end = 0;
    }
}

uint64_t dsn_memory_free_in(const char *proc, const char *cgroups) {
    static char text[8192];
    char group[PATH_MAX], first[PATH_MAX];
    uint64_t left = UINT64_MAX;
    if (read_text(proc, "", "meminfo", text, sizeof(text)) && strstr(text, "\nMemAvailable:"))
        left = (number_of(text, "\nMemAvailable:") + number_of(text, "\nSwapFree:")) << 10;
    if (!read_text(proc, "/self", "cgroup", text, sizeof(text)))
        return left;
    for (const char *line = text; line[0] != 0; line += strcspn(line, "\n"), line += line[0] == '\n') {
        if (sscanf(line, "0::%4095[^\n]", group) == 1)
            left = least(left, left_up(cgroups, group, true));
        else if (sscanf(line, "%*u:memory:%4095[^\n]", group) == 1 &&
                 snprintf(first, sizeof(first), "%s/memory", cgroups) < (int)sizeof(first))
            left = least(left, left_up(first, group, false));
    }
    return left;
}
