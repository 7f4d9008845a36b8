/* First packets that wait for their turn. A chain costs ten times what a packet of an established connection does:
 * while others have packets too, a burst runs few of them, and the rest wait here, a queue for each of *whom they are
 * for*: what comes by an uplink for a vNIC waits in a queue of that one's, beside what it sends itself. Queues have
 * their turns one after the other, those of what comes by uplinks and all others by turns: who floods many vNICs from
 * outside takes no more from what they send than who floods one.
 *
 * What waits is kept by the key of its connection, so that packets of one connection keep their order: who comes behind
 * one that waits waits with it, and all of them go together, before any packet can find the connection open. */
#ifndef DSN_PATH_FIRSTS_H
#define DSN_PATH_FIRSTS_H

#include "path/packet.h"
#include "path/whom.h"

#include <rte_mbuf.h>

#define DSN_FIRSTS 8            /* chains of a burst while others have packets too */
#define DSN_FIRSTS_WAITING 2048 /* packets of a shard that wait; a power of two */
#define DSN_FIRSTS_OUTSIDE 1024 /* of those, that came by uplinks */
#define DSN_FIRSTS_EACH 512     /* of those, in one queue; and see dsn_firsts_limited() */
#define DSN_FIRSTS_SAME 64      /* of those, of one connection */
#define DSN_FIRSTS_WHOM 16      /* addresses of which it is kept whose they are */

/* A queue: a vNIC has two in its state (path/vnics.h), of what it sends and of what comes to it by uplinks; an uplink
 * has the second. Their numbers are twice their state's, and one more of the second. */
struct dsn_firsts_of {
    uint32_t count, fragments; /* packets; fragments among them */
    uint32_t head, tail;       /* its connections, by age */
    uint32_t next, before;     /* whose turn is behind its own, and in front of it: queues' numbers */
};

struct dsn_first {
    struct dsn_flow_key key;
    uint64_t hash;
    struct rte_mbuf *mbuf;
    uint32_t queue;      /* that it counts in */
    uint32_t chain;      /* next one with its hash */
    uint32_t next;       /* connection of its queue; packet of its connection; free place */
    uint32_t before;     /* connection of its queue */
    uint32_t same, last; /* packets of its connection behind it */
    uint8_t count;       /* of them, itself included */
    bool fragment;
};

/* Whom packets by this uplink to this address are for, with the tables of this generation. */
struct dsn_firsts_whom {
    uint64_t generation;
    const struct dsn_vnic *from;
    uint8_t to[16];
    struct dsn_whom whom;
};

struct dsn_firsts {
    struct dsn_first *first; /* numbers begin with 1 */
    uint32_t *head;          /* by hash */
    uint32_t count, high, free;
    uint32_t by_uplinks; /* of `count` */
    uint32_t latest;     /* of the rings, that had the latest turn */
    uint64_t from;       /* id of the vNIC or uplink that the latest first packet came from */
    uint32_t alone;      /* first packets of it since anybody else had a packet, or it another one */
    uint32_t left;       /* chains that this burst may still run */
    uint32_t seen;       /* first packets of this burst so far */
    bool running;        /* those that wait have their turn now */
    bool again;          /* and of the connection whose turn it is one has gone */
    struct {
        uint32_t turn, last;                      /* whose turn it is, and who is last: queues' numbers */
    } ring[2];                                    /* of what vNICs and taps send, of what comes by uplinks */
    struct dsn_firsts_whom whom[DSN_FIRSTS_WHOM]; /* by address: a flood is for few */
};

struct dsn_shard;

bool dsn_firsts_create(struct dsn_firsts *firsts);
void dsn_firsts_destroy(struct dsn_firsts *firsts);

/* Nobody's time is taken where a vNIC or uplink has the worker for itself: then all of a burst may be first packets.
 * Before that is known, no more of them can have come than may wait. Nothing waits then, so nobody goes in front of
 * anybody: for whom they are isn't asked. */
static inline bool dsn_firsts_limited(const struct dsn_firsts *firsts) {
    return firsts->alone < DSN_FIRSTS_EACH;
}
/* A burst begins. */
static inline void dsn_firsts_begin(struct dsn_firsts *firsts) {
    firsts->left = dsn_firsts_limited(firsts) ? DSN_FIRSTS : UINT32_MAX;
    firsts->seen = 0;
}
/* A first packet of a vNIC comes. True: its chain may run now. */
static inline bool dsn_firsts_may(struct dsn_firsts *firsts, uint64_t vnic) {
    if (firsts->running) {
        firsts->left -= firsts->left > 0;
        return true;
    }
    firsts->alone = firsts->from == vnic ? firsts->alone + (firsts->alone < DSN_FIRSTS_EACH) : 0;
    firsts->from = vnic;
    firsts->seen++;
    if (firsts->left == 0 || firsts->count > 0) /* those that wait came before it */
        return false;
    firsts->left--;
    return true;
}

/* The packet waits from now on (its mbuf was taken), or DSN_REASON_FIRST_PACKET_LIMIT. Its key's hash is set. */
enum dsn_reason_number dsn_firsts_put(struct dsn_shard *shard, const struct dsn_packet *packet);
/* The number of the oldest packet that waits of a connection; 0: none. */
uint32_t dsn_firsts_find(const struct dsn_firsts *firsts, const struct dsn_flow_key *key, uint64_t hash);
/* Takes out the oldest packet of those that stand behind this number, which is free if that was the last. */
struct rte_mbuf *dsn_firsts_take(struct dsn_shard *shard, uint32_t number);
/* As many as a queue may have now, of what comes by uplinks or of all else: as many as there is room left for others.
 * However many flood, who comes behind them finds some. */
static inline uint32_t dsn_firsts_most(const struct dsn_firsts *firsts, bool by_uplinks) {
    uint32_t room = DSN_FIRSTS_WAITING - firsts->count;
    if (by_uplinks)
        room = RTE_MIN(room, DSN_FIRSTS_OUTSIDE - firsts->by_uplinks);
    return RTE_MIN(room, (uint32_t)DSN_FIRSTS_EACH);
}
/* Does a first fragment wait of whom this later one is for? */
bool dsn_firsts_have_fragments(struct dsn_shard *shard, const struct dsn_packet *packet);
/* The oldest connection of the queue whose turn it is, which is last in turn from now on. There is one. */
uint32_t dsn_firsts_next(struct dsn_shard *shard);

#endif
