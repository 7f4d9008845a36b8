/* What a shard keeps of a vNIC, by its id: one that is taken out and put in again goes on where it was, whatever slot
 * of the table it gets, and whoever had that before. */
#ifndef DSN_PATH_VNICS_H
#define DSN_PATH_VNICS_H

#include "path.h"
#include "path/firsts.h"
#include "path/flows.h"

#define DSN_VNIC_STATES (UINT32_C(1) << 20) /* reserved, touched where used */

struct dsn_bucket { /* of tokens; full at first */
    bool used;
    uint64_t credit;    /* a token is a second's worth of nanoseconds */
    uint64_t credit_ns; /* when that was */
};

#define DSN_LIMITS_TOLD (DSN_LIMIT_FIRSTS + 2) /* those that events tell of; the last is DSN_LIMIT_FIRSTS_TO */

/* What each new connection needs lies in front, the members of `half` in one cache line. */
struct dsn_vnic_state {
    uint64_t id;
    uint32_t next;              /* in its hash chain */
    uint32_t open[2];           /* connections that count: opened by it, open to it */
    uint32_t lent[2], chunk[2]; /* with several workers: of its budget for them, and how many at a time */
    bool challenged;            /* there is something in dsn_challenges() */
    uint32_t neighbours;        /* that are known and count for it */
    struct dsn_budget *budget;  /* or NULL */
    uint32_t waiting;           /* packets from it that wait for neighbours */
    uint16_t oldest, newest;    /* of those (path/waiting.h); 0: none */
    _Alignas(RTE_CACHE_LINE_SIZE) struct dsn_half_of half[2];
    struct dsn_bucket opened[2], punt, log[2]; /* opened, log: of connections that it opens, and of those to it */
    struct dsn_firsts_of firsts[2];            /* that wait for their turn: of what it sends, by uplinks */
    uint32_t fragments[2];          /* that are remembered: of what it sends, and of what comes to it by uplinks */
    uint64_t told[DSN_LIMITS_TOLD]; /* when an event last told of each limit, plus one; 0: never */
} __rte_cache_aligned;

_Static_assert(2 * sizeof(struct dsn_half_of) <= RTE_CACHE_LINE_SIZE, "both lie in one cache line");

/* What there may be of challenge ACKs, and of ICMP errors and RSTs, by the address that they go to: who is at another
 * can't read from what he gets how many others got (RFC 5961 7, CVE-2016-5696, CVE-2020-25705). */
#define DSN_CHALLENGE_BUCKETS 16
#define DSN_CHALLENGES_LEAST 512u /* a second in a worker: with fewer chance would hide nothing */
enum dsn_window_set {
    DSN_WINDOW_CHALLENGE,
    DSN_WINDOW_ICMP, /* errors and RSTs: about what the vNIC sends, about what comes to it by uplinks */
    DSN_WINDOW_ICMP_TO,
    DSN_WINDOW_TOO_BIG, /* likewise, that a packet of a living connection was too large */
    DSN_WINDOW_TOO_BIG_TO,
    DSN_WINDOWS
};
/* ICMP errors that pass have more of them, by what they quote: of each connection two. */
#define DSN_ERROR_BUCKETS 64
#define DSN_ERRORS (128u * DSN_ERROR_BUCKETS) /* a second in a worker */
struct dsn_window {
    uint64_t second; /* + 1; 0: none yet */
    uint32_t left;   /* of what the bucket has in it */
};
struct dsn_challenges {
    struct dsn_window window[DSN_WINDOWS][DSN_CHALLENGE_BUCKETS];
    struct dsn_window error[2][DSN_ERROR_BUCKETS];    /* of what it sends, of what comes to it by uplinks */
    struct dsn_bucket punt[2][DSN_CHALLENGE_BUCKETS]; /* of an uplink: by strangers, by whom the card speaks with */
};

struct dsn_vnic_states {
    struct dsn_vnic_state *state; /* numbers begin with 1; behind them what is apart from them */
    uint32_t *head;
    uint32_t high, latest, hand;
    uint64_t seed; /* secret */
};

bool dsn_vnic_states_create(struct dsn_vnic_states *vnics);
void dsn_vnic_states_destroy(struct dsn_vnic_states *vnics);
/* One of another shard. */
void dsn_vnic_state_copy(struct dsn_vnic_states *to, const struct dsn_vnic_states *from, uint32_t number);

/* Apart from the states, and touched only where somebody was challenged. */
static inline struct dsn_challenges *dsn_challenges(const struct dsn_vnic_states *vnics, uint32_t number) {
    return (struct dsn_challenges *)(vnics->state + DSN_VNIC_STATES + 1) + number;
}

/* Likewise: of a state's two shares what has ended, touched only where something has. Of nothing that is open all is
 * 0. */
static inline struct dsn_half_of *dsn_ended_of(const struct dsn_vnic_states *vnics, uint32_t number) {
    return (struct dsn_half_of *)(dsn_challenges(vnics, 0) + DSN_VNIC_STATES + 1) + (size_t)number * 2;
}

/* Number of the vNIC's state, made where there is none; 0: no room. States of which nothing is open and nothing waits
 * are given to others when all are taken. */
uint32_t dsn_vnic_state(struct dsn_vnic_states *vnics, uint64_t id);
/* The same, and none is made. */
uint32_t dsn_vnic_state_find(const struct dsn_vnic_states *vnics, uint64_t id);

#endif
