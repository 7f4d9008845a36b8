#include "path/firsts.h"

#include "path/run.h"

#include <stdlib.h>

#define HEADS (DSN_FIRSTS_WAITING * 2)

bool dsn_firsts_create(struct dsn_firsts *f) {
    *f = (struct dsn_firsts){
        .first = calloc(DSN_FIRSTS_WAITING + 1, sizeof(*f->first)),
        .head = calloc(HEADS, sizeof(*f->head)),
    };
    if (f->first != NULL && f->head != NULL)
        return true;
    dsn_firsts_destroy(f);
    return false;
}

void dsn_firsts_destroy(struct dsn_firsts *f) {
    for (uint32_t number = 1; f->first != NULL && number <= f->high; number++)
        rte_pktmbuf_free(f->first[number].mbuf); /* NULL in free places */
    free(f->first);
    free(f->head);
    *f = (struct dsn_firsts){0};
}

static uint32_t *head_of(const struct dsn_firsts *f, uint64_t hash) {
    return &f->head[hash % HEADS];
}

static struct dsn_firsts_of *of(struct dsn_shard *shard, uint32_t state) {
    return &shard->vnics.state[state].firsts;
}

uint32_t dsn_firsts_find(const struct dsn_firsts *f, const struct dsn_flow_key *key, uint64_t hash) {
    uint32_t number = *head_of(f, hash);
    while (number != 0 && !dsn_key_equal(&f->first[number].key, key))
        number = f->first[number].chain;
    return number;
}

static uint32_t place(struct dsn_firsts *f) {
    uint32_t number = f->free;
    if (number == 0)
        return ++f->high;
    f->free = f->first[number].next;
    return number;
}

static void give(struct dsn_firsts *f, uint32_t number) {
    f->first[number] = (struct dsn_first){.next = f->free};
    f->free = number;
}

static void enter_turn(struct dsn_shard *shard, uint32_t state) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_firsts_of *vnic = of(shard, state);
    vnic->next = 0;
    vnic->before = f->last;
    if (f->last != 0)
        of(shard, f->last)->next = state;
    else
        f->turn = state;
    f->last = state;
}

static void leave_turn(struct dsn_shard *shard, uint32_t state) {
    struct dsn_firsts *f = &shard->firsts;
    const struct dsn_firsts_of *vnic = of(shard, state);
    if (vnic->before != 0)
        of(shard, vnic->before)->next = vnic->next;
    else
        f->turn = vnic->next;
    if (vnic->next != 0)
        of(shard, vnic->next)->before = vnic->before;
    else
        f->last = vnic->before;
}

/* Behind all others of its vNIC, which is last in turn if it had none. */
static void enter(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_first *one = &f->first[number];
    struct dsn_firsts_of *vnic = of(shard, one->state);
    uint32_t *head = head_of(f, one->hash);
    one->chain = *head;
    *head = number;
    one->before = vnic->tail;
    if (vnic->tail != 0)
        f->first[vnic->tail].next = number;
    else
        enter_turn(shard, one->state);
    if (vnic->head == 0)
        vnic->head = number;
    vnic->tail = number;
}

enum dsn_reason_number dsn_firsts_put(struct dsn_shard *shard, const struct dsn_packet *p) {
    struct dsn_firsts *f = &shard->firsts;
    uint32_t before = dsn_firsts_find(f, &p->key, p->hash), room = DSN_FIRSTS_WAITING - f->count;
    uint32_t state = before != 0 ? f->first[before].state : dsn_vnic_state(&shard->vnics, p->vnic->id);
    /* As many as there is room left for others: however many flood, who comes behind them finds some. */
    if (state == 0 || of(shard, state)->count >= RTE_MIN(room, DSN_FIRSTS_EACH) ||
        (before != 0 && f->first[before].count >= DSN_FIRSTS_SAME)) {
        dsn_firsts_are_limited(shard, p->vnic);
        return DSN_REASON_FIRST_PACKET_LIMIT;
    }
    uint32_t number = place(f);
    f->first[number] = (struct dsn_first){
        .key = p->key,
        .hash = p->hash,
        .mbuf = p->mbuf,
        .state = state,
        .count = 1,
        .fragment = p->fragment,
    };
    f->count++;
    of(shard, state)->count++;
    of(shard, state)->fragments += p->fragment;
    if (shard->config.workers == 1) /* with several it says how it was handed over */
        p->mbuf->hash.fdir.hi = DSN_HANDED_PLAIN;
    if (before == 0) {
        enter(shard, number);
        return DSN_PASSED;
    }
    struct dsn_first *oldest = &f->first[before];
    if (oldest->same == 0)
        oldest->same = number;
    else
        f->first[oldest->last].next = number;
    oldest->last = number;
    oldest->count++;
    return DSN_PASSED;
}

/* Out of the hash and out of its vNIC's queue, whose turns end if it was all it had. */
static void leave(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_first *one = &f->first[number];
    struct dsn_firsts_of *vnic = of(shard, one->state);
    uint32_t *link = head_of(f, one->hash);
    while (*link != number)
        link = &f->first[*link].chain;
    *link = one->chain;
    if (one->before != 0) /* where replies were met it isn't the first */
        f->first[one->before].next = one->next;
    else
        vnic->head = one->next;
    if (one->next != 0)
        f->first[one->next].before = one->before;
    else
        vnic->tail = one->before;
    if (vnic->head == 0)
        leave_turn(shard, one->state);
}

struct rte_mbuf *dsn_firsts_take(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_first *one = &f->first[number];
    struct dsn_firsts_of *vnic = of(shard, one->state);
    struct rte_mbuf *mbuf = one->mbuf;
    uint32_t behind = one->same;
    f->count--;
    vnic->count--;
    vnic->fragments -= one->fragment;
    if (behind == 0) {
        leave(shard, number);
        give(f, number);
        return mbuf;
    }
    const struct dsn_first *next = &f->first[behind];
    one->mbuf = next->mbuf;
    one->fragment = next->fragment;
    one->same = next->next;
    one->count--;
    give(f, behind);
    return mbuf;
}

uint32_t dsn_firsts_next(struct dsn_shard *shard) {
    struct dsn_firsts *f = &shard->firsts;
    uint32_t state = f->turn;
    if (f->last != state) {
        leave_turn(shard, state);
        enter_turn(shard, state);
    }
    return of(shard, state)->head;
}
