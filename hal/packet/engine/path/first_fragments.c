#include "path/first_fragments.h"

#include <rte_common.h>
#include <stdlib.h>
#include <sys/random.h>

#define LIFETIME (30 * DSN_SECOND)
#define HEADS (DSN_FRAGMENTS * 2)
#define LONGEST 65535u /* that IPv4's total length, or IPv6's payload length, can say (RFC 791 3.1, RFC 8200 4.5) */

static bool ask_by(struct dsn_fragments *f, struct dsn_verdicts *verdicts, uint16_t worker) {
    f->asking = calloc(1, sizeof(*f->asking));
    if (f->asking == NULL)
        return false;
    f->asking->verdicts = verdicts;
    f->asking->worker = worker;
    for (uint32_t at = 0; at < DSN_VERDICT_PLACES; at++)
        f->asking->place[at] = (uint16_t)at;
    return true;
}

bool dsn_fragments_create(struct dsn_fragments *f, struct dsn_vnic_states *vnics, struct dsn_verdicts *verdicts,
                          uint16_t worker) {
    *f = (struct dsn_fragments){
        .vnics = vnics,
        .entry = calloc(DSN_FRAGMENTS, sizeof(*f->entry)),
        .head = calloc(HEADS, sizeof(*f->head)),
        .free = 1,
    };
    if (verdicts != NULL && !ask_by(f, verdicts, worker)) {
        dsn_fragments_destroy(f);
        return false;
    }
    if (f->entry != NULL && f->head != NULL && getrandom(f->seed, sizeof(f->seed), 0) == (ssize_t)sizeof(f->seed)) {
        for (uint32_t at = 0; at + 1 < DSN_FRAGMENTS; at++)
            f->entry[at].next = at + 2;
        return true;
    }
    dsn_fragments_destroy(f);
    return false;
}

void dsn_fragments_destroy(struct dsn_fragments *f) {
    free(f->entry);
    free(f->head);
    free(f->asking);
    *f = (struct dsn_fragments){0};
}

/* Scope and VRF of the flow key belong to it, ports and the routed bit don't. */
static uint32_t *head_of(const struct dsn_fragments *f, const struct dsn_flow_key *flow, uint32_t identification) {
    uint64_t h = dsn_fold64(dsn_word(flow, 0) ^ f->seed[0], dsn_word(flow, 1) ^ f->seed[1]);
    h = dsn_fold64(h ^ dsn_word(flow, 2), dsn_word(flow, 3) ^ f->seed[2]);
    return &f->head[dsn_fold64(h ^ identification, flow->scope ^ f->seed[0]) % HEADS];
}

static uint8_t protocol_of(const struct dsn_packet *p) {
    return p->version == 4 ? p->key.protocol : 0;
}

void dsn_fragment_forget(struct dsn_fragments *f, struct dsn_first_fragment *first) {
    uint32_t number = (uint32_t)(first - f->entry) + 1, *link = head_of(f, &first->flow, first->identification);
    while (*link != number)
        link = &f->entry[*link - 1].next;
    *link = first->next;
    *(first->older ? &f->entry[first->older - 1].newer : &f->oldest) = first->newer;
    *(first->newer ? &f->entry[first->newer - 1].older : &f->newest) = first->older;
    if (first->vnic != 0)
        f->vnics->state[first->vnic].fragments[first->inbound]--;
    f->by_uplinks -= first->by_uplink;
    if (first->ticket != 0) {
        f->asking->place[f->asking->given] = (uint16_t)dsn_verdict_place(first->ticket);
        f->asking->given = (f->asking->given + 1) % DSN_VERDICT_PLACES;
    }
    f->entry[number - 1] = (struct dsn_first_fragment){.next = f->free};
    f->free = number;
    f->count--;
}

/* A place for an entry, which is the newest; there must be one. */
static struct dsn_first_fragment *enter(struct dsn_fragments *f, const struct dsn_first_fragment *made) {
    uint32_t number = f->free, *head = head_of(f, &made->flow, made->identification);
    struct dsn_first_fragment *first = &f->entry[number - 1];
    f->free = first->next;
    f->count++;
    *first = *made;
    first->next = *head;
    first->older = f->newest;
    first->newer = 0;
    *(f->newest ? &f->entry[f->newest - 1].newer : &f->oldest) = number;
    f->newest = *head = number;
    return first;
}

void dsn_fragments_expire(struct dsn_fragments *f, uint64_t now) {
    while (f->count > 0 && now - f->entry[f->oldest - 1].created_ns >= LIFETIME)
        dsn_fragment_forget(f, &f->entry[f->oldest - 1]);
}

/* The first one was asked about and did not go on. */
static bool was_refused(const struct dsn_fragments *f, const struct dsn_first_fragment *first) {
    if (first->ticket == 0)
        return false;
    enum dsn_said said = dsn_verdict_of(f->asking->verdicts, first->ticket);
    return said == DSN_SAID_NO || said == DSN_SAID_LONG_AGO;
}

