/* From a decision to both directions of a connection. */
#include "path/run.h"
#include "path/tcp.h"

void dsn_key_reply(struct dsn_flow_key *reply, const struct dsn_flow_key *key, const struct dsn_vnic *egress) {
    for (unsigned n = 0; n < 4; n++) /* addresses, two words each */
        dsn_key_set_word(reply, n, dsn_word(key, n ^ 2));
    dsn_key_set_word(reply, 4, egress->scope);
    dsn_key_set_word(reply, 5, egress->vrf);
    dsn_key_set(reply, key->destination_port, key->source_port, key->protocol,
                (uint8_t)((key->flags & DSN_KEY_ROUTED) | egress->key_flags));
}

static void fill(struct dsn_shard *shard, struct dsn_ops *ops, const struct dsn_opening *o, const struct dsn_vnic *from,
                 const struct dsn_vnic *to, const uint8_t *neighbour, bool to_card) {
    ops->ops |= from->ops & DSN_OP_CHECK_SOURCE_MAC;
    ops->ops |= o->routed ? 0 : DSN_OP_CHECK_DESTINATION_MAC;
    ops->egress = DSN_NO_SLOT;
    if (to == NULL) {
        ops->ops |= DSN_OP_DROP;
        return;
    }
    bool punt = to->role == DSN_VNIC_ROLE_CARD;
    ops->ops |= DSN_OP_COUNT | (o->header.protocol == DSN_TCP ? DSN_OP_TRACK : 0);
    ops->ops |= punt ? DSN_OP_METER | DSN_OP_PUNT : DSN_OP_SEND;
    ops->ops |= (from->vlan ? DSN_OP_POP : 0) | (to->vlan ? DSN_OP_PUSH : 0);
    ops->pop = from->vlan;
    ops->push = to->vlan;
    ops->egress = to->slot;
    ops->egress_id = to->id;
    ops->vrf = to->vrf;
    ops->mtu = to->mtu;
    ops->port = dsn_port_index(shard, to->port);
    if (o->routed) {
        ops->ops |= DSN_OP_REWRITE_MACS | (to_card ? 0 : DSN_OP_REWRITE_TTL);
        memcpy(ops->destination, &to->mac, 6);
        if (to->own_mac != DSN_NO_MAC)
            memcpy(ops->source, &to->own_mac, 6);
    }
    if (neighbour == NULL)
        return;
    ops->ops |= DSN_OP_NEIGHBOUR;
    memset(ops->destination, 0, 6);
    ops->neighbour = dsn_neighbour_place(&shard->neighbours, to->id, neighbour);
    if (ops->neighbour == 0) { /* no place for another one: as if none could wait for it */
        *ops = (struct dsn_ops){
            .ops = DSN_OP_DROP | (ops->ops & (DSN_OP_CHECK_SOURCE_MAC | DSN_OP_CHECK_DESTINATION_MAC)),
            .egress = DSN_NO_SLOT,
            .reason = DSN_REASON_NEIGHBOUR_QUEUE_FULL,
        };
    }
}

