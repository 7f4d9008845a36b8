/* Who goes where room is needed. Connections that are half-open, in the order in which they began to count for whom
 * they count for: TCP in its handshake, and apart from it all other protocols that nobody has replied to. And what has
 * ended, in the order in which it did: TCP, and UDP and echo that were one exchange so far, whose end nobody says;
 * listed with it, and called as it is, TCP that was picked up and heard from one side alone. Of both, whom most count
 * for: he gives the oldest of his.
 *
 * It costs the same however many there are, and with the number of shares as its logarithm: lists of records, and a
 * heap of those whom they count for. What has ended has lists of its own kind beside the others, that opening a
 * connection doesn't touch. */
#ifndef DSN_PATH_HALF_OPEN_H
#define DSN_PATH_HALF_OPEN_H

#include <stdbool.h>
#include <stdint.h>

struct dsn_shard;

enum dsn_half_kind { DSN_HALF_TCP, DSN_HALF_OTHER, DSN_HALF_KINDS, DSN_ENDED = DSN_HALF_KINDS, DSN_LIVES };

struct dsn_half_of { /* a share: what a vNIC opens, or what is open to it; of what has ended only the first list */
    uint32_t head[DSN_HALF_KINDS], tail[DSN_HALF_KINDS], count[DSN_HALF_KINDS]; /* records, oldest first */
    uint32_t place, unused; /* in the heap of shares; 0: none counts for it */
};

struct dsn_half_link {
    uint32_t next, previous; /* records; the first one's previous: DSN_HALF_FIRST; 0: in no list */
};
#define DSN_HALF_FIRST (UINT32_C(1) << 31)
#define DSN_HALF_ENDED (UINT32_C(1) << 30) /* beside each `previous` in a list of what has ended */

#define DSN_HALF_AT_ONCE 8 /* of a full share go for one that is opened, at most */

struct dsn_half_share {
    uint64_t
        latest; /* when the last that counts for it entered, by their number: no time that records expire at tells */
    uint32_t count, ref; /* shares are numbered as half_open.c does */
};

struct dsn_half {
    struct dsn_half_link *link;  /* by record */
    struct dsn_half_share *heap; /* from 1, who gives first in front of the others */
    uint32_t shares;             /* in it */
    uint32_t all;                /* records of all of them */
    uint64_t entered;            /* records so far */
};

/* A record that has come to count for its share, and one that is about to count for another, or to go. */
void dsn_half_enter(struct dsn_shard *shard, uint32_t number);
void dsn_half_leave(struct dsn_shard *shard, uint32_t number);
/* It may be half-open no more, or have ended, or go on: its state has changed, a reply has come, or what follows
 * one. */
void dsn_half_turn(struct dsn_shard *shard, uint32_t number);
/* The oldest half-open TCP connection of a vNIC's share; 0: none. */
uint32_t dsn_half_oldest(const struct dsn_shard *shard, uint32_t state, unsigned share);
/* Who of a full share's goes first for one more: of what has ended, else of what nobody has replied to, else, where
 * `handshakes` may go too, of TCP in its handshake, the oldest; 0: nobody. */
uint32_t dsn_half_first(const struct dsn_shard *shard, uint32_t state, unsigned share, bool handshakes);
/* The one of a share's that ended first; 0: none. And how many there are. */
uint32_t dsn_half_ended(const struct dsn_shard *shard, uint32_t state, unsigned share);
uint32_t dsn_half_ended_count(const struct dsn_shard *shard, uint32_t state, unsigned share);
/* It is in a list of those. */
bool dsn_half_is_ended(const struct dsn_shard *shard, uint32_t number);
/* How many of either kind all others than this share (state 0: of no vNIC) have. */
uint32_t dsn_half_of_others(const struct dsn_shard *shard, uint32_t state, unsigned share);
/* The one that goes where this share finds no room: of what has ended its own, else, where others' may go, of whom most
 * of that count for; else one that is half-open. 0: none, or it has the most of these itself. */
uint32_t dsn_half_victim(const struct dsn_shard *shard, uint32_t state, unsigned share, bool others);

#endif
