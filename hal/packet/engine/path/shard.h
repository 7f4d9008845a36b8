/* A shard: what one thread owns of the packet path. */
#ifndef DSN_PATH_SHARD_H
#define DSN_PATH_SHARD_H

#include "path.h"
#include "path/budgets.h"
#include "path/conflicts.h"
#include "path/derive.h"
#include "path/first_fragments.h"
#include "path/firsts.h"
#include "path/flows.h"
#include "path/neighbour.h"
#include "path/news.h"
#include "path/ops.h"
#include "path/packet.h"
#include "path/stamps.h"
#include "path/vnics.h"
#include "stage.h"

#include <stdatomic.h>

#define DSN_EVENTS 4096
#define DSN_EVENTS_LOGS (DSN_EVENTS / 2) /* beyond that only other events find room */
#define DSN_LOGS_PER_SECOND 100          /* as hal/packet/reports.py has it */
#define DSN_FOREVER UINT64_MAX
#define DSN_LOOKS 4096 /* living connections that a burst looks at in search of expired ones */

/* As hal/packet/reports.py numbers them. */
enum dsn_event_kind {
    DSN_EVENT_RULE_LOG = 4,
    DSN_EVENT_NEXT_HOP_DOWN = 5,
    DSN_EVENT_NEXT_HOP_UP = 6,
    DSN_EVENT_FLOW_LIMIT = 7,
    DSN_EVENT_PUNT_LIMIT = 8,
    DSN_EVENT_PICKUP_BEGIN = 9,
    DSN_EVENT_PICKUP_END = 10,
    DSN_EVENT_FLOW_TABLE_FULL = 11,
    DSN_EVENT_NEW_FLOW_LIMIT = 12,
    DSN_EVENT_HALF_OPEN_LIMIT = 13,
    DSN_EVENT_FRAGMENT_LIMIT = 14,
    DSN_EVENT_ICMP_LIMIT = 15,
    DSN_EVENT_CHALLENGE_LIMIT = 16,
    DSN_EVENT_NEIGHBOUR_LIMIT = 17,
    DSN_EVENT_FIRST_PACKET_LIMIT = 18,
    DSN_EVENT_ADDRESS_CONFLICT = 32,
};
enum dsn_step_kind {
    DSN_STEP_STAGE = 1,
    DSN_STEP_FLOW = 4,
    DSN_STEP_REEVALUATE = 5,
    DSN_STEP_INSTALL = 6,
    DSN_STEP_DROP = 7,
    DSN_STEP_SEND = 8,
    DSN_STEP_MAKE = 9,
    DSN_STEP_STATE = 10,
};
enum dsn_made { DSN_MADE_ARP = 1, DSN_MADE_ND, DSN_MADE_ECHO, DSN_MADE_ERROR, DSN_MADE_RST, DSN_MADE_CHALLENGE };

struct dsn_shard {
    struct dsn_shard_config config;
    struct dsn_counter_block counters;
    const struct dsn_root *root; /* of the call that is running */
    struct dsn_witness *witness; /* of the packet that is running, or NULL */
    uint64_t now;
    uint64_t generation, structure;       /* of the tables that were last seen */
    struct dsn_touched since[DSN_LATEST]; /* dsn_stamps_since() */
    uint32_t network;                     /* changes of links and neighbours so far */
    uint32_t links;                       /* dsn_link_changes() that are in it */
    uint64_t next_id;
    uint32_t looks; /* of DSN_LOOKS that are left to this burst */
    struct dsn_flows flows;
    struct dsn_flow_key replies; /* key of the last connection's; what may be expected of the next one's */
    struct dsn_ops_table ops;
    struct dsn_neighbours neighbours;
    struct dsn_fragments fragments;
    struct dsn_vnic_states vnics;
    bool news;        /* others are to hear of what the running packet tells */
    uint32_t meeting; /* line that the running packet belongs to; 0: none */
    bool picking_up, pickup_told;
    uint32_t keeps; /* share that gives nothing back for now: its state's number and, lowest, which; 0: none */
    struct dsn_port_place {
        uint32_t number;
        uint16_t index, used;
    } port[2 * DSN_MAX_PORTS];            /* hash by number */
    uint64_t settled_ns, settled_packets; /* when the latest round of settling began, packets until then */
    uint32_t settle_next;                 /* record with which it goes on; 0: none is running */
    struct dsn_tx *tx, *handover;
    struct dsn_firsts firsts;
    struct {
        struct dsn_event_record record[DSN_EVENTS];
        _Atomic uint64_t put, taken, missed;
    } events;
    struct dsn_conflicts conflicts;
    uint64_t full_told; /* as dsn_vnic_state.told */
};

void dsn_event_put(struct dsn_shard *shard, enum dsn_event_kind kind, int16_t table, uint64_t id, const char *data);
/* A row decided a connection, or a first packet that was dropped. `egress`: where it leaves; NULL: it was dropped
 * before the ingress chain, or by none. */