/* Replies to an initiator on an uplink have a route lookup of their own. */
static void fill_way_back(struct dsn_shard *shard, struct dsn_opening *o, bool to_card) {
    struct dsn_header mirrored = {
        .source_port = o->header.destination_port,
        .destination_port = o->header.source_port,
        .protocol = o->header.protocol,
        .icmp_type = o->header.icmp_type,
    };
    struct dsn_decision d;
    memcpy(mirrored.source, o->header.destination, 16);
    memcpy(mirrored.destination, o->header.source, 16);
    memcpy(mirrored.source_mac, &o->egress->mac, 6);
    if (o->egress->own_mac != DSN_NO_MAC)
        memcpy(mirrored.destination_mac, &o->egress->own_mac, 6);
    bool leaves = dsn_chain_where(shard, &d, &mirrored, o->egress, true) && d.egress != DSN_NO_SLOT;
    o->route[1] = d.route;
    o->network |= d.network;
    o->always |= d.always;
    /* Of whom the initiator's address is, its own VRF was asked: the route that is stamped says so, or none does. */
    o->always |= o->ingress->vrf != o->egress->vrf || d.route != dsn_route_key(o->ingress->vrf, o->header.source);
    const struct dsn_vnic *to = leaves ? dsn_vnic_at(shard->root, d.egress) : NULL;
    o->ops[1].reason = leaves ? (uint16_t)DSN_REASON_SAME_INTERFACE : d.reason;
    if (to == o->egress)
        to = NULL;
    if (to != NULL)
        o->ops[1].reason = 0;
    fill(shard, &o->ops[1], o, o->egress, to, to != NULL && d.has_neighbour ? d.neighbour : NULL,
         to_card || (to != NULL && to->role == DSN_VNIC_ROLE_CARD));
}

void dsn_opening_fill(struct dsn_shard *shard, struct dsn_opening *o) {
    const struct dsn_decision *d = &o->decision;
    o->egress = dsn_vnic_at(shard->root, d->egress);
    o->network = d->network;
    o->always = d->always;
    o->route[0] = d->route;
    o->route[1] = DSN_NO_ROUTE_KEY;
    memset(o->ops, 0, sizeof(o->ops));
    memcpy(o->ops[0].check_mac, o->header.destination_mac, 6);
    if (!o->routed)
        memcpy(o->ops[1].check_mac, o->header.source_mac, 6);
    bool to_card = o->ingress->role == DSN_VNIC_ROLE_CARD || o->egress->role == DSN_VNIC_ROLE_CARD;
    fill(shard, &o->ops[0], o, o->ingress, o->egress, d->has_neighbour ? d->neighbour : NULL, to_card);
    if (o->ingress->role == DSN_VNIC_ROLE_UPLINK)
        fill_way_back(shard, o, to_card);
    else
        fill(shard, &o->ops[1], o, o->egress, o->ingress, NULL, to_card);
}

/* What follows from the decision, into a record whose op lists and keys are set. */
static void write_decision(struct dsn_shard *shard, const struct dsn_opening *o, struct dsn_connection *c) {
    const struct dsn_decision *d = &o->decision;
    struct dsn_session *session = &c->session;
    struct dsn_rest *rest = dsn_rest(&shard->flows, c);
    for (unsigned side = 0; side < 2; side++) {
        dsn_line(c, side)->route = o->route[side];
        dsn_line(c, side)->policy = d->policy[side];
        session->row[side] = d->by[side].slot;
        session->row_table[side] = d->by[side].table;
        rest->row_id[side] =
            d->by[side].slot == DSN_NO_SLOT ? DSN_NONE_ID : dsn_id_at(shard->root, d->by[side].table, d->by[side].slot);
    }
    uint8_t share = dsn_share_flag(o->ingress, o->egress);
    session->flags &= (uint8_t)~(DSN_SESSION_OWN | DSN_SESSION_INBOUND | DSN_SESSION_NETWORK | DSN_SESSION_ALWAYS);
    session->flags |= (uint8_t)(share | (o->network ? DSN_SESSION_NETWORK : 0) | (o->always ? DSN_SESSION_ALWAYS : 0));
    session->touch_a = o->always ? DSN_TOUCH_ALWAYS : dsn_touch_of(o->route[0]);
    session->touch_b = dsn_touch_of(o->route[1]);
    session->generation = shard->root->generation;
    session->network = shard->network;
    rest->share = share == 0 ? 0 : dsn_share_state(shard, share == DSN_SESSION_OWN ? o->ingress->id : o->egress->id);
    rest->ingress = o->ingress->id;
    rest->egress = o->egress->id;
    rest->ingress_slot = o->ingress->slot;
}

