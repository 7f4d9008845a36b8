#include "path/flows.h"

#include "path/packet.h"
#include "path/reserve.h"
#include "path/tcp.h"
#include "table.h"

#include <rte_common.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define PLACES DSN_FLOW_PLACES
#define WHEEL_HEAD (UINT32_C(1) << 31)
/* The second that the wheel stands in has slots of its own, behind the others: a record is put there once, and then
 * only those of an eighth of a millisecond are looked at again, however many are due later in that second. */
#define FINE 8000
#define FINE_NS (DSN_SECOND / FINE)

static size_t half_size(const struct dsn_flows *f) {
    return ((size_t)f->capacity + 1) * sizeof(struct dsn_half_link);
}

static size_t heap_size(const struct dsn_flows *f) { /* of shares, each of which has a record at least */
    return ((size_t)f->capacity + 1) * sizeof(struct dsn_half_share);
}

static size_t settled_size(const struct dsn_flows *f) {
    return ((size_t)f->capacity + 1) * sizeof(struct dsn_settled);
}

static size_t windows_size(const struct dsn_flows *f) {
    return ((size_t)f->capacity + 1) * sizeof(struct dsn_windows);
}

bool dsn_flows_create(struct dsn_flows *f, uint32_t capacity) {
    *f = (struct dsn_flows){.capacity = capacity};
    if (capacity == 0 || capacity >= WHEEL_HEAD / 2 ||
        getrandom(f->seed, sizeof(f->seed), 0) != (ssize_t)sizeof(f->seed))
        return false;
    f->buckets = (uint32_t)(((uint64_t)capacity * 2 * 2 + PLACES - 1) / PLACES); /* half full at most */
    f->buckets += f->buckets & 1;                                                /* in pairs */
    f->mapped[0] = ((size_t)capacity + 1) * sizeof(struct dsn_connection);
    f->mapped[1] = (size_t)f->buckets * sizeof(struct dsn_flow_bucket);
    f->mapped[2] = ((size_t)capacity + 1) * sizeof(struct dsn_rest);
    f->connection = dsn_reserve(f->mapped[0]);
    f->bucket = dsn_reserve(f->mapped[1]);
    f->rest = dsn_reserve(f->mapped[2]);
    f->settled = dsn_reserve(settled_size(f));
    f->windows = dsn_reserve(windows_size(f));
    f->wheel = calloc(1, sizeof(*f->wheel) + (DSN_WHEEL_SLOTS + FINE) * sizeof(f->wheel->slot[0]));
    if (f->wheel != NULL) {
        f->wheel->half.link = dsn_reserve(half_size(f));
        f->wheel->half.heap = dsn_reserve(heap_size(f));
        f->wheel->ended.heap = dsn_reserve(heap_size(f));
    }
    if (f->wheel == NULL || f->wheel->half.link == NULL || f->wheel->half.heap == NULL ||
        f->wheel->ended.heap == NULL || f->connection == NULL || f->bucket == NULL || f->settled == NULL ||
        f->rest == NULL || f->windows == NULL) {
        dsn_flows_destroy(f);
        return false;
    }
    /* Random places in many pages: with small ones each would be a miss of the TLB too. */
    (void)madvise(f->connection, f->mapped[0], MADV_HUGEPAGE);
    (void)madvise(f->bucket, f->mapped[1], MADV_HUGEPAGE);
    (void)madvise(f->rest, f->mapped[2], MADV_HUGEPAGE);
    (void)madvise(f->wheel->half.link, half_size(f), MADV_HUGEPAGE);
    (void)madvise(f->windows, windows_size(f), MADV_HUGEPAGE);
    return true;
}

void dsn_flows_destroy(struct dsn_flows *f) {
    if (f->connection != NULL)
        munmap(f->connection, f->mapped[0]);
    if (f->bucket != NULL)
        munmap(f->bucket, f->mapped[1]);
    if (f->settled != NULL)
        munmap(f->settled, settled_size(f));
    if (f->windows != NULL)
        munmap(f->windows, windows_size(f));
    if (f->rest != NULL)
        munmap(f->rest, f->mapped[2]);
    if (f->wheel != NULL && f->wheel->half.link != NULL)
        munmap(f->wheel->half.link, half_size(f));
    if (f->wheel != NULL && f->wheel->half.heap != NULL)
        munmap(f->wheel->half.heap, heap_size(f));
    if (f->wheel != NULL && f->wheel->ended.heap != NULL)
        munmap(f->wheel->ended.heap, heap_size(f));
    free(f->wheel);
    *f = (struct dsn_flows){0};
}

