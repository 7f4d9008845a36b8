/* Steps 11 to 14 of docs/forwarding.md: what is to be done about a packet whose transport header is parsed. Of whole
 * packets part of look.h; first fragments are sorted out by fragments.c. */
#ifndef DSN_PATH_SORT_OUT_H
#define DSN_PATH_SORT_OUT_H

#include "path/guard.h"
#include "path/run.h"
#include "path/whom.h"

static inline bool dsn_is_local(const struct dsn_root *root, const struct dsn_packet *p) {
    return dsn_local_address(root, p->key.vrf, p->key.destination) != DSN_NO_SLOT;
}

static inline uint8_t dsn_look_drop(struct dsn_packet *p, enum dsn_reason_number reason) {
    p->reason = (uint16_t)reason;
    return DSN_STATE_DROP;
}

static inline uint8_t dsn_sort_out(const struct dsn_root *root, struct dsn_packet *p) {
    const struct dsn_vnic *vnic = p->vnic;
    bool routed = p->key.flags & DSN_KEY_ROUTED;
    if (unlikely(p->discovery))
        return DSN_STATE_ND;
    if (unlikely(!routed && (vnic->role == DSN_VNIC_ROLE_UPLINK || vnic->own_mac == DSN_NO_MAC)))
        return dsn_look_drop(p, DSN_REASON_NOT_FOR_US);
    if (likely(!dsn_is_icmp(p)))
        return DSN_STATE_FLOW;
    if (p->icmp_type == dsn_echo_request(p->key.protocol))
        return routed && dsn_is_local(root, p) ? DSN_STATE_ECHO : DSN_STATE_FLOW;
    if (dsn_is_icmp_error(p))
        return DSN_STATE_ERROR;
    if (p->icmp_type == dsn_echo_reply(p->key.protocol))
        return DSN_STATE_FLOW;
    enum dsn_reason_number reason = dsn_routers_alone(vnic, p->key.protocol, p->icmp_type);
    return dsn_look_drop(p, reason != DSN_PASSED ? reason : DSN_REASON_ICMP_TYPE);
}

#endif
