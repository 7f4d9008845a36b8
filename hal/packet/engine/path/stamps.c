#include "path/stamps.h"

#include "path.h"
#include "path/packet.h"

#include <stdatomic.h>

static _Atomic uint32_t link_changes;

void dsn_stamp_link(void) {
    atomic_fetch_add_explicit(&link_changes, 1, memory_order_release);
}

uint32_t dsn_link_changes(void) {
    return atomic_load_explicit(&link_changes, memory_order_acquire);
}

static uint64_t mix(uint64_t a, uint64_t b) {
    return dsn_fold64(a ^ UINT64_C(0x9e3779b97f4a7c15), b ^ UINT64_C(0xbf58476d1ce4e5b9));
}

uint16_t dsn_route_key(uint64_t vrf, const uint8_t address[16]) {
    uint64_t top = dsn_is_v4(address) ? UINT64_C(1) << 32 | dsn_be16(address + 12) : dsn_be32(address);
    return (uint16_t)(mix(vrf, top) % DSN_ROUTE_STAMPS);
}

uint16_t dsn_policy_key(uint64_t policy) {
    return (uint16_t)(mix(policy, 1) % DSN_NO_POLICY);
}

static unsigned wide(uint64_t vrf) {
    return mix(vrf, 2) % DSN_WIDE_STAMPS;
}

static struct dsn_touched *touched_by(struct dsn_stamps *stamps, uint64_t generation) {
    unsigned place = generation % DSN_LATEST;
    if (stamps->latest[place].generation != generation)
        memset(&stamps->latest[place].touched, 0, sizeof(stamps->latest[place].touched));
    stamps->latest[place].generation = generation;
    return &stamps->latest[place].touched;
}

static void touch_all(struct dsn_stamps *stamps, uint64_t generation) {
    memset(touched_by(stamps, generation), 0xff, sizeof(struct dsn_touched));
}

static void touch_route(struct dsn_stamps *stamps, uint64_t generation, uint16_t route) {
    unsigned touch = dsn_touch_of(route);
    touched_by(stamps, generation)->bits[touch / 64] |= UINT64_C(1) << touch % 64;
}

void dsn_stamps_since(const struct dsn_stamps *stamps, uint64_t generation, struct dsn_touched since[DSN_LATEST]) {
    struct dsn_touched all = {{0}};
    for (unsigned n = 0; n < DSN_LATEST; n++) {
        since[n] = all;
        all.bits[DSN_TOUCH_ALWAYS / 64] |= UINT64_C(1) << DSN_TOUCH_ALWAYS % 64;
        unsigned place = (generation - n) % DSN_LATEST;
        for (unsigned word = 0; stamps->latest[place].generation == generation - n && word < RTE_DIM(all.bits); word++)
            all.bits[word] |= stamps->latest[place].touched.bits[word];
    }
}

static void stamp_route(struct dsn_stamps *stamps, const struct dsn_row_route *row, uint64_t generation) {
    /* Actions differ behind the key only. */
    if (row->prefix_len >= (dsn_is_v4(row->prefix) ? 96 + 16 : 32)) {
        uint16_t key = dsn_route_key(row->vrf, row->prefix);
        stamps->route[key] = generation;
        touch_route(stamps, generation, key);
    } else {
        stamps->wide[wide(row->vrf)] = generation;
        touch_all(stamps, generation);
    }
}

static void stamp_rule(struct dsn_stamps *stamps, const struct dsn_row_firewall_rule *row, uint64_t generation) {
    uint16_t key = dsn_policy_key(row->policy);
    stamps->policy[key % DSN_POLICY_STAMPS] = generation;
    stamps->change[stamps->changes++ % DSN_RULE_CHANGES] =
        (struct dsn_rule_change){.generation = generation, .policy = key, .rule = *row};
}

void dsn_stamp_row(struct dsn_root *root, enum dsn_table_number table, uint8_t action, const void *row, uint32_t slot,
                   uint64_t generation) {
    (void)action, (void)slot;
    if (table == DSN_TABLE_ROUTE) {
        stamp_route(root->stamps, row, generation);
        return;
    }
    if (table == DSN_TABLE_TRACKING)
        return; /* nothing is decided from it: each packet meets it as it is */
    touch_all(root->stamps, generation);
    if (table == DSN_TABLE_FIREWALL_RULE)
        stamp_rule(root->stamps, row, generation);
    else
        root->stamps->structure = generation;
}

static bool same_bits(const uint8_t *address, const uint8_t *prefix, unsigned length) {
    unsigned bytes = length / 8, bits = length % 8;
    return memcmp(address, prefix, bytes) == 0 && (bits == 0 || (address[bytes] ^ prefix[bytes]) >> (8 - bits) == 0);
}

static bool covers(const struct dsn_row_firewall_rule *rule, const struct dsn_flow_key *key, uint8_t direction) {
    uint16_t port = key->destination_port;
    if (key->protocol == DSN_ICMP || key->protocol == DSN_ICMP6)
        port = dsn_echo_request(key->protocol); /* nothing else opens a connection */
    return (rule->direction & direction) && rule->protocol_low <= key->protocol &&
           key->protocol <= rule->protocol_high && rule->port_low <= port && port <= rule->port_high &&
           same_bits(key->source, rule->source, rule->source_len) &&
           same_bits(key->destination, rule->destination, rule->destination_len);
}

/* None of the rules of this group that changed since covers the connection. */
static bool policy_holds(const struct dsn_stamps *stamps, uint16_t policy, const struct dsn_flow_key *key,
                         uint8_t direction, uint64_t generation) {
    if (policy == DSN_NO_POLICY || stamps->policy[policy % DSN_POLICY_STAMPS] <= generation)
        return true;
    for (uint64_t back = 1; back <= DSN_RULE_CHANGES; back++) {
        if (back > stamps->changes)
            return true;
        const struct dsn_rule_change *change = &stamps->change[(stamps->changes - back) % DSN_RULE_CHANGES];
        if (change->generation <= generation)
            return true;
        if (change->policy == policy && covers(&change->rule, key, direction))
            return false;
    }
    return false; /* older changes were overwritten */
}

bool dsn_stamps_hold(const struct dsn_stamps *stamps, const struct dsn_connection *c) {
    uint64_t generation = c->session.generation;
    if (stamps->structure > generation)
        return false;
    for (unsigned d = 0; d < 2; d++) {
        const struct dsn_line *line = dsn_line(c, d);
        if (line->route != DSN_NO_ROUTE_KEY &&
            (stamps->route[line->route] > generation || stamps->wide[wide(line->key.vrf)] > generation))
            return false;
    }
    return policy_holds(stamps, dsn_line(c, 0)->policy, &dsn_line(c, 0)->key, DSN_FIREWALL_RULE_DIRECTION_OUT,
                        generation) &&
           policy_holds(stamps, dsn_line(c, 1)->policy, &dsn_line(c, 0)->key, DSN_FIREWALL_RULE_DIRECTION_IN,
                        generation);
}
