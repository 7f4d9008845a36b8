/* A burst of packets: all are parsed and their flows prefetched before the first is acted on, then each goes its way
 * in order. */
#include "path/answers.h"
#include "path/firsts.h"
#include "path/look.h"
#include "path/owners.h"
#include "path/usual.h"

#include <rte_prefetch.h>

/* --- one packet --- */

static dsn_end taken_in(enum dsn_reason_number reason) {
    return reason == DSN_PASSED ? DSN_CONSUME : dsn_dropped(reason);
}

static dsn_end take_nd(struct dsn_shard *shard, struct dsn_packet *p, bool learn_only) {
    enum dsn_reason_number reason = dsn_take_nd(shard, p, learn_only);
    if (reason != DSN_PASSED || !dsn_nd_goes_on(p))
        return taken_in(reason);
    reason = dsn_bridge_nd(shard, p);
    return reason == DSN_PASSED ? DSN_FORWARD : dsn_dropped(reason);
}

/* An echo that goes the wrong way: of identifier 0 the key of a request is that of a reply. */
static __rte_noinline bool is_astray(const struct dsn_packet *p, uint32_t ref) {
    uint8_t type = ref & 1 ? dsn_echo_reply(p->key.protocol) : dsn_echo_request(p->key.protocol);
    return dsn_is_icmp(p) && p->icmp_type != type;
}

static __rte_always_inline dsn_end run_flow(struct dsn_shard *shard, struct dsn_packet *p) {
    uint32_t ref = p->ref;
    /* What was found before the burst holds unless a packet of this burst changed it: its key tells. */
    if (unlikely(ref == 0 || !dsn_key_equal(&dsn_ref_line(&shard->flows, ref)->key, &p->key) ||
                 dsn_expired(&shard->flows, dsn_ref_connection(&shard->flows, ref), shard->now)))
        ref = dsn_connection_find(shard, &p->key, p->hash, shard->now);
    if (unlikely((p->key.source_port | p->key.destination_port) == 0 && ref != 0 && is_astray(p, ref)))
        return dsn_dropped(DSN_REASON_ICMP_TYPE);
    return likely(ref != 0) ? dsn_established(shard, p, ref) : dsn_first_packet(shard, p);
}

__rte_noinline dsn_end dsn_run_state(struct dsn_shard *shard, struct dsn_packet *p, uint8_t state, bool learn_only) {
    switch (state) {
    case DSN_STATE_FLOW: return run_flow(shard, p);
    case DSN_STATE_ARP: return taken_in(dsn_take_arp(shard, p, learn_only));
    case DSN_STATE_ND: return take_nd(shard, p, learn_only);
    case DSN_STATE_ERROR: return dsn_icmp_error(shard, p);
    case DSN_STATE_ECHO: {
        struct dsn_header header;
        dsn_header_of(&header, p);
        return taken_in(dsn_take_echo(shard, p, &header));
    }
    default: return dsn_dropped(p->reason);
    }
}

static void learn(struct dsn_shard *shard, struct dsn_packet *p) {
    if (p->state == DSN_STATE_ARP || p->state == DSN_STATE_ND)
        (void)dsn_run_state(shard, p, p->state, true);
    rte_pktmbuf_free(p->mbuf);
}

static __rte_always_inline dsn_end act(struct dsn_shard *shard, struct dsn_packet *p, enum dsn_handed how) {
    if (likely(p->state >= DSN_STATE_FLOW))
        return run_flow(shard, p);
    shard->meeting = 0;
    return p->state == DSN_STATE_FRAGMENT ? dsn_run_fragment(shard, p, how) : dsn_run_state(shard, p, p->state, false);
}

static __rte_always_inline dsn_end go(struct dsn_shard *shard, struct dsn_packet *p, struct dsn_train *train,
                                      enum dsn_handed how) {
    if (likely(dsn_usual_way(shard, p, train)))
        return DSN_FORWARD;
    dsn_train_end(train);
    return act(shard, p, how);
}

