/* A burst of packets: all are parsed and their flows prefetched before the first is acted on, then each goes its way
 * in order. */
#include "path/answers.h"
#include "path/run.h"

#include <rte_prefetch.h>

enum dsn_packet_state { /* what the bytes and small tables say of a packet */
                        STATE_DROP,
                        STATE_FLOW,
                        STATE_ARP,
                        STATE_ND,
                        STATE_ECHO,
                        STATE_ERROR,
                        STATE_FRAGMENT,
};

static bool is_local(const struct dsn_root *root, const struct dsn_packet *p) {
    struct dsn_row_local_address wanted = {.vrf = p->key.vrf};
    memcpy(wanted.address, p->key.destination, 16);
    return dsn_find(root, DSN_TABLE_LOCAL_ADDRESS, &wanted.vrf) != DSN_NO_SLOT;
}

static inline uint8_t drop(struct dsn_packet *p, enum dsn_reason_number reason) {
    p->reason = (uint16_t)reason;
    return STATE_DROP;
}

/* Steps 11 to 14, behind the transport header. */
static inline uint8_t sort_out(const struct dsn_root *root, struct dsn_packet *p) {
    const struct dsn_vnic *vnic = p->vnic;
    bool routed = p->key.flags & DSN_KEY_ROUTED;
    if (unlikely(p->discovery))
        return STATE_ND;
    if (unlikely(!routed && (vnic->role == DSN_VNIC_ROLE_UPLINK || vnic->own_mac == DSN_NO_MAC)))
        return drop(p, DSN_REASON_NOT_FOR_US);
    if (likely(!dsn_is_icmp(p)))
        return STATE_FLOW;
    if (p->icmp_type == dsn_echo_request(p->key.protocol))
        return routed && is_local(root, p) ? STATE_ECHO : STATE_FLOW;
    if (dsn_is_icmp_error(p))
        return STATE_ERROR;
    return p->icmp_type == dsn_echo_reply(p->key.protocol) ? STATE_FLOW : drop(p, DSN_REASON_ICMP_TYPE);
}

/* Steps 1 to 14, as far as nothing is kept of the packet. */
static inline uint8_t look(const struct dsn_shard *shard, const struct dsn_root *root, struct dsn_packet *p) {
    enum dsn_reason_number reason;
    if (unlikely(root->generation == 0))
        return drop(p, DSN_REASON_NOT_CONFIGURED);
    if (unlikely((reason = dsn_parse_ethernet(p)) != DSN_PASSED))
        return drop(p, reason);
    const struct dsn_vnic *vnic =
        dsn_vnic_of_frame(root, shard->config.ports[p->mbuf->port]->number, p->vlan, dsn_mac(p->frame + 6));
    if (unlikely(vnic == NULL))
        return drop(p, DSN_REASON_VNIC_UNKNOWN);
    p->vnic = vnic;
    p->key.scope = vnic->scope;
    p->key.vrf = vnic->vrf;
    p->key.flags = vnic->key_flags;
    if (unlikely(p->ethertype == DSN_TYPE_ARP))
        return STATE_ARP;
    if (unlikely((reason = dsn_parse_ip(p)) != DSN_PASSED))
        return drop(p, reason);
    uint64_t destination = dsn_mac(p->frame);
    if (destination == vnic->own_mac)
        p->key.flags |= DSN_KEY_ROUTED;
    if (unlikely(p->frame[0] & 1)) {
        if (destination == UINT64_C(0xffffffffffff))
            return drop(p, DSN_REASON_BROADCAST);
        return p->discovery ? STATE_ND : drop(p, DSN_REASON_MULTICAST);
    }
    if (unlikely((reason = dsn_parse_addresses(p)) != DSN_PASSED))
        return drop(p, reason);
    if (unlikely(p->fragment))
        return STATE_FRAGMENT;
    if (unlikely((reason = dsn_parse_transport(p)) != DSN_PASSED))
        return drop(p, reason);
    return sort_out(root, p);
}

static inline void begin(struct dsn_packet *p, struct rte_mbuf *mbuf) {
    p->key = (struct dsn_flow_key){0};
    p->mbuf = mbuf;
    p->frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    p->length = mbuf->data_len;
    p->vnic = NULL;
    p->icmp_type = 0;
    p->tcp_flags = 0;
    p->fragment = false;
    p->discovery = false;
    p->ref = 0;
}

