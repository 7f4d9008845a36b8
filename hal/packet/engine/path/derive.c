#include "path/derive.h"

#include "path.h"
#include "path/ops.h"
#include "path/packet.h"
#include "path/stamps.h"
#include "stage.h"

#include <stdlib.h>

struct port_vnics { /* of one port number: most have a single row, found without another look */
    uint32_t number, count, slot;
};

struct chain {
    uint32_t at, count;
};

struct group {
    uint32_t at, count;
    uint64_t weight;
};

struct place { /* of a profile's chain */
    uint8_t position, stage;
};

struct dsn_derived {
    uint32_t vnic_mask, hop_mask; /* of the hashes */
    struct dsn_vnic *vnic;
    struct port_vnics *port;       /* hash by number */
    uint32_t *by_key, *by_id;      /* hashes of slots + 1 */
    struct chain (*chain)[2];      /* by slot of profile */
    struct place *place;           /* in the order of profile, direction, position */
    uint8_t *stage;                /* the same, as chains are read */
    struct dsn_subnet *subnet;     /* by slot */
    uint32_t *tap;                 /* by slot of vrf: slot + 1 of its tap */
    struct group *group;           /* by slot */
    struct dsn_member *member;     /* in the order of group, position */
    uint32_t *hop_head, *hop_next; /* chains of slots + 1 by uplink and address */
};

static uint32_t capacity(const struct dsn_root *root, enum dsn_table_number table) {
    return root->table[table].capacity;
}

static uint32_t power_above(uint32_t count) {
    uint32_t power = 16;
    while (power < 2 * (uint64_t)count && power < UINT32_C(1) << 31)
        power *= 2;
    return power;
}

static void *array(size_t count, size_t size) {
    return calloc(count ? count : 1, size);
}

bool dsn_root_extras_create(struct dsn_root *root) {
    uint32_t vnics = power_above(capacity(root, DSN_TABLE_VNIC));
    uint32_t hops = power_above(capacity(root, DSN_TABLE_NEXT_HOP));
    struct dsn_derived *d = calloc(1, sizeof(*d));
    root->derived = d;
    root->stamps = calloc(1, sizeof(*root->stamps));
    if (d == NULL || root->stamps == NULL) {
        dsn_root_extras_destroy(root);
        return false;
    }
    d->vnic_mask = vnics - 1;
    d->hop_mask = hops - 1;
    d->vnic = array(capacity(root, DSN_TABLE_VNIC), sizeof(*d->vnic));
    d->port = array(vnics, sizeof(*d->port));
    d->by_key = array(vnics, sizeof(*d->by_key));
    d->by_id = array(vnics, sizeof(*d->by_id));
    d->chain = array(capacity(root, DSN_TABLE_PROFILE), sizeof(*d->chain));
    d->place = array(capacity(root, DSN_TABLE_PROFILE_STAGE), sizeof(*d->place));
    d->stage = array(capacity(root, DSN_TABLE_PROFILE_STAGE), sizeof(*d->stage));
    d->subnet = array(capacity(root, DSN_TABLE_SUBNET), sizeof(*d->subnet));
    d->tap = array(capacity(root, DSN_TABLE_VRF), sizeof(*d->tap));
    d->group = array(capacity(root, DSN_TABLE_NEXT_HOP_GROUP), sizeof(*d->group));
    d->member = array(capacity(root, DSN_TABLE_NEXT_HOP_MEMBER), sizeof(*d->member));
    d->hop_head = array(hops, sizeof(*d->hop_head));
    d->hop_next = array(capacity(root, DSN_TABLE_NEXT_HOP), sizeof(*d->hop_next));
    if (d->vnic && d->port && d->by_key && d->by_id && d->chain && d->place && d->stage && d->subnet && d->tap &&
        d->group && d->member && d->hop_head && d->hop_next)
        return dsn_derive(root, UINT64_MAX);
    dsn_root_extras_destroy(root);
    return false;
}

void dsn_root_extras_destroy(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    free(root->stamps);
    root->stamps = NULL;
    root->derived = NULL;
    if (d == NULL)
        return;
    free(d->vnic);
    free(d->port);
    free(d->by_key);
    free(d->by_id);
    free(d->chain);
    free(d->place);
    free(d->stage);
    free(d->subnet);
    free(d->tap);
    free(d->group);
    free(d->member);
    free(d->hop_head);
    free(d->hop_next);
    free(d);
}

/* Calls the body for each slot in use. */
#define EACH(root, number, slot)                                                                                       \
    for (uint32_t slot = 0; slot < (root)->table[number].capacity; slot++)                                             \
        if (dsn_row_action(root, number, slot) != DSN_NO_ACTION)