#define ASKED_AT_ONCE 8
static void forget_refused(struct dsn_fragments *f) {
    struct dsn_asking *asking = f->asking;
    for (unsigned i = 0; asking != NULL && i < ASKED_AT_ONCE && asking->count > 0; i++) {
        struct dsn_asked one = asking->asked[asking->oldest];
        struct dsn_first_fragment *first = &f->entry[one.number - 1];
        asking->oldest = (asking->oldest + 1) % DSN_FRAGMENTS;
        asking->count--;
        if (first->ticket != one.ticket) /* it is whole, or too old */
            continue;
        if (was_refused(f, first))
            dsn_fragment_forget(f, first);
        else if (dsn_verdict_of(asking->verdicts, one.ticket) == DSN_SAID_NOTHING) /* it may wait for its turn */
            asking->asked[(asking->oldest + asking->count++) % DSN_FRAGMENTS] = one;
    }
}

struct dsn_first_fragment *dsn_fragment_of(struct dsn_fragments *f, const struct dsn_packet *p, uint64_t now) {
    dsn_fragments_expire(f, now);
    for (uint32_t at = *head_of(f, &p->key, p->identification); at != 0; at = f->entry[at - 1].next) {
        struct dsn_first_fragment *first = &f->entry[at - 1];
        const struct dsn_flow_key *flow = &first->flow;
        if (first->identification == p->identification && first->protocol == protocol_of(p) &&
            flow->scope == p->key.scope && flow->vrf == p->key.vrf &&
            ((flow->flags ^ p->key.flags) & DSN_KEY_UPLINK) == 0 && memcmp(flow->source, p->key.source, 32) == 0) {
            if (!was_refused(f, first))
                return first;
            dsn_fragment_forget(f, first);
            return NULL;
        }
    }
    return NULL;
}

/* Of the fragmentable part: what follows the IPv4 header, or the IPv6 fragment header (RFC 8200 4.5). */
static uint32_t length_of(const struct dsn_packet *p) {
    return p->end - p->part;
}

/* What of IPv4's total length, or IPv6's payload length, stands before this part when the datagram is whole. */
static uint8_t before_of(const struct dsn_packet *p) {
    unsigned headers = p->part - p->ip;
    return (uint8_t)(p->version == 4 ? headers : headers - 40 - 8);
}

enum dsn_reason_number dsn_fragment_check(const struct dsn_packet *p) {
    uint32_t length = length_of(p);
    if (before_of(p) + p->offset + length > LONGEST || length == 0 || (p->more && length % 8))
        return DSN_REASON_FRAGMENT_INVALID;
    /* It would write over what the first one's TCP header said (RFC 1858 3.2.2, RFC 3128). */
    bool in_header = p->version == 4 && p->key.protocol == DSN_TCP && p->offset > 0 && p->offset < 20;
    return in_header ? DSN_REASON_FRAGMENT_TINY : DSN_PASSED;
}

/* Whether these bytes have all come before: as a duplicate would have (RFC 8200 4.5). */
static bool is_duplicate(const struct dsn_first_fragment *first, uint32_t begin, uint32_t end) {
    for (uint32_t i = 0; i < first->count; i++)
        if (first->range[i].begin <= begin && end <= first->range[i].end)
            return true;
    return false;
}

/* What a fragment meets whose bytes have come before, all or some. */
static enum dsn_reason_number again(struct dsn_first_fragment *first, uint32_t begin, uint32_t end) {
    if (!first->refuses && is_duplicate(first, begin, end))
        return DSN_REASON_FRAGMENT_DUPLICATE;
    first->refuses = true;
    return DSN_REASON_FRAGMENT_OVERLAP;
}

enum dsn_reason_number dsn_fragment_first(struct dsn_fragments *f, const struct dsn_packet *p, uint64_t now) {
    forget_refused(f);
    struct dsn_first_fragment *first = dsn_fragment_of(f, p, now);
    if (first != NULL)
        return again(first, 0, length_of(p));
    return f->count == DSN_FRAGMENTS ? DSN_REASON_FRAGMENT_TABLE_FULL : DSN_PASSED;
}

static bool is_by_uplink(struct dsn_whom whom) {
    return whom.inbound || whom.vnic->role == DSN_VNIC_ROLE_UPLINK;
}

uint32_t dsn_fragments_most(const struct dsn_fragments *f, struct dsn_whom whom, uint32_t used, uint32_t limit) {
    uint32_t room = DSN_FRAGMENTS - f->count;
    if (!is_by_uplink(whom))
        return limit != 0 ? limit : RTE_MIN(DSN_FRAGMENTS / 4u, room);
    room = RTE_MIN(room, DSN_FRAGMENTS / 2u - f->by_uplinks);
    if (limit != 0)
        return RTE_MIN(limit, used + room);
    return room / (whom.inbound ? 8 : 2); /* one stranger can send to many */
}

