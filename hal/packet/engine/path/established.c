/* Packets of connections that are known: what is rare of steps 2 to 7 of *Established*. */
#include "path/answers.h"
#include "path/tracking.h"
#include "path/waiting.h"
#include "path/way.h"

enum dsn_reason_number dsn_follow_rarely(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t ref) {
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    struct dsn_windows *windows = &shard->flows.windows[ref >> 1];
    struct dsn_tcp_segment segment = dsn_tcp_segment_of(p, ref & 1);
    bool strict = dsn_is_strict(&shard->flows, dsn_ref_connection(&shard->flows, ref));
    uint8_t before = session->tcp;
    bool alone = dsn_tcp_is_alone(before, windows);
    segment.asked = dsn_half_second(shard->now);
    segment.picks_up = shard->now < shard->config.pickup_until_ns;
    enum dsn_reason_number reason = dsn_tcp_follow(session, windows, &segment, strict);
    if (reason != DSN_PASSED) {
        if (dsn_tcp_may_be_forged(session, &segment))
            dsn_challenge(shard, p, ref, reason == DSN_REASON_TCP_CHALLENGED);
        return reason;
    }
    if (session->tcp != before) {
        if (session->tcp == DSN_TCP_CLOSED)
            session->last_ns = shard->now;
        dsn_flows_arm(&shard->flows, ref >> 1); /* the time-out may be a shorter one */
    }
    if (session->tcp != before || before == DSN_TCP_CLOSED || alone) /* CLOSED may have been in doubt */
        dsn_half_turn(shard, ref >> 1);
    DSN_STEP(shard, DSN_STEP_STATE, -1, dsn_ref_rest(&shard->flows, ref)->id, session->tcp);
    return DSN_PASSED;
}

/* What one side alone has spoken of since it was picked up may be forged, and so may the RST that it ended by; a call
 * too, where who is called speaks of another connection, and who calls goes on with that. While connections are picked
 * up, who says something else is believed as much. */
__rte_cold dsn_end dsn_not_followed(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref,
                                    enum dsn_reason_number reason) {
    const struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    const struct dsn_windows *windows = &shard->flows.windows[ref >> 1];
    bool alone = dsn_tcp_is_alone(session->tcp, windows) || dsn_tcp_was_alone(session->tcp, windows);
    bool called = session->tcp == DSN_TCP_SYN_SENT && (ref & 1) == 0 && (windows->flags & DSN_TCP_ANSWERED);
    bool turns = p->tcp_flags & (DSN_TCP_SYN | DSN_TCP_RST);
    bool another = (reason == DSN_REASON_TCP_WINDOW && alone) || (reason == DSN_REASON_TCP_STATE && called);
    if (another && !turns && shard->now < shard->config.pickup_until_ns)
        return dsn_first_packet_anew(shard, p, ref);
    return dsn_dropped(reason);
}

enum dsn_reason_number dsn_wont_fit(struct dsn_shard *shard, const struct dsn_packet *p, const struct dsn_ops *ops) {
    bool v4 = p->version == 4;
    if (ops->ops & DSN_OP_DROP)
        return ops->reason;
    if ((ops->ops & DSN_OP_REWRITE_TTL) && p->ttl <= 1) {
        dsn_tell(shard, p, v4 ? 11 : 3, 0, 0);
        return DSN_REASON_TTL_EXCEEDED;
    }
    dsn_tell(shard, p, v4 ? 3 : 2, v4 ? 4 : 0, ops->mtu);
    return DSN_REASON_MTU_EXCEEDED;
}

dsn_end dsn_wait_for(struct dsn_shard *shard, struct dsn_packet *p, uint32_t neighbour) {
    struct rte_mbuf *mbuf = p->mbuf;
    mbuf->data_len = p->end; /* without padding */
    mbuf->pkt_len = mbuf->data_len;
    enum dsn_reason_number reason = dsn_neighbour_wait(shard, neighbour, mbuf, p->vnic->slot, shard->now);
    if (reason == DSN_REASON_NEIGHBOUR_UNRESOLVED)
        dsn_tell(shard, p, p->version == 4 ? 3 : 1, p->version == 4 ? 1 : 3, 0);
    return reason == DSN_PASSED ? DSN_QUEUE : dsn_dropped(reason);
}

