/* Whose a packet is, where there are several workers, and its way there. */
#include "path/owners.h"

uint16_t dsn_owner_of(const struct dsn_shard *shard, const struct dsn_flow_key *key) {
    return dsn_flow_owner(
        dsn_flow_hash(0, key->protocol, key->source, key->destination, key->source_port, key->destination_port),
        shard->config.workers);
}

dsn_end dsn_hand_fragment(struct dsn_shard *shard, struct rte_mbuf *mbuf, uint16_t worker, enum dsn_handed how,
                          uint32_t ticket, uint32_t ports) {
    struct dsn_tx *queue = &shard->handover[worker];
    if (queue->count == RTE_DIM(queue->packets))
        return dsn_dropped(DSN_REASON_PORT_FULL);
    mbuf->hash.fdir.hi = ticket << 2 | how;
    mbuf->hash.fdir.lo = ports;
    queue->packets[queue->count++] = mbuf;
    shard->counters.engine[DSN_COUNT_HANDOVERS]++;
    return DSN_HANDOVER;
}

dsn_end dsn_hand_over(struct dsn_shard *shard, struct rte_mbuf *mbuf, uint16_t worker, enum dsn_handed how) {
    return dsn_hand_fragment(shard, mbuf, worker, how, 0, 0);
}

void dsn_shard_lost(const struct dsn_shard *shard, const struct rte_mbuf *mbuf) {
    if (dsn_handed_how(mbuf) == DSN_HANDED_FIRST)
        dsn_verdict_say(shard->config.verdicts, dsn_handed_ticket(mbuf), 0);
}

uint16_t dsn_worker_of(const struct dsn_shard *shard, const struct dsn_packet *p, uint8_t state) {
    struct dsn_flow_key key = p->key;
    uint32_t sequence;
    if (state == DSN_STATE_ERROR) {
        if (p->fragment || !dsn_parse_quoted(p, &key, &sequence)) /* it goes nowhere, whoever judges it */
            return shard->config.worker;
    } else if (state < DSN_STATE_FRAGMENT) {
        return shard->config.worker;
    }
    return dsn_owner_of(shard, &key);
}

void dsn_share_news(struct dsn_shard *shard, const struct dsn_packet *p) {
    for (uint16_t worker = 0; worker < shard->config.workers; worker++) {
        if (worker == shard->config.worker)
            continue;
        struct rte_mbuf *copy = rte_pktmbuf_copy(p->mbuf, shard->config.pool, 0, UINT32_MAX);
        if (copy == NULL)
            return;
        copy->port = p->mbuf->port;
        if (dsn_is_drop(dsn_hand_over(shard, copy, worker, DSN_HANDED_LEARN)))
            rte_pktmbuf_free(copy);
    }
}
