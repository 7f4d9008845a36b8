#include "path/answers.h"

#include "path/guard.h"
#include "path/make.h"
#include "path/shard.h"
#include "path/whom.h"

static struct dsn_frame_to back_to(const struct dsn_packet *p, const uint8_t source[6]) {
    struct dsn_frame_to to = {.vlan = p->vlan};
    memcpy(to.destination, p->frame + 6, 6);
    memcpy(to.source, source, 6);
    return to;
}

/* Sends what the card made, or not: where it can't be sent it is nobody's drop. */
static void send(struct dsn_shard *shard, const struct dsn_vnic *vnic, struct rte_mbuf *frame, enum dsn_made kind) {
    if (frame == NULL)
        return;
    dsn_step(shard, DSN_STEP_MAKE, -1, 0, kind);
    if (dsn_transmit(shard, DSN_NO_SLOT, vnic->slot, dsn_port_index(shard, vnic->port), frame) != DSN_PASSED)
        rte_pktmbuf_free(frame);
}

/* The MAC that the card tells for an address asked for by ARP or ND; *own: it is the card's. */
static bool answering_mac(const struct dsn_root *root, const struct dsn_vnic *vnic, const uint8_t asker[16],
                          const uint8_t target[16], uint8_t mac[6], bool *own) {
    if (memcmp(asker, target, 16) == 0)
        return false;
    *own = true;
    memcpy(mac, &vnic->own_mac, 6);
    if (vnic->role == DSN_VNIC_ROLE_CARD)
        return vnic->own_mac != DSN_NO_MAC;
    uint32_t slot = dsn_local_address(root, vnic->vrf, target);
    if (slot != DSN_NO_SLOT && vnic->own_mac != DSN_NO_MAC) {
        const struct dsn_row_local_address *local = dsn_row(root, DSN_TABLE_LOCAL_ADDRESS, slot);
        if (local->subnet == vnic->subnet)
            return true;
    }
    if (vnic->role != DSN_VNIC_ROLE_VNIC)
        return false;
    struct dsn_row_vnic_address wanted = {.subnet = vnic->subnet};
    memcpy(wanted.address, target, 16);
    slot = dsn_find(root, DSN_TABLE_VNIC_ADDRESS, &wanted.subnet);
    if (slot == DSN_NO_SLOT)
        return false;
    const struct dsn_vnic *other = dsn_vnic_at(root, dsn_row_ref(root, DSN_TABLE_VNIC_ADDRESS, slot, 1));
    *own = false;
    memcpy(mac, &other->mac, 6);
    return other->id != vnic->id;
}

/* The first reason that a stage of the egress chain has; DSN_PASSED. */
static uint16_t ask_stages(const struct dsn_root *root, const struct dsn_vnic *vnic, bool arp,
                           const struct dsn_announcement *message) {
    struct dsn_chain chain = dsn_chain_of(root, vnic, DSN_EGRESS);
    for (uint32_t i = 0; i < chain.count; i++) {
        const struct dsn_stage *stage = dsn_stage_table[chain.stage[i]];
        if (stage == NULL)
            return DSN_REASON_NO_DECISION;
        uint16_t (*check)(const struct dsn_root *, uint32_t, const struct dsn_announcement *) =
            arp ? stage->check_arp : stage->check_nd;
        uint16_t reason = check != NULL ? check(root, vnic->slot, message) : (uint16_t)DSN_PASSED;
        if (reason != DSN_PASSED)
            return reason;
    }
    return DSN_PASSED;
}

/* What somebody says of himself. */
struct said {
    const uint8_t *address, *mac; /* mac: NULL for none */
    bool solicited, override;
};

/* Somebody says where he is. True: this worker knows him or, where that is asked, another does. Of vNICs that is
 * declared. */
