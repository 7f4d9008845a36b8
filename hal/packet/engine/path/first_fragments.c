#include "path/first_fragments.h"

#include <stdlib.h>
#include <sys/random.h>

#define LIFETIME (30 * DSN_SECOND)
#define HEADS (DSN_FRAGMENTS * 2)
#define LONGEST 65535u /* that IPv4's total length, or IPv6's payload length, can say (RFC 791 3.1, RFC 8200 4.5) */

bool dsn_fragments_create(struct dsn_fragments *f) {
    *f = (struct dsn_fragments){
        .entry = calloc(DSN_FRAGMENTS, sizeof(*f->entry)),
        .head = calloc(HEADS, sizeof(*f->head)),
    };
    if (f->entry != NULL && f->head != NULL && getrandom(f->seed, sizeof(f->seed), 0) == (ssize_t)sizeof(f->seed))
        return true;
    dsn_fragments_destroy(f);
    return false;
}

void dsn_fragments_destroy(struct dsn_fragments *f) {
    free(f->entry);
    free(f->head);
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

static void forget_oldest(struct dsn_fragments *f) {
    struct dsn_first_fragment *first = &f->entry[f->oldest];
    uint32_t *link = head_of(f, &first->flow, first->identification);
    while (*link != f->oldest + 1)
        link = &f->entry[*link - 1].next;
    *link = first->next;
    f->oldest = (f->oldest + 1) % DSN_FRAGMENTS;
    f->count--;
}

static void forget_expired(struct dsn_fragments *f, uint64_t now) {
    while (f->count > 0 && now - f->entry[f->oldest].created_ns >= LIFETIME)
        forget_oldest(f);
}

struct dsn_first_fragment *dsn_fragment_of(struct dsn_fragments *f, const struct dsn_packet *p, uint64_t now) {
    forget_expired(f, now);
    for (uint32_t at = *head_of(f, &p->key, p->identification); at != 0; at = f->entry[at - 1].next) {
        struct dsn_first_fragment *first = &f->entry[at - 1];
        const struct dsn_flow_key *flow = &first->flow;
        if (first->identification == p->identification && first->protocol == protocol_of(p) &&
            flow->scope == p->key.scope && flow->vrf == p->key.vrf &&
            ((flow->flags ^ p->key.flags) & DSN_KEY_UPLINK) == 0 && memcmp(flow->source, p->key.source, 32) == 0)
            return first;
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
    bool wrong = before_of(p) + p->offset + length > LONGEST || (p->more && (length == 0 || length % 8));
    return wrong ? DSN_REASON_FRAGMENT_INVALID : DSN_PASSED;
}

enum dsn_reason_number dsn_fragment_first(struct dsn_fragments *f, const struct dsn_packet *p, uint64_t now) {
    struct dsn_first_fragment *first = dsn_fragment_of(f, p, now);
    if (first != NULL) {
        first->refuses = true;
        return DSN_REASON_FRAGMENT_OVERLAP;
    }
    return f->count == DSN_FRAGMENTS ? DSN_REASON_FRAGMENT_TABLE_FULL : DSN_PASSED;
}

void dsn_fragment_remember(struct dsn_fragments *f, const struct dsn_packet *p, uint64_t connection, uint32_t ref,
                           uint64_t now) {
    uint32_t at = (f->oldest + f->count++) % DSN_FRAGMENTS;
    uint32_t *head = head_of(f, &p->key, p->identification);
    f->entry[at] = (struct dsn_first_fragment){
        .flow = p->key,
        .identification = p->identification,
        .next = *head,
        .connection = connection,
        .ref = ref,
        .protocol = protocol_of(p),
        .count = 1,
        .created_ns = now,
        .before = before_of(p),
        .range[0] = {.begin = 0, .end = (uint16_t)length_of(p)},
    };
    *head = at + 1;
}

void dsn_fragment_copy(struct dsn_fragments *f, const struct dsn_first_fragment *first, uint32_t ref) {
    if (f->count == DSN_FRAGMENTS)
        return;
    uint32_t at = (f->oldest + f->count++) % DSN_FRAGMENTS;
    uint32_t *head = head_of(f, &first->flow, first->identification);
    f->entry[at] = *first;
    f->entry[at].ref = ref;
    f->entry[at].next = *head;
    *head = at + 1;
}

enum dsn_reason_number dsn_fragment_follow(struct dsn_first_fragment *first, const struct dsn_packet *p) {
    uint32_t begin = p->offset, end = begin + length_of(p), place = 0;
    if (first->before + end > LONGEST)
        return DSN_REASON_FRAGMENT_INVALID;
    for (uint32_t i = 0; i < first->count; i++) {
        if (begin < first->range[i].end && first->range[i].begin < end)
            first->refuses = true;
        place += first->range[i].begin < begin || (first->range[i].begin == begin && first->range[i].end < end);
    }
    if (first->refuses)
        return DSN_REASON_FRAGMENT_OVERLAP;
    /* Ranges stay in order; one that touches is made one with its neighbours. */
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
