/* TCP by RFC 9293 3.3.2 and 3.10.7, as far as somebody sees it who stands between the two, with RFC 5961's care for what
 * may be forged. Roman numbers are those of docs/forwarding.md, *TCP*. */
#include "path/tcp.h"

#include <rte_common.h>

#define PICKED_UP_SCALE (DSN_TCP_MOST_SCALE << 4 | DSN_TCP_MOST_SCALE)
#define LARGEST_WINDOW (UINT32_C(1) << 30) /* RFC 7323 2.3 */

#define HANDSHAKE (DSN_TCP_BARE | DSN_TCP_ACKED_A | DSN_TCP_ACKED_B)
#define DOUBTED (DSN_TCP_DOUBTED_A | DSN_TCP_DOUBTED_B)

static unsigned doubted(unsigned side) {
    return side == 0 ? DSN_TCP_DOUBTED_A : DSN_TCP_DOUBTED_B;
}

/* --- what stands in a segment --- */

static bool is(const struct dsn_tcp_segment *s, unsigned flags) {
    return s->flags & flags;
}

static uint32_t end_of(const struct dsn_tcp_segment *s) {
    return s->seq + s->length;
}

static bool holds_data(const struct dsn_tcp_segment *s) {
    return s->length > (unsigned)is(s, DSN_TCP_SYN) + is(s, DSN_TCP_FIN);
}

/* --- windows (RFC 7323 2) --- */

/* Of a side; 0 unless both have offered one (2.2). */
static unsigned scale_of(const struct dsn_windows *w, unsigned side) {
    return (w->flags & DSN_TCP_OFFERED) == DSN_TCP_OFFERED ? w->scale >> 4 * side & 15 : 0;
}

static uint32_t most_of(const struct dsn_windows *w, unsigned side) {
    return (uint32_t)w->most[side] << scale_of(w, side);
}

/* A window in bytes, in units of the side's scale. */
static uint16_t units_of(const struct dsn_windows *w, unsigned side, uint32_t bytes) {
    unsigned scale = scale_of(w, side);
    uint32_t units = (bytes + (1u << scale) - 1) >> scale;
    return (uint16_t)RTE_MAX(RTE_MIN(units, (uint32_t)UINT16_MAX), 1u);
}

static void take_offer(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    unsigned flag = s->side == 0 ? DSN_TCP_OFFERED_A : DSN_TCP_OFFERED_B, shift = 4u * s->side;
    unsigned scale = s->offer >= 0 ? (unsigned)s->offer : 0;
    w->flags = (uint8_t)((w->flags & ~flag) | (s->offer >= 0 ? flag : 0));
    w->scale = (uint8_t)((w->scale & ~(15u << shift)) | scale << shift);
}

/* What its sender has sent, and the largest window that it has said. A window in a SYN is never scaled (RFC 7323 2.2). */
static void advertise(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint16_t window = is(s, DSN_TCP_SYN) ? units_of(w, s->side, s->window) : s->window;
    dsn_tcp_reach(w, s->side, end_of(s));
    w->most[s->side] = RTE_MAX(w->most[s->side], window);
}

static void allow(struct dsn_windows *w, unsigned side, uint32_t limit) {
    w->side[side].limit = dsn_seq_later(w->side[side].limit, limit);
}

/* What its sender lets the other one send. */
static void grant(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    unsigned scale = is(s, DSN_TCP_SYN) ? 0 : scale_of(w, s->side);
    allow(w, !s->side, s->ack + ((uint32_t)s->window << scale));
}

/* A segment that isn't a SYN has passed. What it acknowledges was sent, though it may have gone another way, or before
 * the card was there; `una` is the caller's. A FIN in front of what
 * was sent is none for its receiver (RFC 9293 3.10.7.4), and nobody's who has sent more. */
static void record(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    advertise(w, s);
    grant(w, s);
    dsn_tcp_reach(w, !s->side, s->ack);
    if (is(s, DSN_TCP_FIN) && end_of(s) == w->side[s->side].end)
        w->flags |= s->side == 0 ? DSN_TCP_FIN_A : DSN_TCP_FIN_B;
}