/* The vNIC that opened it as it is now, if its packets would still be of this connection. */
static const struct dsn_vnic *initiator_of(const struct dsn_shard *shard, const struct dsn_connection *c,
                                           const uint8_t destination_mac[6]) {
    const struct dsn_rest *rest = dsn_rest(&shard->flows, c);
    const struct dsn_vnic *vnic = dsn_vnic_at(shard->root, rest->ingress_slot);
    const struct dsn_flow_key *key = &dsn_line(c, 0)->key;
    if (!vnic->present || vnic->id != rest->ingress)
        vnic = dsn_vnic_by_id(shard->root, rest->ingress);
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

enum dsn_reason_number dsn_decide_again(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t number) {
    struct dsn_connection *c = &shard->flows.connection[number];
    const struct dsn_root *root = shard->root;
    struct dsn_opening o;
    bool network = c->session.flags & DSN_SESSION_NETWORK && c->session.network != shard->network;
    if (!network && !(c->session.flags & DSN_SESSION_ALWAYS) && dsn_stamps_hold(root->stamps, c)) {
        c->session.generation = root->generation;
        c->session.network = shard->network;
        return DSN_PASSED;
    }
    DSN_STEP(shard, DSN_STEP_REEVALUATE, -1, dsn_rest(&shard->flows, c)->id, 0);
    shard->counters.engine[DSN_COUNT_REEVALUATIONS]++;
    memcpy(o.header.destination_mac, dsn_ops_at(&shard->ops, dsn_line(c, 0)->ops)->check_mac, 6);
    o.ingress = initiator_of(shard, c, o.header.destination_mac);
    if (o.ingress == NULL) {
        dsn_connection_remove(shard, number);
        return DSN_REASON_VNIC_UNKNOWN;
    }
    o.routed = dsn_line(c, 0)->key.flags & DSN_KEY_ROUTED;
    header_again(&o.header, &dsn_line(c, 0)->key);
    memcpy(o.header.source_mac, &o.ingress->mac, 6);
    if (!dsn_chain_decide(shard, &o.decision, &o.header, o.ingress, o.routed)) {
        dsn_connection_remove(shard, number);
        dsn_tell_refused(shard, p, o.decision.tell);
        return o.decision.reason;
    }
    memcpy(o.header.source_mac, dsn_ops_at(&shard->ops, dsn_line(c, 1)->ops)->check_mac, 6); /* of the first packet */
    o.key[0] = dsn_line(c, 0)->key;
    dsn_key_reply(&o.key[1], &o.key[0], dsn_vnic_at(root, o.decision.egress));
    uint32_t other = dsn_connection_find(shard, &o.key[1], dsn_flows_hash(&shard->flows, &o.key[1]), shard->now);
    if (other != 0 && other >> 1 != number) {
        dsn_connection_remove(shard, number);
        return DSN_REASON_FLOW_TABLE_FULL;
    }
    dsn_opening_fill(shard, &o);
    return dsn_opening_replace(shard, &o, number);
}

dsn_end dsn_any_way(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref, const struct dsn_ops *ops) {
    return dsn_way(shard, p, ref, ops, ops->ops);
}

static enum dsn_reason_number meet(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t ref) {
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    shard->meeting = ref;
    DSN_STEP(shard, DSN_STEP_FLOW, -1, dsn_ref_rest(&shard->flows, ref)->id, ref & 1);
    return dsn_is_as_decided(shard, session) ? DSN_PASSED : dsn_decide_again(shard, p, ref >> 1);
}

dsn_end dsn_later(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref, uint32_t reaches) {
    const struct dsn_line *line = dsn_ref_line(&shard->flows, ref);
    enum dsn_reason_number reason = meet(shard, p, ref);
    if (reason == DSN_PASSED && !dsn_key_is_of(&line->key, p->vnic))
        reason = DSN_REASON_FRAGMENT_NO_FIRST;
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, line->ops);
    reason = dsn_check(shard, p, ops, ops->ops);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    struct dsn_meter meter;
    const struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    if ((ops->ops & DSN_OP_METER) && !dsn_meter_may(shard, p, session, ref & 1, &meter))
        return dsn_dropped(DSN_REASON_PUNT_LIMIT);
    bool unknown = (ref & 1) && session->tcp == DSN_TCP_SYN_SENT;
    if ((ops->ops & DSN_OP_TRACK) && !unknown)
        dsn_tcp_reach(&shard->flows.windows[ref >> 1], ref & 1, reaches);
    return dsn_go(shard, p, ref, ops, ops->ops, &meter);
}

dsn_end dsn_icmp_error(struct dsn_shard *shard, struct dsn_packet *p) {
    struct dsn_flow_key key;
    struct dsn_header header;
    uint32_t sequence = 0;
    enum dsn_reason_number reason = p->fragment                 ? DSN_REASON_ICMP_ERROR_INVALID
                                    : !dsn_checksum_is_right(p) ? DSN_REASON_L4_CHECKSUM
                                                                : dsn_parse_error(p);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    dsn_header_of(&header, p);
    reason = dsn_ask_source(shard->root, p->vnic, &header);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    if (!dsn_parse_quoted(p, &key, &sequence) || memcmp(key.destination, p->key.destination, 16) != 0)
        return dsn_dropped(DSN_REASON_ICMP_ERROR_UNRELATED);
    key.scope = p->key.scope;
    key.vrf = p->key.vrf;
    key.flags = p->key.flags;
    uint32_t ref = dsn_connection_find(shard, &key, dsn_flows_hash(&shard->flows, &key), shard->now);
    if (ref == 0)
        return dsn_dropped(DSN_REASON_ICMP_ERROR_UNRELATED);
    if (!dsn_error_take(shard, p, &key)) /* first: no number of the connection may decide whether it takes one */
        return dsn_dropped(DSN_REASON_ICMP_ERROR_LIMIT);
    if (dsn_ref_connection(&shard->flows, ref)->session.packets[!(ref & 1)] == 0)
        return dsn_dropped(DSN_REASON_ICMP_ERROR_UNRELATED);
    if (key.protocol == DSN_TCP && dsn_is_strict(&shard->flows, dsn_ref_connection(&shard->flows, ref)) &&
        !dsn_tcp_could_have_sent(&dsn_ref_connection(&shard->flows, ref)->session, &shard->flows.windows[ref >> 1],
                                 !(ref & 1), sequence))
        return dsn_dropped(DSN_REASON_ICMP_ERROR_UNRELATED);
    const struct dsn_line *line = dsn_ref_line(&shard->flows, ref);
    reason = meet(shard, p, ref);
    if (reason == DSN_PASSED && !dsn_key_equal(&line->key, &key))
        reason = DSN_REASON_ICMP_ERROR_UNRELATED;
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, line->ops);
    reason = dsn_check(shard, p, ops, ops->ops);
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    struct dsn_meter meter;
    if (reason == DSN_PASSED && (ops->ops & DSN_OP_METER) && !dsn_meter_may(shard, p, session, ref & 1, &meter))
        reason = DSN_REASON_PUNT_LIMIT;
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    if (ops->ops & DSN_OP_METER)
        dsn_meter_take(shard, &meter);
    dsn_count(session, p, ref & 1);
    return dsn_send(shard, p, ops, ops->ops);
}
