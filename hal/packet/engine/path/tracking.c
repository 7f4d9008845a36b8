/* Which tracking a connection has, and how long it lives by it. */
#include "path/tracking.h"

#include "path/packet.h"
#include "path/tcp.h"

static const struct dsn_row_tracking defaults = {DSN_TRACKING_DEFAULTS};

const struct dsn_row_tracking *dsn_tracking_of(const struct dsn_root *root, const struct dsn_vnic *vnic) {
    uint32_t slot = vnic != NULL ? dsn_row_ref(root, DSN_TABLE_PROFILE, vnic->profile_slot, 0) : DSN_NO_SLOT;
    return slot != DSN_NO_SLOT ? dsn_row(root, DSN_TABLE_TRACKING, slot) : &defaults;
}

static bool has_defaults_only(const struct dsn_root *root) {
    return root == NULL || root->table[DSN_TABLE_TRACKING].used == 0;
}

static const struct dsn_vnic *initiator(const struct dsn_root *root, const struct dsn_rest *rest) {
    const struct dsn_vnic *vnic = dsn_vnic_at(root, rest->ingress_slot);
    return vnic->present && vnic->id == rest->ingress ? vnic : dsn_vnic_by_id(root, rest->ingress);
}

static const struct dsn_row_tracking *of_connection(const struct dsn_flows *flows, const struct dsn_connection *c) {
    const struct dsn_root *root = flows->wheel->root;
    if (has_defaults_only(root))
        return &defaults;
    const struct dsn_rest *rest = dsn_rest(flows, c);
    bool inbound = c->session.flags & DSN_SESSION_INBOUND;
    return dsn_tracking_of(root, inbound ? dsn_vnic_by_id(root, rest->egress) : initiator(root, rest));
}

static uint32_t tcp_timeout(const struct dsn_row_tracking *t, uint8_t state) {
    switch (state) {
    case DSN_TCP_SYN_SENT: return t->tcp_syn_sent;
    case DSN_TCP_SYN_RECEIVED: return t->tcp_syn_received;
    case DSN_TCP_ESTABLISHED: return t->tcp_established;
    case DSN_TCP_FIN_WAIT: return t->tcp_fin_wait;
    case DSN_TCP_CLOSING: return t->tcp_closing;
    case DSN_TCP_TIME_WAIT: return t->tcp_time_wait;
    default: return t->tcp_closed;
    }
}

uint64_t dsn_timeout_ns(const struct dsn_flows *flows, const struct dsn_connection *c) {
    const struct dsn_row_tracking *t = of_connection(flows, c);
    switch (dsn_line(c, 0)->key.protocol) {
    case DSN_TCP: {
        const struct dsn_windows *windows = &flows->windows[c - flows->connection];
        uint8_t state = dsn_tcp_is_alone(c->session.tcp, windows) ? DSN_TCP_SYN_RECEIVED : c->session.tcp;
        return tcp_timeout(t, state) * DSN_SECOND;
    }
    case DSN_UDP: return (c->session.flags & DSN_SESSION_REPLIED ? t->udp_replied : t->udp) * DSN_SECOND;
    case DSN_ICMP:
    case DSN_ICMP6: return t->icmp * DSN_SECOND;
    default: return t->other * DSN_SECOND;
    }
}

static bool is_loose(const struct dsn_root *root, const struct dsn_vnic *vnic) {
    return dsn_tracking_of(root, vnic)->mode == DSN_TRACKING_MODE_LOOSE;
}

bool dsn_is_strict_between(const struct dsn_root *root, const struct dsn_vnic *ingress, const struct dsn_vnic *egress) {
    if (has_defaults_only(root) || ingress == NULL || egress == NULL)
        return true;
    bool own = ingress->role == DSN_VNIC_ROLE_VNIC, to_vnic = egress->role == DSN_VNIC_ROLE_VNIC;
    if (!own && to_vnic)
        return !is_loose(root, egress);
    return !is_loose(root, ingress) || (to_vnic && !is_loose(root, egress));
}

bool dsn_is_strict(const struct dsn_flows *flows, const struct dsn_connection *c) {
    const struct dsn_root *root = flows->wheel->root;
    if (has_defaults_only(root))
        return true;
    const struct dsn_rest *rest = dsn_rest(flows, c);
    return dsn_is_strict_between(root, initiator(root, rest), dsn_vnic_by_id(root, rest->egress));
}
