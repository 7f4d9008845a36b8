/* What is derived of rows of vnic: the row as packets want it, and three hashes. */
#include "path/derived.h"
#include "path/packet.h"

static uint32_t port_place(const struct dsn_derived *d, uint32_t number) {
    uint32_t at = dsn_derive_mix(d, number, 3) & d->vnic_mask;
    while (d->port[at].count > 0 && d->port[at].number != number)
        at = (at + 1) & d->vnic_mask;
    return at;
}

static uint32_t key_home(const struct dsn_derived *d, uint32_t port, uint16_t vlan, uint64_t mac) {
    return dsn_derive_mix(d, (uint64_t)port << 16 | vlan, mac) & d->vnic_mask;
}

static uint32_t id_home(const struct dsn_derived *d, uint64_t id) {
    return dsn_derive_mix(d, id, 4) & d->vnic_mask;
}

/* --- hashes: linear probing, half full at most; what stood behind a hole moves up, so that none stays --- */

/* Whether what stands at `at` and belongs at `home` may fill the hole. */
static bool fills(uint32_t home, uint32_t at, uint32_t hole, uint32_t mask) {
    return ((at - home) & mask) >= ((at - hole) & mask);
}

static void put(struct dsn_derived *d, uint32_t *hash, uint32_t home, uint32_t slot) {
    for (d->looked++; hash[home] != 0; d->looked++)
        home = (home + 1) & d->vnic_mask;
    hash[home] = slot + 1;
}

static uint32_t home_of_key(const struct dsn_derived *d, uint32_t number) {
    const struct dsn_vnic *vnic = &d->vnic[number - 1];
    return key_home(d, vnic->port, vnic->vlan, vnic->match_mac);
}

static uint32_t home_of_id(const struct dsn_derived *d, uint32_t number) {
    return id_home(d, d->vnic[number - 1].id);
}

static void take(struct dsn_derived *d, uint32_t *hash, uint32_t slot,
                 uint32_t (*home)(const struct dsn_derived *, uint32_t)) {
    uint32_t hole = home(d, slot + 1);
    for (d->looked++; hash[hole] != slot + 1; d->looked++)
        hole = (hole + 1) & d->vnic_mask;
    for (uint32_t at = (hole + 1) & d->vnic_mask; hash[at] != 0; at = (at + 1) & d->vnic_mask) {
        d->looked++;
        if (!fills(home(d, hash[at]), at, hole, d->vnic_mask))
            continue;
        hash[hole] = hash[at];
        hole = at;
    }
    hash[hole] = 0;
}

static void take_port(struct dsn_derived *d, uint32_t hole) {
    for (uint32_t at = (hole + 1) & d->vnic_mask; d->port[at].count != 0; at = (at + 1) & d->vnic_mask) {
        d->looked++;
        if (!fills(dsn_derive_mix(d, d->port[at].number, 3) & d->vnic_mask, at, hole, d->vnic_mask))
            continue;
        d->port[hole] = d->port[at];
        hole = at;
    }
    d->port[hole] = (struct port_vnics){0};
}

/* --- a row --- */

static struct dsn_order_key port_key(uint32_t port, uint64_t id) {
    return (struct dsn_order_key){{port, id}};
}

static struct dsn_order_key subnet_key(uint32_t subnet, bool uplink, uint64_t id) {
    return (struct dsn_order_key){{subnet, !uplink, id}};
}

static struct dsn_order_key profile_key(uint32_t profile, uint32_t slot) {
    return (struct dsn_order_key){{profile, slot}};
}

static void find_tap(struct dsn_derived *d, struct port_vnics *port) {
    struct dsn_order_key first = port_key(port->number, 0);
    uint32_t slot = dsn_order_from(&d->of_port, &first, &d->looked);
    port->tap = slot != DSN_NO_SLOT && d->vnic[slot].port == port->number ? slot + 1 : 0;
}