static void acknowledge(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    struct dsn_tcp_side *other = &w->side[!s->side];
    other->una = dsn_seq_later(other->una, s->ack);
}

/* What its sender may still say again, at the least: it needn't have heard what was acknowledged last, nor sent more than a
 * window behind that. (What was sent doesn't tell: probes and data in a SYN are bounded by no window.) */
static uint32_t oldest(const struct dsn_windows *w, unsigned side) {
    return w->side[side].una - most_of(w, !side);
}

/* I. What holds no data may stand at the window's end, or behind what probed beyond it; data only in front of that end, but
 * for the probe of a window that is shut (RFC 9293 3.8.6.1). */
static bool begins_in_window(const struct dsn_tcp_side *sender, const struct dsn_tcp_segment *s) {
    if (!holds_data(s))
        return dsn_seq_upto(s->seq, dsn_seq_later(sender->limit, sender->end));
    bool shut = dsn_seq_upto(sender->limit, sender->una + 1);
    return dsn_seq_upto(s->seq + !shut, sender->limit);
}

/* All of it was acknowledged: its receiver, who waits for what comes behind, answers and looks at nothing that it says (RFC
 * 9293 3.10.7.4). So it opens no window, acknowledges nothing and ends nothing. */
static bool is_old(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    return !dsn_seq_upto(w->side[s->side].una, end_of(s));
}

/* I and II: it begins where its sender may send (RFC 9293 3.4), and isn't older than a window's worth. Nothing comes behind
 * a FIN. */
static bool seq_fits(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    bool finished = w->flags & (s->side == 0 ? DSN_TCP_FIN_A : DSN_TCP_FIN_B);
    return begins_in_window(sender, s) && dsn_seq_upto(oldest(w, s->side), end_of(s)) &&
           (!finished || dsn_seq_upto(end_of(s), sender->end));
}

/* III and IV: it acknowledges what was sent, and nothing older than a window's worth (RFC 5961 5.2). */
static bool ack_fits(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *other = &w->side[!s->side];
    uint32_t most = w->flags & DSN_TCP_PICKED_UP ? dsn_seq_later(other->limit, other->end) : other->end;
    return dsn_seq_upto(s->ack, most) && dsn_seq_upto(other->una - most_of(w, s->side), s->ack);
}

/* Of what the other side has sent, its SYN at least, while `una` is its ISS. */
static bool acks_syn(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *other = &w->side[!s->side];
    return s->ack != other->una && dsn_seq_upto(other->una, s->ack) && dsn_seq_upto(s->ack, other->end);
}

/* --- how a connection begins --- */

/* Whoever has sent this SYN begins with it. */
static void begin(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    w->side[s->side] = (struct dsn_tcp_side){.end = end_of(s), .limit = end_of(s), .una = s->seq};
    take_offer(w, s);
    w->most[s->side] = RTE_MAX(s->window, 1);
}

void dsn_tcp_open(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    *w = (struct dsn_windows){0};
    begin(w, s);
}

enum dsn_tcp_state dsn_tcp_pick_up(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    bool fin = is(s, DSN_TCP_FIN);
    *w = (struct dsn_windows){
        .most = {UINT16_MAX, UINT16_MAX},
        .scale = PICKED_UP_SCALE,
        .flags = DSN_TCP_PICKED_UP | DSN_TCP_OFFERED,
    };
    w->side[s->side] = (struct dsn_tcp_side){.end = end_of(s), .limit = end_of(s) + LARGEST_WINDOW, .una = s->seq};
    w->side[!s->side] = (struct dsn_tcp_side){
        .end = s->ack, .limit = s->ack + ((uint32_t)s->window << DSN_TCP_MOST_SCALE), .una = s->ack};
    if (fin)
        w->flags |= s->side == 0 ? DSN_TCP_FIN_A : DSN_TCP_FIN_B;
    return fin ? DSN_TCP_FIN_WAIT : DSN_TCP_ESTABLISHED;
}

/* A SYN though the other side's is there, with or without ACK, the first or another one: its sender's side is what this
 * says, and both offers count, or none. `flags`: those that are left, and new ones. */
