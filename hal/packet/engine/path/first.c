/* The first packet of a connection: the chain decides, both directions are installed. */
#include "path/answers.h"
#include "path/tracking.h"
#include "path/way.h"

/* For a while after start; where both ends are loose, ever. */
static bool may_pick_up(struct dsn_shard *shard, const struct dsn_packet *p) {
    struct dsn_decision where;
    struct dsn_header header;
    if ((p->tcp_flags & (DSN_TCP_ACK | DSN_TCP_SYN | DSN_TCP_RST)) != DSN_TCP_ACK)
        return false;
    if (shard->now < shard->config.pickup_until_ns)
        return true;
    if (shard->root->table[DSN_TABLE_TRACKING].used == 0 || /* nobody is; or it is not, whoever it goes to */
        (p->vnic->role == DSN_VNIC_ROLE_VNIC && dsn_is_strict_between(shard->root, p->vnic, p->vnic)))
        return false;
    dsn_header_of(&header, p);
    return dsn_chain_where(shard, &where, &header, p->vnic, p->key.flags & DSN_KEY_ROUTED) &&
           where.egress != DSN_NO_SLOT &&
           !dsn_is_strict_between(shard->root, p->vnic, dsn_vnic_at(shard->root, where.egress));
}

/* Pick-up of a reply: the other side is the initiator, if its packets would be let through to here. What stages say of
 * the sender's own source is final: whoever opened the connection, a reply from there is spoofed. */
static bool decide_backwards(struct dsn_shard *shard, const struct dsn_packet *p, const struct dsn_header *header,
                             struct dsn_opening *o) {
    struct dsn_decision where;
    if (dsn_ask_source(shard->root, p->vnic, header) != DSN_PASSED)
        return false;
    if (!dsn_chain_where(shard, &where, header, p->vnic, o->routed) || where.egress == DSN_NO_SLOT)
        return false;
    const struct dsn_vnic *initiator = dsn_vnic_at(shard->root, where.egress);
    struct dsn_header mirrored = {
        .source_port = header->destination_port,
        .destination_port = header->source_port,
        .protocol = header->protocol,
        .icmp_type = header->icmp_type,
    };
    memcpy(mirrored.source, header->destination, 16);
    memcpy(mirrored.destination, header->source, 16);
    if (o->routed) {
        memcpy(mirrored.source_mac, &initiator->mac, 6);
        if (initiator->own_mac != DSN_NO_MAC)
            memcpy(mirrored.destination_mac, &initiator->own_mac, 6);
    } else {
        memcpy(mirrored.source_mac, header->destination_mac, 6);
        memcpy(mirrored.destination_mac, header->source_mac, 6);
    }
    o->header = mirrored;
    o->ingress = initiator;
    if (!dsn_chain_decide(shard, &o->decision, &o->header, initiator, o->routed))
        return false;
    const struct dsn_vnic *egress = dsn_vnic_at(shard->root, o->decision.egress);
    return dsn_key_is_of(&p->key, egress);
}

/* Another living connection has the key: established ones are never evicted. `old`: the one that begins anew. */
static bool is_taken(struct dsn_shard *shard, const struct dsn_flow_key *key, uint64_t hash, uint32_t old) {
    uint32_t ref = dsn_connection_find(shard, key, hash, shard->now);
    return ref != 0 && ref >> 1 != old;
}

/* What goes to make room may have been the last to need a neighbour that this one needs too. */
static void hold_neighbours(struct dsn_shard *shard, const struct dsn_opening *o) {
    for (unsigned side = 0; side < 2; side++)
        if (o->ops[side].neighbour != 0)
            dsn_neighbour_hold(&shard->neighbours, o->ops[side].neighbour);
}

static void let_go_neighbours(struct dsn_shard *shard, const struct dsn_opening *o) {
    for (unsigned side = 0; side < 2; side++)
        if (o->ops[side].neighbour != 0)
            dsn_neighbour_let_go(&shard->neighbours, o->ops[side].neighbour);
}

