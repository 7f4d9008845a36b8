/* All that the path has derived from a root's tables, in bytes. */
#ifndef DSN_PATH_TESTS_DERIVED_H
#define DSN_PATH_TESTS_DERIVED_H

#include "path/derive.h"
#include "path/packet.h"
#include "path/tests/check.h"
#include "stage.h"

struct bytes {
    uint8_t *data;
    size_t size, room;
};

static void add(struct bytes *bytes, const void *data, size_t size) {
    if (bytes->size + size > bytes->room) {
        bytes->room = 2 * (bytes->size + size);
        bytes->data = realloc(bytes->data, bytes->room);
        CHECK(bytes->data != NULL);
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void add_number(struct bytes *bytes, uint64_t number) {
    add(bytes, &number, sizeof(number));
}

static void add_vnic(struct bytes *bytes, const struct dsn_vnic *vnic) {
    add_number(bytes, vnic != NULL ? vnic->slot : UINT64_MAX);
}

static bool in_use(const struct dsn_root *root, enum dsn_table_number table, uint32_t slot) {
    return dsn_row_action(root, table, slot) != DSN_NO_ACTION;
}

#define EACH(root, number, slot)                                                                                       \
    for (uint32_t slot = 0; slot < (root)->table[number].capacity; slot++)                                             \
        if (in_use(root, number, slot))

static void add_subnet(struct bytes *bytes, const struct dsn_subnet *s) {
    add(bytes, s->lowest_v4, 16);
    add(bytes, s->lowest_v6, 16);
    add(bytes, s->lowest_any_v4, 16);
    add(bytes, s->lowest_any_v6, 16);
    add_number(bytes, (uint64_t)s->has_v4 | (uint64_t)s->has_v6 << 1);
    add_number(bytes, (uint64_t)s->has_any_v4 | (uint64_t)s->has_any_v6 << 1);
    add_number(bytes, s->uplink);
}

static void add_kept(struct bytes *bytes, const struct dsn_root *root) {
    for (uint32_t slot = 0; slot < root->table[DSN_TABLE_VNIC].capacity; slot++)
        add(bytes, dsn_vnic_at(root, slot), sizeof(struct dsn_vnic));
    EACH(root, DSN_TABLE_VNIC, slot) {
        const struct dsn_vnic *vnic = dsn_vnic_at(root, slot);
        add_vnic(bytes, dsn_vnic_by_id(root, vnic->id));
        add_vnic(bytes, dsn_vnic_by_id(root, ~vnic->id));
        add_vnic(bytes, dsn_vnic_by_key(root, vnic->port, vnic->vlan, vnic->match_mac));
        add_vnic(bytes, dsn_vnic_by_key(root, vnic->port, vnic->vlan, ~vnic->match_mac));
        add_vnic(bytes, dsn_vnic_of_frame(root, vnic->port, vnic->vlan, vnic->match_mac));
        add_vnic(bytes, dsn_vnic_of_frame(root, vnic->port, vnic->vlan, UINT64_C(0xfedc)));
        add_vnic(bytes, dsn_vnic_alone(root, vnic->port));
        add_vnic(bytes, dsn_vnic_alone(root, ~vnic->port));
        for (unsigned direction = 0; direction < 2; direction++) {
            struct dsn_chain chain = dsn_chain_of(root, vnic, direction);
            add_number(bytes, chain.count);
            add(bytes, chain.stage, chain.count);
        }
    }
    EACH(root, DSN_TABLE_VRF, slot) {
        add_vnic(bytes, dsn_tap_of(root, slot));
    }
    for (uint32_t slot = 0; slot < root->table[DSN_TABLE_SUBNET].capacity; slot++)
        add_subnet(bytes, dsn_subnet_at(root, slot));
    for (uint32_t slot = 0; slot < root->table[DSN_TABLE_NEXT_HOP_GROUP].capacity; slot++) {
        struct dsn_group group = dsn_group_at(root, slot);
        const struct dsn_member *members = dsn_members(root->derived);
        add_number(bytes, group.count);
        add_number(bytes, group.weight);
        for (uint32_t at = group.first; at != 0; at = members[at - 1].next) {
            add_number(bytes, members[at - 1].next_hop);
            add_number(bytes, members[at - 1].weight);
            add_number(bytes, members[at - 1].position);
        }
    }
    EACH(root, DSN_TABLE_NEXT_HOP, slot) {
        const struct dsn_row_next_hop *row = dsn_row(root, DSN_TABLE_NEXT_HOP, slot);
        struct dsn_vnic uplink = {.port = row->port, .vlan = row->vlan};
        uint32_t slots[256], count = dsn_next_hops(root, &uplink, row->address, slots, 256);
        add_number(bytes, count);
        add(bytes, slots, count * sizeof(*slots));
    }
}

#endif
