/* Connections: a pool of 192-byte records, an index from keys to their two flow lines, and a wheel of deadlines.
 *
 * A record is two flow lines of 64 bytes (one a direction) and between them a session of as many, so that a packet
 * meets one line of the index, one flow line and the session beside it. What packets don't need lies in an array of its
 * own: with many connections the time of a packet is that of its cache misses, and a cache holds the more of them.
 *
 * The index has buckets of one cache line with eight entries, in pairs. A full bucket passes entries on, to the other
 * one of its pair and then to the next pairs, and counts them, so a lookup ends where nothing was passed on, and
 * nothing is ever moved. It has twice the room that the promised capacity needs: entries always fit.
 *
 * All memory is reserved at create and touched only when used, unless it is warmed. */
#ifndef DSN_PATH_FLOWS_H
#define DSN_PATH_FLOWS_H

#include "path/half_open.h"
#include "path/hash.h"
#include "schema.h"

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>
#include <stdatomic.h>
#include <stddef.h>

#define DSN_SECOND UINT64_C(1000000000)
#define DSN_WHEEL_SLOTS 8192 /* seconds; what is due later is looked at when the wheel has come round */
#define DSN_NO_ROUTE_KEY UINT16_MAX
#define DSN_NO_POLICY UINT16_MAX

enum dsn_tcp_state {
    DSN_TCP_NONE,
    DSN_TCP_SYN_SENT,
    DSN_TCP_SYN_RECEIVED,
    DSN_TCP_ESTABLISHED,
    DSN_TCP_FIN_WAIT,
    DSN_TCP_CLOSING,
    DSN_TCP_TIME_WAIT,
    DSN_TCP_CLOSED,
};

struct dsn_line {
    struct dsn_flow_key key;
    uint32_t ops;    /* op list, by its number; 0: the record is free */
    uint16_t route;  /* what its route was looked up under (path/stamps.h), or DSN_NO_ROUTE_KEY */
    uint16_t policy; /* rule group that decided: line 0 on egress, line 1 on ingress; or DSN_NO_POLICY */
};

enum dsn_session_flags {
    DSN_SESSION_EXCHANGE =
        1, /* answered echo, or UDP of whose initiator no packet has come since: dsn_session_turns() */
    DSN_SESSION_REPLIED = 2,   /* a packet of the reply's direction came */
    DSN_SESSION_NETWORK = 4,   /* links and neighbours had a say */
    DSN_SESSION_OWN = 8,       /* counts against what its ingress vNIC may open */
    DSN_SESSION_INBOUND = 16,  /* counts against what its egress vNIC may have open to it */
    DSN_SESSION_SAME_KEY = 32, /* both directions have one key: only line 1 is in the index */
    DSN_SESSION_ALWAYS = 64    /* no stamp says when it has to be decided again */
};

struct dsn_session {
    uint64_t last_ns;
    uint64_t generation : 48;          /* tables by which it was last decided, or found to be as decided */
    uint64_t touch_a : 8, touch_b : 8; /* what has to be touched for it to be asked for again (path/stamps.h) */
    uint64_t packets[2], bytes[2];
    uint32_t network; /* the same of links and neighbours */
    uint8_t tcp, flags;
    uint8_t row_table[2]; /* of row */
    uint32_t row[2];      /* slots of the rows that decided on egress and on ingress; DSN_NO_SLOT */
};

/* A packet of this direction makes it something else: the first reply, or behind that the initiator's next. */
static inline bool dsn_session_turns(const struct dsn_session *session, unsigned direction) {
    _Static_assert(DSN_SESSION_EXCHANGE == 1 << 0 && DSN_SESSION_REPLIED == 1 << 1, "a bit for each direction");
    return (session->flags ^ DSN_SESSION_REPLIED) >> direction & 1;
}

/* Two directions, and between them what both need: each line has the session beside it. */
struct dsn_connection {
    union {
        struct dsn_line place[3]; /* see dsn_line */
        struct {
            struct dsn_line initiator;
            struct dsn_session session;
            struct dsn_line reply;
        };
    };
};
_Static_assert(sizeof(struct dsn_line) == 64 && sizeof(struct dsn_session) == 64 &&
                   sizeof(struct dsn_connection) == 192,
               "dsn_connection");

/* The line of a direction, 0 or 1; as const as the record. */
#define dsn_line(connection, direction) (&(connection)->place[2 * (direction)])

