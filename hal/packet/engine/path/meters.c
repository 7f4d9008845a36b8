/* Limits: connections a vNIC, packets to the card's own programs, logs.
 *
 * A vNIC's limit is one for all workers. Each worker has a fixed share of it, and the shares add up to the limit: it
 * is never exceeded, and a vNIC whose connections hash unevenly reaches it a little early. */
#include "path/shard.h"

uint32_t dsn_limit_share(const struct dsn_shard *shard, uint32_t limit) {
    uint16_t workers = shard->config.workers;
    return limit / workers + (shard->config.worker < limit % workers);
}

static void tell(struct dsn_shard *shard, bool *told, enum dsn_event_kind kind, const struct dsn_vnic *vnic) {
    if (!*told)
        dsn_event_put(shard, kind, vnic != NULL ? DSN_TABLE_VNIC : -1, vnic != NULL ? vnic->id : 0, "");
    *told = true;
}

uint8_t dsn_share_flag(const struct dsn_vnic *ingress, const struct dsn_vnic *egress) {
    if (ingress->role == DSN_VNIC_ROLE_VNIC)
        return DSN_SESSION_OWN;
    return egress->role == DSN_VNIC_ROLE_VNIC ? DSN_SESSION_INBOUND : 0;
}

/* Expired connections go until one more fits, however many there are: they count as absent, and the sweep would have to
 * take them out as well. It ends where a burst has looked at DSN_LOOKS that live: a flood that is refused mustn't cost
 * others more than that. */
static void make_room(struct dsn_shard *shard, const uint32_t *used, uint32_t limit, uint64_t now) {
    while (*used >= limit) {
        uint32_t number = dsn_flows_next_expired(&shard->flows, now, &shard->looks);
        if (number == 0)
            return;
        shard->looks++;
        dsn_connection_remove(shard, number);
    }
}

enum dsn_reason_number dsn_limits(struct dsn_shard *shard, const struct dsn_vnic *ingress,
                                  const struct dsn_vnic *egress, uint64_t now) {
    uint8_t flag = dsn_share_flag(ingress, egress);
    if (flag != 0) {
        bool own = flag == DSN_SESSION_OWN;
        const struct dsn_vnic *vnic = own ? ingress : egress;
        uint32_t number = dsn_vnic_state(&shard->vnics, vnic->id);
        struct dsn_vnic_state *state = &shard->vnics.state[number];
        uint32_t limit = own ? vnic->flow_limit : vnic->inbound_flow_limit;
        if (limit == 0)
            limit = own ? shard->config.flow_limit : shard->config.inbound_flow_limit;
        limit = dsn_limit_share(shard, limit);
        unsigned share = own ? 0 : 1;
        if (number == 0)
            return DSN_REASON_FLOW_LIMIT;
        make_room(shard, &state->open[share], limit, now);
        if (state->open[share] >= limit) {
            tell(shard, &state->at_limit[share], DSN_EVENT_FLOW_LIMIT, vnic);
            return DSN_REASON_FLOW_LIMIT;
        }
        state->at_limit[share] = false;
    }
    make_room(shard, &shard->flows.used, shard->flows.capacity, now);
    if (shard->flows.used >= shard->flows.capacity) {
        tell(shard, &shard->full_told, DSN_EVENT_FLOW_TABLE_FULL, NULL);
        return DSN_REASON_FLOW_TABLE_FULL;
    }
    shard->full_told = false;
    return DSN_PASSED;
}

/* A token of a bucket that gets `rate` of them a second and is as deep. Each worker has its part of both. */
static bool take(const struct dsn_shard *shard, struct dsn_bucket *bucket, uint64_t rate, uint64_t now) {
    uint64_t deep = rate * DSN_SECOND / shard->config.workers;
    if (shard->config.workers > 1 && rate > 0 && deep < DSN_SECOND)
        deep = DSN_SECOND; /* one packet at least: with few a second all workers together may send one each */
    uint64_t passed = now - bucket->credit_ns;
    uint64_t more = passed >= DSN_SECOND * shard->config.workers ? deep : passed * rate / shard->config.workers;
    uint64_t credit = bucket->used ? RTE_MIN(deep, bucket->credit + more) : deep;
    bool enough = credit >= DSN_SECOND;
    *bucket = (struct dsn_bucket){.used = true, .credit = enough ? credit - DSN_SECOND : credit, .credit_ns = now};
    return enough;
}

bool dsn_meter_take(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint64_t now) {
    uint32_t number = dsn_vnic_state(&shard->vnics, vnic->id);
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    if (number == 0)
        return false;
    bool enough = take(shard, &state->punt, vnic->punt_limit != 0 ? vnic->punt_limit : shard->config.punt_limit, now);
    if (enough)
        state->at_limit[2] = false;
    else
        tell(shard, &state->at_limit[2], DSN_EVENT_PUNT_LIMIT, vnic);
    return enough;
}

bool dsn_log_take(struct dsn_shard *shard, const struct dsn_vnic *ingress, const struct dsn_vnic *egress,
                  uint64_t now) {
    bool inbound = egress != NULL && dsn_share_flag(ingress, egress) == DSN_SESSION_INBOUND;
    uint32_t number = dsn_vnic_state(&shard->vnics, inbound ? egress->id : ingress->id);
    return number != 0 && take(shard, &shard->vnics.state[number].log[inbound], DSN_LOGS_PER_SECOND, now);
}
