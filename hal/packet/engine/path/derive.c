#include "path/derive.h"

#include "match/common.h"
#include "path/derived.h"
#include "path/packet.h"
#include "path/stamps.h"
#include "stage.h"

#include <stdlib.h>

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

static bool orders_create(struct dsn_root *root) {
    struct dsn_derived *d = root->derived;
    uint32_t vnics = capacity(root, DSN_TABLE_VNIC);
    return dsn_order_create(&d->of_port, vnics, &d->looked) && dsn_order_create(&d->of_profile, vnics, &d->looked) &&
           dsn_order_create(&d->of_subnet, vnics, &d->looked) &&
           dsn_order_create(&d->addresses, capacity(root, DSN_TABLE_LOCAL_ADDRESS), &d->looked) &&
           dsn_order_create(&d->of_group, capacity(root, DSN_TABLE_NEXT_HOP_MEMBER), &d->looked) &&
           dsn_order_create(&d->hops, capacity(root, DSN_TABLE_NEXT_HOP), &d->looked);
}

bool dsn_root_extras_create(struct dsn_root *root) {
    uint32_t vnics = power_above(capacity(root, DSN_TABLE_VNIC));
    struct dsn_derived *d = calloc(1, sizeof(*d));
    root->derived = d;
    root->stamps = calloc(1, sizeof(*root->stamps));
    if (d == NULL || root->stamps == NULL) {
        dsn_root_extras_destroy(root);
        return false;
    }
    uint64_t seed[DSN_MATCH_SEEDS];
    dsn_match_seed(seed);
    memcpy(d->seed, seed, sizeof(d->seed));
    d->vnic_mask = vnics - 1;
    d->vnic = array(capacity(root, DSN_TABLE_VNIC), sizeof(*d->vnic));
    d->port = array(vnics, sizeof(*d->port));
    d->by_key = array(vnics, sizeof(*d->by_key));
    d->by_id = array(vnics, sizeof(*d->by_id));
    d->profile = array(capacity(root, DSN_TABLE_PROFILE), sizeof(*d->profile));
    d->chain = array(capacity(root, DSN_TABLE_PROFILE), sizeof(*d->chain));
    d->place = array(capacity(root, DSN_TABLE_PROFILE_STAGE), sizeof(*d->place));
    d->subnet = array(capacity(root, DSN_TABLE_SUBNET), sizeof(*d->subnet));
    d->group = array(capacity(root, DSN_TABLE_NEXT_HOP_GROUP), sizeof(*d->group));
    d->member = array(capacity(root, DSN_TABLE_NEXT_HOP_MEMBER), sizeof(*d->member));
    if (d->vnic && d->port && d->by_key && d->by_id && d->profile && d->chain && d->place && d->subnet && d->group &&
        d->member && orders_create(root))
        return true;
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
    free(d->profile);
    free(d->chain);
    free(d->place);
    free(d->subnet);
    free(d->group);
    free(d->member);
    dsn_order_destroy(&d->of_port);
    dsn_order_destroy(&d->of_profile);
    dsn_order_destroy(&d->of_subnet);
    dsn_order_destroy(&d->addresses);
    dsn_order_destroy(&d->of_group);
    dsn_order_destroy(&d->hops);
    free(d);
}

/* --- chains of stages --- */

static uint8_t stage_number(const struct dsn_row_profile_stage *row) {
    for (uint8_t number = 1; number < DSN_STAGES; number++)
        if (strncmp(dsn_stage_name[number], row->stage, sizeof(row->stage)) == 0)
            return number;
    return DSN_STAGE_FRAME; /* no code: the chain doesn't pass it */
}

/* What stages of the egress chain leave on every packet; and vNICs that have the profile take it over. */
static void find_ops(struct dsn_derived *d, uint32_t profile) {
    const uint8_t *numbers = d->chain[profile][DSN_EGRESS].stage;
    uint8_t ops = 0;
    for (uint32_t i = 0; i < d->profile[profile].count[DSN_EGRESS]; i++) {
        const struct dsn_stage *stage = dsn_stage_table[numbers[i]];
        ops |= stage != NULL ? stage->ops : 0;
        d->looked++;
    }
    if (ops == d->profile[profile].ops)
        return;
    d->profile[profile].ops = ops;
    dsn_derive_profile_ops(d, profile);
}