static void meet(struct dsn_windows *w, const struct dsn_tcp_segment *s, unsigned flags) {
    struct dsn_tcp_side *mine = &w->side[s->side], *other = &w->side[!s->side];
    uint32_t granted = most_of(w, !s->side); /* by the scale that is in force up to now */
    w->flags = (uint8_t)flags;
    begin(w, s);
    w->most[!s->side] = units_of(w, !s->side, granted);
    w->most[s->side] = units_of(w, s->side, s->window);
    mine->limit = s->seq + 1 + granted;
    /* No more: data in a SYN is bounded by no window, and what of it wasn't taken comes again (RFC 7413 4.2). */
    other->limit = (is(s, DSN_TCP_ACK) ? s->ack : other->una + 1) + s->window;
}

/* B's SYN. */
static void answer(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    meet(w, s, (w->flags & DSN_TCP_OFFERED_A) | (is(s, DSN_TCP_ACK) ? DSN_TCP_ACKED_A : DSN_TCP_BARE));
}

/* B's SYN, from another number: who keeps nothing of a SYN has a number for each that comes (RFC 4987 3.6), and so have two
 * who answer for one. What either grants and offers counts. */
static __rte_cold void answer_again(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    struct dsn_tcp_segment both = *s;
    uint32_t limit = w->side[0].limit, most = most_of(w, 1);
    if (w->flags & DSN_TCP_OFFERED_B)
        both.offer = RTE_MAX(s->offer, (int8_t)(w->scale >> 4));
    answer(w, &both);
    w->side[0].limit = dsn_seq_later(w->side[0].limit, limit);
    w->most[1] = RTE_MAX(w->most[1], units_of(w, 1, most));
}

/* Two answers of B stand: what it may send follows from A's largest window. The number of the earlier one. */
static uint32_t settle(struct dsn_windows *w) {
    uint32_t earlier = w->side[1].limit;
    w->side[1].limit = w->side[1].una + 1 + most_of(w, 0);
    w->flags &= (uint8_t)~DSN_TCP_TWO_ANSWERS;
    return earlier;
}

/* Both opened at once, nobody has answered A, and it calls from another number: it has forgotten the first, or that was
 * never its own. */
static __rte_cold void begin_anew(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    meet(w, s, (w->flags & (DSN_TCP_OFFERED_B | DSN_TCP_BARE)) | (is(s, DSN_TCP_ACK) ? DSN_TCP_ACKED_B : 0));
}

/* A call from anew with a signature: its sender hears nobody who doesn't sign, so its receiver has to ask (RFC 2385 4.1,
 * RFC 5925 7.7). Out of the window, where nobody takes it for a reason to reset (RFC 5961 4). */
static __rte_cold bool is_asked_by_who_gets_it(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    return s->is_signed && !is(s, DSN_TCP_ACK) && s->length == 1 &&
           !(dsn_seq_upto(sender->una, s->seq) && dsn_seq_upto(s->seq, sender->limit));
}

/* A SYN of A's from another number: the first one stays, since who answers has taken that if this isn't A's (RFC 5961 4). */
static __rte_cold void call_again(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    if (!(w->flags & DSN_TCP_TWICE)) {
        w->side[1].end = w->side[0].end;
        w->side[1].limit = w->side[0].una;
        w->most[1] = w->most[0];
        w->scale = (uint8_t)((w->scale & 15u) * 17u);
        w->flags |= DSN_TCP_TWICE | (w->flags & DSN_TCP_OFFERED_A ? DSN_TCP_FIRST_OFFERED : 0);
        w->flags &= (uint8_t)~DSN_TCP_BEHIND;
    }
    begin(w, s);
}

/* One segment may be asked about in half a second, by the card or by whoever gets it: this one is, if it may. */
static __rte_cold enum dsn_reason_number let_ask(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    if (w->challenged == s->asked)
        return DSN_REASON_TCP_CHALLENGED;
    w->challenged = s->asked;
    return DSN_PASSED;
}