/* --- owners, where there are several workers --- */

static uint16_t owner_of(const struct dsn_shard *shard, const struct dsn_flow_key *key) {
    return dsn_flow_owner(
        dsn_flow_hash(key->vrf, key->protocol, key->source, key->destination, key->source_port, key->destination_port),
        shard->config.workers);
}

static struct dsn_result hand_over(struct dsn_shard *shard, struct rte_mbuf *mbuf, uint16_t worker, enum dsn_handed how,
                                   uint32_t ports) {
    struct dsn_tx *queue = &shard->handover[worker];
    if (queue->count == RTE_DIM(queue->packets))
        return dsn_dropped(DSN_REASON_PORT_FULL);
    mbuf->hash.fdir.hi = how;
    mbuf->hash.fdir.lo = ports;
    queue->packets[queue->count++] = mbuf;
    shard->counters.engine[DSN_COUNT_HANDOVERS]++;
    return (struct dsn_result){.verdict = DSN_HANDOVER};
}

/* The worker that a packet belongs to, by its bytes; fragments without ports. */
static uint16_t worker_of(const struct dsn_shard *shard, const struct dsn_packet *p, uint8_t state) {
    struct dsn_flow_key key = p->key;
    if (state == STATE_ERROR) {
        if (!dsn_parse_quoted(p, &key))
            return shard->config.worker;
        key.vrf = p->key.vrf;
    } else if (state != STATE_FLOW && state != STATE_FRAGMENT) {
        return shard->config.worker;
    }
    return owner_of(shard, &key);
}

/* Others learn from ARP and ND on uplinks what this worker learns; it alone answers. */
static void share_news(struct dsn_shard *shard, const struct dsn_packet *p) {
    for (uint16_t worker = 0; worker < shard->config.workers; worker++) {
        if (worker == shard->config.worker)
            continue;
        struct rte_mbuf *copy = rte_pktmbuf_copy(p->mbuf, shard->config.pool, 0, UINT32_MAX);
        if (copy == NULL)
            return;
        copy->port = p->mbuf->port;
        if (hand_over(shard, copy, worker, DSN_HANDED_LEARN, 0).verdict == DSN_DROP)
            rte_pktmbuf_free(copy);
    }
}

/* --- fragments --- */

static struct dsn_result run_later(struct dsn_shard *shard, struct dsn_packet *p, enum dsn_handed how) {
    uint32_t ref;
    enum dsn_reason_number reason;
    if (how == DSN_HANDED_FRAGMENT) {
        p->key.source_port = (uint16_t)(p->mbuf->hash.fdir.lo >> 16);
        p->key.destination_port = (uint16_t)p->mbuf->hash.fdir.lo;
        ref = dsn_connection_find(shard, &p->key, dsn_flows_hash(&shard->flows, &p->key), shard->now);
        return ref != 0 ? dsn_later(shard, p, ref) : dsn_dropped(DSN_REASON_FRAGMENT_NO_FIRST);
    }
    struct dsn_first_fragment *first = dsn_fragment_of(&shard->fragments, p, shard->now);
    if (first == NULL)
        return dsn_dropped(DSN_REASON_FRAGMENT_NO_FIRST);
    ref = first->ref;
    const struct dsn_connection *c = dsn_ref_connection(&shard->flows, ref);
    if (ref != 0 && (c->line[0].ops == 0 || c->session.id != first->connection || dsn_expired(c, shard->now)))
        return dsn_dropped(DSN_REASON_FRAGMENT_NO_FIRST);
    reason = dsn_fragment_follow(first, p);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    if (ref != 0)
        return dsn_later(shard, p, ref);
    uint32_t ports = (uint32_t)first->flow.source_port << 16 | first->flow.destination_port;
    return hand_over(shard, p->mbuf, owner_of(shard, &first->flow), DSN_HANDED_FRAGMENT, ports);
}

static struct dsn_result run_state(struct dsn_shard *shard, struct dsn_packet *p, uint8_t state, bool learn_only);

