#include "path/neighbour.h"

#include "path/answers.h"
#include "path/reserve.h"
#include "path/shard.h"
#include "path/waiting.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#define TRIES 3
#define AFRESH (60 * DSN_SECOND) /* a confirmation is good for this long */
#define RETRY (10 * DSN_SECOND)  /* between two requests to one that failed */
#define LOCK DSN_SECOND          /* who has answered is where he said he is for this long, whatever others say */
#define MORE_TRIES 5             /* requests to one that failed, before it is forgotten */
#define HEADS (DSN_NEIGHBOURS * 2)
#define HOPS 64 /* next hops with one address that events tell of */

bool dsn_neighbours_create(struct dsn_neighbours *n, uint32_t lists) {
    *n = (struct dsn_neighbours){
        .places = DSN_NEIGHBOURS + lists,
        .mapped = {((size_t)DSN_NEIGHBOURS + lists + 1) * sizeof(*n->neighbour),
                   (DSN_NEIGHBOURS + 1) * sizeof(*n->heap), HEADS * sizeof(*n->head),
                   (DSN_WAITING_MOST + 1) * sizeof(*n->packet)},
    };
    n->neighbour = dsn_reserve(n->mapped[0]);
    n->heap = dsn_reserve(n->mapped[1]);
    n->head = dsn_reserve(n->mapped[2]);
    n->packet = dsn_reserve(n->mapped[3]);
    if (n->neighbour != NULL && n->heap != NULL && n->head != NULL && n->packet != NULL &&
        getrandom(n->seed, sizeof(n->seed), 0) == (ssize_t)sizeof(n->seed))
        return true;
    dsn_neighbours_destroy(n);
    return false;
}

void dsn_neighbours_destroy(struct dsn_neighbours *n) {
    for (uint32_t number = 1; n->packet != NULL && number <= n->packets; number++)
        rte_pktmbuf_free(n->packet[number].mbuf);
    if (n->neighbour != NULL)
        munmap(n->neighbour, n->mapped[0]);
    if (n->heap != NULL)
        munmap(n->heap, n->mapped[1]);
    if (n->head != NULL)
        munmap(n->head, n->mapped[2]);
    if (n->packet != NULL)
        munmap(n->packet, n->mapped[3]);
    *n = (struct dsn_neighbours){0};
}

static uint32_t *head_of(const struct dsn_neighbours *n, uint64_t uplink, const uint8_t address[16]) {
    uint64_t h = dsn_fold64(dsn_word(address, 0) ^ n->seed[0], dsn_word(address, 1) ^ n->seed[1]);
    return &n->head[dsn_fold64(h, uplink ^ n->seed[2]) % HEADS];
}

uint32_t dsn_neighbour_find(const struct dsn_neighbours *n, uint64_t uplink, const uint8_t address[16]) {
    uint32_t number = *head_of(n, uplink, address);
    while (number != 0 &&
           (n->neighbour[number].uplink != uplink || memcmp(n->neighbour[number].address, address, 16) != 0))
        number = n->neighbour[number].next;
    return number;
}

uint32_t dsn_neighbour_place(struct dsn_neighbours *n, uint64_t uplink, const uint8_t address[16]) {
    uint32_t number = dsn_neighbour_find(n, uplink, address);
    if (number != 0)
        return number;
    if (n->free != 0) {
        number = n->free;
        n->free = n->neighbour[number].next;
    } else if (n->high < n->places) {
        number = ++n->high;
    } else {
        return 0;
    }
    uint32_t *head = head_of(n, uplink, address);
    struct dsn_neighbour *one = &n->neighbour[number];
    *one = (struct dsn_neighbour){.uplink = uplink, .next = *head};
    memcpy(one->address, address, 16);
    *head = number;
    return number;
}

