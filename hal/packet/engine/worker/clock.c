#include "worker.h"

#include <rte_cycles.h>
#include <time.h>

#define SHIFT 32

/* Each thread keeps a pair of TSC and time that belong together and renews it from the kernel after a millisecond:
 * what the TSC's frequency is wrong by, and what the kernel slews, comes to less than a microsecond in that. */
static __thread struct {
    uint64_t tsc, ns, last, renew, scale; /* scale: ns a tick, SHIFT bits behind the point */
} clock_of;

static uint64_t renew(void) {
    struct timespec now;
    uint64_t hz = rte_get_tsc_hz();
    clock_gettime(CLOCK_BOOTTIME, &now);
    clock_of.tsc = rte_rdtsc();
    clock_of.ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    clock_of.renew = hz / 1000;
    clock_of.scale = hz != 0 ? (UINT64_C(1000000000) << SHIFT) / hz : 0;
    return clock_of.ns;
}

uint64_t dsn_now_ns(void) {
    /* A TSC behind the pair's (another CPU's, a resume) is a large number here. */
    uint64_t ticks = rte_rdtsc() - clock_of.tsc;
    uint64_t now = ticks < clock_of.renew ? clock_of.ns + (ticks * clock_of.scale >> SHIFT) : renew();
    if (now < clock_of.last)
        return clock_of.last;
    clock_of.last = now;
    return now;
}
