/* *Fragments* of docs/forwarding.md: first ones go as any packet and are remembered, later ones follow them. */
#include "path/firsts.h"
#include "path/owners.h"
#include "path/sort_out.h"
#include "path/tcp.h"
#include "path/verdicts.h"

/* A later fragment whose first is not known; `waits`: it may be among the first packets that wait. */
static dsn_end without_first(struct dsn_shard *shard, const struct dsn_packet *p, bool waits) {
    if (!waits || shard->firsts.running)
        return dsn_dropped(DSN_REASON_FRAGMENT_NO_FIRST);
    enum dsn_reason_number reason = dsn_firsts_put(shard, p);
    return reason == DSN_PASSED ? DSN_QUEUE : dsn_dropped(reason);
}

/* Its first came here in front of it: it was judged, or waits for its turn. */
static dsn_end run_handed_later(struct dsn_shard *shard, struct dsn_packet *p) {
    uint32_t ticket = dsn_handed_ticket(p->mbuf);
    p->key.source_port = (uint16_t)(p->mbuf->hash.fdir.lo >> 16);
    p->key.destination_port = (uint16_t)p->mbuf->hash.fdir.lo;
    p->hash = dsn_flows_hash(&shard->flows, &p->key);
    if (dsn_verdict_of(shard->config.verdicts, ticket) == DSN_SAID_NOTHING)
        return without_first(shard, p, dsn_firsts_find(&shard->firsts, &p->key, p->hash) != 0);
    uint32_t ref = dsn_connection_find(shard, &p->key, p->hash, shard->now);
    if (ref == 0 || !dsn_verdict_is_go(shard->config.verdicts, ticket, dsn_ref_rest(&shard->flows, ref)->id))
        return dsn_dropped(DSN_REASON_FRAGMENT_NO_FIRST);
    return dsn_later(shard, p, ref, dsn_reaches(p->mbuf));
}

static dsn_end run_later(struct dsn_shard *shard, struct dsn_packet *p, enum dsn_handed how) {
    uint32_t ref;
    enum dsn_reason_number reason;
    if (how == DSN_HANDED_LATER)
        return run_handed_later(shard, p);
    struct dsn_first_fragment *first = dsn_fragment_of(&shard->fragments, p, shard->now);
    if (first == NULL) {
        bool waits = shard->firsts.count > 0 && dsn_firsts_have_fragments(shard, p);
        p->key.source_port = (uint16_t)(p->identification >> 16); /* a place of its own, behind its first */
        p->key.destination_port = (uint16_t)p->identification;
        p->key.zero = 1;
        p->hash = dsn_flows_hash(&shard->flows, &p->key);
        return without_first(shard, p, waits);
    }
    ref = first->ref;
    const struct dsn_connection *c = dsn_ref_connection(&shard->flows, ref);
    if (ref != 0 && (dsn_line(c, 0)->ops == 0 || dsn_rest(&shard->flows, c)->id != first->connection ||
                     dsn_expired(&shard->flows, c, shard->now)))
        return dsn_dropped(DSN_REASON_FRAGMENT_NO_FIRST);
    reason = dsn_fragment_follow(first, p);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    const struct dsn_flow_key flow = first->flow;
    uint32_t ticket = first->ticket;
    uint32_t reaches = first->base + p->offset + (uint32_t)(p->end - p->part);
    if (dsn_fragment_is_whole(first))
        dsn_fragment_forget(&shard->fragments, first);
    if (ref != 0)
        return dsn_later(shard, p, ref, reaches);
    dsn_set_reaches(p->mbuf, reaches);
    uint32_t ports = (uint32_t)flow.source_port << 16 | flow.destination_port;
    return dsn_hand_fragment(shard, p->mbuf, dsn_owner_of(shard, &flow), DSN_HANDED_LATER, ticket, ports);
}

/* What became of a first fragment that another worker has asked about. */
static void say(struct dsn_shard *shard, uint32_t ticket, dsn_end end) {
    /* For its turn; one that waits for a neighbour does so as its connection's. */
    bool waits = end == DSN_QUEUE && shard->meeting == 0;
    bool passed = !dsn_is_drop(end) && shard->meeting != 0;
    if (!waits)
        dsn_verdict_say(shard->config.verdicts, ticket, passed ? dsn_ref_rest(&shard->flows, shard->meeting)->id : 0);
}

/* Its receiver remembers it, and waits for the owner's word. */
static dsn_end hand_first(struct dsn_shard *shard, struct dsn_packet *p, struct dsn_whom whom, uint16_t owner,
                          uint32_t base) {
    uint32_t ticket = dsn_fragment_ask(&shard->fragments, p, whom, base, shard->now);
    dsn_end end = dsn_hand_fragment(shard, p->mbuf, owner, DSN_HANDED_FIRST, ticket, 0);
    if (dsn_is_drop(end))
        dsn_verdict_say(shard->config.verdicts, ticket, 0);
    return end;
}

static dsn_end run_first(struct dsn_shard *shard, struct dsn_packet *p, enum dsn_handed how) {
    bool handed = how == DSN_HANDED_FIRST;
    enum dsn_reason_number reason = handed ? DSN_PASSED : dsn_fragment_first(&shard->fragments, p, shard->now);
    struct dsn_whom whom = dsn_whom(shard->root, p);
    if (reason == DSN_PASSED && !handed && !dsn_fragment_may(shard, whom))
        reason = DSN_REASON_FRAGMENT_LIMIT;
    if (reason == DSN_PASSED)
        reason = dsn_parse_transport(p);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    uint8_t state = dsn_sort_out(shard->root, p);
    uint32_t base = p->key.protocol == DSN_TCP ? dsn_tcp_base(p) : 0;
    uint16_t owner = shard->config.workers > 1 && !handed ? dsn_worker_of(shard, p, state) : shard->config.worker;
    if (owner != shard->config.worker)
        return hand_first(shard, p, whom, owner, base);
    p->hash = dsn_flows_hash(&shard->flows, &p->key);
    struct dsn_packet before = *p; /* sending changes bytes */
    dsn_end result = dsn_run_state(shard, p, state, false);
    if (!dsn_is_drop(result) && shard->meeting != 0 && !handed)
        dsn_fragment_remember(&shard->fragments, &before, whom, dsn_ref_rest(&shard->flows, shard->meeting)->id,
                              shard->meeting, base, shard->now);
    return result;
}

dsn_end dsn_run_fragment(struct dsn_shard *shard, struct dsn_packet *p, enum dsn_handed how) {
    /* Its mbuf may be gone behind it. */
    uint32_t ticket = how == DSN_HANDED_FIRST ? dsn_handed_ticket(p->mbuf) : 0;
    enum dsn_reason_number reason = how == DSN_HANDED_PLAIN ? dsn_fragment_check(p) : DSN_PASSED;
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    if (dsn_is_later(p))
        return run_later(shard, p, how);
    dsn_end end = run_first(shard, p, how);
    if (how == DSN_HANDED_FIRST)
        say(shard, ticket, end);
    return end;
}