/* Its place is free again where nothing needs it. */
static void tidy(struct dsn_neighbours *n, uint32_t number) {
    struct dsn_neighbour *one = &n->neighbour[number];
    if (one->state != DSN_NEIGHBOUR_NONE || one->references > 0)
        return;
    uint32_t *link = head_of(n, one->uplink, one->address);
    while (*link != number)
        link = &n->neighbour[*link].next;
    *link = one->next;
    one->next = n->free;
    n->free = number;
}

void dsn_neighbour_hold(struct dsn_neighbours *n, uint32_t number) {
    n->neighbour[number].references++;
}

void dsn_neighbour_let_go(struct dsn_neighbours *n, uint32_t number) {
    n->neighbour[number].references--;
    tidy(n, number);
}

/* --- timers: a heap by due time, then uplink, then address --- */

static bool is_before(const struct dsn_neighbour *a, const struct dsn_neighbour *b) {
    if (a->due != b->due)
        return a->due < b->due;
    return a->uplink != b->uplink ? a->uplink < b->uplink : memcmp(a->address, b->address, 16) < 0;
}

static void set_place(struct dsn_neighbours *n, uint32_t place, uint32_t number) {
    n->heap[place] = number;
    n->neighbour[number].heap = place;
}

static void rise(struct dsn_neighbours *n, uint32_t place, uint32_t number) {
    for (; place > 1 && is_before(&n->neighbour[number], &n->neighbour[n->heap[place / 2]]); place /= 2)
        set_place(n, place, n->heap[place / 2]);
    set_place(n, place, number);
}

static void sink(struct dsn_neighbours *n, uint32_t place, uint32_t number) {
    for (uint32_t child; (child = place * 2) <= n->timers; place = child) {
        if (child < n->timers && is_before(&n->neighbour[n->heap[child + 1]], &n->neighbour[n->heap[child]]))
            child++;
        if (!is_before(&n->neighbour[n->heap[child]], &n->neighbour[number]))
            break;
        set_place(n, place, n->heap[child]);
    }
    set_place(n, place, number);
}

static void set_timer(struct dsn_neighbours *n, uint32_t number, uint64_t due) {
    struct dsn_neighbour *one = &n->neighbour[number];
    one->due = due;
    if (one->heap == 0)
        set_place(n, ++n->timers, number);
    rise(n, one->heap, number);
    sink(n, one->heap, number);
}

static void clear_timer(struct dsn_neighbours *n, uint32_t number) {
    uint32_t place = n->neighbour[number].heap, last = n->heap[n->timers--];
    n->neighbour[number].heap = 0;
    if (last == number)
        return;
    set_place(n, place, last);
    rise(n, place, last);
    sink(n, n->neighbour[last].heap, last);
}

/* --- what becomes of one --- */

static void ask(struct dsn_shard *shard, const struct dsn_neighbour *one) {
    const struct dsn_vnic *uplink = dsn_vnic_by_id(shard->root, one->uplink);
    if (uplink != NULL)
        dsn_ask_neighbour(shard, uplink, one->address);
}

/* Only next hops are asked about when connections are decided: what becomes of any other is nobody's but its own, or
 * who asks for addresses that nobody has would make the card decide everybody's connections again. */
static void changed(struct dsn_shard *shard, const struct dsn_neighbour *one, bool alive) {
    const struct dsn_vnic *uplink = dsn_vnic_by_id(shard->root, one->uplink);
    uint32_t slots[HOPS], count;
    if (uplink == NULL)
        return;
    count = dsn_next_hops(shard->root, uplink, one->address, slots, HOPS);
    shard->network += count > 0;
    for (uint32_t i = 0; i < count && i < HOPS; i++)
        dsn_event_put(shard, alive ? DSN_EVENT_NEXT_HOP_UP : DSN_EVENT_NEXT_HOP_DOWN, DSN_TABLE_NEXT_HOP,
                      dsn_id_at(shard->root, DSN_TABLE_NEXT_HOP, slots[i]), "");
}