static void stage_out(struct dsn_derived *d, uint32_t slot) {
    const struct place *place = &d->place[slot];
    struct chain *chain = &d->chain[place->profile][place->direction];
    uint32_t left = --d->profile[place->profile].count[place->direction], at = 0;
    while (chain->position[at] != place->position)
        at++;
    memmove(chain->stage + at, chain->stage + at + 1, left - at);
    memmove(chain->position + at, chain->position + at + 1, left - at);
    d->looked++;
    if (place->direction == DSN_EGRESS)
        find_ops(d, place->profile);
}

static void stage_in(struct dsn_root *root, uint32_t slot) {
    struct dsn_derived *d = root->derived;
    const struct dsn_row_profile_stage *row = dsn_row(root, DSN_TABLE_PROFILE_STAGE, slot);
    struct place *place = &d->place[slot];
    *place = (struct place){
        .profile = dsn_row_ref(root, DSN_TABLE_PROFILE_STAGE, slot, 0),
        .direction = row->direction - 1,
        .position = row->position,
    };
    struct chain *chain = &d->chain[place->profile][place->direction];
    uint32_t at = d->profile[place->profile].count[place->direction]++;
    for (; at > 0 && chain->position[at - 1] > row->position; at--) {
        chain->stage[at] = chain->stage[at - 1];
        chain->position[at] = chain->position[at - 1];
    }
    chain->stage[at] = stage_number(row);
    chain->position[at] = row->position;
    d->looked++;
    if (place->direction == DSN_EGRESS)
        find_ops(d, place->profile);
}

/* --- a subnet's own addresses --- */

enum { V4, V4_LINK_LOCAL, V6, V6_LINK_LOCAL };

static struct dsn_order_key address_key(uint32_t subnet, unsigned kind, const uint8_t address[16], uint32_t slot) {
    return (struct dsn_order_key){
        {(uint64_t)subnet << 2 | kind, dsn_be64(address), dsn_be64(address + 8), slot},
    };
}

static bool lowest(struct dsn_derived *d, uint32_t subnet, unsigned kind, uint8_t address[16]) {
    static const uint8_t zero[16];
    struct dsn_order_key first = address_key(subnet, kind, zero, 0);
    uint32_t slot = dsn_order_from(&d->addresses, &first, &d->looked);
    const struct dsn_order_key *found = slot != DSN_NO_SLOT ? dsn_order_key(&d->addresses, slot) : NULL;
    bool has = found != NULL && found->word[0] == first.word[0];
    dsn_put64(address, has ? found->word[1] : 0);
    dsn_put64(address + 8, has ? found->word[2] : 0);
    return has;
}

/* Of a family: `mine` link-local ones apart, `any` among all. */
static void lowest_two(struct dsn_derived *d, uint32_t subnet, unsigned kind, uint8_t mine[16], bool *has,
                       uint8_t any[16], bool *has_any) {
    *has = lowest(d, subnet, kind, mine);
    *has_any = lowest(d, subnet, kind + 1, any);
    if (*has && (!*has_any || memcmp(mine, any, 16) < 0)) {
        memcpy(any, mine, 16);
        *has_any = true;
    }
}

static void find_lowest(struct dsn_derived *d, uint32_t number, unsigned kind) {
    struct dsn_subnet *s = &d->subnet[number];
    if (kind <= V4_LINK_LOCAL)
        lowest_two(d, number, V4, s->lowest_v4, &s->has_v4, s->lowest_any_v4, &s->has_any_v4);
    else
        lowest_two(d, number, V6, s->lowest_v6, &s->has_v6, s->lowest_any_v6, &s->has_any_v6);
}

static void address_out(struct dsn_derived *d, uint32_t slot) {
    uint64_t word = dsn_order_key(&d->addresses, slot)->word[0];
    dsn_order_take(&d->addresses, slot);
    find_lowest(d, (uint32_t)(word >> 2), word & 3);
}