/* Whose the packet may be: that many packets before it is acted on, so that memory has time to bring the line and the
 * session, and a core's few outstanding misses are spread over the whole burst. */
#define AHEAD 12

/* It will be a first packet: fetches where its replies would stand in the index, if they come from where those of the
 * last connection do. */
static __rte_noinline void expect_replies(const struct dsn_shard *shard, const struct dsn_packet *p) {
    struct dsn_flow_key turned = shard->replies;
    memcpy(turned.source, p->key.destination, 16);
    memcpy(turned.destination, p->key.source, 16);
    dsn_key_set(&turned, p->key.destination_port, p->key.source_port, p->key.protocol, shard->replies.flags);
    dsn_flows_prefetch(&shard->flows, dsn_flows_hash(&shard->flows, &turned));
}

static __rte_always_inline void guess(const struct dsn_shard *shard, struct dsn_packet *p) {
    const struct dsn_flows *flows = &shard->flows;
    if (unlikely(p->state < DSN_STATE_FLOW))
        return;
    p->ref = dsn_flows_guess(flows, p->hash);
    if (likely(p->ref != 0)) {
        rte_prefetch0(dsn_ref_line(flows, p->ref));
        rte_prefetch0(&dsn_ref_connection(flows, p->ref)->session);
        if (unlikely(p->key.protocol == DSN_TCP)) /* out of the way of those that have none */
            rte_prefetch0(&flows->windows[p->ref >> 1]);
    } else {
        expect_replies(shard, p);
    }
}

/* What is left to do of a packet that isn't on its way; `vnic`: whom it came from, or NULL. */
static __rte_always_inline void finish(struct dsn_shard *shard, struct rte_mbuf *mbuf, const struct dsn_vnic *vnic,
                                       dsn_end end) {
    if (likely(!dsn_is_drop(end) && end != DSN_CONSUME))
        return;
    if (dsn_is_drop(end))
        dsn_count_drop(shard, vnic != NULL ? vnic->slot : DSN_NO_SLOT, dsn_reason_of(end));
    rte_pktmbuf_free(mbuf);
}

static inline void count_in(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint64_t packets, uint64_t bytes) {
    if (vnic == NULL)
        return;
    shard->counters.vnic[vnic->slot].rx_packets += packets;
    shard->counters.vnic[vnic->slot].rx_bytes += bytes;
}

/* Where there are several workers: a packet that is another's counts there. */
static __rte_noinline dsn_end run_shared(struct dsn_shard *shard, struct dsn_packet *p, struct dsn_train *train,
                                         bool handed_over) {
    enum dsn_handed how = handed_over ? dsn_handed_how(p->mbuf) : DSN_HANDED_PLAIN;
    struct rte_mbuf *mbuf = p->mbuf;
    const struct dsn_vnic *vnic = p->vnic;
    uint32_t length = p->length;
    dsn_end end;
    if (!handed_over)
        mbuf->hash.fdir.hi = DSN_HANDED_PLAIN; /* for one that waits */
    if (how == DSN_HANDED_LEARN) {
        dsn_train_end(train); /* what waited for the news goes into the queues that the train fills */
        learn(shard, p);
        return DSN_CONSUME;
    }
    uint16_t owner = handed_over ? shard->config.worker : dsn_worker_of(shard, p, p->state);
    if (owner != shard->config.worker) {
        end = dsn_hand_over(shard, mbuf, owner, DSN_HANDED_PLAIN);
        if (end == DSN_HANDOVER)
            return end;
        p->state = dsn_look_drop(p, dsn_reason_of(end));
    }
    end = go(shard, p, train, how);
    if (unlikely(shard->news)) { /* its bytes are as they came: ARP and ND are taken in */
        shard->news = false;
        dsn_share_news(shard, p);
    }
    if (end == DSN_HANDOVER)
        return end;
    shard->counters.engine[DSN_COUNT_PACKETS]++;
    count_in(shard, vnic, 1, length);
    finish(shard, mbuf, vnic, end);
    return end;
}

