/* TCP as a bystander follows it: what each side has sent and what the other has let it send, so that a segment which
 * its receiver can't be waiting for goes no further (RFC 9293, 5961, 7323; docs/tracking.md, *TCP*).
 *
 * Of the two sides of a connection A (0) is the initiator and B (1) the other, as directions are: a segment of
 * direction d was sent by side d. Sequence numbers are on a circle (RFC 9293 3.4). */
#ifndef DSN_PATH_TCP_H
#define DSN_PATH_TCP_H

#include "path/flows.h"
#include "path/packet.h"

#define DSN_TCP_MOST_SCALE 14 /* RFC 7323 2.3 */

struct dsn_tcp_side {
    union {
        uint32_t end;       /* behind the last that it has sent: highest SEG.SEQ + SEG.LEN */
        uint32_t first_end; /* of B, DSN_TCP_TWICE: of A's first call */
        uint32_t before_b;  /* of B, DSN_TCP_BEHIND: B's end in the connection that this one replaces */
    };
    union {
        uint32_t limit;     /* behind the last that it may send: highest SEG.ACK + window that the other one has said */
        uint32_t first_iss; /* of B, DSN_TCP_TWICE: of A's first call */
        uint32_t before_a;  /* of B, DSN_TCP_BEHIND: A's end there */
        uint32_t earlier;   /* of B, DSN_TCP_TWO_ANSWERS: the ISS that it answered with before */
    };
    union {
        uint32_t una;      /* highest SEG.ACK that the other one has said; its own ISS until the handshake ends */
        uint32_t answered; /* of B, DSN_TCP_ANSWERED: what that acknowledged */
    };
};

/* What a bit says depends on the state:
 *
 *  bit  SYN_SENT       SYN_RECEIVED  ESTABLISHED  FIN_WAIT   CLOSING, TIME_WAIT  CLOSED
 *  0    OFFERED_A      OFFERED_A     OFFERED_A    OFFERED_A  OFFERED_A           OFFERED_A
 *  1    -              OFFERED_B     OFFERED_B    OFFERED_B  OFFERED_B           OFFERED_B
 *  2    -              -             -            FIN_A      FIN_A               FIN_A
 *  3    BEHIND         -             -            FIN_B      FIN_B               FIN_B
 *  4    HEARD          TWO_ANSWERS   PICKED_UP    PICKED_UP  PICKED_UP           PICKED_UP
 *  5    FIRST_OFFERED  BARE          -            -          -                   REFUSED; picked up: WAS_ALONE
 *  6    TWICE          ACKED_A       ALONE_A      ALONE_A    -                   DOUBTED_A
 *  7    ANSWERED       ACKED_B       ALONE_B      ALONE_B    -                   DOUBTED_B
 *
 * Where it is built to be tested (DSN_CHECKED), dsn_tcp_follow() looks that no other is set. */