static struct dsn_result run_fragment(struct dsn_shard *shard, struct dsn_packet *p, enum dsn_handed how) {
    enum dsn_reason_number reason = DSN_PASSED;
    if (how != DSN_HANDED_FRAGMENT)
        reason = dsn_fragment_check(p);
    if (reason == DSN_PASSED && dsn_is_later(p))
        return run_later(shard, p, how);
    if (reason == DSN_PASSED && how != DSN_HANDED_FRAGMENT)
        reason = dsn_fragment_first(&shard->fragments, p, shard->now);
    if (reason == DSN_PASSED)
        reason = dsn_parse_transport(p);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    uint8_t state = sort_out(shard->root, p);
    uint16_t owner = shard->config.workers > 1 ? worker_of(shard, p, state) : shard->config.worker;
    if (how != DSN_HANDED_FRAGMENT && owner != shard->config.worker) {
        if (state == STATE_FLOW)
            dsn_fragment_remember(&shard->fragments, p, 0, 0, shard->now);
        return hand_over(shard, p->mbuf, owner, DSN_HANDED_FRAGMENT, 0);
    }
    p->hash = dsn_flows_hash(&shard->flows, &p->key);
    struct dsn_packet before = *p; /* sending changes bytes */
    struct dsn_result result = run_state(shard, p, state, false);
    if (result.verdict != DSN_DROP && shard->meeting != 0 && how != DSN_HANDED_FRAGMENT)
        dsn_fragment_remember(&shard->fragments, &before, dsn_ref_connection(&shard->flows, shard->meeting)->session.id,
                              shard->meeting, shard->now);
    return result;
}

/* --- one packet --- */

static struct dsn_result taken_in(enum dsn_reason_number reason) {
    return reason == DSN_PASSED ? (struct dsn_result){.verdict = DSN_CONSUME} : dsn_dropped(reason);
}

static inline struct dsn_result run_flow(struct dsn_shard *shard, struct dsn_packet *p) {
    uint32_t ref = p->ref;
    /* What was found before the burst holds unless a packet of this burst changed it: its key tells. */
    if (unlikely(ref == 0 || !dsn_key_equal(&dsn_ref_line(&shard->flows, ref)->key, &p->key) ||
                 dsn_expired(dsn_ref_connection(&shard->flows, ref), shard->now)))
        ref = dsn_connection_find(shard, &p->key, p->hash, shard->now);
    return likely(ref != 0) ? dsn_established(shard, p, ref) : dsn_first_packet(shard, p);
}

static struct dsn_result run_state(struct dsn_shard *shard, struct dsn_packet *p, uint8_t state, bool learn_only) {
    switch (state) {
    case STATE_FLOW: return run_flow(shard, p);
    case STATE_ARP: return taken_in(dsn_take_arp(shard, p, learn_only));
    case STATE_ND: return taken_in(dsn_take_nd(shard, p, learn_only));
    case STATE_ERROR: return dsn_icmp_error(shard, p);
    case STATE_ECHO: {
        struct dsn_header header;
        dsn_header_of(&header, p);
        return taken_in(dsn_take_echo(shard, p, &header));
    }
    default: return dsn_dropped(p->reason);
    }
}

static void learn(struct dsn_shard *shard, struct dsn_packet *p) {
    if (p->state == STATE_ARP || p->state == STATE_ND)
        (void)run_state(shard, p, p->state, true);
    rte_pktmbuf_free(p->mbuf);
}