/* Where there is one worker: all packets are its own. */
static __rte_noinline dsn_end run_alone(struct dsn_shard *shard, struct dsn_packet *packets, uint16_t count) {
    const struct dsn_vnic *from = NULL; /* the vNIC that `some` packets in a row came from */
    uint64_t some = 0, bytes = 0;
    struct dsn_train train = {.least = DSN_STATE_PLAIN};
    dsn_end end = 0;
    shard->counters.engine[DSN_COUNT_PACKETS] += count;
    for (struct dsn_packet *p = packets; p < packets + count; p++) {
        if (unlikely(p->vnic != from)) {
            count_in(shard, from, some, bytes);
            from = p->vnic;
            some = bytes = 0;
        }
        some++;
        bytes += p->length;
        if (likely(p + AHEAD < packets + count))
            guess(shard, p + AHEAD);
        end = go(shard, p, &train, DSN_HANDED_PLAIN);
        finish(shard, p->mbuf, p->vnic, end);
    }
    dsn_train_end(&train);
    count_in(shard, from, some, bytes);
    return end;
}

/* A loop and a function of its own: a CPU that waits for one packet's bytes goes on with the next one's, and it has all
 * registers. Where the flow's place in the index is fetched at once, the next packet's parsing hides it. */
static __rte_noinline void look_at_some(const struct dsn_shard *shard, struct dsn_packet *packet,
                                        struct rte_mbuf **mbufs, uint16_t count) {
    const struct dsn_root *root = shard->root;
    const struct dsn_flows *flows = &shard->flows;
    struct dsn_alone alone = {.port = UINT32_MAX};
    for (uint16_t i = 0; i < count; i++) {
        struct dsn_packet *p = &packet[i];
        dsn_look_begin(p, mbufs[i]);
        if (unlikely(!dsn_glance(shard, root, p, &alone)) && (p->state = dsn_look(shard, root, p)) < DSN_STATE_FLOW)
            continue;
        p->hash = dsn_flows_hash(flows, &p->key);
        dsn_flows_prefetch(flows, p->hash);
    }
}

/* --- first packets that wait for their turn --- */

#ifndef DSN_WITNESS
/* It was counted when it came; the tables may be others by now. */
static __rte_noinline __rte_cold void run_waiting(struct dsn_shard *shard, struct rte_mbuf *mbuf) {
    enum dsn_handed how = dsn_handed_how(mbuf);
    struct dsn_packet p;
    dsn_look_begin(&p, mbuf);
    p.state = dsn_look(shard, shard->root, &p);
    p.hash = dsn_flows_hash(&shard->flows, &p.key);
    uint16_t owner = shard->config.worker;
    if (shard->config.workers > 1 && how == DSN_HANDED_PLAIN)
        owner = dsn_worker_of(shard, &p, p.state);
    dsn_end end =
        owner == shard->config.worker ? act(shard, &p, how) : dsn_hand_over(shard, mbuf, owner, DSN_HANDED_PLAIN);
    finish(shard, mbuf, p.vnic, end);
}

/* What waits of a connection, as long as it is open or its chain may run; how many packets that were. */
static unsigned run_connection(struct dsn_shard *shard, uint32_t number) {
    struct dsn_firsts *f = &shard->firsts;
    const struct dsn_flow_key key = f->first[number].key;
    uint64_t hash = f->first[number].hash;
    unsigned runs = 0;
    /* Looked for anew each time: replies that open a connection of their own take their replies with them, these
     * here. */
    while ((number = dsn_firsts_find(f, &key, hash)) != 0 &&
           (f->left > 0 || dsn_flows_find(&shard->flows, &key, hash) != 0)) {
        run_waiting(shard, dsn_firsts_take(shard, number));
        f->again = true;
        runs++;
        /* Packets the other way may have come before it was open: they are its replies. */
        uint32_t replies = shard->meeting != 0
                               ? dsn_firsts_find(f, &shard->replies, dsn_flows_hash(&shard->flows, &shard->replies))
                               : 0;
        if (replies != 0 && replies != number)
            runs += run_connection(shard, replies);
    }
    return runs;
}

