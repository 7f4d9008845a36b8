/* The path with a mistake, linked in place of one of its functions (--wrap): a packet that may not wait for its
 * neighbour stays somebody's. No sanitizer knows of it; the target has to see that a buffer is missing at the end. */
#include "path/waiting.h"

enum dsn_reason_number __real_dsn_neighbour_wait(struct dsn_shard *shard, uint32_t number, struct rte_mbuf *packet,
                                                 uint32_t vnic, uint64_t now);
enum dsn_reason_number __wrap_dsn_neighbour_wait(struct dsn_shard *shard, uint32_t number, struct rte_mbuf *packet,
                                                 uint32_t vnic, uint64_t now);

enum dsn_reason_number __wrap_dsn_neighbour_wait(struct dsn_shard *shard, uint32_t number, struct rte_mbuf *packet,
                                                 uint32_t vnic, uint64_t now) {
    enum dsn_reason_number reason = __real_dsn_neighbour_wait(shard, number, packet, vnic, now);
    if (reason != DSN_PASSED)
        rte_mbuf_refcnt_update(packet, 1);
    return reason;
}