#ifndef MADV_POPULATE_WRITE
#    define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define WARM_MOST ((size_t)1 << 30) /* a second or so */

#define WARM_AT_ONCE ((size_t)8 << 20) /* some milliseconds; ten times a second that is faster than connections come */

static size_t half_of_what_is_free(void) {
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages / 2 * (size_t)page : 0;
}

static size_t whole_pages(size_t size) {
    return size & ~((size_t)sysconf(_SC_PAGESIZE) - 1);
}

void dsn_flows_warm(struct dsn_flows *f) {
    void *const memory[] = {f->bucket, f->connection, f->rest, f->settled, f->wheel->half.link};
    const size_t size[] = {f->mapped[1], f->mapped[0], f->mapped[2], settled_size(f), half_size(f)};
    size_t left = half_of_what_is_free();
    left = RTE_MIN(left, WARM_MOST);
    for (unsigned i = 0; i < RTE_DIM(memory); i++) {
        size_t some = whole_pages(RTE_MIN(size[i], left));
        if (some > 0)
            (void)madvise(memory[i], some, MADV_POPULATE_WRITE); /* an older kernel does it packet by packet */
        left -= some;
    }
}

void dsn_flows_warm_windows(struct dsn_flows *f) {
    struct dsn_wheel *wheel = f->wheel;
    size_t most = RTE_MIN(windows_size(f), WARM_MOST);
    if (wheel->warm >= whole_pages(most) || !atomic_load_explicit(&wheel->has_tcp, memory_order_relaxed))
        return;
    size_t some = whole_pages(RTE_MIN(most - wheel->warm, WARM_AT_ONCE));
    if (some > half_of_what_is_free())
        return;
    (void)madvise((uint8_t *)f->windows + wheel->warm, some, MADV_POPULATE_WRITE);
    wheel->warm += some;
}

/* The buckets that an entry may stand in, in order: its home, the other one of that pair, the next pairs. */
static inline uint32_t next(const struct dsn_flows *f, uint32_t home, uint32_t bucket) {
    if (bucket == home)
        return home ^ 1;
    if (bucket == (home ^ 1))
        bucket = home | 1;
    return bucket + 1 == f->buckets ? 0 : bucket + 1;
}

uint32_t dsn_flows_find(const struct dsn_flows *f, const struct dsn_flow_key *key, uint64_t hash) {
    uint32_t home = dsn_flow_home(f, hash), at = home;
    for (uint32_t n = 0; n < f->buckets; n++, at = next(f, home, at)) {
        const struct dsn_flow_bucket *bucket = &f->bucket[at];
        for (uint32_t places = dsn_with_tag(bucket, (uint16_t)hash); places; places &= places - 1) {
            uint32_t ref = bucket->ref[__builtin_ctz(places)];
            if (ref != 0 && dsn_key_equal(&dsn_ref_line(f, ref)->key, key))
                return ref;
        }
        if (bucket->passed == 0)
            break;
    }
    return 0;
}

void dsn_flows_enter(struct dsn_flows *f, uint32_t ref, uint64_t hash) {
    uint32_t home = dsn_flow_home(f, hash);
    for (uint32_t at = home;; at = next(f, home, at)) {
        struct dsn_flow_bucket *bucket = &f->bucket[at];
        uint32_t places = dsn_with_ref(bucket, 0);
        if (likely(places != 0)) {
            unsigned i = (unsigned)__builtin_ctz(places);
            bucket->ref[i] = ref;
            bucket->tag[i] = (uint16_t)hash;
            return;
        }
        bucket->passed++;
    }
}