/* Those that wait, a connection of each vNIC in turn. About as many packets as a burst has: the queues to send hold
 * both. */
static __rte_noinline __rte_cold void run_turns(struct dsn_shard *shard) {
    struct dsn_firsts *f = &shard->firsts;
    f->running = true;
    for (unsigned runs = 0; f->count > 0 && f->left > 0 && runs < DSN_BURST;) {
        f->again = false;
        runs += run_connection(shard, dsn_firsts_next(shard));
    }
    f->running = false;
}

/* Behind a burst of so many packets. */
static void end_burst(struct dsn_shard *shard, uint16_t count) {
    struct dsn_firsts *f = &shard->firsts;
    if (likely(f->seen < count))
        f->alone = 0;
    if (unlikely(f->count > 0))
        run_turns(shard);
}
#else
static void end_burst(const struct dsn_shard *shard, uint16_t count) {
    (void)shard, (void)count;
}
#endif

/* All packets of a burst; the last one's end. */
dsn_end dsn_path_run(struct dsn_shard *shard, struct rte_mbuf **mbufs, uint16_t count, bool handed_over) {
    struct dsn_packet packet[DSN_BURST];
    dsn_end end = 0;
    uint16_t half = count <= 2 * AHEAD ? count : count / 2;
    for (uint16_t i = 0; i < count; i++)
        rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void *));
    look_at_some(shard, packet, mbufs, half);
    for (uint16_t i = 0; i < half && i < AHEAD; i++)
        guess(shard, &packet[i]);
    look_at_some(shard, packet + half, mbufs + half, count - half);
    if (likely(shard->config.workers == 1)) {
        end = run_alone(shard, packet, count);
        end_burst(shard, count);
        return end;
    }
    struct dsn_train train = {.least = DSN_STATE_PLAIN};
    for (uint16_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            guess(shard, &packet[i + AHEAD]);
        end = run_shared(shard, &packet[i], &train, handed_over);
    }
    dsn_train_end(&train);
    end_burst(shard, count);
    return end;
}

static struct dsn_result result_of(dsn_end end) {
    return (struct dsn_result){.verdict = (uint8_t)end, .reason = (uint16_t)(end >> 8)};
}

#ifndef DSN_WITNESS
bool dsn_path_key(const struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *mbuf,
                  struct dsn_packet *p, struct dsn_flow_key *key) {
    uint32_t sequence;
    dsn_look_begin(p, mbuf);
    uint8_t state = dsn_look(shard, root, p);
    if (state == DSN_STATE_FRAGMENT && !dsn_is_later(p))
        state = dsn_parse_transport(p) == DSN_PASSED ? dsn_sort_out(root, p) : DSN_STATE_DROP;
    *key = p->key;
    if (state != DSN_STATE_ERROR)
        return state == DSN_STATE_FLOW || state == DSN_STATE_FRAGMENT;
    if (!dsn_parse_quoted(p, key, &sequence))
        return false;
    key->scope = p->key.scope;
    key->vrf = p->key.vrf;
    key->flags = p->key.flags;
    return true;
}

void dsn_path_burst(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf **packets, uint16_t count,
                    uint64_t now, bool handed_over) {
    if (count > 0)
        shard->counters.engine[DSN_COUNT_BURSTS + 31 - __builtin_clz(count)]++;
    dsn_shard_begin(shard, root, now, false);
    dsn_path_run(shard, packets, count, handed_over);
}

bool dsn_path_waits(const struct dsn_shard *shard) {
    return shard->firsts.count > 0;
}

struct dsn_result dsn_path_one(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *packet,
                               uint64_t now) {
    dsn_shard_begin(shard, root, now, false);
    return result_of(dsn_path_run(shard, &packet, 1, false));
}
#else
struct dsn_result dsn_path_witness(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *packet,
                                   uint64_t now, struct dsn_witness *witness) {
    witness->count = 0;
    shard->witness = witness;
    dsn_shard_begin(shard, root, now, false);
    dsn_end end = dsn_path_run(shard, &packet, 1, false);
    shard->witness = NULL;
    return result_of(end);
}
#endif