static inline struct dsn_result run(struct dsn_shard *shard, struct dsn_packet *p, bool handed_over) {
    enum dsn_handed how = handed_over ? p->mbuf->hash.fdir.hi : DSN_HANDED_PLAIN;
    struct dsn_result result;
    uint32_t vnic = p->vnic != NULL ? p->vnic->slot : DSN_NO_SLOT;
    uint64_t bytes = p->length;
    if (unlikely(shard->config.workers > 1)) {
        if (how == DSN_HANDED_LEARN) {
            learn(shard, p);
            return (struct dsn_result){.verdict = DSN_CONSUME};
        }
        uint16_t owner = handed_over ? shard->config.worker : worker_of(shard, p, p->state);
        if (owner != shard->config.worker) {
            result = hand_over(shard, p->mbuf, owner, DSN_HANDED_PLAIN, 0);
            if (result.verdict == DSN_HANDOVER)
                return result; /* its owner counts it */
            p->state = drop(p, result.reason);
        }
        if (p->vnic != NULL && p->vnic->role == DSN_VNIC_ROLE_UPLINK && (p->state == STATE_ARP || p->state == STATE_ND))
            share_news(shard, p);
    }
    shard->meeting = 0;
    if (likely(p->state == STATE_FLOW))
        result = run_flow(shard, p);
    else if (p->state == STATE_FRAGMENT)
        result = run_fragment(shard, p, how);
    else
        result = run_state(shard, p, p->state, false);
    if (unlikely(result.verdict == DSN_HANDOVER))
        return result;
    shard->counters.engine[DSN_COUNT_PACKETS]++;
    if (likely(vnic != DSN_NO_SLOT)) {
        shard->counters.vnic[vnic].rx_packets++;
        shard->counters.vnic[vnic].rx_bytes += bytes;
    }
    if (unlikely(result.verdict == DSN_DROP))
        dsn_count_drop(shard, vnic, result.reason);
    if (unlikely(result.verdict == DSN_DROP || result.verdict == DSN_CONSUME))
        rte_pktmbuf_free(p->mbuf);
    return result;
}

/* All packets of a burst; the last one's result. */
struct dsn_result dsn_path_run(struct dsn_shard *shard, struct rte_mbuf **packets, uint16_t count, bool handed_over) {
    struct dsn_packet packet[DSN_BURST];
    struct dsn_result result = {0};
    const struct dsn_flows *flows = &shard->flows;
    for (uint16_t i = 0; i < count; i++)
        rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
    for (uint16_t i = 0; i < count; i++) {
        struct dsn_packet *p = &packet[i];
        begin(p, packets[i]);
        p->state = look(shard, shard->root, p);
        if (likely(p->state == STATE_FLOW)) {
            p->hash = dsn_flows_hash(flows, &p->key);
            dsn_flows_prefetch(flows, p->hash);
        }
    }
    for (uint16_t i = 0; i < count; i++) {
        struct dsn_packet *p = &packet[i];
        if (unlikely(p->state != STATE_FLOW))
            continue;
        p->ref = dsn_flows_guess(flows, p->hash);
        if (likely(p->ref != 0)) {
            rte_prefetch0(dsn_ref_line(flows, p->ref));
            rte_prefetch0(&dsn_ref_connection(flows, p->ref)->session);
        }
    }
    for (uint16_t i = 0; i < count; i++)
        result = run(shard, &packet[i], handed_over);
    return result;
}

#ifndef DSN_WITNESS
bool dsn_path_key(const struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *mbuf,
                  struct dsn_packet *p, struct dsn_flow_key *key) {
    begin(p, mbuf);
    uint8_t state = look(shard, root, p);
    if (state == STATE_FRAGMENT && !dsn_is_later(p))
        state = dsn_parse_transport(p) == DSN_PASSED ? sort_out(root, p) : STATE_DROP;
    *key = p->key;
    if (state != STATE_ERROR)
        return state == STATE_FLOW || state == STATE_FRAGMENT;
    if (!dsn_parse_quoted(p, key))
        return false;
    key->scope = p->key.scope;
    key->vrf = p->key.vrf;
    key->flags = p->key.flags;
    return true;
}

void dsn_path_burst(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf **packets, uint16_t count,
                    uint64_t now, bool handed_over) {
    dsn_shard_begin(shard, root, now, false);
    dsn_path_run(shard, packets, count, handed_over);
}

struct dsn_result dsn_path_one(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *packet,
                               uint64_t now) {
    dsn_shard_begin(shard, root, now, false);
    return dsn_path_run(shard, &packet, 1, false);
}
#else
struct dsn_result dsn_path_witness(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *packet,
                                   uint64_t now, struct dsn_witness *witness) {
    witness->count = 0;
    shard->witness = witness;
    dsn_shard_begin(shard, root, now, false);
    struct dsn_result result = dsn_path_run(shard, &packet, 1, false);
    shard->witness = NULL;
    return result;
}
#endif