static void address_in(struct dsn_root *root, uint32_t slot) {
    struct dsn_derived *d = root->derived;
    const struct dsn_row_local_address *row = dsn_row(root, DSN_TABLE_LOCAL_ADDRESS, slot);
    uint32_t subnet = dsn_row_ref(root, DSN_TABLE_LOCAL_ADDRESS, slot, 1);
    unsigned kind = (dsn_is_v4(row->address) ? V4 : V6) + (dsn_is_link_local(row->address) ? 1 : 0);
    dsn_order_put(&d->addresses, slot, address_key(subnet, kind, row->address, slot));
    find_lowest(d, subnet, kind);
}

/* --- groups of next hops --- */

static uint32_t *link_to(struct dsn_derived *d, const struct dsn_order_key *key) {
    uint32_t before = dsn_order_before(&d->of_group, key, &d->looked);
    if (before == DSN_NO_SLOT || dsn_order_key(&d->of_group, before)->word[0] != key->word[0])
        return &d->group[key->word[0]].first;
    return &d->member[before].next;
}

static void member_out(struct dsn_derived *d, uint32_t slot) {
    struct dsn_order_key key = *dsn_order_key(&d->of_group, slot);
    struct group *group = &d->group[key.word[0]];
    dsn_order_take(&d->of_group, slot);
    *link_to(d, &key) = d->member[slot].next;
    group->count--;
    group->weight -= d->member[slot].weight;
    d->member[slot] = (struct dsn_member){0};
    d->looked++;
}

static void member_in(struct dsn_root *root, uint32_t slot) {
    struct dsn_derived *d = root->derived;
    const struct dsn_row_next_hop_member *row = dsn_row(root, DSN_TABLE_NEXT_HOP_MEMBER, slot);
    struct dsn_order_key key = {{dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 0), row->position}};
    struct group *group = &d->group[key.word[0]];
    uint32_t *link = link_to(d, &key);
    d->member[slot] = (struct dsn_member){
        .next_hop = dsn_row_ref(root, DSN_TABLE_NEXT_HOP_MEMBER, slot, 1),
        .weight = row->weight,
        .position = row->position,
        .next = *link,
    };
    *link = slot + 1;
    dsn_order_put(&d->of_group, slot, key);
    group->count++;
    group->weight += row->weight;
    d->looked++;
}

/* --- next hops by where they are --- */

static struct dsn_order_key hop_key(uint32_t port, uint16_t vlan, const uint8_t address[16], uint64_t id) {
    return (struct dsn_order_key){{(uint64_t)port << 16 | vlan, dsn_be64(address), dsn_be64(address + 8), id}};
}

static void hop_in(struct dsn_root *root, uint32_t slot) {
    const struct dsn_row_next_hop *row = dsn_row(root, DSN_TABLE_NEXT_HOP, slot);
    dsn_order_put(&root->derived->hops, slot, hop_key(row->port, row->vlan, row->address, row->id));
}

/* --- a row comes, or goes --- */

void dsn_derive_out(struct dsn_root *root, enum dsn_table_number table, uint32_t slot) {
    struct dsn_derived *d = root->derived;
    switch (table) {
    case DSN_TABLE_PROFILE_STAGE: stage_out(d, slot); break;
    case DSN_TABLE_VNIC: dsn_derive_vnic_out(d, slot); break;
    case DSN_TABLE_LOCAL_ADDRESS: address_out(d, slot); break;
    case DSN_TABLE_NEXT_HOP: dsn_order_take(&d->hops, slot); break;
    case DSN_TABLE_NEXT_HOP_MEMBER: member_out(d, slot); break;
    default: break; /* what is by slot of it is empty when nothing refers to it any more */
    }
}

void dsn_derive_in(struct dsn_root *root, enum dsn_table_number table, uint32_t slot) {
    switch (table) {
    case DSN_TABLE_PROFILE_STAGE: stage_in(root, slot); break;
    case DSN_TABLE_VNIC: dsn_derive_vnic_in(root, slot); break;
    case DSN_TABLE_SUBNET: dsn_derive_subnet_mac(root, slot); break;
    case DSN_TABLE_LOCAL_ADDRESS: address_in(root, slot); break;
    case DSN_TABLE_NEXT_HOP: hop_in(root, slot); break;
    case DSN_TABLE_NEXT_HOP_MEMBER: member_in(root, slot); break;
    default: break;
    }
}

/* --- memory for rows to come --- */