/* As if the connection that begins anew were gone already. */
static __rte_cold __rte_noinline enum dsn_reason_number limits_without(struct dsn_shard *shard,
                                                                       const struct dsn_opening *o, unsigned direction,
                                                                       uint8_t tcp_state, uint32_t old) {
    const struct dsn_connection *c = &shard->flows.connection[old];
    dsn_share_leave(shard, c);
    shard->flows.used--;
    enum dsn_reason_number reason = dsn_limits(shard, o->ingress, o->egress, direction, tcp_state, shard->now);
    shard->flows.used++;
    dsn_share_enter(shard, c);
    return reason;
}

static __rte_always_inline enum dsn_reason_number open_connection(struct dsn_shard *shard, struct dsn_packet *p,
                                                                  struct dsn_opening *o, unsigned direction,
                                                                  uint8_t tcp_state, const struct dsn_windows *windows,
                                                                  uint32_t old) {
    const struct dsn_ops *ops = &o->ops[direction];
    uint32_t number;
    enum dsn_reason_number reason = dsn_check_size(shard, p, ops, ops->ops);
    bool limited = reason == DSN_PASSED;
    hold_neighbours(shard, o);
    if (unlikely(limited && old != 0))
        reason = limits_without(shard, o, direction, tcp_state, old);
    else if (limited)
        reason = dsn_limits(shard, o->ingress, o->egress, direction, tcp_state, shard->now);
    limited = limited && reason == DSN_PASSED;
    if (reason == DSN_PASSED && is_taken(shard, &o->key[!direction], o->hash[!direction], old))
        reason = DSN_REASON_FLOW_TABLE_FULL;
    struct dsn_meter meter;
    if (reason == DSN_PASSED && (ops->ops & DSN_OP_METER) && !dsn_meter_may(shard, p, NULL, 0, &meter))
        reason = DSN_REASON_PUNT_LIMIT;
    if (unlikely(reason == DSN_PASSED && old != 0))
        dsn_connection_remove(shard, old);
    if (reason == DSN_PASSED)
        reason = dsn_opening_install(shard, o, tcp_state, windows, &number);
    let_go_neighbours(shard, o);
    if (reason == DSN_PASSED && (ops->ops & DSN_OP_METER))
        dsn_meter_take(shard, &meter);
    if (reason != DSN_PASSED) {
        if (limited)
            dsn_limits_undo(shard, o->ingress, o->egress);
        return reason;
    }
    struct dsn_session *session = &shard->flows.connection[number].session;
    const struct dsn_decided_by *by = o->decision.by;
    shard->meeting = dsn_ref(number, direction);
    DSN_STEP(shard, DSN_STEP_INSTALL, -1, shard->flows.rest[number].id, 0);
    dsn_hit(shard, by[0], &o->header, o->ingress, o->egress);
    if (by[0].slot != by[1].slot || by[0].table != by[1].table)
        dsn_hit(shard, by[1], &o->header, o->ingress, o->egress);
    dsn_count(session, p, direction);
    if (direction == 1)
        session->flags |= DSN_SESSION_REPLIED;
    return DSN_PASSED;
}

/* The state that the connection is in, and its windows. */
static uint8_t begin_tcp(struct dsn_windows *windows, const struct dsn_packet *p, unsigned direction) {
    struct dsn_tcp_segment segment = dsn_tcp_segment_of(p, direction);
    if (!dsn_is_bare_syn(p))
        return (uint8_t)dsn_tcp_pick_up(windows, &segment);
    dsn_tcp_open(windows, &segment);
    return DSN_TCP_SYN_SENT;
}

