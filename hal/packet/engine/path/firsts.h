/* First packets that wait for their turn. A chain costs ten times what a packet of an established connection does:
 * while others have packets too, a burst runs few of them, and the rest wait here, a queue for each vNIC, uplink or tap
 * that they come from, which have their turns one after the other.
 *
 * What waits is kept by the key of its connection, so that packets of one connection keep their order: who comes behind
 * one that waits waits with it, and all of them go together, before any packet can find the connection open. */
#ifndef DSN_PATH_FIRSTS_H
#define DSN_PATH_FIRSTS_H

#include "path/packet.h"

#include <rte_mbuf.h>

#define DSN_FIRSTS 8            /* chains of a burst while others have packets too */
#define DSN_FIRSTS_WAITING 2048 /* packets of a shard that wait; a power of two */
#define DSN_FIRSTS_EACH 512     /* of those, that came from one vNIC or uplink; and see dsn_firsts_limited() */
#define DSN_FIRSTS_SAME 64      /* of those, of one connection */

/* What is there of a vNIC, in its state (path/vnics.h). */
struct dsn_firsts_of {
    uint32_t count, fragments; /* packets; fragments among them */
    uint32_t head, tail;       /* its connections, by age */
    uint32_t next, before;     /* whose turn is behind its own, and in front of it: states' numbers */
};

struct dsn_first {
    struct dsn_flow_key key;
    uint64_t hash;
    struct rte_mbuf *mbuf;
    uint32_t state;      /* of the vNIC that it counts for */
    uint32_t chain;      /* next one with its hash */
    uint32_t next;       /* connection of its vNIC; packet of its connection; free place */
    uint32_t before;     /* connection of its vNIC */
    uint32_t same, last; /* packets of its connection behind it */
    uint8_t count;       /* of them, itself included */
    bool fragment;
};

struct dsn_firsts {
    struct dsn_first *first; /* numbers begin with 1 */
    uint32_t *head;          /* by hash */
    uint32_t count, high, free;
    uint32_t turn, last; /* vNICs: whose turn it is, and who is last; states' numbers */
    uint64_t from;       /* id of the vNIC that the latest first packet came from */
    uint32_t alone;      /* first packets of it since anybody else had a packet, or it another one */
    uint32_t left;       /* chains that this burst may still run */
    uint32_t seen;       /* first packets of this burst so far */
    bool running;        /* those that wait have their turn now */
    bool again;          /* and of the connection whose turn it is one has gone */
};

struct dsn_shard;

bool dsn_firsts_create(struct dsn_firsts *firsts);
void dsn_firsts_destroy(struct dsn_firsts *firsts);

/* Nobody's time is taken where a vNIC has the worker for itself: then all of a burst may be first packets. Before that
 * is known, no more of them can have come than may wait. */
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
/* The oldest connection of the vNIC whose turn it is, which is last in turn from now on. There is one. */
uint32_t dsn_firsts_next(struct dsn_shard *shard);

#endif