void dsn_flows_leave(struct dsn_flows *f, uint32_t ref) {
    uint64_t hash = dsn_flows_hash(f, &dsn_ref_line(f, ref)->key);
    uint32_t home = dsn_flow_home(f, hash), at = home;
    for (uint32_t n = 0; n < f->buckets; n++, at = next(f, home, at)) {
        struct dsn_flow_bucket *bucket = &f->bucket[at];
        uint32_t places = dsn_with_ref(bucket, ref);
        if (likely(places != 0)) {
            unsigned i = (unsigned)__builtin_ctz(places);
            bucket->ref[i] = 0;
            bucket->tag[i] = 0;
            return;
        }
        bucket->passed--;
    }
}

uint32_t dsn_flows_take(struct dsn_flows *f) {
    uint32_t number = f->free;
    if (number != 0)
        f->free = f->rest[number].wheel_next;
    else if (f->high < f->capacity)
        number = ++f->high;
    else
        return 0;
    f->used++;
    memset(&f->connection[number], 0, sizeof(f->connection[number]));
    memset(&f->rest[number], 0, sizeof(f->rest[number]));
    return number;
}

void dsn_flows_give(struct dsn_flows *f, uint32_t number) {
    struct dsn_connection *c = &f->connection[number];
    /* A burst may hold a reference to a line: without op list and key it fits no packet. */
    *dsn_line(c, 0) = *dsn_line(c, 1) = (struct dsn_line){0};
    f->settled[number] = (struct dsn_settled){0};
    f->rest[number].wheel_next = f->free;
    f->free = number;
    f->used--;
}

void dsn_flows_prefetch_free(const struct dsn_flows *f) {
    uint32_t number = f->free != 0 ? f->free : f->high + 1;
    if (number > f->capacity)
        return;
    const uint8_t *record = (const uint8_t *)&f->connection[number];
    for (unsigned line = 0; line < sizeof(struct dsn_connection); line += 64)
        rte_prefetch0(record + line);
    rte_prefetch0(&f->rest[number]);
    rte_prefetch0(&f->wheel->half.link[number]);
}

static uint64_t deadline_of(const struct dsn_flows *f, const struct dsn_connection *c) {
    return c->session.last_ns + dsn_timeout_ns(f, c);
}

static void link_in(struct dsn_flows *f, uint32_t number, uint32_t slot) {
    struct dsn_rest *rest = &f->rest[number];
    rest->wheel_next = f->wheel->slot[slot];
    rest->wheel_previous = WHEEL_HEAD | slot;
    if (rest->wheel_next != 0)
        f->rest[rest->wheel_next].wheel_previous = number;
    f->wheel->slot[slot] = number;
}

void dsn_flows_disarm(struct dsn_flows *f, uint32_t number) {
    struct dsn_rest *rest = &f->rest[number];
    if (rest->wheel_previous == 0)
        return;
    if (rest->wheel_previous & WHEEL_HEAD)
        f->wheel->slot[rest->wheel_previous & ~WHEEL_HEAD] = rest->wheel_next;
    else
        f->rest[rest->wheel_previous].wheel_next = rest->wheel_next;
    if (rest->wheel_next != 0)
        f->rest[rest->wheel_next].wheel_previous = rest->wheel_previous;
    rest->wheel_next = rest->wheel_previous = 0;
}

/* Where a record that isn't expired belongs. Only those of the second that the wheel stands in are in fine slots. */
static uint32_t slot_of(const struct dsn_flows *f, uint64_t deadline) {
    uint64_t tick = RTE_MAX(deadline / FINE_NS, f->swept), second = tick / FINE, turned = f->swept / FINE;
    if (second == turned)
        return (uint32_t)(DSN_WHEEL_SLOTS + tick % FINE);
    return (uint32_t)(RTE_MIN(second, turned + DSN_WHEEL_SLOTS - 1) % DSN_WHEEL_SLOTS);
}

static void put(struct dsn_flows *f, uint32_t number, uint32_t slot) {
    dsn_flows_disarm(f, number);
    link_in(f, number, slot);
    f->fine |= slot >= DSN_WHEEL_SLOTS;
}

