/* Neighbours on uplinks: asked for, confirmed, probed, given up (RFC 4861 7.3, for ARP too). Each shard has its own. */
#ifndef DSN_PATH_NEIGHBOUR_H
#define DSN_PATH_NEIGHBOUR_H

#include "path/derive.h"
#include "path/packet.h"

#include <rte_mbuf.h>

#define DSN_NEIGHBOURS 65536 /* known ones of a shard */
#define DSN_NEIGHBOUR_QUEUE 4
#define DSN_WAITING 256
#define DSN_WAITING_MOST 512 /* those beyond DSN_WAITING are the only ones of their vNIC or uplink */
#define DSN_WAITING_EACH 32  /* of those, that came from one vNIC or uplink */

enum dsn_neighbour_state {
    DSN_NEIGHBOUR_NONE, /* not known: an op list keeps its place */
    DSN_NEIGHBOUR_INCOMPLETE,
    DSN_NEIGHBOUR_REACHABLE,
    DSN_NEIGHBOUR_PROBE,
    DSN_NEIGHBOUR_FAILED,
};

struct dsn_neighbour {
    uint8_t mac[6];
    uint8_t before[6];            /* its MAC when another one was taken, as long as it may be taken back; or 0 */
    uint8_t state, tries, queued; /* tries: requests since it was heard; of PROBE 0: the first is to come when due */
    bool used;                    /* a packet went to it since it was confirmed */
    uint32_t references, next;    /* of op lists; in its hash chain or the list of free ones */
    uint32_t heap;                /* its place among those with a timer; 0: none */
    uint32_t asker; /* number of the state of whose packet made it known: it counts for that one; 0: for none */
    uint64_t uplink;
    uint8_t address[16];
    uint64_t due;
    uint16_t queue[DSN_NEIGHBOUR_QUEUE]; /* numbers of packets that wait for it; oldest first */
} __rte_aligned(128);

struct dsn_neighbours {
    struct dsn_neighbour *neighbour; /* numbers begin with 1 */
    struct dsn_news *news;           /* what other workers know; one alone: NULL */
    uint32_t *heap, *head;
    struct dsn_waiting *packet;  /* path/waiting.h; numbers begin with 1 */
    uint16_t packets, no_packet; /* numbers used so far, and the first of those that are free again */
    uint32_t high, free, waiting, places;
    uint32_t timers; /* as many as are known: each has one */
    size_t mapped[4];
    uint64_t seed[3]; /* secret: whose packets ask for neighbours must not choose the list that they are in */
};

struct dsn_shard;

/* `lists`: how many op lists may keep a place each. Who opens connections to addresses that nobody has fills his share
 * of connections, and takes no place that another neighbour needs. */
bool dsn_neighbours_create(struct dsn_neighbours *neighbours, uint32_t lists);
void dsn_neighbours_destroy(struct dsn_neighbours *neighbours);

/* Number of the one with this address on the uplink with this id; 0: none has a place. */
uint32_t dsn_neighbour_find(const struct dsn_neighbours *neighbours, uint64_t uplink, const uint8_t address[16]);
/* The same, with a place if there is room for one. */
uint32_t dsn_neighbour_place(struct dsn_neighbours *neighbours, uint64_t uplink, const uint8_t address[16]);
void dsn_neighbour_hold(struct dsn_neighbours *neighbours, uint32_t number);
void dsn_neighbour_let_go(struct dsn_neighbours *neighbours, uint32_t number);

/* May one more become known, for a packet of `from` and its share? Then it is, and is asked for. */
enum dsn_reason_number dsn_neighbour_may_begin(struct dsn_shard *shard, uint32_t share, const struct dsn_vnic *from);
void dsn_neighbour_begin(struct dsn_shard *shard, uint32_t number, uint32_t share, uint64_t now);
/* Known no more; nothing waits for it. */
void dsn_neighbour_forget(struct dsn_shard *shard, uint32_t number);
/* Does a next hop have its address? */
bool dsn_neighbour_is_next_hop(const struct dsn_shard *shard, const struct dsn_neighbour *one);
/* Its MAC, for a packet that the card makes in the name of who is behind the vNIC with this id: such a packet waits for
 * nobody. NULL: it isn't known; it is asked for from now on, if there is room. */
const uint8_t *dsn_neighbour_want(struct dsn_shard *shard, uint32_t number, uint64_t vnic, uint64_t now);
/* It said something of itself (RFC 4861 7.2.5; of ARP: RFC 826). mac: NULL where it says none. solicited: it says that
 * it answers a request of ours, and is believed while one is out; override: the MAC replaces another one, but not that
 * of who has answered within a second. False: it isn't known, or says too little for one of whom nothing is known. */
bool dsn_neighbour_hear(struct dsn_shard *shard, const struct dsn_vnic *uplink, const uint8_t address[16],
                        const uint8_t *mac, bool solicited, bool override);
/* Runs timers that are due, by due time, then uplink, then address. False: stopped, as the frames to send are many;
 * there are more. */
bool dsn_neighbours_run(struct dsn_shard *shard, uint64_t now);
static inline uint64_t dsn_neighbours_due(const struct dsn_neighbours *n) {
    return n->timers > 0 ? n->neighbour[n->heap[1]].due : UINT64_MAX;
}
/* A known one of another shard, without the packets that wait for it. */
void dsn_neighbour_copy(struct dsn_shard *to, const struct dsn_shard *from, const struct dsn_neighbour *one);
/* Forgets those whose uplink is gone. */
void dsn_neighbours_keep(struct dsn_shard *shard);

#endif
