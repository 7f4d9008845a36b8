/* How a TCP connection begins, as somebody sees it who stands between the two (RFC 9293 3.5, 3.10.7.3, 3.10.7.4). */
#include "path/handshake.h"

#include "path/windows.h"

#define PICKED_UP_SCALE (DSN_TCP_MOST_SCALE << 4 | DSN_TCP_MOST_SCALE)

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
        .scale = PICKED_UP_SCALE,
        .flags = (uint8_t)(DSN_TCP_PICKED_UP | DSN_TCP_OFFERED | (s->side == 0 ? DSN_TCP_ALONE_A : DSN_TCP_ALONE_B)),
    };
    w->most[s->side] = s->window;
    w->side[s->side] =
        (struct dsn_tcp_side){.end = end_of(s), .limit = end_of(s) + DSN_TCP_LARGEST_WINDOW, .una = s->seq};
    w->side[!s->side] = (struct dsn_tcp_side){
        .end = s->ack, .limit = s->ack + ((uint32_t)s->window << DSN_TCP_MOST_SCALE), .una = s->ack};
    if (fin)
        w->flags |= (uint8_t)dsn_tcp_fin_of(s->side);
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

/* B's SYN, from another number: who keeps nothing of a SYN has a number for each that comes (RFC 4987 3.6), and so have
 * two who answer for one. What either grants and offers counts. */
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
uint32_t dsn_tcp_settle(struct dsn_windows *w) {
    uint32_t earlier = w->side[1].earlier;
    w->side[1].limit = w->side[1].una + 1 + most_of(w, 0);
    w->flags &= (uint8_t)~DSN_TCP_TWO_ANSWERS;
    return earlier;
}

/* Both opened at once, nobody has answered A, and it calls from another number: it has forgotten the first, or that was
 * never its own. */
static __rte_cold void begin_anew(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    meet(w, s, (w->flags & (DSN_TCP_OFFERED_B | DSN_TCP_BARE)) | (is(s, DSN_TCP_ACK) ? DSN_TCP_ACKED_B : 0));
}

/* A call from anew with a signature: its sender hears nobody who doesn't sign, so its receiver has to ask (RFC 2385
 * 4.1, RFC 5925 7.7). Out of the window, where nobody takes it for a reason to reset (RFC 5961 4). */
__rte_cold bool dsn_tcp_is_asked_by_who_gets_it(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    return s->is_signed && !is(s, DSN_TCP_ACK) && s->length == 1 &&
           !(dsn_seq_upto(sender->una, s->seq) && dsn_seq_upto(s->seq, sender->limit));
}

/* A SYN of A's from another number: the first one stays, since who answers has taken that if this isn't A's (RFC 5961
 * 4). */
static __rte_cold void call_again(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    if (!(w->flags & DSN_TCP_TWICE)) {
        w->side[1].first_end = w->side[0].end;
        w->side[1].first_iss = w->side[0].una;
        w->most[1] = w->most[0];
        w->scale = (uint8_t)((w->scale & 15u) * 17u);
        w->flags |= DSN_TCP_TWICE | (w->flags & DSN_TCP_OFFERED_A ? DSN_TCP_FIRST_OFFERED : 0);
        w->flags &= (uint8_t)~DSN_TCP_BEHIND;
    }
    begin(w, s);
}

/* One segment may be asked about in half a second, by the card or by whoever gets it: this one is, if it may. */
__rte_cold enum dsn_reason_number dsn_tcp_let_ask(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
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
    uint32_t iss = w->side[1].first_iss;
    return (w->flags & DSN_TCP_TWICE) && s->ack != iss && dsn_seq_upto(iss, s->ack) &&
           dsn_seq_upto(s->ack, w->side[1].first_end);
}

/* B has refused the first call; the newest is not over. */
static __rte_cold void forget_first(struct dsn_windows *w) {
    w->side[1].first_end = w->side[1].first_iss = 0;
    w->most[1] = 0;
    w->scale &= 15;
    w->flags &= (uint8_t)~(DSN_TCP_TWICE | DSN_TCP_FIRST_OFFERED);
}

/* It's the first call that B has taken. */
static __rte_cold void take_first(struct dsn_windows *w) {
    const struct dsn_tcp_side first = w->side[1];
    w->side[0] = (struct dsn_tcp_side){.end = first.first_end, .limit = first.first_end, .una = first.first_iss};
    w->most[0] = w->most[1];
    w->scale >>= 4;
    w->flags = w->flags & DSN_TCP_FIRST_OFFERED ? DSN_TCP_OFFERED_A : 0;
}

/* Of the connection that this one replaces: all that was said is acknowledged, and comes again, since what acknowledged
 * it was lost (RFC 9293 3.6, 3.10.7.4). */
static bool is_of_before(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint32_t sent = s->side == 0 ? w->side[1].before_a : w->side[1].before_b;
    uint32_t received = s->side == 0 ? w->side[1].before_b : w->side[1].before_a;
    return (w->flags & DSN_TCP_BEHIND) && !is(s, DSN_TCP_SYN | DSN_TCP_RST) && s->ack == received &&
           dsn_seq_upto(end_of(s), sent);
}

void dsn_tcp_replaces(struct dsn_windows *w, const struct dsn_windows *old, uint8_t tcp, unsigned side) {
    if (tcp != DSN_TCP_TIME_WAIT)
        return;
    w->side[1].before_a = old->side[side].end;
    w->side[1].before_b = old->side[!side].end;
    w->flags |= DSN_TCP_BEHIND;
}