static void set_state(struct dsn_neighbours *n, struct dsn_neighbour *one, enum dsn_neighbour_state state) {
    bool known = one->state != DSN_NEIGHBOUR_NONE, asking = known && one->state != DSN_NEIGHBOUR_REACHABLE;
    bool knows = state != DSN_NEIGHBOUR_NONE, asks = knows && state != DSN_NEIGHBOUR_REACHABLE;
    one->state = (uint8_t)state;
    if (n->news != NULL && (known != knows || asking != asks))
        dsn_news_count(n->news, one->uplink, one->address, knows - known, asks - asking);
}

void dsn_neighbour_forget(struct dsn_shard *shard, uint32_t number) {
    struct dsn_neighbours *n = &shard->neighbours;
    struct dsn_neighbour *one = &n->neighbour[number];
    clear_timer(n, number);
    if (one->asker != 0)
        shard->vnics.state[one->asker].neighbours--;
    one->asker = 0;
    set_state(n, one, DSN_NEIGHBOUR_NONE);
    tidy(n, number);
}

enum dsn_reason_number dsn_neighbour_may_begin(struct dsn_shard *shard, uint32_t share, const struct dsn_vnic *from) {
    const struct dsn_neighbours *n = &shard->neighbours;
    if (share == 0 || n->timers >= DSN_NEIGHBOURS)
        return DSN_REASON_NEIGHBOUR_QUEUE_FULL;
    if (shard->vnics.state[share].neighbours >= DSN_NEIGHBOURS - n->timers) {
        dsn_neighbours_are_limited(shard, DSN_LIMIT_NEIGHBOURS, share, from);
        return DSN_REASON_NEIGHBOUR_LIMIT;
    }
    return DSN_PASSED;
}

void dsn_neighbour_begin(struct dsn_shard *shard, uint32_t number, uint32_t share, uint64_t now) {
    struct dsn_neighbours *n = &shard->neighbours;
    struct dsn_neighbour *one = &n->neighbour[number];
    set_state(n, one, DSN_NEIGHBOUR_INCOMPLETE);
    one->tries = 1;
    one->used = false;
    one->asker = share;
    shard->vnics.state[share].neighbours++;
    memset(one->mac, 0, 6); /* of whoever was known by this address before */
    memset(one->before, 0, 6);
    set_timer(n, number, now + DSN_SECOND);
    ask(shard, one);
}

__rte_cold const uint8_t *dsn_neighbour_want(struct dsn_shard *shard, uint32_t number, uint64_t vnic, uint64_t now) {
    struct dsn_neighbour *one = &shard->neighbours.neighbour[number];
    const struct dsn_vnic *from = dsn_vnic_by_id(shard->root, vnic);
    if (one->state == DSN_NEIGHBOUR_REACHABLE || one->state == DSN_NEIGHBOUR_PROBE) {
        one->used = true;
        return one->mac;
    }
    if (one->state == DSN_NEIGHBOUR_NONE && from != NULL) {
        uint32_t share = dsn_vnic_state(&shard->vnics, vnic);
        if (dsn_neighbour_may_begin(shard, share, from) == DSN_PASSED)
            dsn_neighbour_begin(shard, number, share, now);
    }
    return NULL;
}

/* --- what it says of itself --- */

/* A request of ours went out within the last second, and nobody has answered it. */
static bool is_asked(const struct dsn_neighbour *one, uint64_t now) {
    if (one->state == DSN_NEIGHBOUR_FAILED && now >= one->due - RETRY + DSN_SECOND)
        return false;
    return one->state != DSN_NEIGHBOUR_REACHABLE && one->tries > 0;
}

/* When others may say another MAC again; 0: they may. */
static uint64_t locked_until(const struct dsn_neighbour *one) {
    if (one->state == DSN_NEIGHBOUR_REACHABLE)
        return one->due - AFRESH + LOCK;
    return one->state == DSN_NEIGHBOUR_PROBE && one->tries == 0 ? one->due : 0;
}