static __rte_cold void repeat_first(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    dsn_tcp_reach(w, 1, end_of(s));
    w->most[1] = RTE_MAX(w->most[1], s->window);
    if (s->offer >= 0) {
        w->scale = (uint8_t)((w->scale & 15u) | (unsigned)s->offer << 4);
        w->flags |= DSN_TCP_FIRST_OFFERED;
    }
}

static bool acks_first(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint32_t iss = w->side[1].limit;
    return (w->flags & DSN_TCP_TWICE) && s->ack != iss && dsn_seq_upto(iss, s->ack) &&
           dsn_seq_upto(s->ack, w->side[1].end);
}

/* B has refused the first call; the newest is not over. */
static __rte_cold void forget_first(struct dsn_windows *w) {
    w->side[1].end = w->side[1].limit = 0;
    w->most[1] = 0;
    w->scale &= 15;
    w->flags &= (uint8_t)~(DSN_TCP_TWICE | DSN_TCP_FIRST_OFFERED);
}

/* It's the first call that B has taken. */
static __rte_cold void take_first(struct dsn_windows *w) {
    w->side[0] = (struct dsn_tcp_side){.end = w->side[1].end, .limit = w->side[1].end, .una = w->side[1].limit};
    w->most[0] = w->most[1];
    w->scale >>= 4;
    w->flags = w->flags & DSN_TCP_FIRST_OFFERED ? DSN_TCP_OFFERED_A : 0;
}

/* Of the connection that this one replaces: all that was said is acknowledged, and comes again, since what acknowledged it
 * was lost (RFC 9293 3.6, 3.10.7.4). */
static bool is_of_before(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint32_t sent = s->side == 0 ? w->side[1].limit : w->side[1].end;
    uint32_t received = s->side == 0 ? w->side[1].end : w->side[1].limit;
    return (w->flags & DSN_TCP_BEHIND) && !is(s, DSN_TCP_SYN | DSN_TCP_RST) && s->ack == received &&
           dsn_seq_upto(end_of(s), sent);
}

void dsn_tcp_replaces(struct dsn_windows *w, const struct dsn_windows *old, uint8_t tcp, unsigned side) {
    if (tcp != DSN_TCP_TIME_WAIT)
        return;
    w->side[1].limit = old->side[side].end;
    w->side[1].end = old->side[!side].end;
    w->flags |= DSN_TCP_BEHIND;
}

/* SYN_SENT, A: */
static enum dsn_reason_number initiator_again(struct dsn_session *session, struct dsn_windows *w,
                                              const struct dsn_tcp_segment *s, bool strict) {
    bool bare = is(s, DSN_TCP_SYN) && !is(s, DSN_TCP_ACK);
    if (is(s, DSN_TCP_RST)) /* RFC 9293 3.5.1: it resets what B takes it for */
        return (w->flags & DSN_TCP_ANSWERED) && s->seq == w->side[1].una ? DSN_PASSED : DSN_REASON_TCP_STATE;
    if (bare && s->seq != w->side[0].una) {
        bool first = (w->flags & DSN_TCP_TWICE) && s->seq == w->side[1].limit;
        first ? repeat_first(w, s) : call_again(w, s);
        return DSN_PASSED;
    }
    if (bare) { /* the same again, with data or without (RFC 7413); who gets no answer may do without options */
        advertise(w, s);
        allow(w, 0, w->side[0].end);
        if (s->offer >= 0)
            take_offer(w, s);
        return DSN_PASSED;
    }
    if (is_of_before(w, s))
        return DSN_PASSED;
    if (strict || is(s, DSN_TCP_SYN))
        return DSN_REASON_TCP_STATE;
    session->tcp = dsn_tcp_pick_up(w, s); /* B's packets go another way */
    return DSN_PASSED;
}