static bool hear(struct dsn_shard *shard, const struct dsn_vnic *vnic, const struct said *said, bool learn_only) {
    static const uint8_t none[6];
    if (vnic->role != DSN_VNIC_ROLE_UPLINK)
        return false;
    bool here = dsn_neighbour_hear(shard, vnic, said->address, said->mac, said->solicited, said->override);
    bool known = false;
    if (shard->config.news != NULL && !learn_only)
        shard->news |= dsn_news_tell(shard->config.news, vnic->id, said->address, said->mac ? said->mac : none,
                                     shard->now, here, &known);
    return here || known;
}

enum dsn_reason_number dsn_take_arp(struct dsn_shard *shard, const struct dsn_packet *p, bool learn_only) {
    static const uint8_t kind[6] = {0, 1, 8, 0, 6, 4}, none[4];
    const struct dsn_root *root = shard->root;
    const struct dsn_vnic *vnic = p->vnic;
    const uint8_t *arp = p->frame + p->ip;
    if (p->length - p->ip < 28 || memcmp(arp, kind, 6) != 0 || arp[6] != 0 || (arp[7] != 1 && arp[7] != 2))
        return DSN_REASON_ARP_MALFORMED;
    const uint8_t *link = arp + 8; /* what counts (RFC 826): routers with a virtual MAC may send from their own */
    if (dsn_mac(link) == 0 || (link[0] & 1) ||
        (vnic->role != DSN_VNIC_ROLE_UPLINK && memcmp(link, p->frame + 6, 6) != 0))
        return DSN_REASON_ARP_MALFORMED;
    bool request = arp[7] == 1;
    struct dsn_announcement told = {
        .macs = 1,
        .unspecified = request && memcmp(arp + 14, none, 4) == 0,
    };
    uint8_t target[16], mac[6];
    memcpy(told.source_mac, p->frame + 6, 6);
    memcpy(told.mac[0], link, 6);
    dsn_map_v4(told.address, arp + 14);
    dsn_map_v4(target, arp + 24);
    uint16_t reason = ask_stages(root, vnic, true, &told);
    if (reason != DSN_PASSED)
        return reason;
    if (!told.unspecified && !learn_only && dsn_conflict(shard, vnic, told.address, link))
        return DSN_REASON_ADDRESS_CONFLICT;
    bool own, answered = request && answering_mac(root, vnic, told.address, target, mac, &own);
    if (answered && !learn_only) {
        struct dsn_frame_to to = back_to(p, mac);
        memcpy(to.destination, link, 6);
        send(shard, vnic, dsn_make_arp(shard->config.pool, &to, 2, mac, target, to.destination, told.address),
             DSN_MADE_ARP);
    }
    bool ours = memcmp(arp + 24, none, 4) == 0 || dsn_local_address(root, vnic->vrf, target) != DSN_NO_SLOT;
    struct said said = {
        .address = told.address,
        .mac = link,
        .solicited = !request && ours,
        .override = true,
    };
    return hear(shard, vnic, &said, learn_only) || answered ? DSN_PASSED : DSN_REASON_ARP_IGNORED;
}

bool dsn_checksum_is_right(const struct dsn_packet *p) {
    uint16_t start, field;
    if (dsn_mbuf_csum_get(p->mbuf, &start, &field))
        return true; /* not finished yet */
    uint16_t length = dsn_payload_length(p);
    uint64_t sum =
        p->key.protocol == DSN_ICMP ? 0 : dsn_sum_pseudo(p->key.source, p->key.destination, p->key.protocol, length);
    return dsn_sum_fold(dsn_sum(dsn_payload(p), length, sum)) == 0xffff;
}

/* Link-layer options of NS and NA: where the first of each type lies in the message, 0: none does. False: malformed. */
static bool find_links(const uint8_t *message, uint16_t length, unsigned link[3]) {
    if (length < 24 || message[8] == 0xff || dsn_is_v4(message + 8))
        return false;
    for (unsigned place = 24, size; place < length; place += size) {
        size = place + 1 < length ? message[place + 1] * 8u : 0;
        if (size == 0 || place + size > length)
            return false;
        if (message[place] != 1 && message[place] != 2)
            continue;
        const uint8_t *mac = message + place + 2;
        if (dsn_mac(mac) == 0 || (mac[0] & 1)) /* nobody's (RFC 1812 3.3.2) */
            return false;
        if (link[message[place]] == 0)
            link[message[place]] = place + 2;
    }
    return true;
}