static void confirm(struct dsn_shard *shard, uint32_t number) {
    struct dsn_neighbour *one = &shard->neighbours.neighbour[number];
    bool had_failed = one->state == DSN_NEIGHBOUR_FAILED;
    set_state(&shard->neighbours, one, DSN_NEIGHBOUR_REACHABLE);
    one->used = false;
    set_timer(&shard->neighbours, number, shard->now + AFRESH);
    if (had_failed)
        changed(shard, one, true);
}

/* It is asked whether that is so: what RFC 4861 calls STALE, without the wait. */
static void doubt(struct dsn_shard *shard, uint32_t number) {
    struct dsn_neighbour *one = &shard->neighbours.neighbour[number];
    uint8_t before = one->state;
    set_state(&shard->neighbours, one, DSN_NEIGHBOUR_PROBE);
    if (before != DSN_NEIGHBOUR_REACHABLE && before != DSN_NEIGHBOUR_FAILED)
        return; /* a request is under way */
    one->tries = 1;
    set_timer(&shard->neighbours, number, shard->now + DSN_SECOND);
    if (before == DSN_NEIGHBOUR_FAILED)
        changed(shard, one, true);
    ask(shard, one);
}

/* As soon as it may have another MAC it is asked whether it has. */
static void ask_when_free(struct dsn_neighbours *n, uint32_t number, uint64_t until) {
    struct dsn_neighbour *one = &n->neighbour[number];
    set_state(n, one, DSN_NEIGHBOUR_PROBE);
    one->tries = 0;
    set_timer(n, number, until);
}

bool dsn_neighbour_hear(struct dsn_shard *shard, const struct dsn_vnic *uplink, const uint8_t address[16],
                        const uint8_t *mac, bool solicited, bool override) {
    struct dsn_neighbours *n = &shard->neighbours;
    uint32_t number = dsn_neighbour_find(n, uplink->id, address);
    if (number == 0 || n->neighbour[number].state == DSN_NEIGHBOUR_NONE)
        return false;
    struct dsn_neighbour *one = &n->neighbour[number];
    bool nothing_known = one->state == DSN_NEIGHBOUR_INCOMPLETE || one->state == DSN_NEIGHBOUR_FAILED;
    bool reachable = one->state == DSN_NEIGHBOUR_REACHABLE, answers = solicited && is_asked(one, shard->now);
    uint64_t until = locked_until(one);
    bool locked = until > shard->now;
    if (mac == NULL && nothing_known)
        return false;
    if (nothing_known || (reachable && !locked))
        memset(one->before, 0, 6);
    if (!nothing_known && (mac == NULL || memcmp(mac, one->mac, 6) == 0)) {
        if (answers)
            confirm(shard, number);
        return true;
    }
    bool had = memcmp(mac, one->before, 6) == 0;
    if (locked && !(solicited && override && had)) {
        if (!solicited && reachable)
            ask_when_free(n, number, until);
        return true;
    }
    if (!nothing_known && !override) {
        if (reachable)
            doubt(shard, number);
        return true;
    }
    if (had)
        memset(one->before, 0, 6);
    else if (!nothing_known && dsn_mac(one->before) == 0)
        memcpy(one->before, one->mac, 6);
    memcpy(one->mac, mac, 6);
    if (answers || locked)
        confirm(shard, number);
    else
        doubt(shard, number);
    dsn_waiting_send(shard, one, uplink);
    return true;
}

static void ask_again(struct dsn_shard *shard, uint32_t number, uint64_t wait) {
    struct dsn_neighbour *one = &shard->neighbours.neighbour[number];
    set_timer(&shard->neighbours, number, one->due + wait);
    ask(shard, one);
}