void dsn_flows_arm(struct dsn_flows *f, uint32_t number) {
    uint64_t deadline = deadline_of(f, &f->connection[number]);
    if (f->used == 1) { /* nothing else is in the wheel: no need to turn it through the time that has passed */
        f->swept = f->connection[number].session.last_ns / FINE_NS;
        f->fine = false;
        f->quiet_ns = 0;
    }
    put(f, number, slot_of(f, deadline));
    f->quiet_ns = RTE_MIN(f->quiet_ns, deadline);
}

/* Looks at the records of one slot; those that belong elsewhere are put there. *due: the earliest deadline of the
 * others. */
static uint32_t expired_in(struct dsn_flows *f, uint32_t slot, uint64_t now, uint32_t *budget, uint64_t *due) {
    for (uint32_t number = f->wheel->slot[slot], after; number != 0 && *budget > 0; number = after) {
        const struct dsn_connection *c = &f->connection[number];
        after = f->rest[number].wheel_next;
        --*budget;
        if (dsn_expired(f, c, now))
            return number;
        uint64_t deadline = deadline_of(f, c);
        uint32_t right = slot_of(f, deadline);
        if (right != slot)
            put(f, number, right);
        else
            *due = RTE_MIN(*due, deadline);
    }
    return 0;
}

static uint64_t later(uint64_t generation, const struct dsn_table *table) {
    return RTE_MAX(generation, table->changed);
}

void dsn_flows_use(struct dsn_flows *f, const struct dsn_root *root) {
    struct dsn_wheel *wheel = f->wheel;
    const struct dsn_table *tracking = &root->table[DSN_TABLE_TRACKING];
    uint64_t changed = tracking->changed;
    wheel->root = root;
    if (tracking->used > 0) /* who has which of them may be another one too */
        changed = later(later(changed, &root->table[DSN_TABLE_PROFILE]), &root->table[DSN_TABLE_VNIC]);
    if (changed > wheel->tracked)
        wheel->left =
            f->high; /* all of them, from where it is: a stream of commits mustn't keep it at the first ones */
    wheel->tracked = root->generation;
}

/* Goes on through the records, so that each comes into the slot that its time-out of now says. One that has expired. */
static uint32_t review(struct dsn_flows *f, uint64_t now, uint32_t *budget) {
    struct dsn_wheel *wheel = f->wheel;
    while (wheel->left > 0 && *budget > 0) {
        wheel->review = wheel->review % f->high + 1;
        wheel->left--;
        --*budget;
        const struct dsn_connection *c = &f->connection[wheel->review];
        if (dsn_line(c, 0)->ops == 0)
            continue;
        if (dsn_expired(f, c, now))
            return wheel->review;
        dsn_flows_arm(f, wheel->review);
    }
    return 0;
}

uint32_t dsn_flows_next_expired(struct dsn_flows *f, uint64_t now, uint32_t *budget) {
    uint64_t tick = now / FINE_NS, due = (tick + 1) * FINE_NS;
    if (f->used == 0) {
        f->swept = tick;
        f->fine = false;
        f->quiet_ns = 0;
        f->wheel->left = 0;
        return 0;
    }
    if (unlikely(f->wheel->left > 0)) {
        uint32_t number = review(f, now, budget);
        if (number != 0 || *budget == 0)
            return number;
    }
    if (now < f->quiet_ns)
        return 0;
    if (tick / FINE > f->swept / FINE + DSN_WHEEL_SLOTS)
        f->swept = (tick / FINE - DSN_WHEEL_SLOTS) * FINE; /* one turn passes all, and the fine slots once */
    for (;;) {
        uint32_t number = expired_in(f, (uint32_t)(f->swept / FINE % DSN_WHEEL_SLOTS), now, budget, &due);
        if (number == 0 && *budget > 0 && f->fine)
            number = expired_in(f, (uint32_t)(DSN_WHEEL_SLOTS + f->swept % FINE), now, budget, &due);
        if (number != 0 || *budget == 0)
            return number;
        if (f->swept >= tick)
            break;
        uint64_t next_second = (f->swept / FINE + 1) * FINE;
        f->swept = f->fine ? f->swept + 1 : RTE_MIN(tick, next_second);
        if (f->swept == next_second)
            f->fine = false; /* all have been passed */
    }
    f->quiet_ns = due;
    return 0;
}
