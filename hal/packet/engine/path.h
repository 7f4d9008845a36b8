/* The packet path. Live workers and replay run the same functions on a shard: a set of flows, fragments, neighbours,
 * meters and counters that one thread owns. docs/forwarding.md says what a packet meets. */
#ifndef DSN_PATH_H
#define DSN_PATH_H

#include "port.h"
#include "table.h"
#include "wire.h"

struct dsn_witness { /* steps of one packet; what doesn't fit is cut off */
    struct dsn_step step[256];
    uint32_t count;
};

/* Counters of one shard: of a live worker they lie in the shared segment (control/counters.h). */
struct dsn_vnic_counters {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, drops;
};
struct dsn_row_counters {
    uint64_t hits, packets, bytes;
};
struct dsn_limit_counters {
    uint64_t used, most; /* when it was settled last */
    uint64_t refused;
};
struct dsn_counter_block {
    uint64_t *drops;                          /* by reason number */
    struct dsn_vnic_counters *vnic;           /* by slot of table vnic */
    struct dsn_row_counters *row[DSN_TABLES]; /* by slot; NULL for tables whose rows count nothing */
    uint64_t *engine;                         /* by enum dsn_engine_counter */
};
enum dsn_engine_counter {
    DSN_COUNT_FLOWS_OPENED,
    DSN_COUNT_FLOWS_NOW,
    DSN_COUNT_CHAIN_WALKS,
    DSN_COUNT_REEVALUATIONS,
    DSN_COUNT_PICKUPS,
    DSN_COUNT_HANDOVERS,
    DSN_COUNT_PACKETS,
    DSN_COUNT_LOGS_SUPPRESSED,
    DSN_COUNT_HALF_OPEN_EVICTED,
    DSN_COUNT_ICMP_SUPPRESSED,
    DSN_COUNT_BURSTS, /* of 1 packet, and behind it of 2 or more, 4 or more, to DSN_BURST */
    DSN_COUNT_ENDED_EVICTED = DSN_COUNT_BURSTS + DSN_BURST_SIZES, /* readers know them by their order: new ones last */
    DSN_ENGINE_COUNTERS,
};

/* Of two with `+ share`: of what a vNIC opens or sends, of what is opened or comes to it. Readers of the counter
 * segment know them by their order: new ones come last. */
enum dsn_limit {
    DSN_LIMIT_FLOWS,
    DSN_LIMIT_NEW_FLOWS = 2,
    DSN_LIMIT_HALF_OPEN = 4,
    DSN_LIMIT_FRAGMENTS = 6,
    DSN_LIMIT_ICMP = 8,
    DSN_LIMIT_PUNTS = 10,
    DSN_LIMIT_CHALLENGES,
    DSN_LIMIT_NEIGHBOURS,
    DSN_LIMIT_WAITING,                          /* packets, for neighbours */
    DSN_LIMIT_FIRSTS,                           /* first packets that wait for their turn */
    DSN_LIMIT_ERRORS,                           /* ICMP errors that pass */
    DSN_LIMIT_FIRSTS_TO = DSN_LIMIT_ERRORS + 2, /* as DSN_LIMIT_FIRSTS, of those that come by uplinks */
    DSN_LIMITS,
};

struct dsn_shard_config { /* copied, but for what it points to */
    struct dsn_counter_block counters;
    uint32_t connections;
    uint16_t worker, workers; /* owner arithmetic; replay: 0 of 1 */
    uint32_t flow_limit, inbound_flow_limit, punt_limit, new_flow_limit, half_open_limit, fragment_limit, icmp_limit,
        challenge_limit;           /* defaults */
    struct dsn_budgets *budgets;   /* of all workers (path/budgets.h); one alone: NULL */
    struct dsn_news *news;         /* likewise (path/news.h) */
    struct dsn_verdicts *verdicts; /* likewise (path/verdicts.h); NULL is right for one worker alone */
    uint64_t pickup_until_ns;      /* mid-stream TCP may open flows while now < this */
    struct dsn_port **ports;       /* by index */
    uint16_t port_count;
    bool warm;                                       /* its memory is in place before the first packet */
    struct rte_mempool *pool;                        /* for packets that the card makes */
    struct dsn_limit_counters (*limits)[DSN_LIMITS]; /* by slot of table vnic; NULL: nobody reads them */
};

struct dsn_shard;

struct dsn_shard *dsn_shard_create(const struct dsn_shard_config *config);
void dsn_shard_destroy(struct dsn_shard *shard);
/* Has memory in place that only some kinds of connections need, a bounded part of it a call, as soon as there is one of
 * them. Not by the shard's thread, which goes on meanwhile. */
void dsn_shard_warm(struct dsn_shard *shard);
/* As configured. */
struct dsn_counter_block *dsn_shard_counters(struct dsn_shard *shard);
/* Whom a frame of the shard's queues goes to, and that so many were sent there: the port has taken them. Any shard will
 * do, where several workers send by a port. */
static inline uint32_t dsn_frame_to(const struct rte_mbuf *frame) {
    return frame->hash.fdir.hi;
}
void dsn_shard_sent(struct dsn_shard *shard, uint32_t to, uint32_t packets, uint64_t bytes);
/* A frame of the shard's queues is not sent after all (a full port, no link). It counts for whom it came from, as any
 * drop; one that the card made is nobody's. The frame stays the caller's. Any shard will do, where several workers send
 * by a port. */
void dsn_shard_drop(struct dsn_shard *shard, const struct rte_mbuf *frame, enum dsn_reason_number reason);
/* It was handed over, and the other worker had no room for it. It stays the caller's. */
void dsn_shard_lost(const struct dsn_shard *shard, const struct rte_mbuf *packet);