/* SYN_SENT, B (RFC 9293 3.10.7.3): */
static enum dsn_reason_number first_answer(struct dsn_session *session, struct dsn_windows *w,
                                           const struct dsn_tcp_segment *s) {
    bool right = is(s, DSN_TCP_ACK) && acks_syn(w, s), first = is(s, DSN_TCP_ACK) && !right && acks_first(w, s);
    if (is(s, DSN_TCP_RST)) { /* RFC 5961 3.2 */
        if (!right && !first)
            return DSN_REASON_TCP_WINDOW;
        if (first) {
            forget_first(w);
            return DSN_PASSED;
        }
        w->most[1] = 0; /* B has said nothing but this */
        w->flags &= DSN_TCP_OFFERED_A;
        session->tcp = DSN_TCP_CLOSED;
        return DSN_PASSED;
    }
    if (is(s, DSN_TCP_SYN)) {
        if (is(s, DSN_TCP_ACK) && !right && !first)
            return DSN_REASON_TCP_WINDOW;
        if (first)
            take_first(w);
        answer(w, s);
        session->tcp = DSN_TCP_SYN_RECEIVED;
        return DSN_PASSED;
    }
    if (right || (s->length > 0 && !is_of_before(w, s)))
        return DSN_REASON_TCP_STATE;
    /* It answers as of a connection that A has forgotten (RFC 9293 3.5.1). A will reset that, with this number. */
    w->side[1].una = s->ack;
    w->flags |= DSN_TCP_ANSWERED;
    return DSN_PASSED;
}

/* SYN_RECEIVED, behind what acknowledges the other side's SYN: the handshake has ended when both are acknowledged, or with
 * a FIN. What wasn't offered by both doesn't count any more then, and `una` is what its name says. */
static void maybe_open(struct dsn_session *session, struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    bool fin = w->flags & DSN_TCP_BOTH_FINS;
    w->flags |= s->side == 0 ? DSN_TCP_ACKED_B : DSN_TCP_ACKED_A;
    if (!fin && !(w->flags & (s->side == 0 ? DSN_TCP_ACKED_A : DSN_TCP_ACKED_B)))
        return;
    if ((w->flags & DSN_TCP_OFFERED) != DSN_TCP_OFFERED)
        w->scale = 0;
    w->flags &= (uint8_t)~HANDSHAKE;
    w->side[s->side].una++;
    w->side[!s->side].una = s->ack;
    session->tcp = fin ? DSN_TCP_FIN_WAIT : DSN_TCP_ESTABLISHED;
}

/* SYN_RECEIVED, a SYN: of the handshake once more; A's SYN+ACK where both opened at once (RFC 9293 3.5); or another answer,
 * as with SYN cookies. Whoever sends any other is asked. */
static enum dsn_reason_number syn_again(struct dsn_session *session, struct dsn_windows *w,
                                        const struct dsn_tcp_segment *s) {
    bool same = s->seq == w->side[s->side].una, ack = is(s, DSN_TCP_ACK), right = ack && acks_syn(w, s);
    if (s->side == 1 && right && !same) {
        w->flags &DSN_TCP_BARE ? answer(w, s) : answer_again(w, s);
        return DSN_PASSED;
    }
    if (s->side == 0 && (w->flags & (DSN_TCP_BARE | DSN_TCP_ACKED_A)) == DSN_TCP_BARE && !same && (right || !ack)) {
        begin_anew(w, s);
        return DSN_PASSED;
    }
    if (!same && is_asked_by_who_gets_it(w, s))
        return let_ask(w, s);
    if (!same || (ack && !right) || (ack && s->side == 0 && !(w->flags & DSN_TCP_BARE)))
        return DSN_REASON_TCP_CHALLENGED;
    advertise(w, s);
    if (ack) {
        grant(w, s);
        maybe_open(session, w, s);
    }
    return DSN_PASSED;
}

/* SYN_RECEIVED, neither SYN nor RST. B's may hold data already (RFC 7413). */
static enum dsn_reason_number half_way(struct dsn_session *session, struct dsn_windows *w,
                                       const struct dsn_tcp_segment *s, bool strict) {
    if (strict && !(seq_fits(w, s) && acks_syn(w, s)))
        return DSN_REASON_TCP_WINDOW;
    if (strict && is_old(w, s))
        return DSN_PASSED;
    record(w, s);
    maybe_open(session, w, s);
    return DSN_PASSED;
}