/* RFC 4861 7.2.3 and 7.2.4: who asks from :: looks for a duplicate (RFC 4862 5.4), and all are told. */
static enum dsn_reason_number take_solicitation(struct dsn_shard *shard, const struct dsn_packet *p, bool unspecified,
                                                const uint8_t *link, bool learn_only) {
    const uint8_t *target = dsn_payload(p) + 8;
    uint8_t mac[6];
    bool own;
    if (!unspecified && !learn_only && dsn_conflict(shard, p->vnic, p->key.source, link != NULL ? link : p->frame + 6))
        return DSN_REASON_ADDRESS_CONFLICT;
    if (!answering_mac(shard->root, p->vnic, p->key.source, target, mac, &own))
        return DSN_REASON_ND_IGNORED;
    if (!learn_only) {
        struct dsn_frame_to to = back_to(p, mac);
        const uint8_t *asker = unspecified ? NULL : p->key.source;
        send(shard, p->vnic, dsn_make_advertisement(shard->config.pool, &to, target, asker, mac, own), DSN_MADE_ND);
    }
    if (link != NULL)
        hear(shard, p->vnic, &(struct said){.address = p->key.source, .mac = link, .override = true}, learn_only);
    return DSN_PASSED;
}

static enum dsn_reason_number take_advertisement(struct dsn_shard *shard, const struct dsn_packet *p,
                                                 const uint8_t *link, bool learn_only) {
    static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 0x01};
    const uint8_t *message = dsn_payload(p), *to = p->key.destination;
    if (!learn_only && dsn_conflict(shard, p->vnic, message + 8, link != NULL ? link : p->frame + 6))
        return DSN_REASON_ADDRESS_CONFLICT;
    if (memcmp(to, all_nodes, 16) != 0 && dsn_local_address(shard->root, p->vnic->vrf, to) == DSN_NO_SLOT)
        return DSN_REASON_ND_IGNORED;
    struct said said = {
        .address = message + 8,
        .mac = link,
        .solicited = message[4] & DSN_NA_SOLICITED,
        .override = message[4] & DSN_NA_OVERRIDE,
    };
    return hear(shard, p->vnic, &said, learn_only) ? DSN_PASSED : DSN_REASON_ND_IGNORED;
}

enum dsn_reason_number dsn_take_nd(struct dsn_shard *shard, const struct dsn_packet *p, bool learn_only) {
    static const uint8_t group[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff}, unspecified[16], loopback[16] = {[15] = 1};
    const uint8_t *message = dsn_payload(p);
    uint16_t length = dsn_payload_length(p);
    enum dsn_reason_number guarded = dsn_routers_alone(p->vnic, DSN_ICMP6, message[0]);
    if (guarded != DSN_PASSED) /* whatever its form (RFC 7113) */
        return guarded;
    if (dsn_has_fragment_header(p) || p->ttl != 255 || length < 8 || message[1] != 0)
        return DSN_REASON_ND_MALFORMED;
    /* Packets to a group MAC pass by the checks of addresses: an IPv4 neighbour must not be told of by ND. */
    if (p->key.source[0] == 0xff || memcmp(p->key.source, loopback, 16) == 0 || dsn_is_v4(p->key.source))
        return DSN_REASON_ND_MALFORMED;
    if (!dsn_checksum_is_right(p))
        return DSN_REASON_ND_MALFORMED;
    bool solicitation = message[0] == 135, advertisement = message[0] == 136;
    unsigned link[3] = {0};
    if ((solicitation || advertisement) && !find_links(message, length, link))
        return DSN_REASON_ND_MALFORMED;
    struct dsn_announcement told = {
        .unspecified = memcmp(p->key.source, unspecified, 16) == 0,
        .has_target = advertisement,
    };
    if (solicitation && told.unspecified && (link[1] != 0 || memcmp(p->key.destination, group, 13) != 0))
        return DSN_REASON_ND_MALFORMED;
    if (advertisement && p->key.destination[0] == 0xff && (message[4] & DSN_NA_SOLICITED))
        return DSN_REASON_ND_MALFORMED;
    memcpy(told.source_mac, p->frame + 6, 6);
    memcpy(told.address, p->key.source, 16);
    if (advertisement)
        memcpy(told.target, message + 8, 16);
    for (unsigned type = 1; type <= 2; type++)
        if (link[type] != 0)
            memcpy(told.mac[told.macs++], message + link[type], 6);
    uint16_t reason = ask_stages(shard->root, p->vnic, false, &told);
    if (reason != DSN_PASSED || dsn_nd_goes_on(p))
        return reason;
    if (solicitation)
        return take_solicitation(shard, p, told.unspecified, link[1] != 0 ? message + link[1] : NULL, learn_only);
    return advertisement ? take_advertisement(shard, p, link[2] != 0 ? message + link[2] : NULL, learn_only)
                         : DSN_REASON_ND_IGNORED;
}

