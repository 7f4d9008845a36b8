/* Whose a packet is, where there are several workers, and its way there. */
#ifndef DSN_PATH_OWNERS_H
#define DSN_PATH_OWNERS_H

#include "path/run.h"

/* The worker that a connection with this key belongs to, whatever its VRF: replies may come in by another one. */
uint16_t dsn_owner_of(const struct dsn_shard *shard, const struct dsn_flow_key *key);
/* The worker that a packet belongs to, by its bytes; fragments without ports. */
uint16_t dsn_worker_of(const struct dsn_shard *shard, const struct dsn_packet *packet, uint8_t state);
/* Queues it for another worker: DSN_HANDOVER, or dropped, and the mbuf is the caller's. */
dsn_end dsn_hand_over(struct dsn_shard *shard, struct rte_mbuf *mbuf, uint16_t worker, enum dsn_handed how);
/* The same of a fragment. */
dsn_end dsn_hand_fragment(struct dsn_shard *shard, struct rte_mbuf *mbuf, uint16_t worker, enum dsn_handed how,
                          uint32_t ticket, uint32_t ports);
/* Others learn from ARP and ND on uplinks what this worker has been told, if they know the neighbour (path/news.h); it
 * alone answers. */
void dsn_share_news(struct dsn_shard *shard, const struct dsn_packet *packet);

#endif