static struct dsn_first_fragment *remember(struct dsn_fragments *f, const struct dsn_packet *p, struct dsn_whom whom,
                                           uint32_t base, uint64_t now) {
    struct dsn_first_fragment first = {
        .flow = p->key,
        .identification = p->identification,
        .vnic = dsn_vnic_state(f->vnics, whom.vnic->id),
        .inbound = whom.inbound,
        .by_uplink = is_by_uplink(whom),
        .protocol = protocol_of(p),
        .count = 1,
        .created_ns = now,
        .before = before_of(p),
        .base = base,
        .range[0] = {.begin = 0, .end = (uint16_t)length_of(p)},
    };
    if (first.vnic != 0)
        f->vnics->state[first.vnic].fragments[first.inbound]++;
    f->by_uplinks += first.by_uplink;
    return enter(f, &first);
}

void dsn_fragment_remember(struct dsn_fragments *f, const struct dsn_packet *p, struct dsn_whom whom,
                           uint64_t connection, uint32_t ref, uint32_t base, uint64_t now) {
    struct dsn_first_fragment *first = remember(f, p, whom, base, now);
    first->connection = connection;
    first->ref = ref;
}

uint32_t dsn_fragment_ask(struct dsn_fragments *f, const struct dsn_packet *p, struct dsn_whom whom, uint32_t base,
                          uint64_t now) {
    struct dsn_asking *asking = f->asking;
    struct dsn_first_fragment *first = remember(f, p, whom, base, now);
    first->ticket = dsn_verdict_ask(asking->verdicts, asking->worker, asking->place[asking->next]);
    asking->next = (asking->next + 1) % DSN_VERDICT_PLACES;
    if (asking->count == DSN_FRAGMENTS) { /* the oldest of them is found to be refused when it is asked for */
        asking->oldest = (asking->oldest + 1) % DSN_FRAGMENTS;
        asking->count--;
    }
    asking->asked[(asking->oldest + asking->count++) % DSN_FRAGMENTS] =
        (struct dsn_asked){.number = (uint32_t)(first - f->entry) + 1, .ticket = first->ticket};
    return first->ticket;
}

void dsn_fragment_copy(struct dsn_fragments *f, const struct dsn_first_fragment *first, uint32_t ref) {
    if (f->count == DSN_FRAGMENTS)
        return;
    struct dsn_first_fragment *copy = enter(f, first);
    copy->ref = ref;
    copy->vnic = copy->ticket = 0;
    copy->by_uplink = false;
}

bool dsn_fragment_is_whole(const struct dsn_first_fragment *first) {
    return first->total != 0 && first->count == 1 && first->range[0].end == first->total;
}

/* Ranges stay in order; one that touches is made one with its neighbours. `place`: of the first one behind it. */
static enum dsn_reason_number take_range(struct dsn_first_fragment *first, uint32_t place, uint32_t begin,
                                         uint32_t end) {
    bool before = place > 0 && first->range[place - 1].end == begin;
    bool after = place < first->count && first->range[place].begin == end;
    if (before && after) {
        first->range[place - 1].end = first->range[place].end;
        first->count--;
        memmove(&first->range[place], &first->range[place + 1], (first->count - place) * sizeof(first->range[0]));
    } else if (before) {
        first->range[place - 1].end = (uint16_t)end;
    } else if (after) {
        first->range[place].begin = (uint16_t)begin;
    } else if (first->count == DSN_FRAGMENT_RANGES) {
        return DSN_REASON_FRAGMENT_RANGES;
    } else {
        memmove(&first->range[place + 1], &first->range[place], (first->count - place) * sizeof(first->range[0]));
        first->range[place].begin = (uint16_t)begin;
        first->range[place].end = (uint16_t)end;
        first->count++;
    }
    return DSN_PASSED;
}

enum dsn_reason_number dsn_fragment_follow(struct dsn_first_fragment *first, const struct dsn_packet *p) {
    uint32_t begin = p->offset, end = begin + length_of(p), place = 0;
    if (first->before + end > LONGEST)
        return DSN_REASON_FRAGMENT_INVALID;
    if (first->refuses)
        return DSN_REASON_FRAGMENT_OVERLAP;
    for (uint32_t i = 0; i < first->count; i++) {
        if (begin < first->range[i].end && first->range[i].begin < end)
            return again(first, begin, end);
        place += first->range[i].begin < begin;
    }
    /* A datagram has one end, and no byte is behind it. */
    if (first->total != 0 ? !p->more || end > first->total : !p->more && place < first->count)
        return DSN_REASON_FRAGMENT_INVALID;
    enum dsn_reason_number reason = take_range(first, place, begin, end);
    if (reason == DSN_PASSED && !p->more)
        first->total = (uint16_t)end;
    return reason;
}