enum dsn_reason_number dsn_opening_install(struct dsn_shard *shard, const struct dsn_opening *o, uint8_t tcp_state,
                                           const struct dsn_windows *windows, uint32_t *number) {
    uint32_t taken = dsn_flows_take(&shard->flows);
    if (taken == 0)
        return DSN_REASON_FLOW_TABLE_FULL;
    struct dsn_connection *c = &shard->flows.connection[taken];
    for (unsigned side = 0; side < 2; side++) {
        dsn_line(c, side)->key = o->key[side];
        dsn_line(c, side)->ops = dsn_ops_hold(shard, &o->ops[side]);
    }
    if (dsn_line(c, 0)->ops == 0 || dsn_line(c, 1)->ops == 0) { /* there is a list for each line: this can't be */
        dsn_ops_let_go(shard, dsn_line(c, 0)->ops);
        dsn_ops_let_go(shard, dsn_line(c, 1)->ops);
        dsn_flows_give(&shard->flows, taken);
        return DSN_REASON_FLOW_TABLE_FULL;
    }
    write_decision(shard, o, c);
    c->session.tcp = tcp_state;
    if (tcp_state != DSN_TCP_NONE)
        shard->flows.windows[taken] = *windows;
    shard->flows.rest[taken].id = shard->next_id++;
    shard->flows.rest[taken].created_ns = c->session.last_ns = shard->now;
    shard->counters.engine[DSN_COUNT_FLOWS_OPENED]++;
    shard->counters.engine[DSN_COUNT_FLOWS_NOW]++;
    dsn_connection_enter_by(shard, taken, o->hash);
    dsn_share_enter(shard, c);
    dsn_half_enter(shard, taken);
    dsn_flows_arm(&shard->flows, taken);
    *number = taken;
    return DSN_PASSED;
}

/* Decided again, it still counts for the same vNIC, in the same share. */
static bool counts_as_before(struct dsn_shard *shard, const struct dsn_opening *o, const struct dsn_connection *c) {
    uint8_t flag = dsn_share_flag(o->ingress, o->egress);
    if ((c->session.flags & (DSN_SESSION_OWN | DSN_SESSION_INBOUND)) != flag)
        return false;
    uint32_t number = dsn_rest(&shard->flows, c)->share;
    return flag == 0 ||
           (number != 0 && shard->vnics.state[number].id == (flag == DSN_SESSION_OWN ? o->ingress->id : o->egress->id));
}

enum dsn_reason_number dsn_opening_replace(struct dsn_shard *shard, const struct dsn_opening *o, uint32_t number) {
    struct dsn_connection *c = &shard->flows.connection[number];
    uint32_t ops[2] = {dsn_ops_hold(shard, &o->ops[0]), dsn_ops_hold(shard, &o->ops[1])};
    if (ops[0] == 0 || ops[1] == 0) { /* there are four lists more than lines: this can't be either */
        dsn_ops_let_go(shard, ops[0]);
        dsn_ops_let_go(shard, ops[1]);
        return DSN_REASON_FLOW_TABLE_FULL;
    }
    dsn_connection_settle(shard, number);
    bool same = counts_as_before(shard, o, c);
    if (!same)
        dsn_half_leave(shard, number);
    dsn_share_leave(shard, c);
    dsn_ops_let_go(shard, dsn_line(c, 0)->ops);
    dsn_ops_let_go(shard, dsn_line(c, 1)->ops);
    dsn_line(c, 0)->ops = ops[0];
    dsn_line(c, 1)->ops = ops[1];
    write_decision(shard, o, c);
    dsn_share_enter(shard, c);
    if (!same)
        dsn_half_enter(shard, number);
    if (!dsn_key_equal(&o->key[1], &dsn_line(c, 1)->key)) {
        dsn_connection_leave(shard, number);
        dsn_line(c, 1)->key = o->key[1];
        dsn_connection_enter(shard, number);
    }
    return DSN_PASSED;
}
