/* What the path has to derive from a root's tables, in the bytes of derived.h: each time from all rows, by
 * searching. */
#ifndef DSN_PATH_TESTS_PLAINLY_H
#define DSN_PATH_TESTS_PLAINLY_H

#include "path/tests/derived.h"

static const struct dsn_vnic *plain_by_key(const struct dsn_root *root, const struct dsn_vnic *all, uint32_t port,
                                           uint16_t vlan, uint64_t mac) {
    EACH(root, DSN_TABLE_VNIC, slot) {
        if (all[slot].port == port && all[slot].vlan == vlan && all[slot].match_mac == mac)
            return &all[slot];
    }
    return NULL;
}

static const struct dsn_vnic *plain_of_frame(const struct dsn_root *root, const struct dsn_vnic *all, uint32_t port,
                                             uint16_t vlan, uint64_t mac) {
    const struct dsn_vnic *exactly = plain_by_key(root, all, port, vlan, mac);
    return exactly != NULL ? exactly : plain_by_key(root, all, port, vlan, 0);
}

static const struct dsn_vnic *plain_by_id(const struct dsn_root *root, const struct dsn_vnic *all, uint64_t id) {
    EACH(root, DSN_TABLE_VNIC, slot) {
        if (all[slot].id == id)
            return &all[slot];
    }
    return NULL;
}

static const struct dsn_vnic *plain_alone(const struct dsn_root *root, const struct dsn_vnic *all, uint32_t port) {
    const struct dsn_vnic *alone = NULL;
    EACH(root, DSN_TABLE_VNIC, slot) {
        if (all[slot].port != port)
            continue;
        if (alone != NULL)
            return NULL;
        alone = &all[slot];
    }
    return alone != NULL && alone->match_mac == 0 ? alone : NULL;
}

static uint32_t plain_chain(const struct dsn_root *root, uint32_t profile, unsigned direction, uint8_t stages[256]) {
    uint32_t count = 0;
    for (unsigned position = 0; position < 256; position++) {
        EACH(root, DSN_TABLE_PROFILE_STAGE, slot) {
            const struct dsn_row_profile_stage *row = dsn_row(root, DSN_TABLE_PROFILE_STAGE, slot);
            if (dsn_row_ref(root, DSN_TABLE_PROFILE_STAGE, slot, 0) != profile ||
                row->direction != (direction == DSN_EGRESS ? DSN_PROFILE_STAGE_DIRECTION_EGRESS
                                                           : DSN_PROFILE_STAGE_DIRECTION_INGRESS) ||
                row->position != position)
                continue;
            uint8_t number = DSN_STAGES - 1;
            while (number > 0 && strcmp(dsn_stage_name[number], row->stage) != 0)
                number--;
            stages[count++] = number;
        }
    }
    return count;
}

static struct dsn_vnic plain_vnic(const struct dsn_root *root, uint32_t slot) {
    const struct dsn_row_vnic *row = dsn_row(root, DSN_TABLE_VNIC, slot);
    bool uplink = row->role == DSN_VNIC_ROLE_UPLINK;
    uint8_t stages[256];
    struct dsn_vnic vnic = {
        .id = row->id,
        .vrf = row->vrf,
        .scope = uplink ? 0 : row->id,
        .own_mac = uplink ? dsn_mac(row->mac) : DSN_NO_MAC,
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
        .subnet_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 2),
        .vrf_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 0),
        .profile_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 1),
        .flow_limit = row->flow_limit,
        .inbound_flow_limit = row->inbound_flow_limit,
        .punt_limit = row->punt_limit,
        .new_flow_limit = row->new_flow_limit,
        .half_open_limit = row->half_open_limit,
        .fragment_limit = row->fragment_limit,
        .icmp_limit = row->icmp_limit,
        .challenge_limit = row->challenge_limit,
    };
    if (!uplink && vnic.subnet_slot != DSN_NO_SLOT) {
        const struct dsn_row_subnet *subnet = dsn_row(root, DSN_TABLE_SUBNET, vnic.subnet_slot);
        vnic.own_mac = dsn_mac(subnet->mac);
    }
    for (uint32_t i = plain_chain(root, vnic.profile_slot, DSN_EGRESS, stages); i-- > 0;)
        vnic.ops |= dsn_stage_table[stages[i]] != NULL ? dsn_stage_table[stages[i]]->ops : 0;
    return vnic;
}

static void plain_lowest(uint8_t mine[16], bool *has, const uint8_t address[16]) {
    if (!*has || memcmp(address, mine, 16) < 0)
        memcpy(mine, address, 16);
    *has = true;
}

static struct dsn_subnet plain_subnet(const struct dsn_root *root, const struct dsn_vnic *all, uint32_t number) {
    struct dsn_subnet subnet = {.uplink = 0};
    EACH(root, DSN_TABLE_LOCAL_ADDRESS, slot) {
        const struct dsn_row_local_address *row = dsn_row(root, DSN_TABLE_LOCAL_ADDRESS, slot);
        if (dsn_row_ref(root, DSN_TABLE_LOCAL_ADDRESS, slot, 1) != number)
            continue;
        bool v4 = dsn_is_v4(row->address);
        plain_lowest(v4 ? subnet.lowest_any_v4 : subnet.lowest_any_v6, v4 ? &subnet.has_any_v4 : &subnet.has_any_v6,
                     row->address);
        if (!dsn_is_link_local(row->address))
            plain_lowest(v4 ? subnet.lowest_v4 : subnet.lowest_v6, v4 ? &subnet.has_v4 : &subnet.has_v6, row->address);
    }
    EACH(root, DSN_TABLE_VNIC, slot) {
        if (all[slot].role == DSN_VNIC_ROLE_UPLINK && all[slot].subnet_slot == number &&
            (subnet.uplink == 0 || all[slot].id < all[subnet.uplink - 1].id))
            subnet.uplink = slot + 1;
    }
    return subnet;
}

