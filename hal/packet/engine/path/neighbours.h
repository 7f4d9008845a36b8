/* Neighbours on uplinks, of one shard: asked for, confirmed, probed, given up (RFC 4861 7.3, for ARP too).
 *
 * A neighbour's place has a number (from 1 on), which op lists hold: dsn_neighbours_hold and dsn_neighbours_release.
 * While it is held, or known, the number means this uplink and address, so a number that is held is never stale. A
 * place whose neighbour is forgotten but that is still held is DSN_NEIGHBOUR_ABSENT and comes back to life when a
 * packet waits for it. */
#ifndef DSN_PATH_NEIGHBOURS_H
#define DSN_PATH_NEIGHBOURS_H

#include "schema.h"

#include <stdbool.h>
#include <stddef.h>

struct rte_mbuf;

#define DSN_NEIGHBOURS_KNOWN 65536 /* not absent; one more: `neighbour_queue_full` */
#define DSN_NEIGHBOURS_EACH 4      /* packets that wait for one */
#define DSN_NEIGHBOURS_ALL 256     /* packets that wait for any */
#define DSN_NEIGHBOUR_CONTEXT 64   /* bytes */

enum dsn_neighbour_state {
    DSN_NEIGHBOUR_ABSENT,
    DSN_NEIGHBOUR_INCOMPLETE,
    DSN_NEIGHBOUR_FAILED,
    DSN_NEIGHBOUR_REACHABLE, /* from here on it has a MAC */
    DSN_NEIGHBOUR_PROBE,
};

struct dsn_neighbour {
    uint8_t mac[6];
    uint8_t state;
    bool used; /* a packet that didn't have to wait went to it since it was confirmed */
    uint64_t uplink;
    uint8_t address[16];
    uint64_t due_ns;
    uint64_t needed_ns; /* FAILED: when it failed, or a packet was last dropped for it */
    uint32_t holders;
    uint32_t next;  /* in its hash chain, or in the list of free places */
    uint32_t place; /* in the heap of due times; 0: absent */
    uint16_t queue; /* the first that waits */
    uint8_t tries;
    uint8_t shadows; /* how many wait in the table that this one was copied from */
};
_Static_assert(sizeof(struct dsn_neighbour) == 64, "dsn_neighbour");

/* What the neighbours ask of the shard that they are in. A hook doesn't call back into them. */
struct dsn_neighbour_hooks {
    void *shard;
    /* Send a request. */
    void (*ask)(void *shard, const struct dsn_neighbour *neighbour);
    /* Send a packet that waited, or drop it (`neighbour_unresolved`); both take the mbuf. */
    void (*send)(void *shard, const struct dsn_neighbour *neighbour, struct rte_mbuf *mbuf, const void *context);
    void (*give_up)(void *shard, struct rte_mbuf *mbuf, const void *context);
    /* It failed (false), or one that had failed is there or forgotten (true). */
    void (*changed)(void *shard, const struct dsn_neighbour *neighbour, bool alive);
    /* A next hop has this address: it is asked for whether packets need it or not. */
    bool (*watched)(void *shard, const struct dsn_neighbour *neighbour);
};

struct dsn_waiting;

struct dsn_neighbours {
    struct dsn_neighbour *entry; /* by number */
    uint32_t *bucket;
    uint32_t *heap;            /* numbers of known ones, from 1 on, the first due on top */
    struct dsn_waiting *waits; /* from 1 on */
    struct dsn_neighbour_hooks hooks;
    uint64_t seed;
    uint32_t mask, capacity, high, free;
    uint32_t known;   /* entries of the heap */
    uint32_t waiting; /* packets */
    uint16_t free_wait;
};

/* Room for DSN_NEIGHBOURS_KNOWN and `holders` more that are held: dsn_neighbours_hold can't fail while no more are
 * held. Memory is touched only when used. False: no memory. */
bool dsn_neighbours_create(struct dsn_neighbours *neighbours, uint32_t holders, uint64_t seed,
                           const struct dsn_neighbour_hooks *hooks);
/* Frees the packets that wait, without a word. */
void dsn_neighbours_destroy(struct dsn_neighbours *neighbours);

/* The number of this one, absent or known, held once more; 0: more are held than was said at create. */
uint32_t dsn_neighbours_hold(struct dsn_neighbours *neighbours, uint64_t uplink, const uint8_t address[16]);
void dsn_neighbours_release(struct dsn_neighbours *neighbours, uint32_t number);
/* Its number if it is known (not absent), else 0. */
uint32_t dsn_neighbours_find(const struct dsn_neighbours *neighbours, uint64_t uplink, const uint8_t address[16]);

/* The fast path: its MAC, marked as used; NULL: go on with dsn_neighbours_wait. */
static inline const uint8_t *dsn_neighbours_mac(struct dsn_neighbours *neighbours, uint32_t number) {
    struct dsn_neighbour *neighbour = &neighbours->entry[number];
    if (__builtin_expect(neighbour->state < DSN_NEIGHBOUR_REACHABLE, 0))
        return NULL;
    if (!neighbour->used)
        neighbour->used = true;
    return neighbour->mac;
}
/* The packet waits (DSN_PASSED: the mbuf and a copy of the context are kept; an absent one is asked for), or it is to
 * be dropped by the caller: `neighbour_queue_full`, `neighbour_unresolved`. */
enum dsn_reason_number dsn_neighbours_wait(struct dsn_neighbours *neighbours, uint32_t number, struct rte_mbuf *mbuf,
                                           const void *context, uint64_t now);

/* It said that it is there; false if it isn't known. */
bool dsn_neighbours_confirm(struct dsn_neighbours *neighbours, uint64_t uplink, const uint8_t address[16],
                            const uint8_t mac[6], uint64_t now);

/* Runs what is due, by due time, then uplink, then address. */
void dsn_neighbours_run(struct dsn_neighbours *neighbours, uint64_t now);
static inline void dsn_neighbours_advance(struct dsn_neighbours *neighbours, uint64_t now) {
    if (__builtin_expect(neighbours->known != 0 && neighbours->entry[neighbours->heap[1]].due_ns <= now, 0))
        dsn_neighbours_run(neighbours, now);
}
/* When the next one is due; UINT64_MAX: none. */
static inline uint64_t dsn_neighbours_due(const struct dsn_neighbours *neighbours) {
    return neighbours->known != 0 ? neighbours->entry[neighbours->heap[1]].due_ns : UINT64_MAX;
}

/* Forgets those whose uplink isn't `there`, as rows are now; what waits for them is given up. */
void dsn_neighbours_keep(struct dsn_neighbours *neighbours, bool (*there)(void *shard, uint64_t uplink));

/* All that `from` knows, into a table that knows nothing yet. What waits there takes up room here too, but isn't sent
 * from here. */
bool dsn_neighbours_copy(struct dsn_neighbours *to, const struct dsn_neighbours *from);

#endif
