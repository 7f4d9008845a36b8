#include "worker/tests/standin.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>

struct dsn_shard {
    uint16_t worker, workers;
    standin_owner owner;
    uint64_t drops[DSN_REASONS];
    uint64_t sent[8 * STANDIN_VNICS][2], placed;
    struct dsn_tx tx[8], handover[DSN_MAX_WORKERS];
};

struct dsn_shard *standin_shard(uint16_t worker, uint16_t workers, standin_owner owner) {
    struct dsn_shard *shard = calloc(1, sizeof(*shard));
    if (shard == NULL)
        return NULL;
    shard->worker = worker;
    shard->workers = workers;
    shard->owner = owner;
    return shard;
}

void dsn_shard_drop(struct dsn_shard *shard, const struct rte_mbuf *frame, enum dsn_reason_number reason) {
    (void)frame;
    shard->drops[reason]++;
}

void dsn_shard_lost(const struct dsn_shard *shard, const struct rte_mbuf *packet) {
    (void)shard, (void)packet;
}

void dsn_shard_sent(struct dsn_shard *shard, uint32_t to, uint32_t packets, uint64_t bytes) {
    shard->sent[to][0] += packets;
    shard->sent[to][1] += bytes;
}

struct dsn_tx *dsn_shard_tx(struct dsn_shard *shard, uint16_t port_index) {
    return &shard->tx[port_index];
}

struct dsn_tx *dsn_shard_handover(struct dsn_shard *shard, uint16_t worker) {
    return &shard->handover[worker];
}

void dsn_path_burst(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf **packets, uint16_t count,
                    uint64_t now, bool handed_over) {
    (void)root, (void)now;
    for (uint16_t i = 0; i < count; i++) {
        uint16_t owner = shard->owner == NULL || handed_over ? shard->worker : shard->owner(packets[i], shard->workers);
        uint16_t port = packets[i]->port ^ 1;
        struct dsn_tx *to = owner == shard->worker ? &shard->tx[port] : &shard->handover[owner];
        packets[i]->hash.fdir.hi = port * STANDIN_VNICS + shard->placed++ / 3 % STANDIN_VNICS;
        to->packets[to->count] = packets[i];
        dsn_tx_add(to, dsn_frame_to(packets[i]), 1, packets[i]->pkt_len);
    }
}

uint64_t dsn_path_tick(struct dsn_shard *shard, const struct dsn_root *root, uint64_t now) {
    (void)shard, (void)root;
    return now + 10 * UINT64_C(1000000000);
}

bool dsn_path_waits(const struct dsn_shard *shard) {
    (void)shard;
    return false;
}

uint16_t standin_by_address(const struct rte_mbuf *packet, uint16_t workers) {
    const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);
    uint32_t sum = 0;
    bool v4 = frame[12] == 0x08 && frame[13] == 0x00, v6 = frame[12] == 0x86 && frame[13] == 0xdd;
    for (uint32_t at = v4 ? 26 : 22; (v4 || v6) && at < (v4 ? 34u : 54u) && at < packet->data_len; at++)
        sum += frame[at];
    return (uint16_t)(sum % workers);
}

struct dsn_engine *standin_engine(uint16_t workers, uint16_t mtu, standin_owner owner) {
    struct dsn_engine *engine = calloc(1, sizeof(*engine));
    static struct dsn_root root;
    if (engine == NULL)
        return NULL;
    engine->workers = workers;
    engine->readers = rte_zmalloc(NULL, rte_rcu_qsbr_get_memsize(workers), RTE_CACHE_LINE_SIZE);
    engine->pool = dsn_pool_create("packets", dsn_pool_packets(workers, 4), mtu);
    if (engine->readers == NULL || engine->pool == NULL || rte_rcu_qsbr_init(engine->readers, workers) != 0) {
        fprintf(stderr, "no memory: %s\n", rte_strerror(rte_errno));
        return NULL;
    }
    atomic_store(&engine->root, &root);
    for (uint16_t i = 0; i < workers; i++)
        if ((engine->shard[i] = standin_shard(i, workers, owner)) == NULL)
            return NULL;
    return engine;
}

void standin_free(struct dsn_engine *engine) {
    for (uint16_t i = 0; i < engine->workers; i++)
        free(engine->shard[i]);
    rte_mempool_free(engine->pool);
    rte_free(engine->readers);
    free(engine);
}

int standin_eal(cpu_set_t *cpus) {
    char lcore[16] = "0";
    char *arguments[] = {"test", "--no-huge", "--no-shconf", "--no-telemetry",     "--no-pci", "-m",
                         "384",  "-l",        lcore,         "--log-level=warning"};
    if (sched_getaffinity(0, sizeof(*cpus), cpus) != 0)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, cpus)) {
            snprintf(lcore, sizeof(lcore), "%d", cpu);
            break;
        }
    }
    return rte_eal_init((int)RTE_DIM(arguments), arguments);
}

void standin_sent(const struct dsn_engine *engine, uint16_t port, uint64_t sent[2]) {
    sent[0] = sent[1] = 0;
    for (uint16_t i = 0; i < engine->workers; i++)
        for (unsigned vnic = 0; vnic < STANDIN_VNICS; vnic++)
            for (unsigned what = 0; what < 2; what++)
                sent[what] += engine->shard[i]->sent[port * STANDIN_VNICS + vnic][what];
}

uint64_t standin_drops(const struct dsn_engine *engine, enum dsn_reason_number reason) {
    uint64_t sum = 0;
    for (uint16_t i = 0; i < engine->workers; i++)
        sum += engine->shard[i]->drops[reason];
    return sum;
}
