/* The first rule of the vNIC's policy that covers the packet decides; behind the last one: drop. */
#include "stage.h"

static uint16_t service(const struct dsn_header *header) { /* what rules call the port */
    bool icmp = header->protocol == 1 || header->protocol == 58;
    return icmp ? header->icmp_type : header->destination_port;
}

static enum dsn_say decide(struct dsn_decision *d) {
    struct dsn_row_firewall_binding wanted = {.vnic = dsn_id_at(d->root, DSN_TABLE_VNIC, dsn_chain_vnic(d))};
    uint32_t binding = dsn_find(d->root, DSN_TABLE_FIREWALL_BINDING, &wanted.vnic);
    if (binding == DSN_NO_SLOT) {
        dsn_miss(d, DSN_TABLE_FIREWALL_BINDING);
        return dsn_drop(d, DSN_REASON_FIREWALL_NO_POLICY);
    }
    const struct dsn_row_firewall_binding *bound = dsn_row(d->root, DSN_TABLE_FIREWALL_BINDING, binding);
    struct dsn_classify_key key = {
        .policy = bound->policy,
        .port = service(d->header),
        .protocol = d->header->protocol,
        .direction = d->direction == DSN_EGRESS ? DSN_FIREWALL_RULE_DIRECTION_OUT : DSN_FIREWALL_RULE_DIRECTION_IN,
    };
    memcpy(key.source, d->header->source, 16);
    memcpy(key.destination, d->header->destination, 16);
    uint32_t slot = dsn_look_up_rule(d, &key);
    if (slot == DSN_NO_SLOT) {
        dsn_miss(d, DSN_TABLE_FIREWALL_RULE);
        return dsn_drop(d, DSN_REASON_FIREWALL_DEFAULT);
    }
    dsn_match(d, DSN_TABLE_FIREWALL_RULE, slot);
    const struct dsn_row_firewall_rule *rule = dsn_row(d->root, DSN_TABLE_FIREWALL_RULE, slot);
    if (rule->verdict == DSN_FIREWALL_RULE_VERDICT_ALLOW)
        return dsn_pass_by(d, DSN_TABLE_FIREWALL_RULE, slot);
    if (rule->verdict == DSN_FIREWALL_RULE_VERDICT_RESET)
        return dsn_drop_by(d, DSN_REASON_FIREWALL_RESET, DSN_TABLE_FIREWALL_RULE, slot, DSN_TOLD_REFUSED);
    return dsn_drop_by(d, DSN_REASON_FIREWALL_RULE, DSN_TABLE_FIREWALL_RULE, slot, DSN_TOLD_NOTHING);
}

const struct dsn_stage DSN_STAGE(firewall) = {.name = "firewall", .decide = decide};