/* Two answers stand, and this is A's: it has taken the first that came to it, and says which (RFC 9293 3.10.7.3). */
static bool chooses(struct dsn_windows *w, const struct dsn_tcp_segment *s, uint32_t earlier) {
    if (s->side != 0 || !is(s, DSN_TCP_ACK) || is(s, DSN_TCP_SYN | DSN_TCP_RST))
        return false;
    if (s->ack != earlier + 1)
        return acks_syn(w, s);
    w->side[1] = (struct dsn_tcp_side){.una = earlier, .end = earlier + 1, .limit = earlier + 1 + most_of(w, 0)};
    return true;
}

/* --- how it goes on, and ends --- */

/* Its receiver waits for what it acknowledged last, or for all that was sent: a RST with one of these numbers is exact as
 * far as a bystander can tell (RFC 5961 3.2). */
static bool is_exact(const struct dsn_session *session, const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    bool opening = session->tcp == DSN_TCP_SYN_RECEIVED;
    if (s->seq == sender->end || s->seq == sender->una + opening)
        return true;
    /* B has forgotten its answer, and refuses A's SYN that comes again: from 0 on (RFC 9293 3.10.7.1). */
    return opening && s->side == 1 && is(s, DSN_TCP_ACK) && acks_syn(w, s);
}

/* CLOSED by this RST. Where it does not begin at the end of what was sent its receiver may have more, and so not believe it;
 * nor does who has the answer that it refuses. */
static __rte_cold void close_by(struct dsn_session *session, struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    w->flags &= (uint8_t)~HANDSHAKE;
    if (session->tcp == DSN_TCP_SYN_RECEIVED) {
        w->side[0].una++;
        w->side[1].una++;
        if (s->seq != sender->una && s->seq != sender->end)
            w->flags |= DSN_TCP_REFUSED;
    }
    if (s->seq != sender->end)
        w->flags |= doubted(s->side);
    session->tcp = DSN_TCP_CLOSED;
}

static enum dsn_reason_number reset(struct dsn_session *session, struct dsn_windows *w, const struct dsn_tcp_segment *s,
                                    bool strict) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    if (is_exact(session, w, s) || (!strict && seq_fits(w, s))) {
        close_by(session, w, s);
        return DSN_PASSED;
    }
    if (!strict)
        return DSN_PASSED;
    bool in = dsn_seq_upto(sender->una, s->seq) && dsn_seq_upto(s->seq, sender->limit);
    return in ? DSN_REASON_TCP_CHALLENGED : DSN_REASON_TCP_WINDOW;
}

/* A SYN+ACK once more, since what it was answered with was lost: its receiver has to say it again. The card can't in its
 * name: who has agreed on timestamps drops what has none (RFC 7323 3.2). Data behind it may have come through (RFC 7413):
 * then it is within the window of its number, that who repeats no more than this has. */
static bool is_handshake_again(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint32_t una = w->side[s->side].una, lowest = una - most_of(w, !s->side);
    return is(s, DSN_TCP_ACK) && dsn_seq_upto(lowest, s->seq + 1) && dsn_seq_upto(s->seq + 1, una) && ack_fits(w, s);
}

static enum dsn_reason_number opening(struct dsn_session *session, struct dsn_windows *w,
                                      const struct dsn_tcp_segment *s, bool strict) {
    if (is(s, DSN_TCP_RST))
        return reset(session, w, s, strict);
    return is(s, DSN_TCP_SYN) ? syn_again(session, w, s) : half_way(session, w, s, strict);
}

/* SYN_RECEIVED. Where B answers from another number, the earlier one stays beside it until A says which it has taken. */
static __rte_noinline enum dsn_reason_number received(struct dsn_session *session, struct dsn_windows *w,
                                                      const struct dsn_tcp_segment *s, bool strict) {
    struct dsn_windows now = *w;
    bool two = now.flags & DSN_TCP_TWO_ANSWERS, bare = now.flags & DSN_TCP_BARE;
    uint32_t earlier = two ? settle(&now) : 0;
    if (two && chooses(&now, s, earlier))
        two = false;
    uint32_t answered = now.side[1].una;
    enum dsn_reason_number reason = opening(session, &now, s, strict);
    if (reason != DSN_PASSED)
        return reason;
    if (session->tcp == DSN_TCP_SYN_RECEIVED && now.side[1].una != answered && !bare) {
        two = true;
        earlier = answered;
    }
    if (session->tcp == DSN_TCP_SYN_RECEIVED && two) {
        now.side[1].limit = earlier;
        now.flags |= DSN_TCP_TWO_ANSWERS;
    }
    *w = now;
    return DSN_PASSED;
}