/* SYN_SENT, A: */
enum dsn_reason_number dsn_tcp_initiator_again(struct dsn_session *session, struct dsn_windows *w,
                                               const struct dsn_tcp_segment *s, bool strict) {
    bool bare = is(s, DSN_TCP_SYN) && !is(s, DSN_TCP_ACK);
    if (is(s, DSN_TCP_RST)) /* RFC 9293 3.5.1: it resets what B takes it for */
        return (w->flags & DSN_TCP_ANSWERED) && s->seq == w->side[1].answered ? DSN_PASSED : DSN_REASON_TCP_STATE;
    if (bare)
        w->flags &= (uint8_t)~DSN_TCP_HEARD;
    if (bare && s->seq != w->side[0].una) {
        if ((w->flags & DSN_TCP_TWICE) && s->seq == w->side[1].first_iss)
            repeat_first(w, s);
        else
            call_again(w, s);
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
    if (strict && s->picks_up && !is(s, DSN_TCP_SYN) && !(w->flags & DSN_TCP_ANSWERED))
        return DSN_PASSED; /* if B then speaks of a connection too, A's next takes that up anew */
    if (strict || is(s, DSN_TCP_SYN))
        return DSN_REASON_TCP_STATE;
    session->tcp = dsn_tcp_pick_up(w, s); /* B's packets go another way */
    return DSN_PASSED;
}

/* SYN_SENT, B (RFC 9293 3.10.7.3): */
enum dsn_reason_number dsn_tcp_first_answer(struct dsn_session *session, struct dsn_windows *w,
                                            const struct dsn_tcp_segment *s, bool strict) {
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
    bool before = is_of_before(w, s), heard = w->flags & DSN_TCP_HEARD;
    bool met = s->picks_up || !strict; /* it would open a connection if nothing were there */
    if (right || (!before && !met && (heard || s->length > 0)))
        return DSN_REASON_TCP_STATE;
    /* It answers as of a connection that A has forgotten (RFC 9293 3.5.1). A will reset that, with this number: one for
     * each call, whoever makes more of them (ADR 0189). */
    w->side[1].answered = s->ack;
    w->flags |= DSN_TCP_ANSWERED | (before ? 0 : DSN_TCP_HEARD);
    return DSN_PASSED;
}

/* SYN_RECEIVED, behind what acknowledges the other side's SYN: the handshake has ended when both are acknowledged, or
 * with a FIN. What wasn't offered by both doesn't count any more then, and `una` is what its name says. */
static void maybe_open(struct dsn_session *session, struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    bool fin = w->flags & DSN_TCP_BOTH_FINS;
    w->flags |= s->side == 0 ? DSN_TCP_ACKED_B : DSN_TCP_ACKED_A;
    if (!fin && !(w->flags & (s->side == 0 ? DSN_TCP_ACKED_A : DSN_TCP_ACKED_B)))
        return;
    if ((w->flags & DSN_TCP_OFFERED) != DSN_TCP_OFFERED)
        w->scale = 0;
    w->flags &= (uint8_t)~DSN_TCP_HANDSHAKE;
    w->side[s->side].una++;
    w->side[!s->side].una = s->ack;
    session->tcp = fin ? DSN_TCP_FIN_WAIT : DSN_TCP_ESTABLISHED;
}

/* SYN_RECEIVED, a SYN: of the handshake once more; A's SYN+ACK where both opened at once (RFC 9293 3.5); or another
 * answer, as with SYN cookies. Whoever sends any other is asked. */
enum dsn_reason_number dsn_tcp_syn_again(struct dsn_session *session, struct dsn_windows *w,
                                         const struct dsn_tcp_segment *s) {
    bool same = s->seq == w->side[s->side].una, ack = is(s, DSN_TCP_ACK), right = ack && acks_syn(w, s);
    if (s->side == 1 && right && !same) {
        if (w->flags & DSN_TCP_BARE)
            answer(w, s);
        else
            answer_again(w, s);
        return DSN_PASSED;
    }
    if (s->side == 0 && (w->flags & (DSN_TCP_BARE | DSN_TCP_ACKED_A)) == DSN_TCP_BARE && !same && (right || !ack)) {
        begin_anew(w, s);
        return DSN_PASSED;
    }
    if (!same && dsn_tcp_is_asked_by_who_gets_it(w, s))
        return dsn_tcp_let_ask(w, s);
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
enum dsn_reason_number dsn_tcp_half_way(struct dsn_session *session, struct dsn_windows *w,
                                        const struct dsn_tcp_segment *s, bool strict) {
    if (strict && !(seq_fits(w, s) && acks_syn(w, s)))
        return DSN_REASON_TCP_WINDOW;
    if (strict && is_old(w, s))
        return DSN_PASSED;
    record(w, s, true);
    maybe_open(session, w, s);
    return DSN_PASSED;
}

/* Two answers stand, and this is A's: it has taken the first that came to it, and says which (RFC 9293 3.10.7.3). */
bool dsn_tcp_chooses(struct dsn_windows *w, const struct dsn_tcp_segment *s, uint32_t earlier) {
    if (s->side != 0 || !is(s, DSN_TCP_ACK) || is(s, DSN_TCP_SYN | DSN_TCP_RST))
        return false;
    if (s->ack != earlier + 1)
        return acks_syn(w, s);
    w->side[1] = (struct dsn_tcp_side){.una = earlier, .end = earlier + 1, .limit = earlier + 1 + most_of(w, 0)};
    return true;
}
