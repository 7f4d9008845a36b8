#include "path/budgets.h"

#include "path/flows.h"
#include "path/hash.h"
#include "path/reserve.h"

#include <rte_common.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#define PLACES (DSN_BUDGETS * 2) /* so that half of them stay free */

struct dsn_budgets {
    struct dsn_budget *place;
    uint64_t seed; /* secret */
    _Atomic uint32_t known;
    uint16_t workers;
};

struct dsn_budgets *dsn_budgets_create(uint16_t workers) {
    struct dsn_budgets *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    b->workers = workers;
    b->place = dsn_reserve(PLACES * sizeof(*b->place));
    if (b->place != NULL && getrandom(&b->seed, sizeof(b->seed), 0) == (ssize_t)sizeof(b->seed))
        return b;
    dsn_budgets_destroy(b);
    return NULL;
}

void dsn_budgets_destroy(struct dsn_budgets *b) {
    if (b != NULL && b->place != NULL)
        munmap(b->place, PLACES * sizeof(*b->place));
    free(b);
}

struct dsn_budget *dsn_budget_of(struct dsn_budgets *b, uint64_t vnic) {
    uint64_t name = vnic + 1; /* no vNIC has the highest id */
    uint32_t at = (uint32_t)(dsn_fold64(vnic ^ b->seed, UINT64_C(0x9e3779b97f4a7c15)) % PLACES);
    for (;; at = (at + 1) % PLACES) {
        struct dsn_budget *one = &b->place[at];
        uint64_t found = atomic_load_explicit(&one->name, memory_order_relaxed);
        if (found == name)
            return one;
        if (found != 0)
            continue;
        /* Whoever else looks for it comes to this place too, and places are never free again: there can't be two. */
        if (atomic_load_explicit(&b->known, memory_order_relaxed) >= DSN_BUDGETS)
            return NULL;
        if (atomic_compare_exchange_strong_explicit(&one->name, &found, name, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            atomic_fetch_add_explicit(&b->known, 1, memory_order_relaxed);
            return one;
        }
        if (found == name)
            return one;
    }
}

uint32_t dsn_budget_chunk(const struct dsn_budgets *b, uint32_t limit) {
    uint32_t chunk = limit / (128u * b->workers);
    return chunk < 1 ? 1 : chunk > DSN_CHUNK_MOST ? DSN_CHUNK_MOST : chunk;
}

uint32_t dsn_budget_borrow(struct dsn_budget *budget, unsigned share, uint32_t limit, uint32_t count) {
    uint32_t lent = dsn_budget_lent(budget, share), more;
    do {
        if (lent >= limit)
            return 0;
        more = limit - lent < count ? limit - lent : count;
    } while (!atomic_compare_exchange_weak_explicit(&budget->lent[share], &lent, lent + more, memory_order_relaxed,
                                                    memory_order_relaxed));
    return more;
}

static uint64_t cost_of(uint32_t rate) {
    return rate == 0 ? DSN_SECOND + 1 : (DSN_SECOND + rate - 1) / rate;
}

bool dsn_budget_has_punt(const struct dsn_budget *budget, uint32_t rate, uint64_t now) {
    uint64_t from = atomic_load_explicit(&budget->punts_from, memory_order_relaxed);
    return now > from && RTE_MIN(now - from, DSN_SECOND) >= cost_of(rate);
}

bool dsn_budget_punt(struct dsn_budget *budget, uint32_t rate, uint64_t now) {
    uint64_t cost = cost_of(rate);
    uint64_t from = atomic_load_explicit(&budget->punts_from, memory_order_relaxed), credit;
    do { /* workers' clocks differ a little: one may be behind the latest */
        credit = now <= from ? 0 : now - from < DSN_SECOND ? now - from : DSN_SECOND;
        if (credit < cost)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->punts_from, &from, now - credit + cost,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}
