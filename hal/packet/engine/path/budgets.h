/* What a vNIC may have in all workers together: connections it opens, connections to it, and punts. One for all shards
 * that share it; none of them ever waits for another.
 *
 * A worker borrows what it needs, a chunk at a time by compare and swap, and gives back what it doesn't: the sum of
 * what is lent never is above the limit. The larger the limit the larger the chunk, so that opening a connection seldom
 * touches what is shared; where a limit is small a chunk is one, and nothing is held without being used.
 *
 * What has ended holds what it was lent. A worker that gets nothing more and has nothing ended of its own asks for it,
 * and who opens a connection while something has ended with him offers what that had. */
#ifndef DSN_PATH_BUDGETS_H
#define DSN_PATH_BUDGETS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DSN_BUDGETS (UINT32_C(1) << 20) /* vNICs that an engine can ever know by id; those behind them: fixed shares */
#define DSN_CHUNK_MOST 64

struct dsn_budget {
    _Atomic uint64_t name;       /* the vNIC's id and 1; 0: free. Set once */
    _Atomic uint32_t lent[2];    /* connections: opened by it, open to it */
    _Atomic uint64_t punts_from; /* when the bucket of punts was empty, or would have been */
    _Atomic uint16_t offered[2]; /* of what is lent: whoever else gets nothing takes it */
    _Atomic uint8_t asking[2];   /* a worker who asks for that, and 1; 0: nobody */
};
_Static_assert(sizeof(struct dsn_budget) == 32, "two in a cache line, none in two");

struct dsn_budgets;

/* For so many shards; NULL: no memory. */
struct dsn_budgets *dsn_budgets_create(uint16_t workers);
void dsn_budgets_destroy(struct dsn_budgets *budgets);

/* That of a vNIC, from now on; NULL: no more are known. */
struct dsn_budget *dsn_budget_of(struct dsn_budgets *budgets, uint64_t vnic);

/* As many as are lent at a time under this limit: a hundred and twenty-eighth of a worker's even part. */
uint32_t dsn_budget_chunk(const struct dsn_budgets *budgets, uint32_t limit);
/* Borrows up to `count` of a share: how many, 0 where all of the limit is lent. */
uint32_t dsn_budget_borrow(struct dsn_budget *budget, unsigned share, uint32_t limit, uint32_t count);
static inline void dsn_budget_return(struct dsn_budget *budget, unsigned share, uint32_t count) {
    atomic_fetch_sub_explicit(&budget->lent[share], count, memory_order_relaxed);
}
/* One more, limit or not: a connection that lives on counts for another vNIC now. */
static inline void dsn_budget_force(struct dsn_budget *budget, unsigned share) {
    atomic_fetch_add_explicit(&budget->lent[share], 1, memory_order_relaxed);
}
static inline uint32_t dsn_budget_lent(const struct dsn_budget *budget, unsigned share) {
    return atomic_load_explicit(&budget->lent[share], memory_order_relaxed);
}
/* A worker asks others for what they have no more use for; and whether one other than this does. */
static inline void dsn_budget_ask(struct dsn_budget *budget, unsigned share, uint16_t worker) {
    if (atomic_load_explicit(&budget->offered[share], memory_order_relaxed) == 0)
        atomic_store_explicit(&budget->asking[share], (uint8_t)(worker + 1), memory_order_relaxed);
}
static inline bool dsn_budget_is_asked(const struct dsn_budget *budget, unsigned share, uint16_t worker) {
    uint8_t who = atomic_load_explicit(&budget->asking[share], memory_order_relaxed);
    return who != 0 && who != worker + 1;
}
/* Of what this worker was lent. Nobody asks any more. */
static inline void dsn_budget_offer(struct dsn_budget *budget, unsigned share, uint32_t count) {
    atomic_store_explicit(&budget->asking[share], 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&budget->offered[share], (uint16_t)count, memory_order_relaxed);
}
/* All that is offered: it is lent to this worker from now on. */
static inline uint32_t dsn_budget_take(struct dsn_budget *budget, unsigned share) {
    return atomic_exchange_explicit(&budget->offered[share], 0, memory_order_relaxed);
}
/* A punt's token, of `rate` a second and as many deep, full at first. */
bool dsn_budget_has_punt(const struct dsn_budget *budget, uint32_t rate, uint64_t now);
bool dsn_budget_punt(struct dsn_budget *budget, uint32_t rate, uint64_t now);

#endif
