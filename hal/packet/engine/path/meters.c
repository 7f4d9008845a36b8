/* Limits: connections a vNIC, packets to the card's own programs.
 *
 * A vNIC's limit is one for all workers. Each worker has a fixed share of it, and the shares add up to the limit: it
 * is never exceeded, and a vNIC whose connections hash unevenly reaches it a little early. */
#include "path/shard.h"

#define SWEEP 4096 /* records looked at before a connection is refused */

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

enum dsn_reason_number dsn_limits(struct dsn_shard *shard, const struct dsn_vnic *ingress,
                                  const struct dsn_vnic *egress, uint64_t now) {
    uint8_t flag = dsn_share_flag(ingress, egress);
    if (flag != 0) {
        bool own = flag == DSN_SESSION_OWN;
        const struct dsn_vnic *vnic = own ? ingress : egress;
        struct dsn_vnic_state *state = dsn_vnic_state(shard, vnic);
        uint32_t limit = own ? vnic->flow_limit : vnic->inbound_flow_limit;
        if (limit == 0)
            limit = own ? shard->config.flow_limit : shard->config.inbound_flow_limit;
        limit = dsn_limit_share(shard, limit);
        unsigned share = own ? 0 : 1;
        if (state == NULL)
            return DSN_REASON_FLOW_LIMIT;
        if (state->open[share] >= limit)
            dsn_connections_sweep(shard, now, SWEEP);
        if (state->open[share] >= limit) {
            tell(shard, &state->at_limit[share], DSN_EVENT_FLOW_LIMIT, vnic);
            return DSN_REASON_FLOW_LIMIT;
        }
        state->at_limit[share] = false;
    }
    if (shard->flows.used >= shard->flows.capacity)
        dsn_connections_sweep(shard, now, SWEEP);
    if (shard->flows.used >= shard->flows.capacity) {
        tell(shard, &shard->full_told, DSN_EVENT_FLOW_TABLE_FULL, NULL);
        return DSN_REASON_FLOW_TABLE_FULL;
    }
    shard->full_told = false;
    return DSN_PASSED;
}

bool dsn_meter_take(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint64_t now) {
    struct dsn_vnic_state *state = dsn_vnic_state(shard, vnic);
    if (state == NULL)
        return false;
    uint64_t rate = vnic->punt_limit != 0 ? vnic->punt_limit : shard->config.punt_limit;
    uint64_t deep = rate * DSN_SECOND / shard->config.workers;
    if (shard->config.workers > 1 && rate > 0 && deep < DSN_SECOND)
        deep = DSN_SECOND; /* one packet at least: with few a second all workers together may send one each */
    uint64_t passed = now - state->credit_ns;
    uint64_t more = passed >= DSN_SECOND * shard->config.workers ? deep : passed * rate / shard->config.workers;
    uint64_t credit = state->metered ? RTE_MIN(deep, state->credit + more) : deep;
    bool enough = credit >= DSN_SECOND;
    state->metered = true;
    state->credit_ns = now;
    state->credit = enough ? credit - DSN_SECOND : credit;
    if (enough)
        state->at_limit[2] = false;
    else
        tell(shard, &state->at_limit[2], DSN_EVENT_PUNT_LIMIT, vnic);
    return enough;
}
