/* A packet to another MAC of the subnet goes to the vNIC that has it; nothing is flooded or learned. */
#include "stage.h"

static enum dsn_say decide(struct dsn_decision *d) {
    if (d->routed)
        return DSN_PASS;
    const struct dsn_row_vnic *vnic = dsn_row(d->root, DSN_TABLE_VNIC, d->ingress);
    struct dsn_row_fdb_entry wanted = {.subnet = vnic->subnet};
    memcpy(wanted.mac, d->header->destination_mac, sizeof(wanted.mac));
    uint32_t slot = dsn_find(d->root, DSN_TABLE_FDB, &wanted.subnet);
    if (slot == DSN_NO_SLOT) {
        dsn_miss(d, DSN_TABLE_FDB);
        return dsn_drop(d, DSN_REASON_BRIDGE_UNKNOWN_MAC);
    }
    dsn_match(d, DSN_TABLE_FDB, slot);
    return dsn_leave(d, dsn_row_ref(d->root, DSN_TABLE_FDB, slot, 1), NULL);
}

const struct dsn_stage DSN_STAGE(bridge) = {.name = "bridge", .decide = decide, .says_where = true};
