/* Packets of connections that are known: steps 2 to 7 of *Established*. */
#include "path/answers.h"
#include "path/run.h"

/* The state behind a segment; DSN_TCP_NONE where it doesn't fit (RFC 9293 3.3.2, as a bystander sees it). */
static inline uint8_t track(uint8_t state, uint8_t flags, unsigned direction, bool closer) {
    bool syn = flags & DSN_TCP_SYN, fin = flags & DSN_TCP_FIN, rst = flags & DSN_TCP_RST, ack = flags & DSN_TCP_ACK;
    if (likely(state == DSN_TCP_ESTABLISHED && !syn && !fin && !rst))
        return state;
    if (state == DSN_TCP_SYN_SENT && direction == 0)
        return syn && !ack ? DSN_TCP_SYN_SENT : DSN_TCP_NONE;
    if (state == DSN_TCP_SYN_SENT)
        return rst ? DSN_TCP_CLOSED : syn ? DSN_TCP_SYN_RECEIVED : DSN_TCP_NONE;
    if (rst)
        return DSN_TCP_CLOSED;
    if (state == DSN_TCP_CLOSED)
        return DSN_TCP_NONE;
    if (state == DSN_TCP_TIME_WAIT)
        return state;
    if (syn)
        return state == DSN_TCP_SYN_RECEIVED ? state : DSN_TCP_NONE;
    if (state == DSN_TCP_SYN_RECEIVED || state == DSN_TCP_ESTABLISHED) {
        if (fin)
            return DSN_TCP_FIN_WAIT;
        return state == DSN_TCP_SYN_RECEIVED && direction == 0 ? DSN_TCP_ESTABLISHED : state;
    }
    if (state == DSN_TCP_FIN_WAIT)
        return fin && !closer ? DSN_TCP_CLOSING : state;
    return ack && closer ? DSN_TCP_TIME_WAIT : state; /* CLOSING */
}

static bool follow_tcp(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t ref) {
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    bool closer = ((session->flags & DSN_SESSION_CLOSER) != 0) == (ref & 1);
    uint8_t before = session->tcp, state = track(before, p->tcp_flags, ref & 1, closer);
    if (state == DSN_TCP_NONE)
        return false;
    if (unlikely(state != before)) {
        if (state == DSN_TCP_FIN_WAIT)
            session->flags = (uint8_t)((session->flags & ~DSN_SESSION_CLOSER) | (ref & 1 ? DSN_SESSION_CLOSER : 0));
        session->tcp = state;
        dsn_flows_arm(&shard->flows, ref >> 1); /* the time-out may be a shorter one */
    }
    DSN_STEP(shard, DSN_STEP_STATE, -1, session->id, state);
    return true;
}

enum dsn_reason_number dsn_check_size(struct dsn_shard *shard, const struct dsn_packet *p, const struct dsn_ops *ops) {
    bool v4 = p->version == 4;
    if (unlikely(ops->ops & DSN_OP_DROP))
        return ops->reason;
    if (unlikely((ops->ops & DSN_OP_REWRITE_TTL) && p->ttl <= 1)) {
        dsn_tell(shard, p, v4 ? 11 : 3, 0, 0);
        return DSN_REASON_TTL_EXCEEDED;
    }
    if (unlikely(dsn_ip_length(p) > ops->mtu)) {
        dsn_tell(shard, p, v4 ? 3 : 2, v4 ? 4 : 0, ops->mtu);
        return DSN_REASON_MTU_EXCEEDED;
    }
    return DSN_PASSED;
}

static inline enum dsn_reason_number check(struct dsn_shard *shard, const struct dsn_packet *p,
                                           const struct dsn_ops *ops) {
    if ((ops->ops & DSN_OP_CHECK_SOURCE_MAC) && dsn_mac(p->frame + 6) != p->vnic->mac)
        return DSN_REASON_SPOOFED_MAC;
    if ((ops->ops & DSN_OP_CHECK_DESTINATION_MAC) && dsn_mac(p->frame) != dsn_mac(ops->check_mac))
        return DSN_REASON_MAC_MISMATCH;
    return dsn_check_size(shard, p, ops);
}

static struct dsn_result wait_for(struct dsn_shard *shard, struct dsn_packet *p, uint32_t neighbour) {
    struct rte_mbuf *mbuf = p->mbuf;
    mbuf->data_off = (uint16_t)(mbuf->data_off + p->ip);
    mbuf->data_len = dsn_ip_length(p);
    mbuf->pkt_len = mbuf->data_len;
    enum dsn_reason_number reason = dsn_neighbour_wait(shard, neighbour, mbuf, p->vnic->slot, shard->now);
    return reason == DSN_PASSED ? (struct dsn_result){.verdict = DSN_QUEUE} : dsn_dropped(reason);
}

static inline void decrement_ttl(const struct dsn_packet *p) {
    uint8_t *ip = p->frame + p->ip;
    if (p->version == 6) {
        ip[7]--;
        return;
    }
    ip[8]--;
    /* RFC 1624 (eqn. 3): ~m + m' of a word less 0x100 is 0xfeff, whatever the word */
    uint32_t sum = (uint32_t)(uint16_t)~dsn_be16(ip + 10) + 0xfeff;
    dsn_put16(ip + 10, (uint16_t)~((sum & 0xffff) + (sum >> 16)));
}