static void find_uplink(struct dsn_derived *d, uint32_t subnet) {
    struct dsn_order_key first = subnet_key(subnet, true, 0);
    uint32_t slot = dsn_order_from(&d->of_subnet, &first, &d->looked);
    bool found =
        slot != DSN_NO_SLOT && d->vnic[slot].role == DSN_VNIC_ROLE_UPLINK && d->vnic[slot].subnet_slot == subnet;
    d->subnet[subnet].uplink = found ? slot + 1 : 0;
}

void dsn_derive_vnic_out(struct dsn_derived *d, uint32_t slot) {
    struct dsn_vnic *vnic = &d->vnic[slot];
    uint32_t at = port_place(d, vnic->port), subnet = vnic->subnet_slot;
    struct port_vnics *port = &d->port[at];
    take(d, d->by_key, slot, home_of_key);
    take(d, d->by_id, slot, home_of_id);
    dsn_order_take(&d->of_profile, slot);
    port->slots ^= slot;
    port->count--;
    if (vnic->role == DSN_VNIC_ROLE_CARD) {
        dsn_order_take(&d->of_port, slot);
        find_tap(d, port);
    }
    if (port->count == 0)
        take_port(d, at);
    if (subnet != DSN_NO_SLOT) {
        dsn_order_take(&d->of_subnet, slot);
        if (vnic->role == DSN_VNIC_ROLE_UPLINK)
            find_uplink(d, subnet);
    }
    *vnic = (struct dsn_vnic){0};
    d->looked++;
}

static uint64_t own_mac(const struct dsn_root *root, const struct dsn_vnic *vnic) {
    if (vnic->role == DSN_VNIC_ROLE_UPLINK)
        return vnic->mac;
    if (vnic->subnet_slot == DSN_NO_SLOT)
        return DSN_NO_MAC;
    const struct dsn_row_subnet *subnet = dsn_row(root, DSN_TABLE_SUBNET, vnic->subnet_slot);
    return dsn_mac(subnet->mac);
}

void dsn_derive_vnic_in(struct dsn_root *root, uint32_t slot) {
    struct dsn_derived *d = root->derived;
    const struct dsn_row_vnic *row = dsn_row(root, DSN_TABLE_VNIC, slot);
    bool uplink = row->role == DSN_VNIC_ROLE_UPLINK;
    struct dsn_vnic *vnic = &d->vnic[slot];
    *vnic = (struct dsn_vnic){
        .id = row->id,
        .vrf = row->vrf,
        .scope = uplink ? 0 : row->id,
        .mac = dsn_mac(row->mac),
        .match_mac = dsn_mac(row->match_mac),
        .slot = slot,
        .port = row->port,
        .vlan = row->vlan,
        .mtu = row->mtu,
        .role = row->role,
        .key_flags = uplink ? DSN_KEY_UPLINK : 0,
        .present = true,
        .subnet = row->subnet,
        .vrf_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 0),
        .profile_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 1),
        .subnet_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 2),
        .flow_limit = row->flow_limit,
        .inbound_flow_limit = row->inbound_flow_limit,
        .punt_limit = row->punt_limit,
        .new_flow_limit = row->new_flow_limit,
        .half_open_limit = row->half_open_limit,
        .fragment_limit = row->fragment_limit,
        .serves = row->serves,
        .icmp_limit = row->icmp_limit,
        .challenge_limit = row->challenge_limit,
    };
    vnic->own_mac = own_mac(root, vnic);
    vnic->ops = d->profile[vnic->profile_slot].ops;
    put(d, d->by_key, key_home(d, vnic->port, vnic->vlan, vnic->match_mac), slot);
    put(d, d->by_id, id_home(d, vnic->id), slot);
    dsn_order_put(&d->of_profile, slot, profile_key(vnic->profile_slot, slot));
    struct port_vnics *port = &d->port[port_place(d, vnic->port)];
    port->number = vnic->port;
    port->slots ^= slot;
    port->count++;
    if (vnic->role == DSN_VNIC_ROLE_CARD) {
        dsn_order_put(&d->of_port, slot, port_key(vnic->port, vnic->id));
        find_tap(d, port);
    }
    if (vnic->subnet_slot != DSN_NO_SLOT) {
        dsn_order_put(&d->of_subnet, slot, subnet_key(vnic->subnet_slot, uplink, vnic->id));
        if (uplink)
            find_uplink(d, vnic->subnet_slot);
    }
    d->looked++;
}