static uint8_t state_behind(uint8_t state, const struct dsn_windows *w) {
    switch (state) {
    case DSN_TCP_ESTABLISHED: return w->flags & DSN_TCP_BOTH_FINS ? DSN_TCP_FIN_WAIT : state;
    case DSN_TCP_FIN_WAIT: return (w->flags & DSN_TCP_BOTH_FINS) == DSN_TCP_BOTH_FINS ? DSN_TCP_CLOSING : state;
    case DSN_TCP_CLOSING: /* both know that all has come */
        return dsn_seq_upto(w->side[0].end, w->side[0].una) && dsn_seq_upto(w->side[1].end, w->side[1].una)
                   ? DSN_TCP_TIME_WAIT
                   : state;
    default: return state;
    }
}

/* CLOSED by a RST. Who didn't take it, since data is missing, asks with an ACK and gets one that is exact (RFC 5961 3.2):
 * that ACK moves `una`. Whom it never reached gets another for data, or a SYN+ACK (RFC 9293 3.10.7.1), that he sends. A RST
 * that isn't believed by its receiver, who has acknowledged more than its number, or was never sent by whom it names, who
 * goes on, has closed nothing. */
static enum dsn_reason_number closed(struct dsn_session *session, struct dsn_windows *w,
                                     const struct dsn_tcp_segment *s, bool strict) {
    uint32_t una = w->side[!s->side].una;
    if (w->most[1] == 0) /* B has said nothing but that RST */
        return DSN_REASON_TCP_STATE;
    if (is(s, DSN_TCP_SYN))
        return is_handshake_again(w, s) ? DSN_PASSED : DSN_REASON_TCP_STATE;
    if (strict && !(seq_fits(w, s) && (!is(s, DSN_TCP_ACK) || ack_fits(w, s))))
        return DSN_REASON_TCP_WINDOW;
    if (is(s, DSN_TCP_RST)) {
        if (s->seq == w->side[s->side].end)
            w->flags &= (uint8_t)~(DOUBTED | DSN_TCP_REFUSED);
        return DSN_PASSED;
    }
    if (strict && is_old(w, s))
        return DSN_PASSED;
    record(w, s);
    acknowledge(w, s);
    bool goes_on = w->side[!s->side].una != una || (w->flags & DSN_TCP_REFUSED);
    if ((w->flags & doubted(s->side)) || ((w->flags & doubted(!s->side)) && goes_on)) {
        w->flags &= (uint8_t)~(DOUBTED | DSN_TCP_REFUSED);
        session->tcp = state_behind(state_behind(state_behind(DSN_TCP_ESTABLISHED, w), w), w);
    }
    return DSN_PASSED;
}

enum dsn_reason_number dsn_tcp_follow(struct dsn_session *session, struct dsn_windows *w,
                                      const struct dsn_tcp_segment *s, bool strict) {
    if (session->tcp == DSN_TCP_SYN_SENT)
        return s->side == 0 ? initiator_again(session, w, s, strict) : first_answer(session, w, s);
    if (session->tcp == DSN_TCP_CLOSED)
        return closed(session, w, s, strict);
    if (session->tcp == DSN_TCP_SYN_RECEIVED)
        return received(session, w, s, strict);
    if (is(s, DSN_TCP_RST))
        return reset(session, w, s, strict);
    if (is(s, DSN_TCP_SYN)) { /* RFC 5961 4.2 */
        if (is_handshake_again(w, s))
            return DSN_PASSED;
        return is_asked_by_who_gets_it(w, s) ? let_ask(w, s) : DSN_REASON_TCP_CHALLENGED;
    }
    if (strict && !(seq_fits(w, s) && ack_fits(w, s)))
        return DSN_REASON_TCP_WINDOW;
    if (strict && is_old(w, s))
        return DSN_PASSED;
    record(w, s);
    acknowledge(w, s);
    session->tcp = state_behind(session->tcp, w);
    return DSN_PASSED;
}