/* What is kept of a connection and its packets don't need: apart, so that a cache holds more of what they do. */
struct dsn_rest {
    uint64_t created_ns, id;
    uint64_t ingress, egress, row_id[2]; /* ids; of rows DSN_NONE_ID */
    uint32_t ingress_slot;
    uint32_t share;                      /* state of the vNIC that it counts for (path/vnics.h), 0: none */
    uint32_t wheel_next, wheel_previous; /* records; the first one's previous: DSN_WHEEL_HEAD | slot */
};
_Static_assert(sizeof(struct dsn_rest) == 64, "dsn_rest");

struct dsn_windows; /* path/tcp.h */

struct dsn_settled { /* what of packets and bytes rules already have */
    uint64_t packets, bytes;
};

#define DSN_FLOW_PLACES 8
struct dsn_flow_bucket {
    uint16_t tag[DSN_FLOW_PLACES];
    uint32_t ref[DSN_FLOW_PLACES]; /* 0: empty */
    uint32_t passed;               /* entries in later buckets that would have had their place here or before */
    uint32_t unused[3];
};
_Static_assert(sizeof(struct dsn_flow_bucket) == 64, "dsn_flow_bucket");

struct dsn_root;

/* Records by deadline, and what these are found by. */
struct dsn_wheel {
    const struct dsn_root *root; /* time-outs are as its tables say; NULL: the defaults */
    uint64_t tracked;            /* generation whose time-outs the wheel knows */
    uint32_t review, left;       /* to learn newer ones it looks at the records behind this one, so many of them */
    struct dsn_half half;        /* who is to go where room is needed */
    _Atomic bool has_tcp;        /* there was a connection with windows */
    size_t warm;                 /* bytes of the windows that are in place; the control thread's */
    struct dsn_half ended;       /* and before them: in the links of `half` */
    uint32_t slot[];             /* heads of lists */
};

struct dsn_flows {
    struct dsn_connection *connection; /* numbers begin with 1 */
    struct dsn_rest *rest;             /* by the same numbers */
    struct dsn_settled *settled;       /* likewise */
    struct dsn_flow_bucket *bucket;
    uint64_t seed[6];
    uint32_t buckets, capacity;
    uint32_t used, high, free; /* `high`: numbers above it were never used; `free`: head of a list, 0: empty */
    uint64_t swept;            /* eighth of a millisecond up to which the wheel has nothing left */
    uint64_t quiet_ns;         /* nothing is due before */
    bool fine;                 /* some may be in slots of the second that the wheel stands in */
    struct dsn_wheel *wheel;
    struct dsn_windows *windows; /* by the numbers of connections too; only TCP's are ever touched */
    size_t mapped[3];            /* of connections, buckets, and the rest */
};

bool dsn_flows_create(struct dsn_flows *flows, uint32_t capacity);
/* Has its memory in place, as far as there is plenty: a new page costs the packet that touches it a few microseconds, a
 * large one a few milliseconds, and all others wait. */
void dsn_flows_warm(struct dsn_flows *flows);
/* The same of windows, once there is a connection that has some: a few large pages a call, while the worker goes on. */
void dsn_flows_warm_windows(struct dsn_flows *flows);
void dsn_flows_destroy(struct dsn_flows *flows);

/* References of lines: the record's number and the direction. */
static inline uint32_t dsn_ref(uint32_t number, unsigned direction) {
    return number << 1 | direction;
}
static inline struct dsn_connection *dsn_ref_connection(const struct dsn_flows *flows, uint32_t ref) {
    return &flows->connection[ref >> 1];
}
static inline struct dsn_line *dsn_ref_line(const struct dsn_flows *flows, uint32_t ref) {
    return dsn_line(&flows->connection[ref >> 1], ref & 1);
}
static inline struct dsn_rest *dsn_ref_rest(const struct dsn_flows *flows, uint32_t ref) {
    return &flows->rest[ref >> 1];
}
static inline struct dsn_rest *dsn_rest(const struct dsn_flows *flows, const struct dsn_connection *connection) {
    return &flows->rest[connection - flows->connection];
}

static inline uint64_t dsn_flows_hash(const struct dsn_flows *flows, const struct dsn_flow_key *key) {
    return dsn_key_hash(key, flows->seed);
}
static inline uint32_t dsn_flow_home(const struct dsn_flows *flows, uint64_t hash) {
    return (uint32_t)((hash >> 32) * flows->buckets >> 32);
}