bool dsn_nd_goes_on(const struct dsn_packet *p) {
    uint8_t type = *dsn_payload(p);
    return p->vnic->role == DSN_VNIC_ROLE_VNIC && (type == DSN_ROUTER_ADVERTISEMENT || type == DSN_REDIRECT);
}

__rte_cold enum dsn_reason_number dsn_bridge_nd(struct dsn_shard *shard, const struct dsn_packet *p) {
    uint16_t shortest = *dsn_payload(p) == DSN_REDIRECT ? 40 : 16; /* RFC 4861 6.1.2 and 8.1 */
    if (!dsn_is_link_local(p->key.source) || dsn_payload_length(p) < shortest)
        return DSN_REASON_ND_MALFORMED;
    if ((p->frame[0] & 1) || (p->key.flags & DSN_KEY_ROUTED)) /* the card floods nothing */
        return DSN_REASON_ND_IGNORED;
    struct dsn_row_fdb_entry wanted = {.subnet = p->vnic->subnet};
    memcpy(wanted.mac, p->frame, 6);
    uint32_t slot = dsn_find(shard->root, DSN_TABLE_FDB, &wanted.subnet);
    if (slot == DSN_NO_SLOT)
        return DSN_REASON_BRIDGE_UNKNOWN_MAC;
    const struct dsn_vnic *egress = dsn_vnic_at(shard->root, dsn_row_ref(shard->root, DSN_TABLE_FDB, slot, 1));
    if (egress == p->vnic)
        return DSN_REASON_SAME_INTERFACE;
    if (dsn_ip_length(p) > egress->mtu)
        return DSN_REASON_MTU_EXCEEDED;
    uint8_t macs[12];
    struct rte_mbuf *mbuf = p->mbuf;
    memcpy(macs, p->frame, sizeof(macs));
    mbuf->data_len = p->end; /* without padding */
    mbuf->pkt_len = mbuf->data_len;
    rte_pktmbuf_adj(mbuf, p->ip);
    if (!dsn_put_ethernet(mbuf, macs, macs + 6, egress->vlan, DSN_TYPE_IPV6))
        return DSN_REASON_PORT_FULL;
    enum dsn_reason_number reason =
        dsn_transmit(shard, p->vnic->slot, egress->slot, dsn_port_index(shard, egress->port), mbuf);
    if (reason == DSN_PASSED)
        dsn_step(shard, DSN_STEP_SEND, DSN_TABLE_VNIC, egress->id, 0);
    return reason;
}

enum dsn_reason_number dsn_ask_source(const struct dsn_root *root, const struct dsn_vnic *vnic,
                                      const struct dsn_header *header) {
    if (dsn_is_claimed(root, vnic, header->source))
        return DSN_REASON_ADDRESS_CONFLICT;
    struct dsn_chain chain = dsn_chain_of(root, vnic, DSN_EGRESS);
    for (uint32_t i = 0; i < chain.count; i++) {
        const struct dsn_stage *stage = dsn_stage_table[chain.stage[i]];
        if (stage == NULL)
            return DSN_REASON_NO_DECISION;
        uint16_t reason =
            stage->check_source != NULL ? stage->check_source(root, vnic->slot, header) : (uint16_t)DSN_PASSED;
        if (reason != DSN_PASSED)
            return reason;
    }
    return DSN_PASSED;
}