void dsn_derive_subnet_mac(struct dsn_root *root, uint32_t subnet) {
    struct dsn_derived *d = root->derived;
    struct dsn_order_key first = subnet_key(subnet, false, 0);
    uint32_t slot = dsn_order_from(&d->of_subnet, &first, &d->looked);
    for (; slot != DSN_NO_SLOT && d->vnic[slot].subnet_slot == subnet;
         slot = dsn_order_next(&d->of_subnet, slot, &d->looked))
        d->vnic[slot].own_mac = own_mac(root, &d->vnic[slot]);
}

void dsn_derive_profile_ops(struct dsn_derived *d, uint32_t profile) {
    struct dsn_order_key first = profile_key(profile, 0);
    uint32_t slot = dsn_order_from(&d->of_profile, &first, &d->looked);
    for (; slot != DSN_NO_SLOT && d->vnic[slot].profile_slot == profile;
         slot = dsn_order_next(&d->of_profile, slot, &d->looked))
        d->vnic[slot].ops = d->profile[profile].ops;
}

/* --- what packets ask --- */

const struct dsn_vnic *dsn_vnics(const struct dsn_derived *d) {
    return d->vnic;
}

const struct dsn_vnic *dsn_vnic_by_id(const struct dsn_root *root, uint64_t id) {
    const struct dsn_derived *d = root->derived;
    for (uint32_t at = id_home(d, id); d->by_id[at] != 0; at = (at + 1) & d->vnic_mask)
        if (d->vnic[d->by_id[at] - 1].id == id)
            return &d->vnic[d->by_id[at] - 1];
    return NULL;
}

const struct dsn_vnic *dsn_vnic_by_key(const struct dsn_root *root, uint32_t port, uint16_t vlan, uint64_t mac) {
    const struct dsn_derived *d = root->derived;
    uint32_t at = key_home(d, port, vlan, mac);
    for (; d->by_key[at] != 0; at = (at + 1) & d->vnic_mask) {
        const struct dsn_vnic *vnic = &d->vnic[d->by_key[at] - 1];
        if (vnic->port == port && vnic->vlan == vlan && vnic->match_mac == mac)
            return vnic;
    }
    return NULL;
}

const struct dsn_vnic *dsn_vnic_of_frame(const struct dsn_root *root, uint32_t number, uint16_t vlan, uint64_t mac) {
    const struct dsn_derived *d = root->derived;
    const struct port_vnics *port = &d->port[port_place(d, number)];
    if (port->count == 1) {
        const struct dsn_vnic *vnic = &d->vnic[port->slots];
        return vnic->vlan == vlan && (vnic->match_mac == 0 || vnic->match_mac == mac) ? vnic : NULL;
    }
    if (port->count == 0)
        return NULL;
    const struct dsn_vnic *vnic = dsn_vnic_by_key(root, number, vlan, mac);
    return vnic != NULL ? vnic : dsn_vnic_by_key(root, number, vlan, 0);
}

const struct dsn_vnic *dsn_vnic_alone(const struct dsn_root *root, uint32_t number) {
    const struct dsn_derived *d = root->derived;
    const struct port_vnics *port = &d->port[port_place(d, number)];
    const struct dsn_vnic *vnic = port->count == 1 ? &d->vnic[port->slots] : NULL;
    return vnic != NULL && vnic->match_mac == 0 ? vnic : NULL;
}

const struct dsn_vnic *dsn_tap_of(const struct dsn_root *root, uint32_t vrf_slot) {
    const struct dsn_derived *d = root->derived;
    const struct dsn_row_vrf *row = dsn_row(root, DSN_TABLE_VRF, vrf_slot);
    const struct port_vnics *port = &d->port[port_place(d, row->punt_port)];
    return port->count != 0 && port->tap != 0 ? &d->vnic[port->tap - 1] : NULL;
}