bool dsn_tcp_usual(struct dsn_windows *w, const uint8_t *tcp, const uint8_t *end, unsigned side) {
    struct dsn_tcp_side *mine = &w->side[side], *other = &w->side[side ^ 1];
    uint32_t seq = dsn_be32(tcp + 4), ack = dsn_be32(tcp + 8), window = dsn_be16(tcp + 14);
    uint32_t behind = seq + (uint32_t)(end - tcp) - (tcp[12] >> 4) * 4u, most = w->most[side];
    /* I to IV: each of the differences is 0 or more, and none so large that it might as well be below 0. Windows unscaled are
     * as large or smaller, and who was picked up may acknowledge more than `end`: what is between is told by the whole. */
    uint32_t inside = (mine->limit - seq - 1) | (behind - mine->end + w->most[side ^ 1]) | (other->end - ack) |
                      (ack - other->una + most);
    if (unlikely(inside >= LARGEST_WINDOW || !dsn_seq_upto(mine->una, behind)))
        return false;
    mine->end = dsn_seq_later(mine->end, behind);
    other->una = dsn_seq_later(other->una, ack);
    other->limit = dsn_seq_later(other->limit, ack + (window << (w->scale >> 4 * side & 15)));
    if (unlikely(window > most))
        w->most[side] = (uint16_t)window;
    return true;
}

/* --- what may be forged (RFC 5961) --- */

bool dsn_tcp_may_be_forged(const struct dsn_session *session, const struct dsn_tcp_segment *s) {
    return session->tcp != DSN_TCP_SYN_SENT && session->tcp != DSN_TCP_CLOSED && is(s, DSN_TCP_SYN | DSN_TCP_RST);
}

bool dsn_tcp_challenge(const struct dsn_session *session, const struct dsn_windows *w, unsigned side,
                       struct dsn_tcp_segment *challenge) {
    const struct dsn_tcp_side *sender = &w->side[side];
    bool opening = session->tcp == DSN_TCP_SYN_RECEIVED;
    uint32_t ack = sender->una + opening;
    *challenge = (struct dsn_tcp_segment){
        .seq = w->side[!side].end,
        .ack = ack,
        .window = (uint16_t)RTE_MIN((sender->limit - ack) >> scale_of(w, !side), (uint32_t)UINT16_MAX),
        .flags = DSN_TCP_ACK,
        .side = (uint8_t)!side,
    };
    return !opening || (w->flags & (side == 0 ? DSN_TCP_ACKED_A : DSN_TCP_ACKED_B));
}

/* --- for ICMP errors --- */

bool dsn_tcp_could_have_sent(const struct dsn_session *session, const struct dsn_windows *w, unsigned side,
                             uint32_t seq) {
    bool called = session->tcp == DSN_TCP_SYN_SENT;
    struct dsn_windows settled;
    if (session->tcp == DSN_TCP_SYN_RECEIVED && (w->flags & DSN_TCP_TWO_ANSWERS)) {
        settled = *w;
        (void)settle(&settled);
        w = &settled;
    }
    if (side == 1 && (called || w->most[1] == 0)) /* it has said nothing that is known */
        return false;
    uint32_t una = w->side[side].una, end = w->side[side].end;
    if (called && (w->flags & DSN_TCP_TWICE) && dsn_seq_upto(w->side[1].limit, seq) &&
        dsn_seq_upto(seq, w->side[1].end))
        return true;
    uint32_t sent = dsn_seq_upto(w->side[side].limit, end) ? w->side[side].limit : end;
    bool late = !called && dsn_seq_upto(sent - most_of(w, !side), seq);
    return dsn_seq_upto(seq, end) && (dsn_seq_upto(una, seq) || late);
}