/* `old`: a reference to the connection that begins anew, from this side; 0: none does. */
static __rte_always_inline dsn_end first_packet(struct dsn_shard *shard, struct dsn_packet *p, uint32_t old) {
    bool picked_up = p->key.protocol == DSN_TCP && !dsn_is_bare_syn(p);
    unsigned direction = 0;
    struct dsn_opening o;
    shard->meeting = 0;
    if (picked_up && !may_pick_up(shard, p))
        return dsn_dropped(DSN_REASON_TCP_NO_SESSION);
    if (dsn_is_icmp(p) && p->icmp_type == dsn_echo_reply(p->key.protocol))
        return dsn_dropped(DSN_REASON_ICMP_TYPE);
#ifndef DSN_WITNESS /* a packet that has one is alone in its burst */
    if (unlikely(!dsn_firsts_may(&shard->firsts, p->vnic->id))) {
        enum dsn_reason_number reason = dsn_firsts_put(shard, p);
        return reason == DSN_PASSED ? DSN_QUEUE : dsn_dropped(reason);
    }
#endif
    shard->counters.engine[DSN_COUNT_CHAIN_WALKS]++;
    dsn_flows_prefetch_free(&shard->flows);
    o.routed = p->key.flags & DSN_KEY_ROUTED;
    o.ingress = p->vnic;
    dsn_header_of(&o.header, p);
    if (!dsn_chain_decide(shard, &o.decision, &o.header, o.ingress, o.routed)) {
        struct dsn_decision refused = o.decision;
        struct dsn_header header = o.header;
        if (!picked_up || !decide_backwards(shard, p, &header, &o)) {
            dsn_hit(shard, refused.by_drop, &header, p->vnic,
                    refused.direction == DSN_INGRESS ? dsn_vnic_at(shard->root, refused.egress) : NULL);
            dsn_tell_refused(shard, p, refused.tell);
            return dsn_dropped(refused.reason);
        }
        direction = 1;
    }
    o.key[direction] = p->key;
    dsn_key_reply(&o.key[!direction], &p->key,
                  direction == 0 ? dsn_vnic_at(shard->root, o.decision.egress) : o.ingress);
    o.hash[direction] = p->hash;
    o.hash[!direction] = dsn_flows_hash(&shard->flows, &o.key[!direction]);
    dsn_opening_fill(shard, &o);
    struct dsn_windows windows;
    uint8_t tcp_state = p->key.protocol == DSN_TCP ? begin_tcp(&windows, p, direction) : DSN_TCP_NONE;
    if (old != 0)
        dsn_tcp_replaces(&windows, &shard->flows.windows[old >> 1], shard->flows.connection[old >> 1].session.tcp,
                         old & 1);
    enum dsn_reason_number reason = open_connection(shard, p, &o, direction, tcp_state, &windows, old >> 1);
    if (reason != DSN_PASSED)
        return dsn_dropped(reason);
    shard->replies = o.key[!direction];
    if (tcp_state != DSN_TCP_NONE)
        atomic_store_explicit(&shard->flows.wheel->has_tcp, true, memory_order_relaxed);
    shard->counters.engine[DSN_COUNT_PICKUPS] += picked_up;
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, dsn_ref_line(&shard->flows, shard->meeting)->ops);
    return dsn_send(shard, p, ops, ops->ops);
}

dsn_end dsn_first_packet(struct dsn_shard *shard, struct dsn_packet *p) {
    return first_packet(shard, p, 0);
}

__rte_cold dsn_end dsn_first_packet_anew(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref) {
    /* Many may wait of one connection, and each of them begin it anew: a turn is one chain. */
    if (shard->firsts.running && shard->firsts.again) {
        struct dsn_whom whom = dsn_whom(shard->root, p);
        dsn_limit_refused(shard, whom.inbound ? DSN_LIMIT_FIRSTS_TO : DSN_LIMIT_FIRSTS, whom.vnic);
        return dsn_dropped(DSN_REASON_FIRST_PACKET_LIMIT);
    }
    dsn_half_leave(shard, ref >> 1); /* it mustn't make way for itself */
    dsn_share_keep(shard, &shard->flows.connection[ref >> 1]);
    dsn_end end = first_packet(shard, p, ref);
    dsn_share_kept(shard);
    if (shard->meeting == 0 && dsn_line(&shard->flows.connection[ref >> 1], 0)->ops != 0) /* it is there all the same */
        dsn_half_enter(shard, ref >> 1);
    return end;
}