static uint64_t mix(uint64_t a, uint64_t b) {
    return dsn_fold64(a ^ UINT64_C(0x9e3779b97f4a7c15), b ^ UINT64_C(0xbf58476d1ce4e5b9));
}

static uint32_t port_place(const struct dsn_derived *d, uint32_t number) {
    uint32_t at = mix(number, 3) & d->vnic_mask;
    while (d->port[at].count > 0 && d->port[at].number != number)
        at = (at + 1) & d->vnic_mask;
    return at;
}

static uint64_t key_hash(uint32_t port, uint16_t vlan, uint64_t mac) {
    return mix((uint64_t)port << 16 | vlan, mac);
}

/* Actions of stages that leave an op on every packet, over a profile's egress chain. */
static uint8_t chain_ops(const struct dsn_root *root, uint32_t profile) {
    const struct dsn_derived *d = root->derived;
    const struct chain *chain = &d->chain[profile][DSN_EGRESS];
    uint8_t ops = 0;
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct dsn_stage *stage = dsn_stage_table[d->stage[chain->at + i]];
        ops |= stage != NULL ? stage->ops : 0;
    }
    return ops;
}

static uint8_t stage_number(const struct dsn_row_profile_stage *row) {
    for (uint8_t number = 1; number < DSN_STAGES; number++)
        if (strncmp(dsn_stage_name[number], row->stage, sizeof(row->stage)) == 0)
            return number;
    return DSN_STAGE_FRAME; /* no code: the chain doesn't pass it */
}

static void derive_chains(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    uint32_t at = 0;
    memset(d->chain, 0, sizeof(*d->chain) * capacity(root, DSN_TABLE_PROFILE));
    EACH(root, DSN_TABLE_PROFILE_STAGE, slot) {
        const struct dsn_row_profile_stage *row = dsn_row(root, DSN_TABLE_PROFILE_STAGE, slot);
        d->chain[dsn_row_ref(root, DSN_TABLE_PROFILE_STAGE, slot, 0)][row->direction - 1].count++;
    }
    for (uint32_t profile = 0; profile < capacity(root, DSN_TABLE_PROFILE); profile++) {
        for (unsigned direction = 0; direction < 2; direction++) {
            struct chain *chain = &d->chain[profile][direction];
            chain->at = at;
            at += chain->count;
            chain->count = 0;
        }
    }
    EACH(root, DSN_TABLE_PROFILE_STAGE, slot) {
        const struct dsn_row_profile_stage *row = dsn_row(root, DSN_TABLE_PROFILE_STAGE, slot);
        struct chain *chain = &d->chain[dsn_row_ref(root, DSN_TABLE_PROFILE_STAGE, slot, 0)][row->direction - 1];
        struct place *first = &d->place[chain->at];
        uint32_t i = chain->count++;
        for (; i > 0 && first[i - 1].position > row->position; i--)
            first[i] = first[i - 1];
        first[i] = (struct place){.position = row->position, .stage = stage_number(row)};
    }
    for (uint32_t i = 0; i < at; i++)
        d->stage[i] = d->place[i].stage;
}

static void derive_vnic(struct dsn_root *root, uint32_t slot) {
    struct dsn_derived *d = root->derived;
    const struct dsn_row_vnic *row = dsn_row(root, DSN_TABLE_VNIC, slot);
    bool uplink = row->role == DSN_VNIC_ROLE_UPLINK;
    struct dsn_vnic *vnic = &d->vnic[slot];
    *vnic = (struct dsn_vnic){
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
        .vrf_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 0),
        .profile_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 1),
        .subnet_slot = dsn_row_ref(root, DSN_TABLE_VNIC, slot, 2),
        .flow_limit = row->flow_limit,
        .inbound_flow_limit = row->inbound_flow_limit,
        .punt_limit = row->punt_limit,
    };
    vnic->ops = chain_ops(root, vnic->profile_slot);
    if (!uplink && vnic->subnet_slot != DSN_NO_SLOT) {
        const struct dsn_row_subnet *subnet = dsn_row(root, DSN_TABLE_SUBNET, vnic->subnet_slot);
        vnic->own_mac = dsn_mac(subnet->mac);
    }
    struct port_vnics *port = &d->port[port_place(d, row->port)];
    port->number = row->port;
    port->slot = slot;
    port->count++;
    uint32_t at = key_hash(row->port, row->vlan, dsn_mac(row->match_mac)) & d->vnic_mask;
    while (d->by_key[at] != 0)
        at = (at + 1) & d->vnic_mask;
    d->by_key[at] = slot + 1;
    for (at = mix(row->id, 4) & d->vnic_mask; d->by_id[at] != 0; at = (at + 1) & d->vnic_mask) {}
    d->by_id[at] = slot + 1;
}

