#include "path/whom.h"

#include "stage.h"

uint32_t dsn_vnic_address(const struct dsn_root *root, uint64_t vrf, const uint8_t address[16]) {
    uint32_t route = dsn_longest(root, DSN_TABLE_ROUTE, vrf, address);
    if (route == DSN_NO_SLOT || dsn_row_action(root, DSN_TABLE_ROUTE, route) != DSN_ACTION_SUBNET_ROUTE)
        return DSN_NO_SLOT;
    uint32_t subnet = dsn_row_ref(root, DSN_TABLE_ROUTE, route, 1);
    struct dsn_row_vnic_address wanted = {.subnet = dsn_id_at(root, DSN_TABLE_SUBNET, subnet)};
    memcpy(wanted.address, address, 16);
    return dsn_find(root, DSN_TABLE_VNIC_ADDRESS, &wanted.subnet);
}

uint32_t dsn_local_address(const struct dsn_root *root, uint64_t vrf, const uint8_t address[16]) {
    struct dsn_row_local_address wanted = {.vrf = vrf};
    memcpy(wanted.address, address, 16);
    return dsn_find(root, DSN_TABLE_LOCAL_ADDRESS, &wanted.vrf);
}

uint32_t dsn_own_address(const struct dsn_root *root, const struct dsn_vnic *uplink, const uint8_t address[16],
                         enum dsn_table_number *table) {
    uint32_t slot = dsn_local_address(root, uplink->vrf, address);
    *table = DSN_TABLE_LOCAL_ADDRESS;
    if (dsn_is_link_local(address)) { /* one's own on its link alone (RFC 4007 6) */
        const struct dsn_row_local_address *local = slot != DSN_NO_SLOT ? dsn_row(root, *table, slot) : NULL;
        return local != NULL && local->subnet == uplink->subnet ? slot : DSN_NO_SLOT;
    }
    if (slot != DSN_NO_SLOT)
        return slot;
    *table = DSN_TABLE_VNIC_ADDRESS;
    return dsn_vnic_address(root, uplink->vrf, address);
}

bool dsn_is_claimed(const struct dsn_root *root, const struct dsn_vnic *vnic, const uint8_t source[16]) {
    enum dsn_table_number table;
    return vnic->role == DSN_VNIC_ROLE_UPLINK && dsn_own_address(root, vnic, source, &table) != DSN_NO_SLOT;
}

struct dsn_whom dsn_whom(const struct dsn_root *root, const struct dsn_packet *p) {
    uint32_t slot =
        p->vnic->role == DSN_VNIC_ROLE_UPLINK ? dsn_vnic_address(root, p->vnic->vrf, p->key.destination) : DSN_NO_SLOT;
    if (slot == DSN_NO_SLOT)
        return (struct dsn_whom){.vnic = p->vnic};
    return (struct dsn_whom){
        .vnic = dsn_vnic_at(root, dsn_row_ref(root, DSN_TABLE_VNIC_ADDRESS, slot, 1)),
        .inbound = true,
    };
}
