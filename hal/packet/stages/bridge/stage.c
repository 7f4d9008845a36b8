/* A packet to another MAC of the subnet goes to the vNIC that has it; nothing is flooded or learned, and none comes
 * from a MAC that another vNIC has. */
#include "stage.h"

static uint32_t find(const struct dsn_root *root, uint64_t subnet, const uint8_t mac[6]) {
    struct dsn_row_fdb_entry wanted = {.subnet = subnet};
    memcpy(wanted.mac, mac, sizeof(wanted.mac));
    return dsn_find(root, DSN_TABLE_FDB, &wanted.subnet);
}

static enum dsn_say decide(struct dsn_decision *d) {
    if (d->routed)
        return DSN_PASS;
    const struct dsn_row_vnic *vnic = dsn_row(d->root, DSN_TABLE_VNIC, d->ingress);
    uint32_t owner = find(d->root, vnic->subnet, d->header->source_mac);
    if (owner != DSN_NO_SLOT && dsn_row_ref(d->root, DSN_TABLE_FDB, owner, 1) != d->ingress) {
        dsn_match(d, DSN_TABLE_FDB, owner);
        return dsn_drop(d, DSN_REASON_BRIDGE_SOURCE_MAC);
    }
    uint32_t slot = find(d->root, vnic->subnet, d->header->destination_mac);
    if (slot == DSN_NO_SLOT) {
        dsn_miss(d, DSN_TABLE_FDB);
        return dsn_drop(d, DSN_REASON_BRIDGE_UNKNOWN_MAC);
    }
    dsn_match(d, DSN_TABLE_FDB, slot);
    return dsn_leave(d, dsn_row_ref(d->root, DSN_TABLE_FDB, slot, 1), NULL);
}

const struct dsn_stage DSN_STAGE(bridge) = {.name = "bridge", .decide = decide, .says_where = true};
