/* A vNIC sends from its own MAC and its declared addresses, and tells of no others (RFC 2827, RFC 7039). */
#include "stage.h"

static bool is_mac_of(const struct dsn_root *root, uint32_t vnic, const uint8_t mac[6]) {
    const struct dsn_row_vnic *row = dsn_row(root, DSN_TABLE_VNIC, vnic);
    return memcmp(row->mac, mac, 6) == 0;
}

static uint32_t allowed(const struct dsn_root *root, uint32_t vnic, const uint8_t address[16]) {
    return dsn_longest(root, DSN_TABLE_ALLOWED_SOURCE, dsn_id_at(root, DSN_TABLE_VNIC, vnic), address);
}

static enum dsn_say decide(struct dsn_decision *d) {
    uint32_t vnic = dsn_chain_vnic(d);
    if (!is_mac_of(d->root, vnic, d->header->source_mac))
        return dsn_drop(d, DSN_REASON_SPOOFED_MAC);
    uint32_t slot = allowed(d->root, vnic, d->header->source);
    if (slot == DSN_NO_SLOT) {
        dsn_miss(d, DSN_TABLE_ALLOWED_SOURCE);
        return dsn_drop(d, DSN_REASON_SPOOFED_ADDRESS);
    }
    dsn_match(d, DSN_TABLE_ALLOWED_SOURCE, slot);
    return DSN_PASS;
}

static bool is_honest(const struct dsn_root *root, uint32_t vnic, const struct dsn_announcement *message) {
    if (!is_mac_of(root, vnic, message->source_mac))
        return false;
    for (unsigned i = 0; i < message->macs; i++)
        if (!is_mac_of(root, vnic, message->mac[i]))
            return false;
    return (message->unspecified || allowed(root, vnic, message->address) != DSN_NO_SLOT) &&
           (!message->has_target || allowed(root, vnic, message->target) != DSN_NO_SLOT);
}

static uint16_t check_arp(const struct dsn_root *root, uint32_t vnic, const struct dsn_announcement *message) {
    return is_honest(root, vnic, message) ? DSN_REASONS : DSN_REASON_SPOOFED_ARP;
}

static uint16_t check_nd(const struct dsn_root *root, uint32_t vnic, const struct dsn_announcement *message) {
    return is_honest(root, vnic, message) ? DSN_REASONS : DSN_REASON_SPOOFED_ND;
}

static uint16_t check_source(const struct dsn_root *root, uint32_t vnic, const struct dsn_header *header) {
    if (!is_mac_of(root, vnic, header->source_mac))
        return DSN_REASON_SPOOFED_MAC;
    return allowed(root, vnic, header->source) != DSN_NO_SLOT ? DSN_REASONS : DSN_REASON_SPOOFED_ADDRESS;
}

const struct dsn_stage DSN_STAGE(antispoof) = {
    .name = "antispoof",
    .decide = decide,
    .ops = DSN_OP_CHECK_SOURCE_MAC,
    .check_arp = check_arp,
    .check_nd = check_nd,
    .check_source = check_source,
};
