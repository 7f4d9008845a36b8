/* The packet path. Live workers and replay run the same functions on a shard: a set of flows, fragments, neighbours,
 * meters and counters that one thread owns. docs/forwarding.md says what a packet meets. */
#ifndef DSN_PATH_H
#define DSN_PATH_H

#include "port.h"
#include "table.h"

struct dsn_witness; /* steps, as the contract's Step: kind, table, id, value */

struct dsn_shard_config {
    uint32_t connections;
    uint16_t worker, workers; /* owner arithmetic; replay: 0 of 1 */
    uint32_t flow_limit, inbound_flow_limit, punt_limit; /* defaults */
    uint64_t pickup_until_ns; /* mid-stream TCP may open flows while now < this */
    struct dsn_port **ports;  /* by index */
    uint16_t port_count;
    struct rte_mempool *pool; /* for packets that the card makes */
};

struct dsn_shard;

struct dsn_shard *dsn_shard_create(const struct dsn_shard_config *config);
void dsn_shard_destroy(struct dsn_shard *shard);

/* Frames to send, a queue a port index. Whoever drives the shard drains them after each call: the worker to ports,
 * replay to results. */
struct dsn_tx {
    struct rte_mbuf *packets[DSN_BURST * 4];
    uint16_t count;
};
struct dsn_tx *dsn_shard_tx(struct dsn_shard *shard, uint16_t port_index);

/* Packets of connections that another worker owns, a queue a worker; drained the same way. */
struct dsn_tx *dsn_shard_handover(struct dsn_shard *shard, uint16_t worker);

enum dsn_verdict { DSN_FORWARD = 1, DSN_DROP, DSN_CONSUME, DSN_QUEUE, DSN_PUNT, DSN_HANDOVER };

struct dsn_result {
    uint8_t verdict;
    uint16_t reason; /* enum dsn_reason_number */
};

/* Runs due timers, then up to DSN_BURST packets (mbuf->port is the port index), all at `now`. Takes the mbufs. */
void dsn_path_burst(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf **packets, uint16_t count,
                    uint64_t now, bool handed_over);
/* The same source compiled with the witness: one packet, its verdict, and its steps. */
struct dsn_result dsn_path_witness(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *packet,
                                   uint64_t now, struct dsn_witness *witness);
struct dsn_result dsn_path_one(struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *packet,
                               uint64_t now);
/* Timers alone; returns when the next one is due. Also sweeps a bounded number of expired connections. */
uint64_t dsn_path_tick(struct dsn_shard *shard, const struct dsn_root *root, uint64_t now);

#endif