/* Step 7. */
struct dsn_result dsn_send(struct dsn_shard *shard, struct dsn_packet *p, const struct dsn_ops *ops) {
    const uint8_t *destination = ops->destination;
    struct rte_mbuf *mbuf = p->mbuf;
    if (ops->ops & DSN_OP_REWRITE_TTL)
        decrement_ttl(p);
    if (ops->ops & DSN_OP_NEIGHBOUR) {
        struct dsn_neighbour *one = &shard->neighbours.neighbour[ops->neighbour];
        if (unlikely(one->state != DSN_NEIGHBOUR_REACHABLE && one->state != DSN_NEIGHBOUR_PROBE))
            return wait_for(shard, p, ops->neighbour);
        if (!one->used)
            one->used = true;
        destination = one->mac;
    }
    uint16_t size = ops->push ? 18 : 14;
    uint16_t at = (uint16_t)(mbuf->data_off + p->ip - size);
    if (unlikely(mbuf->data_off + p->ip < size))
        return dsn_dropped(DSN_REASON_PORT_FULL); /* a port that leaves no room before frames */
    uint8_t *frame = (uint8_t *)mbuf->buf_addr + at;
    if (ops->ops & DSN_OP_REWRITE_MACS) {
        memcpy(frame, destination, 6);
        memcpy(frame + 6, ops->source, 6);
    } else if (frame != p->frame) {
        memmove(frame, p->frame, 12);
    }
    if (ops->push) { /* the EtherType stands before the IP header already */
        dsn_put16(frame + 12, DSN_TYPE_VLAN);
        dsn_put16(frame + 14, ops->push);
    }
    mbuf->data_off = at;
    mbuf->data_len = (uint16_t)(size + dsn_ip_length(p));
    mbuf->pkt_len = mbuf->data_len;
    enum dsn_reason_number reason = dsn_transmit(shard, ops->egress, ops->port, mbuf);
    if (unlikely(reason != DSN_PASSED))
        return dsn_dropped(reason);
    DSN_STEP(shard, DSN_STEP_SEND, DSN_TABLE_VNIC, ops->egress_id, 0);
    return (struct dsn_result){.verdict = ops->ops & DSN_OP_PUNT ? DSN_PUNT : DSN_FORWARD};
}

/* The vNIC that opened it as it is now, if its packets would still be of this connection. */
static const struct dsn_vnic *initiator_of(const struct dsn_shard *shard, const struct dsn_connection *c,
                                           const uint8_t destination_mac[6]) {
    const struct dsn_vnic *vnic = dsn_vnic_at(shard->root, c->session.ingress_slot);
    const struct dsn_flow_key *key = &c->line[0].key;
    if (!vnic->present || vnic->id != c->session.ingress)
        vnic = dsn_vnic_by_id(shard->root, c->session.ingress);
    if (vnic == NULL || !dsn_key_is_of(key, vnic))
        return NULL;
    bool routed = key->flags & DSN_KEY_ROUTED;
    return routed == (dsn_mac(destination_mac) == vnic->own_mac) ? vnic : NULL;
}

static void header_again(struct dsn_header *header, const struct dsn_flow_key *key) {
    bool icmp = key->protocol == DSN_ICMP || key->protocol == DSN_ICMP6;
    memcpy(header->source, key->source, 32);
    header->source_port = key->source_port;
    header->destination_port = key->destination_port;
    header->protocol = key->protocol;
    header->icmp_type = icmp ? dsn_echo_request(key->protocol) : 0;
}

/* Step 2. DSN_PASSED: it obeys the tables as they are now; else it was removed, or can't go on. */
static enum dsn_reason_number decide_again(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t number) {
    struct dsn_connection *c = &shard->flows.connection[number];
    const struct dsn_root *root = shard->root;
    struct dsn_opening o;
    bool network = c->session.flags & DSN_SESSION_NETWORK && c->session.network != shard->network;
    if (!network && !(c->session.flags & DSN_SESSION_ALWAYS) && dsn_stamps_hold(root->stamps, c)) {
        c->session.generation = root->generation;
        c->session.network = shard->network;
        return DSN_PASSED;
    }
    DSN_STEP(shard, DSN_STEP_REEVALUATE, -1, c->session.id, 0);
    shard->counters.engine[DSN_COUNT_REEVALUATIONS]++;
    memcpy(o.header.destination_mac, dsn_ops_at(&shard->ops, c->line[0].ops)->check_mac, 6);
    o.ingress = initiator_of(shard, c, o.header.destination_mac);
    if (o.ingress == NULL) {
        dsn_connection_remove(shard, number);
        return DSN_REASON_VNIC_UNKNOWN;
    }
    o.routed = c->line[0].key.flags & DSN_KEY_ROUTED;
    header_again(&o.header, &c->line[0].key);
    memcpy(o.header.source_mac, &o.ingress->mac, 6);
    if (!dsn_chain_decide(shard, &o.decision, &o.header, o.ingress, o.routed)) {
        dsn_connection_remove(shard, number);
        if (o.decision.tell)
            dsn_tell_refused(shard, p);
        return o.decision.reason;
    }
    memcpy(o.header.source_mac, dsn_ops_at(&shard->ops, c->line[1].ops)->check_mac, 6); /* of the first packet */
    o.key[0] = c->line[0].key;
    dsn_key_reply(&o.key[1], &o.key[0], dsn_vnic_at(root, o.decision.egress));
    uint32_t other = dsn_connection_find(shard, &o.key[1], dsn_flows_hash(&shard->flows, &o.key[1]), shard->now);
    if (other != 0 && other >> 1 != number) {
        dsn_connection_remove(shard, number);
        return DSN_REASON_FLOW_TABLE_FULL;
    }
    dsn_opening_fill(shard, &o);
    enum dsn_reason_number reason = dsn_opening_replace(shard, &o, number);
    if (reason != DSN_PASSED)
        dsn_opening_forget(shard, &o);
    return reason;
}

