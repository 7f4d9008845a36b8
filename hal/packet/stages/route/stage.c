/* A packet to the card's own MAC goes where the longest prefix of its VRF says, or to the card's own programs. */
#include "stage.h"
#include "path/derive.h"
#include "path/hash.h"
#include "path/packet.h"

#define ATTEMPTS 16

/* To the card itself: vNICs may send it what their profile names, uplinks and the card everything. */
static enum dsn_say punt(struct dsn_decision *d, const struct dsn_vnic *vnic) {
    if (vnic->role == DSN_VNIC_ROLE_VNIC) {
        const struct dsn_row_vnic *row = dsn_row(d->root, DSN_TABLE_VNIC, d->ingress);
        bool has_ports = d->header->protocol == DSN_TCP || d->header->protocol == DSN_UDP;
        struct dsn_row_profile_punt wanted = {
            .profile = row->profile,
            .protocol = d->header->protocol,
            .port = has_ports ? d->header->destination_port : 0,
        };
        uint32_t slot = dsn_find(d->root, DSN_TABLE_PROFILE_PUNT, &wanted.profile);
        if (slot == DSN_NO_SLOT && wanted.port != 0) {
            wanted.port = 0;
            slot = dsn_find(d->root, DSN_TABLE_PROFILE_PUNT, &wanted.profile);
        }
        if (slot == DSN_NO_SLOT) {
            dsn_miss(d, DSN_TABLE_PROFILE_PUNT);
            return dsn_drop(d, DSN_REASON_PUNT_DENIED);
        }
        dsn_match(d, DSN_TABLE_PROFILE_PUNT, slot);
    }
    const struct dsn_vnic *tap = dsn_tap_of(d->root, vnic->vrf_slot);
    return tap != NULL ? dsn_leave(d, tap->slot, NULL) : dsn_drop(d, DSN_REASON_PUNT_NO_TAP);
}

/* Whether the packet can leave by this next hop; then it does. */
static bool leave_by(struct dsn_decision *d, uint32_t slot) {
    const struct dsn_row_next_hop *hop = dsn_row(d->root, DSN_TABLE_NEXT_HOP, slot);
    const struct dsn_vnic *uplink = dsn_vnic_by_key(d->root, hop->port, hop->vlan, 0);
    if (uplink == NULL || uplink->role != DSN_VNIC_ROLE_UPLINK || !dsn_link_is_up(d, hop->port) ||
        dsn_neighbour_failed(d, uplink->slot, hop->address))
        return false;
    dsn_match(d, DSN_TABLE_NEXT_HOP, slot);
    dsn_leave(d, uplink->slot, hop->address);
    return true;
}

/* There is a route, but no way: RFC 1812 5.2.7.1 says network unreachable of that too. */
static enum dsn_say no_next_hop(struct dsn_decision *d) {
    return dsn_drop_tell(d, DSN_REASON_NEXT_HOP_DOWN, DSN_TOLD_NO_ROUTE);
}

/* The member that a point on all weights laid end to end falls on. */
static uint32_t at(const struct dsn_member *members, const struct dsn_group *group, uint64_t point) {
    const struct dsn_member *member = &members[group->first - 1];
    while (point >= member->weight) {
        point -= member->weight;
        member = &members[member->next - 1];
    }
    return member->next_hop;
}

/* Sixteen weighted picks, the first that is alive; then the first member that is. */
static enum dsn_say spread(struct dsn_decision *d, uint32_t slot) {
    struct dsn_group group = dsn_group_at(d->root, slot);
    const struct dsn_member *members = dsn_members(d->root->derived);
    for (unsigned attempt = 0; attempt < ATTEMPTS && group.weight > 0; attempt++)
        if (leave_by(d, at(members, &group, dsn_flow_pick(d->flow_hash, attempt, group.weight))))
            return DSN_LEAVE;
    for (uint32_t member = group.first; member != 0; member = members[member - 1].next)
        if (leave_by(d, members[member - 1].next_hop))
            return DSN_LEAVE;
    return no_next_hop(d);
}

/* Delivery in a subnet: to the vNIC with the address, or to a neighbour on the subnet's uplink. */
static enum dsn_say deliver(struct dsn_decision *d, uint32_t subnet) {
    struct dsn_row_vnic_address wanted = {.subnet = dsn_id_at(d->root, DSN_TABLE_SUBNET, subnet)};
    memcpy(wanted.address, d->header->destination, 16);
    uint32_t slot = dsn_find(d->root, DSN_TABLE_VNIC_ADDRESS, &wanted.subnet);
    if (slot != DSN_NO_SLOT) {
        dsn_match(d, DSN_TABLE_VNIC_ADDRESS, slot);
        return dsn_leave(d, dsn_row_ref(d->root, DSN_TABLE_VNIC_ADDRESS, slot, 1), NULL);
    }
    uint32_t uplink = dsn_subnet_at(d->root, subnet)->uplink;
    if (uplink != 0)
        return dsn_leave(d, uplink - 1, d->header->destination);
    dsn_miss(d, DSN_TABLE_VNIC_ADDRESS);
    return dsn_drop_tell(d, DSN_REASON_VNIC_ADDRESS_UNKNOWN, DSN_TOLD_NO_HOST);
}

static enum dsn_say decide(struct dsn_decision *d) {
    if (!d->routed)
        return DSN_PASS;
    const struct dsn_vnic *vnic = dsn_vnic_at(d->root, d->ingress);
    struct dsn_row_local_address local = {.vrf = vnic->vrf};
    memcpy(local.address, d->header->destination, 16);
    uint32_t slot = dsn_find(d->root, DSN_TABLE_LOCAL_ADDRESS, &local.vrf);
    if (slot != DSN_NO_SLOT) {
        dsn_match(d, DSN_TABLE_LOCAL_ADDRESS, slot);
        return punt(d, vnic);
    }
    if (dsn_is_link_local(d->header->source) || dsn_is_link_local(d->header->destination))
        return dsn_drop(d, DSN_REASON_ADDRESS_INVALID);
    slot = dsn_look_up_route(d, vnic->vrf, d->header->destination);
    if (slot == DSN_NO_SLOT) {
        dsn_miss(d, DSN_TABLE_ROUTE);
        return dsn_drop_tell(d, DSN_REASON_NO_ROUTE, DSN_TOLD_NO_ROUTE);
    }
    dsn_match(d, DSN_TABLE_ROUTE, slot);
    uint32_t to = dsn_row_action(d->root, DSN_TABLE_ROUTE, slot) == DSN_ACTION_BLACKHOLE_ROUTE
                      ? DSN_NO_SLOT
                      : dsn_row_ref(d->root, DSN_TABLE_ROUTE, slot, 1);
    switch (dsn_row_action(d->root, DSN_TABLE_ROUTE, slot)) {
    case DSN_ACTION_ROUTE: return leave_by(d, to) ? DSN_LEAVE : no_next_hop(d);
    case DSN_ACTION_ECMP_ROUTE: return spread(d, to);
    case DSN_ACTION_SUBNET_ROUTE: return deliver(d, to);
    default: return dsn_drop(d, DSN_REASON_BLACKHOLE);
    }
}

const struct dsn_stage DSN_STAGE(route) = {.name = "route", .decide = decide, .says_where = true};
