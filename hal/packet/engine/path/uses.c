/* What vNICs use of their limits: written for readers when a shard is settled, so that nothing is where packets run. */
#include "path/shard.h"

#define PAGE 1024 /* slots of table vnic in a call */

static uint32_t or_default(uint32_t limit, uint32_t otherwise) {
    return limit != 0 ? limit : otherwise;
}

static void connections(struct dsn_shard *shard, const struct dsn_vnic *vnic, const struct dsn_vnic_state *state,
                        uint32_t number, struct dsn_limit_counters *limit) {
    const struct dsn_shard_config *config = &shard->config;
    const uint32_t flows[] = {
        or_default(vnic->flow_limit, config->flow_limit),
        or_default(vnic->inbound_flow_limit, config->inbound_flow_limit),
    };
    uint32_t rate = or_default(vnic->new_flow_limit, config->new_flow_limit);
    for (unsigned share = 0; share < 2; share++) {
        uint32_t ended = number != 0 ? dsn_half_ended_count(shard, number, share) : 0;
        limit[DSN_LIMIT_FLOWS + share].most = dsn_even_part(shard, flows[share]);
        limit[DSN_LIMIT_FLOWS + share].used = state->open[share] - ended;
        limit[DSN_LIMIT_NEW_FLOWS + share].most = dsn_even_part(shard, rate);
        limit[DSN_LIMIT_HALF_OPEN + share].used = state->half[share].count[DSN_HALF_TCP];
        limit[DSN_LIMIT_HALF_OPEN + share].most = dsn_half_most(shard, vnic, flows[share]);
    }
}

/* `to`: of what comes to it by uplinks, too. */
static void packets(struct dsn_shard *shard, const struct dsn_vnic *vnic, const struct dsn_vnic_state *state, bool to,
                    struct dsn_limit_counters *limit) {
    const struct dsn_shard_config *config = &shard->config;
    uint32_t fragments = or_default(vnic->fragment_limit, config->fragment_limit);
    for (unsigned share = 0; share <= to; share++) {
        struct dsn_whom whom = {.vnic = vnic, .inbound = share == 1};
        uint32_t used = state->fragments[share];
        limit[DSN_LIMIT_FRAGMENTS + share].used = used;
        limit[DSN_LIMIT_FRAGMENTS + share].most = dsn_fragments_most(&shard->fragments, whom, used, fragments);
        limit[DSN_LIMIT_ICMP + share].most = dsn_even_part(shard, or_default(vnic->icmp_limit, config->icmp_limit));
        limit[DSN_LIMIT_ERRORS + share].most = DSN_ERRORS;
    }
    limit[DSN_LIMIT_PUNTS].most = dsn_even_part(shard, or_default(vnic->punt_limit, config->punt_limit));
    limit[DSN_LIMIT_CHALLENGES].most = dsn_challenge_limit(shard, vnic);
    limit[DSN_LIMIT_NEIGHBOURS].used = state->neighbours;
    limit[DSN_LIMIT_NEIGHBOURS].most = DSN_NEIGHBOURS - shard->neighbours.timers;
    limit[DSN_LIMIT_WAITING].used = state->waiting;
    limit[DSN_LIMIT_WAITING].most = DSN_WAITING_EACH;
    bool is_uplink = vnic->role == DSN_VNIC_ROLE_UPLINK;
    limit[DSN_LIMIT_FIRSTS].used = state->firsts[is_uplink].count;
    limit[DSN_LIMIT_FIRSTS].most = dsn_firsts_most(&shard->firsts, is_uplink);
    if (to) {
        limit[DSN_LIMIT_FIRSTS_TO].used = state->firsts[1].count;
        limit[DSN_LIMIT_FIRSTS_TO].most = dsn_firsts_most(&shard->firsts, true);
    }
}

void dsn_uses_page(struct dsn_shard *shard, uint32_t *slot) {
    static const struct dsn_vnic_state none;
    uint32_t end = RTE_MIN(*slot + PAGE, shard->root->table[DSN_TABLE_VNIC].capacity);
    dsn_fragments_expire(&shard->fragments, shard->now);
    for (; *slot < end; ++*slot) {
        const struct dsn_vnic *vnic = dsn_vnic_at(shard->root, *slot);
        if (!vnic->present || shard->config.limits == NULL)
            continue;
        uint32_t number = dsn_vnic_state_find(&shard->vnics, vnic->id);
        const struct dsn_vnic_state *state = number != 0 ? &shard->vnics.state[number] : &none;
        bool is_vnic = vnic->role == DSN_VNIC_ROLE_VNIC;
        struct dsn_limit_counters *limit = shard->config.limits[*slot];
        for (unsigned one = 0; one < DSN_LIMITS; one++) /* of what the row was before it was modified */
            limit[one].used = limit[one].most = 0;
        if (is_vnic)
            connections(shard, vnic, state, number, limit);
        packets(shard, vnic, state, is_vnic, limit);
    }
}