enum dsn_tcp_flags {
    DSN_TCP_OFFERED_A = 1 << 0, /* to scale windows, in its SYN */
    DSN_TCP_OFFERED_B = 1 << 1,
    DSN_TCP_OFFERED = DSN_TCP_OFFERED_A | DSN_TCP_OFFERED_B,
    DSN_TCP_FIN_A = 1 << 2, /* it has sent its FIN; once the other one acknowledges that, `end` is final */
    DSN_TCP_FIN_B = 1 << 3,
    DSN_TCP_BOTH_FINS = DSN_TCP_FIN_A | DSN_TCP_FIN_B,
    DSN_TCP_PICKED_UP = 1 << 4, /* its handshake wasn't seen: scales aren't known, and never will be */
    DSN_TCP_ALONE_A = 1 << 6,   /* picked up, and A alone has been heard since */
    DSN_TCP_ALONE_B = 1 << 7,
    DSN_TCP_ALONE = DSN_TCP_ALONE_A | DSN_TCP_ALONE_B,
    /* SYN_SENT: */
    DSN_TCP_BEHIND = 1 << 3,        /* it replaces another one: before_a, before_b */
    DSN_TCP_HEARD = 1 << 4,         /* one answer as of another connection has passed since A called last */
    DSN_TCP_FIRST_OFFERED = 1 << 5, /* to scale windows, in A's first call */
    DSN_TCP_TWICE = 1 << 6, /* A has called from two numbers. The first call is where B's will be: first_iss, first_end;
                                * `most` and `scale` what they are called */
    DSN_TCP_ANSWERED = 1 << 7, /* B answered as of another connection: answered */
    /* SYN_RECEIVED: */
    DSN_TCP_TWO_ANSWERS = 1 << 4, /* B has answered from two numbers: earlier */
    DSN_TCP_BARE = 1 << 5,        /* B's SYN had no ACK (simultaneous open) */
    DSN_TCP_ACKED_A = 1 << 6,     /* its SYN was acknowledged by the other side */
    DSN_TCP_ACKED_B = 1 << 7,
    /* CLOSED, in doubt: */
    DSN_TCP_REFUSED = 1 << 5,   /* in the handshake: whatever the other side says shows that it goes on */
    DSN_TCP_DOUBTED_A = 1 << 6, /* its RST did that, with a number that the other side may be beyond */
    DSN_TCP_DOUBTED_B = 1 << 7,
    DSN_TCP_DOUBTED = DSN_TCP_DOUBTED_A | DSN_TCP_DOUBTED_B,
    /* CLOSED, where PICKED_UP: */
    DSN_TCP_WAS_ALONE = 1 << 5, /* one side alone had been heard then */
};

/* A connection's, by the number of its record. Other protocols have none, and theirs is never touched. */
struct dsn_windows {
    struct dsn_tcp_side side[2];
    /* Largest window that it has said, in units of its scale, rounded up; 0: it has said nothing. PICKED_UP: as headers
     * say it, since then; no bounds are made of that. */
    uint16_t most[2];
    uint8_t scale;       /* two of four bits, A's the lower: as offered, zeros behind a handshake without both offers */
    uint8_t flags;       /* enum dsn_tcp_flags */
    uint16_t challenged; /* half second of its last challenge; 0: never */
} __rte_aligned(32);
_Static_assert(sizeof(struct dsn_windows) == 32, "two in a cache line, none in two");

struct dsn_tcp_segment {
    uint32_t seq, ack, length; /* length: payload, SYN and FIN */
    uint16_t window;           /* as it stands in the header */
    uint8_t flags, side;
    int8_t offer;   /* of a SYN: the scale, -1: none */
    bool is_signed; /* a SYN with a signature, which the card doesn't verify (RFC 2385, 5925) */
    bool picks_up;  /* while it comes, connections are picked up */
    uint16_t asked; /* the half second that it comes in, as dsn_windows has it */
};

/* Picked up, and one side alone has been heard since. */
static inline bool dsn_tcp_is_alone(uint8_t tcp, const struct dsn_windows *windows) {
    return tcp >= DSN_TCP_ESTABLISHED && tcp != DSN_TCP_CLOSED && (windows->flags & DSN_TCP_ALONE);
}

/* Of such a one there is only a RST since, and who forges one segment forges that. */
static inline bool dsn_tcp_was_alone(uint8_t tcp, const struct dsn_windows *windows) {
    const uint8_t both = DSN_TCP_PICKED_UP | DSN_TCP_WAS_ALONE;
    return tcp == DSN_TCP_CLOSED && (windows->flags & both) == both;
}

/* As `challenged` of a connection has it. */
static inline uint16_t dsn_half_second(uint64_t now) {
    uint16_t stamp = (uint16_t)(now >> 29);
    return stamp != 0 ? stamp : 1;
}

/* a <= b, a and b being less than 2^31 apart. */
static inline bool dsn_seq_upto(uint32_t a, uint32_t b) {
    return (int32_t)(b - a) >= 0;
}
static inline uint32_t dsn_seq_later(uint32_t a, uint32_t b) {
    return dsn_seq_upto(a, b) ? b : a;
}

