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
