#include "path/shard.h"

#include <stdio.h>
#include <stdlib.h>

static void place_ports(struct dsn_shard *shard) {
    for (uint16_t i = 0; i < shard->config.port_count; i++) {
        uint32_t number = shard->config.ports[i]->number, at = number % RTE_DIM(shard->port);
        while (shard->port[at].used)
            at = (at + 1) % RTE_DIM(shard->port);
        shard->port[at] = (struct dsn_port_place){.number = number, .index = i, .used = 1};
    }
}

struct dsn_shard *dsn_shard_create(const struct dsn_shard_config *config) {
    struct dsn_shard *shard = calloc(1, sizeof(*shard));
    if (shard == NULL || config->port_count > DSN_MAX_PORTS) {
        free(shard);
        return NULL;
    }
    shard->config = *config;
    shard->counters = config->counters;
    shard->next_id = (uint64_t)config->worker << 48 | 1;
    shard->links = dsn_link_changes();
    shard->tx = calloc(config->port_count + 1u, sizeof(*shard->tx));
    shard->handover = calloc(config->workers + 1u, sizeof(*shard->handover));
    if (shard->tx == NULL || shard->handover == NULL || !dsn_vnic_states_create(&shard->vnics) ||
        !dsn_flows_create(&shard->flows, config->connections) ||
        !dsn_ops_create(&shard->ops, config->connections * 2 + 4) ||
        !dsn_neighbours_create(&shard->neighbours, config->connections * 2 + 8) ||
        !dsn_fragments_create(&shard->fragments, &shard->vnics, config->verdicts, config->worker) ||
        !dsn_firsts_create(&shard->firsts)) {
        dsn_shard_destroy(shard);
        return NULL;
    }
    shard->neighbours.news = config->news;
    place_ports(shard);
    if (config->warm)
        dsn_flows_warm(&shard->flows);
    return shard;
}

void dsn_shard_destroy(struct dsn_shard *shard) {
    if (shard == NULL)
        return;
    for (uint16_t i = 0; shard->tx != NULL && i < shard->config.port_count; i++)
        rte_pktmbuf_free_bulk(shard->tx[i].packets, shard->tx[i].count);
    for (uint16_t i = 0; shard->handover != NULL && i < shard->config.workers; i++)
        rte_pktmbuf_free_bulk(shard->handover[i].packets, shard->handover[i].count);
    dsn_flows_destroy(&shard->flows);
    dsn_ops_destroy(&shard->ops);
    dsn_neighbours_destroy(&shard->neighbours);
    dsn_fragments_destroy(&shard->fragments);
    dsn_firsts_destroy(&shard->firsts);
    dsn_vnic_states_destroy(&shard->vnics);
    free(shard->tx);
    free(shard->handover);
    free(shard);
}

void dsn_shard_warm(struct dsn_shard *shard) {
    if (shard->config.warm)
        dsn_flows_warm_windows(&shard->flows);
}

struct dsn_counter_block *dsn_shard_counters(struct dsn_shard *shard) {
    return &shard->counters;
}
struct dsn_tx *dsn_shard_tx(struct dsn_shard *shard, uint16_t port_index) {
    return &shard->tx[port_index];
}
struct dsn_tx *dsn_shard_handover(struct dsn_shard *shard, uint16_t worker) {
    return &shard->handover[worker];
}

uint16_t dsn_port_index(const struct dsn_shard *shard, uint32_t number) {
    for (uint32_t at = number % RTE_DIM(shard->port); shard->port[at].used; at = (at + 1) % RTE_DIM(shard->port))
        if (shard->port[at].number == number)
            return shard->port[at].index;
    return DSN_NO_PORT;
}

void dsn_event_put(struct dsn_shard *shard, enum dsn_event_kind kind, int16_t table, uint64_t id, const char *data) {
    uint64_t put = atomic_load_explicit(&shard->events.put, memory_order_relaxed);
    uint64_t room = kind == DSN_EVENT_RULE_LOG ? DSN_EVENTS_LOGS : DSN_EVENTS;
    if (put - atomic_load_explicit(&shard->events.taken, memory_order_acquire) >= room) {
        atomic_fetch_add_explicit(&shard->events.missed, 1, memory_order_relaxed);
        return;
    }
    struct dsn_event_record *record = &shard->events.record[put % DSN_EVENTS];
    *record = (struct dsn_event_record){
        .number = put + 1,
        .time_ns = shard->now,
        .kind = (uint16_t)kind,
        .table = table,
        .id = id,
    };
    snprintf(record->data, sizeof(record->data), "%s", data);
    atomic_store_explicit(&shard->events.put, put + 1, memory_order_release);
}