enum dsn_reason_number dsn_take_echo(struct dsn_shard *shard, const struct dsn_packet *p,
                                     const struct dsn_header *header) {
    enum dsn_reason_number reason = dsn_ask_source(shard->root, p->vnic, header);
    if (reason != DSN_PASSED)
        return reason;
    if (p->fragment)
        return DSN_REASON_CARD_FRAGMENT;
    if (!dsn_checksum_is_right(p))
        return DSN_REASON_L4_CHECKSUM;
    struct dsn_frame_to to = back_to(p, p->frame);
    send(shard, p->vnic, dsn_make_echo_reply(shard->config.pool, &to, p), DSN_MADE_ECHO);
    return DSN_PASSED;
}

void dsn_ask_neighbour(struct dsn_shard *shard, const struct dsn_vnic *uplink, const uint8_t address[16]) {
    static const uint8_t nobody[16] = {[10] = 0xff, [11] = 0xff}, zeros[6];
    static const struct dsn_subnet none = {0};
    const struct dsn_subnet *subnet =
        uplink->subnet_slot != DSN_NO_SLOT ? dsn_subnet_at(shard->root, uplink->subnet_slot) : &none;
    struct dsn_frame_to to = {.vlan = uplink->vlan};
    memcpy(to.source, &uplink->mac, 6);
    if (dsn_is_v4(address)) {
        memset(to.destination, 0xff, 6);
        send(shard, uplink,
             dsn_make_arp(shard->config.pool, &to, 1, to.source, subnet->has_any_v4 ? subnet->lowest_any_v4 : nobody,
                          zeros, address),
             DSN_MADE_ARP);
    } else if (subnet->has_any_v6) {
        send(shard, uplink, dsn_make_solicitation(shard->config.pool, &to, subnet->lowest_any_v6, address),
             DSN_MADE_ND);
    }
}

__rte_cold void dsn_announce(struct dsn_shard *shard, const struct dsn_vnic *vnic, const uint8_t address[16]) {
    static const uint8_t zeros[6];
    struct dsn_frame_to to = {.vlan = vnic->vlan};
    memset(to.destination, 0xff, 6);
    memcpy(to.source, &vnic->own_mac, 6);
    if (dsn_is_v4(address))
        send(shard, vnic, dsn_make_arp(shard->config.pool, &to, 1, to.source, address, zeros, address), DSN_MADE_ARP);
    else
        send(shard, vnic, dsn_make_advertisement(shard->config.pool, &to, address, NULL, to.source, true), DSN_MADE_ND);
}

void dsn_tell(struct dsn_shard *shard, const struct dsn_packet *p, uint8_t type, uint8_t code, uint32_t value) {
    if (p->vnic->subnet_slot == DSN_NO_SLOT || dsn_is_icmp_error(p) || dsn_is_later(p))
        return;
    const struct dsn_subnet *subnet = dsn_subnet_at(shard->root, p->vnic->subnet_slot);
    bool too_big = p->version == 4 ? type == 3 && code == 4 : type == 2;
    if ((p->version == 4 ? !subnet->has_v4 : !subnet->has_v6) ||
        !dsn_icmp_take(shard, p, too_big && shard->meeting != 0))
        return;
    struct dsn_frame_to to = back_to(p, p->frame);
    send(shard, p->vnic,
         dsn_make_error(shard->config.pool, &to, p, p->version == 4 ? subnet->lowest_v4 : subnet->lowest_v6, type, code,
                        value),
         DSN_MADE_ERROR);
}

