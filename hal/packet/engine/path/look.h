/* Steps 1 to 14 of docs/forwarding.md, as far as nothing is kept of a packet: what it is, whose it is, and what is to
 * be done about it. Part of the loops of burst.c, which alone includes it (of sort_out.h: steps 11 to 14); compiled
 * twice, as all that includes run.h. */
#ifndef DSN_PATH_LOOK_H
#define DSN_PATH_LOOK_H

#include "path/guard.h"
#include "path/plain.h"
#include "path/run.h"
#include "path/sort_out.h"

/* Step 1. Whoever looks at packets asks it, short cuts as well. */
static inline bool dsn_is_configured(const struct dsn_root *root) {
    return root->generation != 0 && !root->awaits;
}

/* What packets of a port have in common, looked for once: the only vNIC, untagged; and the latest Ethernet header that
 * was right for a short cut, since most frames have the same. */
struct dsn_alone {
    uint32_t port;               /* index */
    const struct dsn_vnic *vnic; /* NULL: none that may take a short cut */
    uint64_t begin, rest;        /* bytes 0 to 7 and 8 to 13 of the header; none has this `rest` at first */
    uint8_t state;               /* of frames that have it */
    bool ipv4;
};

#define DSN_HEADER_REST (UINT64_MAX >> 16)

static __rte_noinline void dsn_meet_port(const struct dsn_shard *shard, const struct dsn_root *root, uint32_t port,
                                         struct dsn_alone *alone) {
    const struct dsn_vnic *vnic =
        dsn_is_configured(root) ? dsn_vnic_alone(root, shard->config.ports[port]->number) : NULL;
    *alone = (struct dsn_alone){
        .port = port,
        .vnic = vnic != NULL && vnic->vlan == 0 ? vnic : NULL,
        .rest = UINT64_MAX,
    };
}

static __rte_noinline bool dsn_meet_header(const struct dsn_packet *p, struct dsn_alone *alone) {
    const struct dsn_vnic *vnic = alone->vnic;
    uint16_t type = dsn_raw16(p->frame + 12);
    if (dsn_mac(p->frame) != vnic->own_mac || !dsn_plain_source(p->frame) ||
        (type != DSN_RAW16(DSN_TYPE_IPV4) && type != DSN_RAW16(DSN_TYPE_IPV6)))
        return false;
    alone->begin = dsn_raw64(p->frame);
    alone->rest = dsn_raw64(p->frame + 8) & DSN_HEADER_REST;
    alone->state = dsn_mac(p->frame + 6) == vnic->mac ? DSN_STATE_PLAIN_OWN : DSN_STATE_PLAIN;
    alone->ipv4 = type == DSN_RAW16(DSN_TYPE_IPV4);
    return true;
}

/* The same as dsn_look() for what it is sure about; false: nothing is known. */
static __rte_always_inline bool dsn_glance(const struct dsn_shard *shard, const struct dsn_root *root,
                                           struct dsn_packet *p, struct dsn_alone *alone) {
    if (unlikely(p->mbuf->port != alone->port))
        dsn_meet_port(shard, root, p->mbuf->port, alone);
    const struct dsn_vnic *vnic = alone->vnic;
    if (unlikely(vnic == NULL || !dsn_plain_length(p->length)))
        return false;
    uint64_t begin = dsn_raw64(p->frame), rest = dsn_raw64(p->frame + 8) & DSN_HEADER_REST;
    if (unlikely(begin != alone->begin || rest != alone->rest) && !dsn_meet_header(p, alone))
        return false;
    uint8_t flags = vnic->key_flags | DSN_KEY_ROUTED;
    if (unlikely(!(likely(alone->ipv4) ? dsn_plain_ipv4(p, flags) : dsn_plain_ipv6(p, flags))))
        return false;
    p->vnic = vnic;
    dsn_key_set_word(&p->key, 4, vnic->scope);
    dsn_key_set_word(&p->key, 5, vnic->vrf);
    p->state = alone->state;
    return true;
}

/* Steps 1 to 14, as far as nothing is kept of the packet. */
static __rte_noinline uint8_t dsn_look(const struct dsn_shard *shard, const struct dsn_root *root,
                                       struct dsn_packet *p) {
    enum dsn_reason_number reason;
    p->key = (struct dsn_flow_key){0};
    p->vnic = NULL;
    p->icmp_type = 0;
    p->tcp_flags = 0;
    p->fragment = false;
    p->discovery = false;
    if (unlikely(!dsn_is_configured(root)))
        return dsn_look_drop(p, DSN_REASON_NOT_CONFIGURED);
    if (unlikely(dsn_is_link_control(p)))
        return dsn_look_drop(p, DSN_REASON_LINK_CONTROL);
    if (unlikely((reason = dsn_parse_ethernet(p)) != DSN_PASSED))
        return dsn_look_drop(p, reason);
    const struct dsn_vnic *vnic =
        dsn_vnic_of_frame(root, shard->config.ports[p->mbuf->port]->number, p->vlan, dsn_mac(p->frame + 6));
    if (unlikely(vnic == NULL))
        return dsn_look_drop(p, DSN_REASON_VNIC_UNKNOWN);
    p->vnic = vnic;
    p->key.scope = vnic->scope;
    p->key.vrf = vnic->vrf;
    p->key.flags = vnic->key_flags;
    if (unlikely(p->ethertype == DSN_TYPE_ARP))
        return DSN_STATE_ARP;
    if (unlikely((reason = dsn_parse_ip(p)) != DSN_PASSED))
        return dsn_look_drop(p, reason);
    uint64_t destination = dsn_mac(p->frame);
    if (destination == vnic->own_mac)
        p->key.flags |= DSN_KEY_ROUTED;
    if (unlikely(p->frame[0] & 1)) {
        if (dsn_servers_alone_to_group(p))
            return dsn_look_drop(p, DSN_REASON_DHCP_GUARD);
        if (destination == UINT64_C(0xffffffffffff))
            return dsn_look_drop(p, DSN_REASON_BROADCAST);
        if (p->discovery)
            return DSN_STATE_ND;
        bool group = p->version == 4 ? (p->key.destination[12] & 0xf0) == 0xe0 : p->key.destination[0] == 0xff;
        return dsn_look_drop(p, group ? DSN_REASON_MULTICAST : DSN_REASON_GROUP_MISMATCH);
    }
    if (unlikely((reason = dsn_parse_addresses(p)) != DSN_PASSED))
        return dsn_look_drop(p, reason);
    if (unlikely(p->fragment))
        return DSN_STATE_FRAGMENT;
    if (unlikely((reason = dsn_parse_transport(p)) != DSN_PASSED))
        return dsn_look_drop(p, reason);
    return dsn_sort_out(root, p);
}

static inline void dsn_look_begin(struct dsn_packet *p, struct rte_mbuf *mbuf) {
    p->mbuf = mbuf;
    p->frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    p->length = mbuf->data_len;
    p->ref = 0;
}

#endif