bool dsn_shard_event(struct dsn_shard *shard, struct dsn_event_record *event, uint64_t *missed) {
    uint64_t taken = atomic_load_explicit(&shard->events.taken, memory_order_relaxed);
    *missed = atomic_exchange_explicit(&shard->events.missed, 0, memory_order_relaxed);
    if (taken == atomic_load_explicit(&shard->events.put, memory_order_acquire))
        return false;
    *event = shard->events.record[taken % DSN_EVENTS];
    atomic_store_explicit(&shard->events.taken, taken + 1, memory_order_release);
    return true;
}

void dsn_witness_step(struct dsn_witness *witness, uint16_t kind, int16_t table, uint64_t id, uint64_t value) {
    if (witness == NULL || witness->count >= RTE_DIM(witness->step))
        return;
    witness->step[witness->count++] = (struct dsn_step){.kind = kind, .table = table, .id = id, .value = value};
}

void dsn_shard_sent(struct dsn_shard *shard, uint32_t to, uint32_t packets, uint64_t bytes) {
    shard->counters.vnic[to].tx_packets += packets;
    shard->counters.vnic[to].tx_bytes += bytes;
}

void dsn_shard_drop(struct dsn_shard *shard, const struct rte_mbuf *frame, enum dsn_reason_number reason) {
    uint32_t from = frame->hash.fdir.lo;
    if (from != DSN_NO_SLOT)
        dsn_count_drop(shard, from, reason);
}

void dsn_count_lost(struct dsn_shard *shard, uint32_t vnic, enum dsn_reason_number reason) {
    shard->counters.drops[reason]++;
    if (vnic != DSN_NO_SLOT)
        shard->counters.vnic[vnic].drops++;
}

void dsn_count_drop(struct dsn_shard *shard, uint32_t vnic, enum dsn_reason_number reason) {
    dsn_count_lost(shard, vnic, reason);
    dsn_step(shard, DSN_STEP_DROP, -1, 0, reason);
}

bool dsn_put_ethernet(struct rte_mbuf *packet, const uint8_t destination[6], const uint8_t source[6], uint16_t vlan,
                      uint16_t type) {
    uint16_t size = vlan ? 18 : 14;
    uint8_t *frame = (uint8_t *)rte_pktmbuf_prepend(packet, size);
    if (frame == NULL)
        return false;
    memcpy(frame, destination, 6);
    memcpy(frame + 6, source, 6);
    if (vlan) {
        dsn_put16(frame + 12, DSN_TYPE_VLAN);
        dsn_put16(frame + 14, vlan);
    }
    dsn_put16(frame + size - 2, type);
    return true;
}

/* Mid-stream TCP may open flows for a while: its begin and end are told, by one worker for all. */
static void note_pickup(struct dsn_shard *shard, uint64_t now) {
    uint64_t until = shard->config.pickup_until_ns;
    bool running = now < until;
    if (shard->config.worker != 0 || until == 0 || until == DSN_FOREVER || running == shard->picking_up)
        return;
    if (!running || !shard->pickup_told) {
        uint64_t before = shard->now;
        shard->now = now;
        dsn_event_put(shard, running ? DSN_EVENT_PICKUP_BEGIN : DSN_EVENT_PICKUP_END, -1, 0, "");
        shard->now = before;
    }
    shard->pickup_told = true;
    shard->picking_up = running;
}

void dsn_shard_use(struct dsn_shard *shard, const struct dsn_root *root) {
    shard->root = root;
    shard->flows.wheel->root = root;
    if (likely(root->generation == shard->generation))
        return;
    shard->generation = shard->root->generation;
    dsn_flows_use(&shard->flows, root);
    dsn_stamps_since(root->stamps, root->generation, shard->since);
    if (shard->structure == shard->root->stamps->structure)
        return;
    shard->structure = shard->root->stamps->structure;
    dsn_neighbours_keep(shard);
}

bool dsn_shard_begin(struct dsn_shard *shard, const struct dsn_root *root, uint64_t now, bool some) {
    dsn_shard_use(shard, root);
    uint32_t links = dsn_link_changes();
    if (unlikely(links != shard->links)) {
        shard->links = links;
        shard->network++;
    }
    if (unlikely(shard->config.pickup_until_ns != 0))
        note_pickup(shard, now);
    bool done = true;
    shard->now = now; /* what timers tell counts, and is dated, as of now, however many calls it takes to run them */
    if (unlikely(dsn_neighbours_due(&shard->neighbours) <= now))
        while (!(done = dsn_neighbours_run(shard, now)) && !some) {}
    shard->looks = DSN_LOOKS;
    dsn_firsts_begin(&shard->firsts);
    return done;
}