bool dsn_neighbour_is_next_hop(const struct dsn_shard *shard, const struct dsn_neighbour *one) {
    const struct dsn_vnic *uplink = dsn_vnic_by_id(shard->root, one->uplink);
    return uplink != NULL && dsn_next_hops(shard->root, uplink, one->address, NULL, 0) > 0;
}

static void run(struct dsn_shard *shard, uint32_t number, uint64_t now) {
    struct dsn_neighbours *n = &shard->neighbours;
    struct dsn_neighbour *one = &n->neighbour[number];
    switch (one->state) {
    case DSN_NEIGHBOUR_REACHABLE:
        if (!one->used) {
            dsn_neighbour_forget(shard, number);
            return;
        }
        set_state(n, one, DSN_NEIGHBOUR_PROBE);
        memset(one->before, 0, 6);
        one->tries = 1;
        ask_again(shard, number, DSN_SECOND);
        return;
    case DSN_NEIGHBOUR_FAILED:
        if (one->tries < MORE_TRIES || dsn_neighbour_is_next_hop(shard, one)) {
            one->tries = RTE_MIN(one->tries + 1, MORE_TRIES);
            ask_again(shard, number, RETRY);
            if (one->due <= now) /* requests that were missed aren't made up */
                set_timer(n, number, now + RETRY);
            return;
        }
        one->references++; /* it is told of behind its end */
        dsn_neighbour_forget(shard, number);
        changed(shard, one, true);
        dsn_neighbour_let_go(n, number);
        return;
    default:
        if (one->tries < TRIES) {
            if (one->tries == 0)
                memset(one->before, 0, 6);
            one->tries++;
            ask_again(shard, number, DSN_SECOND);
            return;
        }
        set_state(n, one, DSN_NEIGHBOUR_FAILED);
        one->tries = 0;
        set_timer(n, number, one->due + RETRY);
        changed(shard, one, false);
        dsn_waiting_give_up(shard, one, true);
    }
}

bool dsn_neighbours_run(struct dsn_shard *shard, uint64_t now) {
    struct dsn_neighbours *n = &shard->neighbours;
    for (unsigned asked = 0; dsn_neighbours_due(n) <= now; asked++) {
        if (asked == DSN_BURST) /* each may send a frame: the queues are to be drained */
            return false;
        run(shard, n->heap[1], now);
    }
    return true;
}

void dsn_neighbour_copy(struct dsn_shard *to, const struct dsn_shard *from, const struct dsn_neighbour *one) {
    struct dsn_neighbours *n = &to->neighbours;
    uint32_t number = n->timers < DSN_NEIGHBOURS ? dsn_neighbour_place(n, one->uplink, one->address) : 0;
    if (number == 0)
        return;
    struct dsn_neighbour *copy = &n->neighbour[number];
    memcpy(copy->mac, one->mac, 6);
    memcpy(copy->before, one->before, 6);
    copy->state = one->state;
    copy->tries = one->tries;
    copy->used = one->used;
    copy->asker = one->asker != 0 ? dsn_vnic_state(&to->vnics, from->vnics.state[one->asker].id) : 0;
    if (copy->asker != 0)
        to->vnics.state[copy->asker].neighbours++;
    set_timer(n, number, one->due);
}

void dsn_neighbours_keep(struct dsn_shard *shard) {
    struct dsn_neighbours *n = &shard->neighbours;
    /* Down from the end: what comes up where one was taken out stands behind, or at its place, which is seen again. */
    for (uint32_t place = n->timers; place > 0; place = RTE_MIN(place, n->timers)) {
        struct dsn_neighbour *one = &n->neighbour[n->heap[place]];
        const struct dsn_vnic *uplink = dsn_vnic_by_id(shard->root, one->uplink);
        if (uplink != NULL && uplink->role == DSN_VNIC_ROLE_UPLINK) {
            place--;
            continue;
        }
        dsn_waiting_give_up(shard, one, false);
        dsn_neighbour_forget(shard, n->heap[place]);
    }
}
