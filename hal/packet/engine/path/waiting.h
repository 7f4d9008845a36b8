/* Packets that wait for neighbours: some for each, some of each vNIC, uplink or tap that they come from. */
#ifndef DSN_PATH_WAITING_H
#define DSN_PATH_WAITING_H

#include "path/neighbour.h"

struct dsn_waiting {
    struct rte_mbuf *mbuf; /* a frame ready to leave but for its MACs and VLAN; NULL: nothing waits here */
    uint64_t since;
    uint32_t vnic;      /* slot it came from */
    uint32_t share;     /* number of the state that it counts in */
    uint32_t neighbour; /* that it waits for */
    uint16_t newer;     /* of its share; or the next free number */
    uint16_t older;
};

/* A packet goes to the neighbour with this number that came from `vnic`, still behind its Ethernet header. DSN_PASSED:
 * it waits from now on (the mbuf was taken); else the reason to drop it. Only for those that are neither REACHABLE nor
 * in PROBE. */
enum dsn_reason_number dsn_neighbour_wait(struct dsn_shard *shard, uint32_t number, struct rte_mbuf *packet,
                                          uint32_t vnic, uint64_t now);
/* What waits for it goes to its MAC. */
void dsn_waiting_send(struct dsn_shard *shard, struct dsn_neighbour *one, const struct dsn_vnic *uplink);
/* What waits for it is dropped; tell: the senders hear of it. */
void dsn_waiting_give_up(struct dsn_shard *shard, struct dsn_neighbour *one, bool tell);

#endif
