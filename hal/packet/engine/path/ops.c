#include "path/ops.h"

#include "match/common.h"
#include "path/hash.h"
#include "path/reserve.h"

#include <sys/mman.h>

static size_t entry_bytes(const struct dsn_ops_table *t) {
    return ((size_t)t->capacity + 1) * sizeof(*t->entry);
}

static size_t head_bytes(const struct dsn_ops_table *t) {
    return ((size_t)t->mask + 1) * sizeof(*t->head);
}

bool dsn_ops_create(struct dsn_ops_table *t, uint32_t capacity) {
    uint64_t seed[DSN_MATCH_SEEDS];
    uint32_t heads = 64;
    while (heads < capacity && heads < UINT32_C(1) << 30)
        heads *= 2;
    dsn_match_seed(seed);
    *t = (struct dsn_ops_table){.capacity = capacity, .mask = heads - 1, .seed = {seed[0], seed[1]}};
    /* Reserved for the worst case; of which pages most are never touched. */
    t->entry = dsn_reserve(entry_bytes(t));
    t->head = dsn_reserve(head_bytes(t));
    if (t->entry == NULL || t->head == NULL) {
        dsn_ops_destroy(t);
        return false;
    }
    return true;
}

void dsn_ops_destroy(struct dsn_ops_table *t) {
    if (t->entry != NULL)
        munmap(t->entry, entry_bytes(t));
    if (t->head != NULL)
        munmap(t->head, head_bytes(t));
    *t = (struct dsn_ops_table){0};
}

static uint64_t hash_of(const struct dsn_ops_table *t, const struct dsn_ops *ops) {
    uint64_t h = t->seed[0];
    for (unsigned n = 0; n < sizeof(*ops) / 8; n++)
        h = dsn_fold64(h ^ dsn_word(ops, n), t->seed[1] + n);
    return h;
}

static inline bool is_same(const struct dsn_ops *a, const struct dsn_ops *b) {
    uint64_t differ = 0;
    for (unsigned n = 0; n < sizeof(*a) / 8; n++)
        differ |= dsn_word(a, n) ^ dsn_word(b, n);
    return differ == 0;
}

uint32_t dsn_ops_intern(struct dsn_ops_table *t, const struct dsn_ops *ops, bool *fresh) {
    *fresh = false;
    for (unsigned n = 0; n < 2; n++) { /* free ones have no references; the 0th neither */
        struct dsn_ops_entry *entry = &t->entry[t->latest[n]];
        if (entry->references > 0 && is_same(&entry->ops, ops)) {
            entry->references++;
            return t->latest[n];
        }
    }
    uint64_t hash = hash_of(t, ops);
    uint32_t *head = &t->head[hash & t->mask], number;
    t->latest[1] = t->latest[0];
    for (number = *head; number != 0; number = t->entry[number].next) {
        struct dsn_ops_entry *entry = &t->entry[number];
        if (entry->hash == hash && is_same(&entry->ops, ops)) {
            entry->references++;
            return t->latest[0] = number;
        }
    }
    if (t->free != 0) {
        number = t->free;
        t->free = t->entry[number].next;
    } else if (t->high < t->capacity) {
        number = ++t->high;
    } else {
        return 0;
    }
    t->used++;
    t->entry[number] = (struct dsn_ops_entry){.ops = *ops, .references = 1, .next = *head, .hash = hash};
    *head = number;
    *fresh = true;
    return t->latest[0] = number;
}

bool dsn_ops_release(struct dsn_ops_table *t, uint32_t number) {
    struct dsn_ops_entry *entry = &t->entry[number];
    if (--entry->references > 0)
        return false;
    uint32_t *link = &t->head[entry->hash & t->mask];
    while (*link != number)
        link = &t->entry[*link].next;
    *link = entry->next;
    entry->next = t->free;
    t->free = number;
    t->used--;
    return true;
}
