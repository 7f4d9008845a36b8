/* Addresses and packets in words, as the contract spells them. */
#include "path/shard.h"

#include <arpa/inet.h>
#include <stdio.h>

/* RFC 5952, but for embedded IPv4 addresses, which stay hexadecimal. */
static size_t text_v6(char *text, size_t size, const uint8_t address[16]) {
    unsigned best = 8, longest = 1; /* one zero alone is written out */
    for (unsigned at = 0; at < 8; at++) {
        unsigned length = 0;
        while (at + length < 8 && dsn_be16(address + (at + length) * 2) == 0)
            length++;
        if (length > longest) {
            best = at;
            longest = length;
        }
    }
    size_t used = 0;
    text[0] = 0;
    for (unsigned at = 0; at < 8 && used < size; at++) {
        if (at == best) {
            used += (size_t)snprintf(text + used, size - used, "::");
            at += longest - 1;
            continue;
        }
        bool colon = at > 0 && at != best + longest;
        used += (size_t)snprintf(text + used, size - used, "%s%x", colon ? ":" : "", dsn_be16(address + at * 2));
    }
    return used;
}

size_t dsn_text_address(char *text, size_t size, const uint8_t address[16]) {
    if (!dsn_is_v4(address))
        return text_v6(text, size, address);
    return (size_t)snprintf(text, size, "%u.%u.%u.%u", address[12], address[13], address[14], address[15]);
}

size_t dsn_text_mac(char *text, size_t size, const uint8_t mac[6]) {
    return (size_t)snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                            mac[5]);
}

void dsn_text_header(char *text, size_t size, const char *verdict, const struct dsn_header *header) {
    char source[48], destination[48], protocol[8];
    dsn_text_address(source, sizeof(source), header->source);
    dsn_text_address(destination, sizeof(destination), header->destination);
    switch (header->protocol) {
    case DSN_ICMP: snprintf(protocol, sizeof(protocol), "icmp"); break;
    case DSN_TCP: snprintf(protocol, sizeof(protocol), "tcp"); break;
    case DSN_UDP: snprintf(protocol, sizeof(protocol), "udp"); break;
    case DSN_ICMP6: snprintf(protocol, sizeof(protocol), "icmp6"); break;
    default: snprintf(protocol, sizeof(protocol), "%u", header->protocol);
    }
    const char *form = dsn_is_v4(header->source) ? "%s %s %s:%u > %s:%u" : "%s %s [%s]:%u > [%s]:%u";
    snprintf(text, size, form, verdict, protocol, source, header->source_port, destination, header->destination_port);
}

void dsn_hit(struct dsn_shard *shard, struct dsn_decided_by by, const struct dsn_header *header,
             const struct dsn_vnic *ingress, const struct dsn_vnic *egress) {
    static const char *const verdict[] = {
        [DSN_FIREWALL_RULE_VERDICT_ALLOW] = "allow",
        [DSN_FIREWALL_RULE_VERDICT_DROP] = "drop",
        [DSN_FIREWALL_RULE_VERDICT_RESET] = "reset",
    };
    if (by.slot == DSN_NO_SLOT)
        return;
    if (shard->counters.row[by.table] != NULL)
        shard->counters.row[by.table][by.slot].hits++;
    if (by.table != DSN_TABLE_FIREWALL_RULE)
        return;
    const struct dsn_row_firewall_rule *rule = dsn_row(shard->root, DSN_TABLE_FIREWALL_RULE, by.slot);
    if (!rule->log)
        return;
    if (!dsn_log_take(shard, ingress, egress, shard->now)) {
        shard->counters.engine[DSN_COUNT_LOGS_SUPPRESSED]++;
        return;
    }
    char text[sizeof(((struct dsn_event_record *)NULL)->data)];
    dsn_text_header(text, sizeof(text), verdict[rule->verdict & 3], header);
    dsn_event_put(shard, DSN_EVENT_RULE_LOG, DSN_TABLE_FIREWALL_RULE, rule->id, text);
}