static void derive_vnics(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    memset(d->vnic, 0, sizeof(*d->vnic) * capacity(root, DSN_TABLE_VNIC));
    memset(d->port, 0, sizeof(*d->port) * (d->vnic_mask + 1));
    memset(d->by_key, 0, sizeof(*d->by_key) * (d->vnic_mask + 1));
    memset(d->by_id, 0, sizeof(*d->by_id) * (d->vnic_mask + 1));
    memset(d->tap, 0, sizeof(*d->tap) * capacity(root, DSN_TABLE_VRF));
    EACH(root, DSN_TABLE_VNIC, slot) {
        derive_vnic(root, slot);
    }
    EACH(root, DSN_TABLE_VRF, vrf) {
        const struct dsn_row_vrf *row = dsn_row(root, DSN_TABLE_VRF, vrf);
        if (d->port[port_place(d, row->punt_port)].count == 0)
            continue;
        EACH(root, DSN_TABLE_VNIC, slot) {
            const struct dsn_vnic *vnic = &d->vnic[slot];
            if (vnic->role == DSN_VNIC_ROLE_CARD && vnic->port == row->punt_port &&
                (d->tap[vrf] == 0 || vnic->id < d->vnic[d->tap[vrf] - 1].id))
                d->tap[vrf] = slot + 1;
        }
    }
}

static void lowest(uint8_t mine[16], bool *has, const uint8_t address[16]) {
    if (!*has || memcmp(address, mine, 16) < 0)
        memcpy(mine, address, 16);
    *has = true;
}

static void derive_subnets(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    memset(d->subnet, 0, sizeof(*d->subnet) * capacity(root, DSN_TABLE_SUBNET));
    for (uint32_t slot = 0; slot < capacity(root, DSN_TABLE_SUBNET); slot++)
        d->subnet[slot].uplink = DSN_NO_SLOT;
    EACH(root, DSN_TABLE_LOCAL_ADDRESS, slot) {
        const struct dsn_row_local_address *row = dsn_row(root, DSN_TABLE_LOCAL_ADDRESS, slot);
        struct dsn_subnet *subnet = &d->subnet[dsn_row_ref(root, DSN_TABLE_LOCAL_ADDRESS, slot, 1)];
        if (dsn_is_v4(row->address)) {
            lowest(subnet->lowest_v4, &subnet->has_v4, row->address);
            continue;
        }
        lowest(subnet->lowest_any_v6, &subnet->has_any_v6, row->address);
        if (!dsn_is_link_local(row->address))
            lowest(subnet->lowest_v6, &subnet->has_v6, row->address);
    }
    EACH(root, DSN_TABLE_VNIC, slot) {
        const struct dsn_vnic *vnic = &d->vnic[slot];
        if (vnic->role != DSN_VNIC_ROLE_UPLINK || vnic->subnet_slot == DSN_NO_SLOT)
            continue;
        struct dsn_subnet *subnet = &d->subnet[vnic->subnet_slot];
        if (subnet->uplink == DSN_NO_SLOT || vnic->id < d->vnic[subnet->uplink].id)
            subnet->uplink = slot;
    }
}

static int by_position(const void *a, const void *b) {
    const struct dsn_member *one = a, *other = b;
    return (one->position > other->position) - (one->position < other->position);
}

static void derive_groups(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    uint32_t at = 0;
    memset(d->group, 0, sizeof(*d->group) * capacity(root, DSN_TABLE_NEXT_HOP_GROUP));
    EACH(root, DSN_TABLE_NEXT_HOP_MEMBER, slot) {
        d->group[dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 0)].count++;
    }
    for (uint32_t slot = 0; slot < capacity(root, DSN_TABLE_NEXT_HOP_GROUP); slot++) {
        d->group[slot].at = at;
        at += d->group[slot].count;
        d->group[slot].count = 0;
    }
    EACH(root, DSN_TABLE_NEXT_HOP_MEMBER, slot) {
        const struct dsn_row_next_hop_member *row = dsn_row(root, DSN_TABLE_NEXT_HOP_MEMBER, slot);
        struct group *group = &d->group[dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 0)];
        d->member[group->at + group->count++] = (struct dsn_member){
            .next_hop = dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 1),
            .weight = row->weight,
            .position = row->position,
        };
        group->weight += row->weight;
    }
    for (uint32_t slot = 0; slot < capacity(root, DSN_TABLE_NEXT_HOP_GROUP); slot++)
        qsort(d->member + d->group[slot].at, d->group[slot].count, sizeof(*d->member), by_position);
}

static uint32_t hop_place(const struct dsn_derived *d, uint32_t port, uint16_t vlan, const uint8_t address[16]) {
    return mix(mix(dsn_word(address, 0), dsn_word(address, 1)), (uint64_t)port << 16 | vlan) & d->hop_mask;
}