void dsn_hit(struct dsn_shard *shard, struct dsn_decided_by by, const struct dsn_header *header,
             const struct dsn_vnic *ingress, const struct dsn_vnic *egress);
static inline void dsn_step(struct dsn_shard *shard, uint16_t kind, int16_t table, uint64_t id, uint64_t value) {
    if (shard->witness != NULL)
        dsn_witness_step(shard->witness, kind, table, id, value);
}
/* Counts a drop, for the vNIC too where it is known. The packet stays the caller's. */
void dsn_count_drop(struct dsn_shard *shard, uint32_t vnic, enum dsn_reason_number reason);
/* The same of one that isn't the running packet: no step of that one. */
void dsn_count_lost(struct dsn_shard *shard, uint32_t vnic, enum dsn_reason_number reason);

/* For whom a frame counts: the slot of whom it came from if its port doesn't take it, that of whom it goes to if it
 * does. */
static inline void dsn_mark(struct rte_mbuf *frame, uint32_t from, uint32_t to) {
    frame->hash.fdir.lo = from;
    frame->hash.fdir.hi = to;
}

/* Queues a frame for the vNIC's port; DSN_PASSED, or the reason why not (then the mbuf stays the caller's). `from`: the
 * slot of whom it came from, for whom it counts if the port then doesn't take it; DSN_NO_SLOT: the card made it. */
static inline enum dsn_reason_number dsn_transmit(struct dsn_shard *shard, uint32_t from, uint32_t vnic, uint16_t port,
                                                  struct rte_mbuf *frame) {
    if (unlikely(port == DSN_NO_PORT || !atomic_load_explicit(&shard->config.ports[port]->up, memory_order_relaxed)))
        return DSN_REASON_PORT_DOWN;
    struct dsn_tx *tx = &shard->tx[port];
    if (unlikely(tx->count == RTE_DIM(tx->packets)))
        return DSN_REASON_PORT_FULL;
    dsn_mark(frame, from, vnic);
    tx->packets[tx->count] = frame;
    dsn_tx_add(tx, vnic, 1, frame->pkt_len);
    return DSN_PASSED;
}
/* Index of a port by its number; DSN_NO_PORT. */
uint16_t dsn_port_index(const struct dsn_shard *shard, uint32_t number);
/* Puts an Ethernet header before an IP packet (mbuf begins with it); false: no room. */
bool dsn_put_ethernet(struct rte_mbuf *packet, const uint8_t destination[6], const uint8_t source[6], uint16_t vlan,
                      uint16_t type);

/* connections.c: a record with op lists, in index, wheel and shares */
void dsn_connection_remove(struct dsn_shard *shard, uint32_t number);
void dsn_connection_settle(struct dsn_shard *shard, uint32_t number);
/* Into the index, both lines, whose keys are set and no other's; and out of it. */
void dsn_connection_enter(struct dsn_shard *shard, uint32_t number);
/* The same where both keys' hashes are known. */
void dsn_connection_enter_by(struct dsn_shard *shard, uint32_t number, const uint64_t hash[2]);
void dsn_connection_leave(struct dsn_shard *shard, uint32_t number);
/* Counts it for its vNIC, as its flags and its share say; and no more. */
void dsn_share_enter(struct dsn_shard *shard, const struct dsn_connection *connection);
void dsn_share_leave(struct dsn_shard *shard, const struct dsn_connection *connection);
/* A list's number, 0: no room for it. */
uint32_t dsn_ops_hold(struct dsn_shard *shard, const struct dsn_ops *ops);
void dsn_ops_let_go(struct dsn_shard *shard, uint32_t number);
/* A packet of this line turns its connection (dsn_session_turns): the first reply, or the initiator's next behind
 * that. */
void dsn_connection_turns(struct dsn_shard *shard, uint32_t ref);
/* Removes what has expired, at most `budget` records being looked at. */
bool dsn_connections_sweep(struct dsn_shard *shard, uint64_t now, uint32_t budget);
/* A living connection's line; expired ones are removed. */
uint32_t dsn_connection_find(struct dsn_shard *shard, const struct dsn_flow_key *key, uint64_t hash, uint64_t now);

/* meters.c */
/* The token that a packet to the card's own programs takes. */
struct dsn_meter {
    struct dsn_budget *budget; /* of all workers, or NULL */
    struct dsn_bucket *bucket;
    struct dsn_rate {
        uint64_t rate;           /* tokens a second, and how many it holds at most */
        uint16_t parts, workers; /* that share both in even parts */
    } rate;
};
/* Is there one for it? If so it is to be taken once all else has passed. `session`: the connection that it was found to
 * belong to, in this direction, as it was before this packet; NULL: it opens one. */
bool dsn_meter_may(struct dsn_shard *shard, const struct dsn_packet *packet, const struct dsn_session *session,
                   unsigned direction, struct dsn_meter *meter);
void dsn_meter_take(const struct dsn_shard *shard, const struct dsn_meter *meter);
/* A vNIC's share of neighbours, or of what waits for them, is used up: `number` is that of its state. */
void dsn_neighbours_are_limited(struct dsn_shard *shard, enum dsn_limit limit, uint32_t number,
                                const struct dsn_vnic *vnic);
