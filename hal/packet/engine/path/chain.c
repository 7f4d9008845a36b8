/* The chain of stages: egress stages of whom a packet comes from, then ingress stages of whom it goes to. */
#include "path/guard.h"
#include "path/run.h"
#include "path/whom.h"

static void begin(struct dsn_shard *shard, struct dsn_decision *d, const struct dsn_header *header,
                  const struct dsn_vnic *ingress, bool routed) {
    *d = (struct dsn_decision){
        .root = shard->root,
        .header = header,
        .flow_hash = dsn_flow_hash(ingress->vrf, header->protocol, header->source, header->destination,
                                   header->source_port, header->destination_port),
        .ingress = ingress->slot,
        .egress = DSN_NO_SLOT,
        .direction = DSN_EGRESS,
        .routed = routed,
        .reason = DSN_REASON_NO_DECISION,
        .route = DSN_NO_ROUTE_KEY,
        .policy = {DSN_NO_POLICY, DSN_NO_POLICY},
        .by = {{.slot = DSN_NO_SLOT}, {.slot = DSN_NO_SLOT}},
        .by_drop = {.slot = DSN_NO_SLOT},
        .shard = shard,
    };
}

static bool walk(struct dsn_shard *shard, struct dsn_decision *d, const struct dsn_vnic *vnic) {
    struct dsn_chain chain = dsn_chain_of(d->root, vnic, d->direction);
    uint8_t neighbour[16];
    bool has_neighbour = d->has_neighbour;
    uint32_t egress = d->egress;
    memcpy(neighbour, d->neighbour, sizeof(neighbour));
    for (uint32_t i = 0; i < chain.count; i++) {
        const struct dsn_stage *stage = DSN_TWICE(dsn_stage_table)[chain.stage[i]];
        DSN_STEP(shard, DSN_STEP_STAGE, -1, 0, chain.stage[i]);
        if (stage == NULL)
            return false;
        enum dsn_say say = stage->decide(d);
        if (say == DSN_REFUSE)
            return false;
        if (say == DSN_LEAVE && d->direction == DSN_INGRESS) { /* decided before: nobody changes it now */
            d->egress = egress;
            d->has_neighbour = has_neighbour;
            memcpy(d->neighbour, neighbour, sizeof(neighbour));
        }
    }
    (void)shard;
    return true;
}

bool dsn_chain_decide(struct dsn_shard *shard, struct dsn_decision *d, const struct dsn_header *header,
                      const struct dsn_vnic *ingress, bool routed) {
    begin(shard, d, header, ingress, routed);
#ifdef DSN_WITNESS
    d->witness = shard->witness;
#endif
    d->reason = DSN_REASON_DHCP_GUARD;
    if (unlikely(dsn_servers_alone(ingress, header->protocol, header->destination_port)))
        return false;
    d->reason = DSN_REASON_ADDRESS_CONFLICT;
    if (unlikely(dsn_is_claimed(d->root, ingress, header->source)))
        return false;
    d->reason = DSN_REASON_NO_DECISION;
    if (!walk(shard, d, ingress))
        return false;
    d->reason = DSN_REASON_NO_DECISION;
    if (d->egress == DSN_NO_SLOT)
        return false;
    const struct dsn_vnic *egress = dsn_vnic_at(d->root, d->egress);
    if (routed && egress->own_mac == DSN_NO_MAC)
        return false;
    d->reason = DSN_REASON_SAME_INTERFACE;
    if (d->egress == d->ingress)
        return false;
    d->reason = DSN_REASON_DHCP_GUARD; /* its replies would be a server's */
    if (unlikely(dsn_client_asks(egress, header->protocol, header->source_port, header->destination_port)))
        return false;
    d->direction = DSN_INGRESS;
    d->reason = DSN_REASON_NO_DECISION;
    return walk(shard, d, egress);
}

#ifndef DSN_WITNESS
bool dsn_chain_where(struct dsn_shard *shard, struct dsn_decision *d, const struct dsn_header *header,
                     const struct dsn_vnic *ingress, bool routed) {
    begin(shard, d, header, ingress, routed);
    for (unsigned number = 0; number < DSN_STAGES; number++) {
        const struct dsn_stage *stage = dsn_stage_table[number];
        if (stage == NULL || !stage->says_where)
            continue;
        enum dsn_say say = stage->decide(d);
        if (say != DSN_PASS)
            return say == DSN_LEAVE;
    }
    d->reason = DSN_REASON_NO_DECISION;
    return false;
}

bool dsn_link_is_up(struct dsn_decision *d, uint32_t port) {
    uint16_t index = dsn_port_index(d->shard, port);
    d->network = true;
    return index != DSN_NO_PORT && atomic_load_explicit(&d->shard->config.ports[index]->up, memory_order_relaxed);
}

bool dsn_neighbour_failed(struct dsn_decision *d, uint32_t uplink, const uint8_t address[16]) {
    const struct dsn_neighbours *neighbours = &d->shard->neighbours;
    uint32_t number = dsn_neighbour_find(neighbours, dsn_vnic_at(d->root, uplink)->id, address);
    d->network = true;
    return number != 0 && neighbours->neighbour[number].state == DSN_NEIGHBOUR_FAILED;
}

uint32_t dsn_look_up_route(struct dsn_decision *d, uint64_t vrf, const uint8_t address[16]) {
    /* A line holds one stamp, of the VRF that its key has. */
    if (d->route != DSN_NO_ROUTE_KEY || vrf != dsn_vnic_at(d->root, d->ingress)->vrf || d->direction != DSN_EGRESS)
        d->always = true;
    d->route = dsn_route_key(vrf, address);
    return dsn_longest(d->root, DSN_TABLE_ROUTE, vrf, address);
}

uint32_t dsn_look_up_rule(struct dsn_decision *d, const struct dsn_classify_key *key) {
    const struct dsn_header *header = d->header;
    bool icmp = header->protocol == DSN_ICMP || header->protocol == DSN_ICMP6;
    uint8_t direction = d->direction == DSN_EGRESS ? DSN_FIREWALL_RULE_DIRECTION_OUT : DSN_FIREWALL_RULE_DIRECTION_IN;
    /* Changed rules are compared with the initiator's header, one group a direction. */
    if (d->policy[d->direction] != DSN_NO_POLICY || key->direction != direction || key->protocol != header->protocol ||
        memcmp(key->source, header->source, 32) != 0 ||
        key->port != (icmp ? header->icmp_type : header->destination_port))
        d->always = true;
    d->policy[d->direction] = dsn_policy_key(key->policy);
    uint32_t slot = dsn_classify(d->root->table[DSN_TABLE_FIREWALL_RULE].match, key);
    if (slot != DSN_NO_SLOT) /* its id is what a connection keeps of it */
        rte_prefetch0(dsn_row(d->root, DSN_TABLE_FIREWALL_RULE, slot));
    return slot;
}
#endif
