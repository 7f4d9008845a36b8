/* Packets of REPLAY and TRACE on their way in, results on their way out. */
#ifndef DSN_REPLAY_H
#define DSN_REPLAY_H

#include "control.h"

/* The mbufs of private shards come from a pool of their own: no replay takes a buffer from live traffic. */
bool dsn_replay_pool(struct dsn_control *control, struct dsn_failure *failure);
struct dsn_shard *dsn_shard_for(struct dsn_control *control, const struct dsn_segment *segment, uint32_t connections,
                                uint64_t pickup_until, struct dsn_failure *failure);

struct dsn_packets {
    struct dsn_control *control;
    const uint8_t *data;
    size_t size, at;
    uint32_t left, done;
    struct rte_mbuf *mbuf; /* the current one, the caller's */
    struct dsn_port *port;
    uint64_t time, earliest; /* time never goes back */
};
bool dsn_packets_open(struct dsn_packets *packets, struct dsn_control *control, struct dsn_exchange *exchange,
                      unsigned most);
/* False: no more (failure's kind is 0), or one is wrong. */
bool dsn_packets_next(struct dsn_packets *packets, struct dsn_failure *failure);

struct dsn_results {
    uint8_t *data;
    size_t size, room;
    size_t head; /* of the current result */
};
bool dsn_results_room(struct dsn_results *results, size_t more);
bool dsn_results_begin(struct dsn_results *results);
bool dsn_results_drain(struct dsn_results *results, struct dsn_control *control, struct dsn_shard *shard,
                       struct dsn_segment *segment);
bool dsn_results_end(struct dsn_results *results, struct dsn_result verdict, const struct dsn_witness *witness);
bool dsn_results_answer(struct dsn_results *results, uint64_t count, struct dsn_exchange *exchange);

#endif