static void add_plain_group(struct bytes *bytes, const struct dsn_root *root, uint32_t group) {
    uint64_t count = 0, weight = 0;
    EACH(root, DSN_TABLE_NEXT_HOP_MEMBER, slot) {
        const struct dsn_row_next_hop_member *row = dsn_row(root, DSN_TABLE_NEXT_HOP_MEMBER, slot);
        bool mine = dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 0) == group;
        count += mine;
        weight += mine ? row->weight : 0;
    }
    add_number(bytes, count);
    add_number(bytes, weight);
    for (unsigned position = 0; count > 0 && position <= UINT16_MAX; position++) {
        EACH(root, DSN_TABLE_NEXT_HOP_MEMBER, slot) {
            const struct dsn_row_next_hop_member *row = dsn_row(root, DSN_TABLE_NEXT_HOP_MEMBER, slot);
            if (dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 0) != group || row->position != position)
                continue;
            add_number(bytes, dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 1));
            add_number(bytes, row->weight);
            add_number(bytes, row->position);
            count--;
        }
    }
}

static void add_plain_hops(struct bytes *bytes, const struct dsn_root *root, const struct dsn_row_next_hop *like) {
    uint32_t count = 0, slots[256];
    EACH(root, DSN_TABLE_NEXT_HOP, slot) {
        const struct dsn_row_next_hop *row = dsn_row(root, DSN_TABLE_NEXT_HOP, slot);
        if (row->port != like->port || row->vlan != like->vlan || memcmp(row->address, like->address, 16) != 0)
            continue;
        uint32_t at = count++;
        for (; at > 0; at--) {
            const struct dsn_row_next_hop *other = dsn_row(root, DSN_TABLE_NEXT_HOP, slots[at - 1]);
            if (other->id < row->id)
                break;
            slots[at] = slots[at - 1];
        }
        slots[at] = slot;
    }
    add_number(bytes, count);
    add(bytes, slots, count * sizeof(*slots));
}

static void add_plain(struct bytes *bytes, const struct dsn_root *root) {
    uint32_t vnics = root->table[DSN_TABLE_VNIC].capacity;
    struct dsn_vnic *all = calloc(vnics, sizeof(*all));
    CHECK(all != NULL);
    EACH(root, DSN_TABLE_VNIC, slot) {
        all[slot] = plain_vnic(root, slot);
    }
    add(bytes, all, vnics * sizeof(*all));
    EACH(root, DSN_TABLE_VNIC, slot) {
        const struct dsn_vnic *vnic = &all[slot];
        add_vnic(bytes, plain_by_id(root, all, vnic->id));
        add_vnic(bytes, plain_by_id(root, all, ~vnic->id));
        add_vnic(bytes, plain_by_key(root, all, vnic->port, vnic->vlan, vnic->match_mac));
        add_vnic(bytes, plain_by_key(root, all, vnic->port, vnic->vlan, ~vnic->match_mac));
        add_vnic(bytes, plain_of_frame(root, all, vnic->port, vnic->vlan, vnic->match_mac));
        add_vnic(bytes, plain_of_frame(root, all, vnic->port, vnic->vlan, UINT64_C(0xfedc)));
        add_vnic(bytes, plain_alone(root, all, vnic->port));
        add_vnic(bytes, plain_alone(root, all, ~vnic->port));
        for (unsigned direction = 0; direction < 2; direction++) {
            uint8_t stages[256];
            uint32_t count = plain_chain(root, vnic->profile_slot, direction, stages);
            add_number(bytes, count);
            add(bytes, stages, count);
        }
    }
    EACH(root, DSN_TABLE_VRF, number) {
        const struct dsn_row_vrf *row = dsn_row(root, DSN_TABLE_VRF, number);
        const struct dsn_vnic *tap = NULL;
        EACH(root, DSN_TABLE_VNIC, slot) {
            if (all[slot].role == DSN_VNIC_ROLE_CARD && all[slot].port == row->punt_port &&
                (tap == NULL || all[slot].id < tap->id))
                tap = &all[slot];
        }
        add_vnic(bytes, tap);
    }
    for (uint32_t slot = 0; slot < root->table[DSN_TABLE_SUBNET].capacity; slot++) {
        struct dsn_subnet subnet = plain_subnet(root, all, slot);
        add_subnet(bytes, &subnet);
    }
    for (uint32_t slot = 0; slot < root->table[DSN_TABLE_NEXT_HOP_GROUP].capacity; slot++)
        add_plain_group(bytes, root, slot);
    EACH(root, DSN_TABLE_NEXT_HOP, slot) {
        add_plain_hops(bytes, root, dsn_row(root, DSN_TABLE_NEXT_HOP, slot));
    }
    free(all);
}

#endif