static inline bool is_as_decided(const struct dsn_shard *shard, const struct dsn_session *session) {
    return session->generation == shard->generation && session->network == shard->network;
}

static inline enum dsn_reason_number meet(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t ref) {
    const struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    shard->meeting = ref;
    DSN_STEP(shard, DSN_STEP_FLOW, -1, session->id, ref & 1);
    return likely(is_as_decided(shard, session)) ? DSN_PASSED : decide_again(shard, p, ref >> 1);
}

/* The packet belongs to the connection: it counts and goes. */
static inline struct dsn_result go(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref,
                                   const struct dsn_ops *ops) {
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    if (unlikely((ops->ops & DSN_OP_METER) && !dsn_meter_take(shard, p->vnic, shard->now)))
        return dsn_dropped(DSN_REASON_PUNT_LIMIT);
    session->last_ns = shard->now;
    if ((ref & 1) && !(session->flags & DSN_SESSION_REPLIED))
        session->flags |= DSN_SESSION_REPLIED;
    dsn_count(session, p, ref & 1);
    return dsn_send(shard, p, ops);
}

struct dsn_result dsn_established(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref) {
    struct dsn_connection *c = dsn_ref_connection(&shard->flows, ref);
    const struct dsn_line *line = &c->line[ref & 1];
    enum dsn_reason_number reason = meet(shard, p, ref);
    if (unlikely(reason != DSN_PASSED))
        return dsn_dropped(reason);
    if (unlikely(!dsn_key_equal(&line->key, &p->key))) /* decided again: replies come from elsewhere */
        return dsn_first_packet(shard, p);
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, line->ops);
    reason = check(shard, p, ops);
    if (unlikely(reason != DSN_PASSED))
        return dsn_dropped(reason);
    if (ops->ops & DSN_OP_TRACK) {
        if (unlikely(dsn_is_bare_syn(p) && (c->session.tcp == DSN_TCP_TIME_WAIT || c->session.tcp == DSN_TCP_CLOSED))) {
            dsn_connection_remove(shard, ref >> 1);
            return dsn_first_packet(shard, p);
        }
        if (unlikely(!follow_tcp(shard, p, ref)))
            return dsn_dropped(DSN_REASON_TCP_STATE);
    }
    return go(shard, p, ref, ops);
}

struct dsn_result dsn_later(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref) {
    const struct dsn_line *line = dsn_ref_line(&shard->flows, ref);
    enum dsn_reason_number reason = meet(shard, p, ref);
    if (reason == DSN_PASSED && !dsn_key_is_of(&line->key, p->vnic))
        reason = DSN_REASON_FRAGMENT_NO_FIRST;
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, line->ops);
    reason = check(shard, p, ops);
    return reason == DSN_PASSED ? go(shard, p, ref, ops) : dsn_dropped(reason);
}

struct dsn_result dsn_icmp_error(struct dsn_shard *shard, struct dsn_packet *p) {
    struct dsn_flow_key key;
    if (!dsn_parse_quoted(p, &key))
        return dsn_dropped(DSN_REASON_ICMP_ERROR_UNRELATED);
    key.scope = p->key.scope;
    key.vrf = p->key.vrf;
    key.flags = p->key.flags;
    uint32_t ref = dsn_connection_find(shard, &key, dsn_flows_hash(&shard->flows, &key), shard->now);
    if (ref == 0)
        return dsn_dropped(DSN_REASON_ICMP_ERROR_UNRELATED);
    const struct dsn_line *line = dsn_ref_line(&shard->flows, ref);
    enum dsn_reason_number reason = meet(shard, p, ref);
    if (reason == DSN_PASSED && !dsn_key_equal(&line->key, &key))
        reason = DSN_REASON_ICMP_ERROR_UNRELATED;
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, line->ops);
    reason = check(shard, p, ops);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    dsn_count(&dsn_ref_connection(&shard->flows, ref)->session, p, ref & 1);
    return dsn_send(shard, p, ops);
}