void dsn_tell_unreachable(struct dsn_shard *shard, const struct dsn_vnic *vnic, struct rte_mbuf *frame) {
    struct dsn_packet p = {
        .mbuf = frame,
        .frame = rte_pktmbuf_mtod(frame, uint8_t *),
        .length = frame->data_len,
        .vnic = vnic,
    };
    /* All of it passed once; whether it is an ICMP error stands in its transport. */
    if (dsn_parse_ethernet(&p) != DSN_PASSED || dsn_parse_ip(&p) != DSN_PASSED || dsn_is_later(&p) ||
        dsn_parse_transport(&p) != DSN_PASSED)
        return;
    dsn_tell(shard, &p, p.version == 4 ? 3 : 1, p.version == 4 ? 1 : 3, 0);
}

void dsn_tell_refused(struct dsn_shard *shard, const struct dsn_packet *p, uint8_t told) {
    static const uint8_t code[2][DSN_TOLD_NO_HOST + 1] = {
        {[DSN_TOLD_REFUSED] = 13, [DSN_TOLD_NO_ROUTE] = 0, [DSN_TOLD_NO_HOST] = 1},
        {[DSN_TOLD_REFUSED] = 1, [DSN_TOLD_NO_ROUTE] = 0, [DSN_TOLD_NO_HOST] = 3},
    };
    if (told == DSN_TOLD_NOTHING)
        return;
    if (told != DSN_TOLD_REFUSED || p->key.protocol != DSN_TCP) {
        dsn_tell(shard, p, p->version == 4 ? 3 : 1, code[p->version == 6][told], 0);
    } else if (!dsn_is_later(p) && !(p->tcp_flags & DSN_TCP_RST) && dsn_icmp_take(shard, p, false)) {
        struct dsn_frame_to to = back_to(p, p->frame);
        send(shard, p->vnic, dsn_make_reset(shard->config.pool, &to, p), DSN_MADE_RST);
    }
}

/* The way that packets of this direction take, for one that the card makes in their sender's name. False: there is
 * none, or the neighbour on it isn't known yet. */
static bool find_way(struct dsn_shard *shard, uint32_t ref, struct dsn_frame_to *to, uint32_t *egress) {
    const struct dsn_connection *c = dsn_ref_connection(&shard->flows, ref);
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, dsn_line(c, ref & 1)->ops);
    const struct dsn_ops *forth = dsn_ops_at(&shard->ops, dsn_line(c, !(ref & 1))->ops);
    bool routed = ops->ops & DSN_OP_REWRITE_MACS;
    const uint8_t *destination = routed ? ops->destination : ops->check_mac;
    if (ops->ops & DSN_OP_DROP)
        return false;
    if (ops->ops & DSN_OP_NEIGHBOUR) {
        const struct dsn_rest *rest = dsn_rest(&shard->flows, c);
        uint64_t sender = ref & 1 ? rest->egress : rest->ingress;
        destination = dsn_neighbour_want(shard, ops->neighbour, sender, shard->now);
    }
    if (destination == NULL)
        return false;
    to->vlan = ops->push;
    memcpy(to->destination, destination, 6);
    memcpy(to->source, routed ? ops->source : forth->check_mac, 6);
    *egress = ops->egress;
    return true;
}

void dsn_challenge(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t ref, bool asks) {
    const struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    const struct dsn_rest *rest = dsn_ref_rest(&shard->flows, ref);
    struct dsn_windows *windows = &shard->flows.windows[ref >> 1];
    uint16_t stamp = dsn_half_second(shard->now);
    if (windows->challenged == stamp)
        return;
    windows->challenged = stamp;
    uint64_t vnic = session->flags & DSN_SESSION_OWN       ? rest->ingress
                    : session->flags & DSN_SESSION_INBOUND ? rest->egress
                                                           : p->vnic->id;
    struct dsn_tcp_segment challenge;
    if (!dsn_challenge_take(shard, vnic, p->key.source) || !asks ||
        !dsn_tcp_challenge(session, windows, ref & 1, &challenge))
        return;
    struct dsn_frame_to to;
    uint32_t egress;
    if (find_way(shard, ref ^ 1, &to, &egress))
        send(shard, dsn_vnic_at(shard->root, egress), dsn_make_challenge(shard->config.pool, &to, p, &challenge),
             DSN_MADE_CHALLENGE);
}
