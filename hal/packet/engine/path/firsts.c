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

static struct dsn_firsts_of *of(struct dsn_shard *shard, uint32_t queue) {
    return &shard->vnics.state[queue / 2].firsts[queue % 2];
}

/* dsn_whom(), which looks into two tables: more than it costs to refuse one. */
static struct dsn_whom whom_of(struct dsn_shard *shard, const struct dsn_packet *p) {
    uint64_t low;
    if (p->vnic->role != DSN_VNIC_ROLE_UPLINK)
        return (struct dsn_whom){.vnic = p->vnic};
    memcpy(&low, p->key.destination + 8, sizeof(low));
    struct dsn_firsts_whom *kept = &shard->firsts.whom[low * UINT64_C(0x9e3779b97f4a7c15) >> 60];
    _Static_assert(DSN_FIRSTS_WHOM == 16, "four bits");
    if (kept->from != p->vnic || kept->generation != shard->root->generation ||
        memcmp(kept->to, p->key.destination, 16) != 0) {
        *kept = (struct dsn_firsts_whom){
            .generation = shard->root->generation,
            .from = p->vnic,
            .whom = dsn_whom(shard->root, p),
        };
        memcpy(kept->to, p->key.destination, 16);
    }
    return kept->whom;
}

/* 0: no room for its state. */
static uint32_t queue_of(struct dsn_shard *shard, const struct dsn_packet *p, struct dsn_whom whom) {
    uint32_t state = dsn_vnic_state(&shard->vnics, whom.vnic->id);
    return state != 0 ? state * 2 + (p->vnic->role == DSN_VNIC_ROLE_UPLINK) : 0;
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

static void enter_turn(struct dsn_shard *shard, uint32_t queue) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_firsts_of *one = of(shard, queue);
    one->next = 0;
    one->before = f->ring[queue % 2].last;
    if (one->before != 0)
        of(shard, one->before)->next = queue;
    else
        f->ring[queue % 2].turn = queue;
    f->ring[queue % 2].last = queue;
}

static void leave_turn(struct dsn_shard *shard, uint32_t queue) {
    struct dsn_firsts *f = &shard->firsts;
    const struct dsn_firsts_of *one = of(shard, queue);
    if (one->before != 0)
        of(shard, one->before)->next = one->next;
    else
        f->ring[queue % 2].turn = one->next;
    if (one->next != 0)
        of(shard, one->next)->before = one->before;
    else
        f->ring[queue % 2].last = one->before;
}

/* Behind all others of its queue, which is last in turn if it had none. */
static void enter(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_first *one = &f->first[number];
    struct dsn_firsts_of *queue = of(shard, one->queue);
    uint32_t *head = head_of(f, one->hash);
    one->chain = *head;
    *head = number;
    one->before = queue->tail;
    if (queue->tail != 0)
        f->first[queue->tail].next = number;
    else
        enter_turn(shard, one->queue);
    if (queue->head == 0)
        queue->head = number;
    queue->tail = number;
}

enum dsn_reason_number dsn_firsts_put(struct dsn_shard *shard, const struct dsn_packet *p) {
    struct dsn_firsts *f = &shard->firsts;
    uint32_t before = dsn_firsts_find(f, &p->key, p->hash);
    struct dsn_whom whom = whom_of(shard, p);
    uint32_t queue = before != 0 ? f->first[before].queue : queue_of(shard, p, whom);
    if (queue == 0 || of(shard, queue)->count >= dsn_firsts_most(f, queue % 2) ||
        (before != 0 && f->first[before].count >= DSN_FIRSTS_SAME)) {
        dsn_firsts_are_limited(shard, whom);
        return DSN_REASON_FIRST_PACKET_LIMIT;
    }
    uint32_t number = place(f);
    f->first[number] = (struct dsn_first){
        .key = p->key,
        .hash = p->hash,
        .mbuf = p->mbuf,
        .queue = queue,
        .count = 1,
        .fragment = p->fragment,
    };
    f->count++;
    f->by_uplinks += queue % 2;
    of(shard, queue)->count++;
    of(shard, queue)->fragments += p->fragment;
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

/* Out of the hash and out of its queue, whose turns end if it was all it had. */
static void leave(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_first *one = &f->first[number];
    struct dsn_firsts_of *queue = of(shard, one->queue);
    uint32_t *link = head_of(f, one->hash);
    while (*link != number)
        link = &f->first[*link].chain;
    *link = one->chain;
    if (one->before != 0) /* where replies were met it isn't the first */
        f->first[one->before].next = one->next;
    else
        queue->head = one->next;
    if (one->next != 0)
        f->first[one->next].before = one->before;
    else
        queue->tail = one->before;
    if (queue->head == 0)
        leave_turn(shard, one->queue);
}

struct rte_mbuf *dsn_firsts_take(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    struct dsn_first *one = &f->first[number];
    struct dsn_firsts_of *queue = of(shard, one->queue);
    struct rte_mbuf *mbuf = one->mbuf;
    uint32_t behind = one->same;
    f->count--;
    f->by_uplinks -= one->queue % 2;
    queue->count--;
    queue->fragments -= one->fragment;
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

bool dsn_firsts_have_fragments(struct dsn_shard *shard, const struct dsn_packet *p) {
    uint32_t queue = queue_of(shard, p, whom_of(shard, p));
    return queue != 0 && of(shard, queue)->fragments > 0;
}

uint32_t dsn_firsts_next(struct dsn_shard *shard) {
    struct dsn_firsts *f = &shard->firsts;
    f->latest = f->ring[!f->latest].turn != 0 ? !f->latest : f->latest;
    uint32_t queue = f->ring[f->latest].turn;
    if (f->ring[f->latest].last != queue) {
        leave_turn(shard, queue);
        enter_turn(shard, queue);
    }
    return of(shard, queue)->head;
}