/* First packets of a vNIC wait for their turn, as many as may. */
void dsn_firsts_are_limited(struct dsn_shard *shard, struct dsn_whom whom);
/* A limit of a vNIC has refused something: counts it. */
void dsn_limit_refused(struct dsn_shard *shard, enum dsn_limit limit, const struct dsn_vnic *vnic);
/* The same, and tells that it bites, if that was not told lately. `state`: the vNIC's. */
void dsn_limit_refuses(struct dsn_shard *shard, enum dsn_limit limit, struct dsn_vnic_state *state,
                       enum dsn_event_kind kind, const struct dsn_vnic *vnic);
/* As many as each worker may have where nothing can be borrowed: together they are the limit. */
static inline uint32_t dsn_even_part(const struct dsn_shard *shard, uint32_t limit) {
    uint16_t workers = shard->config.workers;
    if (likely(workers == 1))
        return limit;
    return limit / workers + (shard->config.worker < limit % workers);
}
/* Of a vNIC's share, as many as may be half-open here: at most half of its limit of all, one at least. */
uint32_t dsn_half_most(const struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t flows);
/* May one more first fragment be remembered of whom it counts for? */
bool dsn_fragment_may(struct dsn_shard *shard, struct dsn_whom whom);
/* May what a rule has to log be told? Asked of the vNIC that a connection from and to these counts for; where none is
 * known (`egress` may be NULL), of whom it comes from. */
bool dsn_log_take(struct dsn_shard *shard, const struct dsn_vnic *ingress, const struct dsn_vnic *egress, uint64_t now);
/* DSN_PASSED, flow_limit, new_flow_limit or flow_table_full for a connection from and to these, whose first packet goes
 * in this direction; half-open ones may have gone for it. If it passed and comes to nothing, dsn_limits_undo() is to be
 * called. */
enum dsn_reason_number dsn_limits(struct dsn_shard *shard, const struct dsn_vnic *ingress,
                                  const struct dsn_vnic *egress, unsigned direction, uint8_t tcp_state, uint64_t now);
void dsn_limits_undo(struct dsn_shard *shard, const struct dsn_vnic *ingress, const struct dsn_vnic *egress);
/* Number of the vNIC's state, with its budget where workers share one; 0: no room. */
uint32_t dsn_share_state(struct dsn_shard *shard, uint64_t vnic);
/* uses.c: what the rows of table vnic use of their limits now, into the counters: a page from *slot on, which is then
 * the next one's, or the table's capacity. */
void dsn_uses_page(struct dsn_shard *shard, uint32_t *slot);
/* Gives back what a vNIC's share was lent and doesn't use, but for a chunk where one is more than a connection. */
void dsn_share_tidy(struct dsn_shard *shard, uint32_t number, unsigned share);
/* A connection begins anew: what its share was lent isn't given back until dsn_share_kept(), so that the place is no
 * other worker's before the new one has it. */
void dsn_share_keep(struct dsn_shard *shard, const struct dsn_connection *connection);
void dsn_share_kept(struct dsn_shard *shard);
uint8_t dsn_share_flag(const struct dsn_vnic *ingress, const struct dsn_vnic *egress);

/* by_address.c */
/* Which of a vNIC's buckets an address has; `purpose` tells buckets for one thing from those for another. */
unsigned dsn_bucket_of(const struct dsn_shard *shard, const char *purpose, uint64_t vnic, const uint8_t address[16]);
/* Challenge ACKs a second in this worker, of connections that count for this vNIC; NULL: of one that is gone. */
uint32_t dsn_challenge_limit(const struct dsn_shard *shard, const struct dsn_vnic *vnic);
/* May a challenge ACK go to this address, of a connection that counts for this vNIC? */
bool dsn_challenge_take(struct dsn_shard *shard, uint64_t vnic, const uint8_t address[16]);
/* May the card tell the packet's sender by ICMP, or reset him? `living`: that a packet of a living connection was too
 * large. */
bool dsn_icmp_take(struct dsn_shard *shard, const struct dsn_packet *packet, bool living);
/* May this be one more ICMP error about the connection of which `key` is the key of packets that go its way? Whether it
 * passes then: takes one all the same. */
bool dsn_error_take(struct dsn_shard *shard, const struct dsn_packet *packet, const struct dsn_flow_key *key);

/* text.c */
size_t dsn_text_address(char *text, size_t size, const uint8_t address[16]);
size_t dsn_text_mac(char *text, size_t size, const uint8_t mac[6]);
void dsn_text_header(char *text, size_t size, const char *verdict, const struct dsn_header *header);

/* The tables as they are from now on. */
void dsn_shard_use(struct dsn_shard *shard, const struct dsn_root *root);
/* Takes in what has changed since the last call, and time: due timers run. False: some of them are left (only with
 * `some`: as many as the queues take). */
bool dsn_shard_begin(struct dsn_shard *shard, const struct dsn_root *root, uint64_t now, bool some);

#endif