struct dsn_tcp_options {
    int8_t offer; /* of a window scale (RFC 7323 2.2); -1: none */
    bool is_signed;
};
/* What a SYN's options say; false: they are malformed (RFC 9293 3.1, MUST-7). */
bool dsn_tcp_options(const uint8_t *options, unsigned length, struct dsn_tcp_options *said);

/* Of a packet whose transport header was parsed. */
struct dsn_tcp_segment dsn_tcp_segment_of(const struct dsn_packet *packet, unsigned side);

/* A connection begins with this bare SYN of A. */
void dsn_tcp_open(struct dsn_windows *windows, const struct dsn_tcp_segment *segment);
/* It replaces this one, in that state, whose side A is. */
void dsn_tcp_replaces(struct dsn_windows *windows, const struct dsn_windows *old, uint8_t tcp, unsigned side);
/* It began before anybody looked; this is the first segment seen, with ACK and neither SYN nor RST. The state that it
 * is in. */
enum dsn_tcp_state dsn_tcp_pick_up(struct dsn_windows *windows, const struct dsn_tcp_segment *segment);

/* Follows the connection: session->tcp is then the state behind this segment. Else the reason why it can't be, and
 * nothing has changed; DSN_REASON_TCP_CHALLENGED: its sender is to be asked (dsn_tcp_challenge). A bare SYN in
 * TIME_WAIT or CLOSED begins another connection: that is the caller's to see. Not strict: windows are followed, and
 * what is outside passes. */
enum dsn_reason_number dsn_tcp_follow(struct dsn_session *session, struct dsn_windows *windows,
                                      const struct dsn_tcp_segment *segment, bool strict);

/* Of a segment that was refused: it could be forged, so it takes its part of what challenges there may be, whether or
 * not there is one for it. */
bool dsn_tcp_may_be_forged(const struct dsn_session *session, const struct dsn_tcp_segment *segment);
/* The ACK by which the receiver of this side's segments would ask whether one was its own (RFC 5961 3.2, 4.2), in its
 * name. False: it has said nothing yet that this would say again. */
bool dsn_tcp_challenge(const struct dsn_session *session, const struct dsn_windows *windows, unsigned side,
                       struct dsn_tcp_segment *challenge);

/* Of a first fragment: the number that offset 0 of its datagram's fragmentable part would have, with SYN and FIN
 * counted, so that base + where a later one ends is the number behind that. */
uint32_t dsn_tcp_base(const struct dsn_packet *packet);
static inline unsigned dsn_tcp_fin_of(unsigned side) {
    return side == 0 ? DSN_TCP_FIN_A : DSN_TCP_FIN_B;
}
/* Behind the handshake: its FIN was acknowledged, nothing comes behind that. */
static inline bool dsn_tcp_is_over(const struct dsn_windows *windows, unsigned side) {
    const struct dsn_tcp_side *one = &windows->side[side];
    return (windows->flags & dsn_tcp_fin_of(side)) && dsn_seq_upto(one->end, one->una);
}
/* The side has come this far, maybe by a later fragment. */
static inline void dsn_tcp_reach(struct dsn_windows *windows, unsigned side, uint32_t end) {
    if (!dsn_tcp_is_over(windows, side))
        windows->side[side].end = dsn_seq_later(windows->side[side].end, end);
}

/* Whether the side can have sent what begins here and the other one may still be without it: what an ICMP error must
 * quote to be believed (RFC 5927 4.1). */
bool dsn_tcp_could_have_sent(const struct dsn_session *session, const struct dsn_windows *windows, unsigned side,
                             uint32_t seq);

/* The usual segment of an established connection: well within all bounds, and no SYN, FIN or RST; true: it was
 * followed. Else nothing has changed, and dsn_tcp_follow() says. `tcp`: its header; `end`: where its payload ends. */
bool dsn_tcp_usual(struct dsn_windows *windows, const uint8_t *tcp, const uint8_t *end, unsigned side);

#endif