/* A bit for each place with this tag; empty places may be among them. */
static inline uint32_t dsn_with_tag(const struct dsn_flow_bucket *bucket, uint16_t tag) {
#if defined(__SSE2__)
    __m128i same = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)bucket->tag), _mm_set1_epi16((short)tag));
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128()));
#else
    uint32_t places = 0;
    for (unsigned i = 0; i < DSN_FLOW_PLACES; i++)
        places |= (uint32_t)(bucket->tag[i] == tag) << i;
    return places;
#endif
}

/* A bit for each place that holds this reference. */
static inline uint32_t dsn_with_ref(const struct dsn_flow_bucket *bucket, uint32_t ref) {
#if defined(__AVX2__)
    __m256i refs = _mm256_loadu_si256((const __m256i *)bucket->ref);
    __m256i same = _mm256_cmpeq_epi32(refs, _mm256_set1_epi32((int)ref));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(same));
#else
    uint32_t places = 0;
    for (unsigned i = 0; i < DSN_FLOW_PLACES; i++)
        places |= (uint32_t)(bucket->ref[i] == ref) << i;
    return places;
#endif
}

static inline void dsn_flows_prefetch(const struct dsn_flows *flows, uint64_t hash) {
    rte_prefetch0(&flows->bucket[dsn_flow_home(flows, hash)]);
}

/* The first line whose tag is right, to be prefetched; 0: none. Whether it is the one only its key can tell. What was
 * passed on stands in the same pair of cache lines nearly always, which a CPU's prefetcher fetches together. */
static inline uint32_t dsn_flows_guess(const struct dsn_flows *flows, uint64_t hash) {
    uint32_t home = dsn_flow_home(flows, hash);
    const struct dsn_flow_bucket *bucket = &flows->bucket[home];
    uint32_t places = dsn_with_tag(bucket, (uint16_t)hash);
    if (unlikely(places == 0 && bucket->passed != 0)) {
        bucket = &flows->bucket[home ^ 1];
        places = dsn_with_tag(bucket, (uint16_t)hash);
    }
    return likely(places != 0) ? bucket->ref[__builtin_ctz(places)] : 0;
}

/* A line's reference, 0: none. Expired ones are found too. */
uint32_t dsn_flows_find(const struct dsn_flows *flows, const struct dsn_flow_key *key, uint64_t hash);

/* A zeroed record that is counted as used, or 0 at capacity. */
uint32_t dsn_flows_take(struct dsn_flows *flows);
/* Gives back a record that is neither in index nor wheel. */
void dsn_flows_give(struct dsn_flows *flows, uint32_t number);
void dsn_flows_prefetch_free(const struct dsn_flows *flows);
/* Index entry of a line whose key is set and in no other line. */
void dsn_flows_enter(struct dsn_flows *flows, uint32_t ref, uint64_t hash);
void dsn_flows_leave(struct dsn_flows *flows, uint32_t ref);

/* The tables as they are from now on: their time-outs hold at once, the wheel learns of shorter ones bit by bit. */
void dsn_flows_use(struct dsn_flows *flows, const struct dsn_root *root);

/* Time-outs (docs/tracking.md, *Tracking*). */
#define DSN_SHORTEST_TIMEOUT DSN_SECOND
uint64_t dsn_timeout_ns(const struct dsn_flows *flows, const struct dsn_connection *connection); /* path/tracking.c */
static inline bool dsn_expired(const struct dsn_flows *flows, const struct dsn_connection *connection, uint64_t now) {
    uint64_t idle = now - connection->session.last_ns;
    return idle >= DSN_SHORTEST_TIMEOUT && idle >= dsn_timeout_ns(flows, connection);
}

/* Puts a record into the wheel for its deadline as it is now; again where that came nearer. Later ones are noticed
 * when the wheel comes by. */
void dsn_flows_arm(struct dsn_flows *flows, uint32_t number);
void dsn_flows_disarm(struct dsn_flows *flows, uint32_t number);
/* The next expired record, still armed, for the caller to take out; 0: none of those that were looked at (at most
 * *budget, which is lessened by each). After a call that found none and had budget left, none is looked at before one
 * can be due; a second's records are looked at once for each of them, and then those of an eighth of a millisecond. */
uint32_t dsn_flows_next_expired(struct dsn_flows *flows, uint64_t now, uint32_t *budget);

#endif