static void derive_next_hops(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    memset(d->hop_head, 0, sizeof(*d->hop_head) * (d->hop_mask + 1));
    EACH(root, DSN_TABLE_NEXT_HOP, slot) {
        const struct dsn_row_next_hop *row = dsn_row(root, DSN_TABLE_NEXT_HOP, slot);
        uint32_t *head = &d->hop_head[hop_place(d, row->port, row->vlan, row->address)];
        d->hop_next[slot] = *head;
        *head = slot + 1;
    }
}

bool dsn_derive(struct dsn_root *root, uint64_t changed_tables) {
#define OF(table) (UINT64_C(1) << DSN_TABLE_##table)
    uint64_t chains = OF(PROFILE) | OF(PROFILE_STAGE), vnics = chains | OF(VNIC) | OF(SUBNET) | OF(VRF);
    if (changed_tables & chains)
        derive_chains(root);
    if (changed_tables & vnics)
        derive_vnics(root);
    if (changed_tables & (vnics | OF(LOCAL_ADDRESS)))
        derive_subnets(root);
    if (changed_tables & (OF(NEXT_HOP) | OF(NEXT_HOP_GROUP) | OF(NEXT_HOP_MEMBER)))
        derive_groups(root);
    if (changed_tables & OF(NEXT_HOP))
        derive_next_hops(root);
#undef OF
    return true;
}

const struct dsn_vnic *dsn_vnics(const struct dsn_derived *d) {
    return d->vnic;
}

const struct dsn_vnic *dsn_vnic_by_id(const struct dsn_root *root, uint64_t id) {
    const struct dsn_derived *d = root->derived;
    for (uint32_t at = mix(id, 4) & d->vnic_mask; d->by_id[at] != 0; at = (at + 1) & d->vnic_mask)
        if (d->vnic[d->by_id[at] - 1].id == id)
            return &d->vnic[d->by_id[at] - 1];
    return NULL;
}

const struct dsn_vnic *dsn_vnic_by_key(const struct dsn_root *root, uint32_t port, uint16_t vlan, uint64_t mac) {
    const struct dsn_derived *d = root->derived;
    uint32_t at = key_hash(port, vlan, mac) & d->vnic_mask;
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
        const struct dsn_vnic *vnic = &d->vnic[port->slot];
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
    const struct dsn_vnic *vnic = port->count == 1 ? &d->vnic[port->slot] : NULL;
    return vnic != NULL && vnic->match_mac == 0 ? vnic : NULL;
}

struct dsn_chain dsn_chain_of(const struct dsn_root *root, const struct dsn_vnic *vnic, unsigned direction) {
    const struct dsn_derived *d = root->derived;
    const struct chain *chain = &d->chain[vnic->profile_slot][direction];
    return (struct dsn_chain){.stage = d->stage + chain->at, .count = chain->count};
}

const struct dsn_subnet *dsn_subnet_at(const struct dsn_root *root, uint32_t slot) {
    return &root->derived->subnet[slot];
}

const struct dsn_vnic *dsn_tap_of(const struct dsn_root *root, uint32_t vrf_slot) {
    uint32_t slot = root->derived->tap[vrf_slot];
    return slot != 0 ? dsn_vnic_at(root, slot - 1) : NULL;
}

struct dsn_group dsn_group_at(const struct dsn_root *root, uint32_t slot) {
    const struct group *group = &root->derived->group[slot];
    return (struct dsn_group){
        .member = root->derived->member + group->at,
        .count = group->count,
        .weight = group->weight,
    };
}

uint32_t dsn_next_hops(const struct dsn_root *root, const struct dsn_vnic *uplink, const uint8_t address[16],
                       uint32_t *slots, uint32_t count) {
    const struct dsn_derived *d = root->derived;
    uint32_t found = 0;
    for (uint32_t slot = d->hop_head[hop_place(d, uplink->port, uplink->vlan, address)]; slot != 0;
         slot = d->hop_next[slot - 1]) {
        const struct dsn_row_next_hop *row = dsn_row(root, DSN_TABLE_NEXT_HOP, slot - 1);
        if (row->port != uplink->port || row->vlan != uplink->vlan || memcmp(row->address, address, 16) != 0)
            continue;
        uint32_t i = found++;
        if (i >= count)
            continue;
        for (; i > 0; i--) {
            const struct dsn_row_next_hop *before = dsn_row(root, DSN_TABLE_NEXT_HOP, slots[i - 1]);
            if (before->id < row->id)
                break;
            slots[i] = slots[i - 1];
        }
        slots[i] = slot - 1;
    }
    return found;
}