static struct dsn_extent extent_of(void *begin, size_t each, uint32_t count) {
    return (struct dsn_extent){begin, each * count, each, 0, DSN_EXTENT_SURE};
}

static struct dsn_extent extent_of_order(const struct dsn_order *order, uint32_t count) {
    return extent_of(order->node, sizeof(*order->node), count);
}

unsigned dsn_derive_extents(const struct dsn_root *root, enum dsn_table_number table,
                            struct dsn_extent extent[DSN_MOST_EXTENTS]) {
    const struct dsn_derived *d = root->derived;
    uint32_t count = capacity(root, table);
    size_t hash = (size_t)d->vnic_mask + 1;
    switch (table) {
    case DSN_TABLE_PROFILE:
        extent[0] = extent_of(d->profile, sizeof(*d->profile), count);
        extent[1] = extent_of(d->chain, sizeof(*d->chain), count);
        return 2;
    case DSN_TABLE_PROFILE_STAGE: extent[0] = extent_of(d->place, sizeof(*d->place), count); return 1;
    case DSN_TABLE_VNIC:
        extent[0] = extent_of(d->vnic, sizeof(*d->vnic), count);
        extent[1] = extent_of_order(&d->of_port, count);
        extent[2] = extent_of_order(&d->of_profile, count);
        extent[3] = extent_of_order(&d->of_subnet, count);
        extent[4] = (struct dsn_extent){d->port, hash * sizeof(*d->port), 0, 4096, DSN_EXTENT_SURE};
        extent[5] = (struct dsn_extent){d->by_key, hash * sizeof(*d->by_key), 0, 4096, DSN_EXTENT_SURE};
        extent[6] = (struct dsn_extent){d->by_id, hash * sizeof(*d->by_id), 0, 4096, DSN_EXTENT_SURE};
        return 7;
    case DSN_TABLE_SUBNET: extent[0] = extent_of(d->subnet, sizeof(*d->subnet), count); return 1;
    case DSN_TABLE_LOCAL_ADDRESS: extent[0] = extent_of_order(&d->addresses, count); return 1;
    case DSN_TABLE_NEXT_HOP: extent[0] = extent_of_order(&d->hops, count); return 1;
    case DSN_TABLE_NEXT_HOP_GROUP: extent[0] = extent_of(d->group, sizeof(*d->group), count); return 1;
    case DSN_TABLE_NEXT_HOP_MEMBER:
        extent[0] = extent_of(d->member, sizeof(*d->member), count);
        extent[1] = extent_of_order(&d->of_group, count);
        return 2;
    default: return 0;
    }
}

uint64_t dsn_derive_looked(const struct dsn_root *root) {
    return root->derived->looked;
}

/* --- what packets ask --- */

struct dsn_chain dsn_chain_of(const struct dsn_root *root, const struct dsn_vnic *vnic, unsigned direction) {
    const struct dsn_derived *d = root->derived;
    return (struct dsn_chain){
        .stage = d->chain[vnic->profile_slot][direction].stage,
        .count = d->profile[vnic->profile_slot].count[direction],
    };
}

const struct dsn_subnet *dsn_subnet_at(const struct dsn_root *root, uint32_t slot) {
    return &root->derived->subnet[slot];
}

struct dsn_group dsn_group_at(const struct dsn_root *root, uint32_t slot) {
    const struct group *group = &root->derived->group[slot];
    return (struct dsn_group){.first = group->first, .count = group->count, .weight = group->weight};
}

const struct dsn_member *dsn_members(const struct dsn_derived *derived) {
    return derived->member;
}

uint32_t dsn_next_hops(const struct dsn_root *root, const struct dsn_vnic *uplink, const uint8_t address[16],
                       uint32_t *slots, uint32_t count) {
    const struct dsn_order *hops = &root->derived->hops;
    struct dsn_order_key first = hop_key(uplink->port, uplink->vlan, address, 0);
    uint32_t found = 0;
    for (uint32_t slot = dsn_order_from(hops, &first, NULL);
         slot != DSN_NO_SLOT && memcmp(dsn_order_key(hops, slot), &first, 24) == 0;
         slot = dsn_order_next(hops, slot, NULL)) {
        if (found == count)
            return count + 1;
        slots[found++] = slot;
    }
    return found;
}