/* Frames to send, a queue a port index. Whoever drives the shard drains them after each call: the worker to ports,
 * replay to results. */
struct dsn_tx {
    struct rte_mbuf *packets[DSN_TX_BURST];
    uint16_t count;
    bool mixed;  /* not all of them go to the one that the first goes to */
    uint32_t to; /* that one; as dsn_frame_to() says of each */
    uint64_t bytes;
};
/* So many more stand there, for one: what sending counts is known then without another look at each of them. */
static inline void dsn_tx_add(struct dsn_tx *tx, uint32_t to, uint32_t packets, uint64_t bytes) {
    if (tx->count == 0) {
        tx->to = to;
        tx->bytes = 0;
        tx->mixed = false;
    }
    tx->mixed |= tx->to != to;
    tx->bytes += bytes;
    tx->count = (uint16_t)(tx->count + packets);
}
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
/* First packets wait for their turn: each burst runs some of them, an empty one too. */
bool dsn_path_waits(const struct dsn_shard *shard);
/* Timers alone; returns when the next one is due. Also sweeps a bounded number of expired connections and settles
 * a bounded number of others. Where timers made more frames than the queues hold it returns a time that has come:
 * drain and call again. */
uint64_t dsn_path_tick(struct dsn_shard *shard, const struct dsn_root *root, uint64_t now);

/* Adds what sessions counted so far to their rules, and takes out what has expired. Over a million connections that is
 * a tenth of a second, and a worker's queues hold milliseconds: a bounded part of it in a call. Begun with 0 in
 * *cursor, it is done when there is a 0 again: all is added that was counted before the first call. */
void dsn_shard_settle_some(struct dsn_shard *shard, const struct dsn_root *root, uint64_t *cursor);
/* The whole at once, where nobody waits for the shard. */
void dsn_shard_settle(struct dsn_shard *shard, const struct dsn_root *root);

/* Up to `count` connections from *cursor on that match; *cursor is 0 at the end. Looks at a bounded number of places
 * a call. Runs in the thread that owns the shard. */
uint32_t dsn_shard_flows(struct dsn_shard *shard, const struct dsn_root *root, const struct dsn_flows_ask *which,
                         uint64_t now, struct dsn_flow_record *records, uint32_t count, uint64_t *cursor);
/* The same of the neighbours that it knows, in no order. */
uint32_t dsn_shard_neighbours(struct dsn_shard *shard, struct dsn_neighbour_record *records, uint32_t count,
                              uint64_t *cursor);
/* Both op lists of a connection in words, NUL-separated entries, an empty entry between the two and at the end.
 * Returns bytes written, 0 where there is no such connection. */
size_t dsn_shard_flow_words(struct dsn_shard *shard, const struct dsn_root *root, uint64_t id, uint64_t now, char *text,
                            size_t size);
/* Takes out what matches, in parts by *cursor like the others; returns how many. */
uint32_t dsn_shard_forget_some(struct dsn_shard *shard, const struct dsn_root *root, const struct dsn_flows_ask *which,
                               uint64_t now, uint64_t *cursor);
uint32_t dsn_shard_forget(struct dsn_shard *shard, const struct dsn_root *root, const struct dsn_flows_ask *which,
                          uint64_t now);
/* For `trace`: copies into `to` what any packet may need, neighbours and the states of vNICs, since a stage may send it
 * to anybody. In parts, by *cursor like the others: a full table of neighbours takes milliseconds, and packets go
 * on. */
void dsn_shard_copy_some(struct dsn_shard *to, struct dsn_shard *from, uint64_t *cursor);
/* And then the living connection that this packet could meet. Returns the time at which to run it: `now`, or that of
 * `from`, where it is later. */
uint64_t dsn_shard_copy_for(struct dsn_shard *to, struct dsn_shard *from, const struct dsn_root *root,
                            struct rte_mbuf *packet, uint64_t now);
/* Events wait in a bounded ring of the shard (one thread puts, one takes); false: none. *missed: how many a full ring
 * has lost since it was last asked. */
bool dsn_shard_event(struct dsn_shard *shard, struct dsn_event_record *event, uint64_t *missed);

/* Called by the control thread for each row that a commit puts in or takes out of the idle root (modify: both). Stamps
 * say which connections have to be decided again (path/stamps.c). */
void dsn_stamp_row(struct dsn_root *root, enum dsn_table_number table, uint8_t action, const void *row, uint32_t slot,
                   uint64_t generation);
/* What the path precomputes (path/derive.c) follows the same rows when all of them stand in the root: first each that
 * came out, then each that came in. What a row had put in is kept, so its bytes may be gone. */
void dsn_derive_out(struct dsn_root *root, enum dsn_table_number table, uint32_t slot);
void dsn_derive_in(struct dsn_root *root, enum dsn_table_number table, uint32_t slot);
/* The arrays of it that rows of this table need; how many. */
unsigned dsn_derive_extents(const struct dsn_root *root, enum dsn_table_number table,
                            struct dsn_extent extent[DSN_MOST_EXTENTS]);
/* Records that were looked at or written for it, ever: what a commit has cost is the difference. */
uint64_t dsn_derive_looked(const struct dsn_root *root);
/* Stamps and derived state of a fresh root, whose tables have their capacities and no rows; false: no memory. */
bool dsn_root_extras_create(struct dsn_root *root);
void dsn_root_extras_destroy(struct dsn_root *root);
/* A port's link changed (dsn_port.up already says so): connections over next hops are decided again. Any thread. */
void dsn_stamp_link(void);

#endif
