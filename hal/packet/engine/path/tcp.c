/* TCP by RFC 9293 3.3.2 and 3.10.7, as far as somebody sees it who stands between the two, with RFC 5961's care for
 * what may be forged. Roman numbers are those of docs/tracking.md, *TCP*. */
#include "path/tcp.h"

#include "path/handshake.h"
#include "path/windows.h"

#include <rte_debug.h>

static unsigned doubted(unsigned side) {
    return side == 0 ? DSN_TCP_DOUBTED_A : DSN_TCP_DOUBTED_B;
}

/* Its receiver waits for what it acknowledged last, or for all that was sent: a RST with one of these numbers is exact
 * as far as a bystander can tell (RFC 5961 3.2). */
static bool is_exact(const struct dsn_session *session, const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    bool opening = session->tcp == DSN_TCP_SYN_RECEIVED;
    if (s->seq == sender->end || s->seq == sender->una + opening)
        return true;
    /* Of data in A's SYN any part may have been acknowledged (RFC 7413 4.2). */
    if (opening && s->side == 0)
        return dsn_seq_upto(sender->una + 1, s->seq) && dsn_seq_upto(s->seq, sender->end);
    /* B has forgotten its answer, and refuses A's SYN that comes again: from 0 on (RFC 9293 3.10.7.1). */
    return opening && s->side == 1 && is(s, DSN_TCP_ACK) && acks_syn(w, s);
}

/* CLOSED by this RST. Where it does not begin at the end of what was sent its receiver may have more, and so not
 * believe it; nor does who has the answer that it refuses. */
static __rte_cold void close_by(struct dsn_session *session, struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    bool alone = dsn_tcp_is_alone(session->tcp, w);
    w->flags = (uint8_t)((w->flags & ~DSN_TCP_HANDSHAKE) | (alone ? DSN_TCP_WAS_ALONE : 0));
    if (session->tcp == DSN_TCP_SYN_RECEIVED) {
        w->side[0].una++;
        w->side[1].una++;
        if ((w->flags & DSN_TCP_OFFERED) != DSN_TCP_OFFERED)
            w->scale = 0; /* the usual way asks no more whether both have offered one, should it go on */
        bool of_syn = s->side == 0 && dsn_seq_upto(sender->una, s->seq) && dsn_seq_upto(s->seq, sender->end);
        if (s->seq != sender->una && s->seq != sender->end && !of_syn)
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

/* A SYN+ACK once more, since what it was answered with was lost: its receiver has to say it again. The card can't in
 * its name: who has agreed on timestamps drops what has none (RFC 7323 3.2). Data behind it may have come through (RFC
 * 7413): then it is within the window of its number, that who repeats no more than this has. */
static bool is_handshake_again(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint32_t una = w->side[s->side].una, lowest = una - largest_of(w, !s->side);
    return is(s, DSN_TCP_ACK) && dsn_seq_upto(lowest, s->seq + 1) && dsn_seq_upto(s->seq + 1, una) && ack_fits(w, s);
}

static enum dsn_reason_number opening(struct dsn_session *session, struct dsn_windows *w,
                                      const struct dsn_tcp_segment *s, bool strict) {
    if (is(s, DSN_TCP_RST))
        return reset(session, w, s, strict);
    return is(s, DSN_TCP_SYN) ? dsn_tcp_syn_again(session, w, s) : dsn_tcp_half_way(session, w, s, strict);
}

/* SYN_RECEIVED. Where B answers from another number, the earlier one stays beside it until A says which it has
 * taken. */
static __rte_noinline enum dsn_reason_number received(struct dsn_session *session, struct dsn_windows *w,
                                                      const struct dsn_tcp_segment *s, bool strict) {
    struct dsn_windows now = *w;
    bool two = now.flags & DSN_TCP_TWO_ANSWERS, bare = now.flags & DSN_TCP_BARE;
    uint32_t earlier = two ? dsn_tcp_settle(&now) : 0;
    if (two && dsn_tcp_chooses(&now, s, earlier))
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
        now.side[1].earlier = earlier;
        now.flags |= DSN_TCP_TWO_ANSWERS;
    }
    *w = now;
    return DSN_PASSED;
}

/* Synchronized: the state that the FINs make. */
static uint8_t state_of(const struct dsn_windows *w) {
    switch (w->flags & DSN_TCP_BOTH_FINS) {
    case 0: return DSN_TCP_ESTABLISHED;
    case DSN_TCP_BOTH_FINS: /* do both know that all has come? */
        return dsn_tcp_is_over(w, 0) && dsn_tcp_is_over(w, 1) ? DSN_TCP_TIME_WAIT : DSN_TCP_CLOSING;
    default: return DSN_TCP_FIN_WAIT;
    }
}

/* CLOSED by a RST. Who didn't take it, since data is missing, asks with an ACK and gets one that is exact (RFC 5961
 * 3.2): that ACK moves `una`. Whom it never reached gets another for data, or a SYN+ACK (RFC 9293 3.10.7.1), that he
 * sends. A RST that isn't believed by its receiver, who has acknowledged more than its number, or was never sent by
 * whom it names, who goes on, has closed nothing. */
static enum dsn_reason_number closed(struct dsn_session *session, struct dsn_windows *w,
                                     const struct dsn_tcp_segment *s, bool strict) {
    uint32_t una = w->side[!s->side].una;
    bool refused = (w->flags & (DSN_TCP_REFUSED | DSN_TCP_PICKED_UP)) == DSN_TCP_REFUSED;
    if (is_unheard(w)) /* B has said nothing but that RST */
        return DSN_REASON_TCP_STATE;
    if (strict && s->picks_up && dsn_tcp_was_alone(session->tcp, w) && !is(s, DSN_TCP_SYN | DSN_TCP_RST))
        return DSN_REASON_TCP_WINDOW; /* taken up anew */
    if (is(s, DSN_TCP_SYN))
        return is_handshake_again(w, s) ? DSN_PASSED : DSN_REASON_TCP_STATE;
    if (strict && !(seq_fits(w, s) && (!is(s, DSN_TCP_ACK) || ack_fits(w, s))))
        return DSN_REASON_TCP_WINDOW;
    if (is(s, DSN_TCP_RST)) {
        if (s->seq == w->side[s->side].end)
            w->flags &= (uint8_t)~(DSN_TCP_DOUBTED | (refused ? DSN_TCP_REFUSED : 0));
        return DSN_PASSED;
    }
    if (strict && is_old(w, s))
        return DSN_PASSED;
    record(w, s, false);
    acknowledge(w, s);
    bool goes_on = w->side[!s->side].una != una || refused;
    if ((w->flags & doubted(s->side)) || ((w->flags & doubted(!s->side)) && goes_on)) {
        w->flags &= (uint8_t)~(DSN_TCP_DOUBTED | DSN_TCP_REFUSED);
        session->tcp = state_of(w);
    }
    return DSN_PASSED;
}

static enum dsn_reason_number follow(struct dsn_session *session, struct dsn_windows *w,
                                     const struct dsn_tcp_segment *s, bool strict) {
    if (session->tcp == DSN_TCP_SYN_SENT)
        return s->side == 0 ? dsn_tcp_initiator_again(session, w, s, strict)
                            : dsn_tcp_first_answer(session, w, s, strict);
    if (session->tcp == DSN_TCP_CLOSED)
        return closed(session, w, s, strict);
    if (session->tcp == DSN_TCP_SYN_RECEIVED)
        return received(session, w, s, strict);
    if (is(s, DSN_TCP_RST))
        return reset(session, w, s, strict);
    if (is(s, DSN_TCP_SYN)) { /* RFC 5961 4.2 */
        if (is_handshake_again(w, s))
            return DSN_PASSED;
        return dsn_tcp_is_asked_by_who_gets_it(w, s) ? dsn_tcp_let_ask(w, s) : DSN_REASON_TCP_CHALLENGED;
    }
    if (strict && !(seq_fits(w, s) && ack_fits(w, s)))
        return DSN_REASON_TCP_WINDOW;
    if (strict && is_old(w, s))
        return DSN_PASSED;
    record(w, s, false);
    acknowledge(w, s);
    w->flags &= (uint8_t)~(s->side == 0 ? DSN_TCP_ALONE_B : DSN_TCP_ALONE_A);
    session->tcp = state_of(w);
    return DSN_PASSED;
}

/* --- what a bit of `flags` says depends on the state --- */

#define OF_ALL DSN_TCP_OFFERED
#define OF_OPEN (OF_ALL | DSN_TCP_PICKED_UP)
#define OF_CALL (DSN_TCP_BEHIND | DSN_TCP_HEARD | DSN_TCP_FIRST_OFFERED | DSN_TCP_TWICE | DSN_TCP_ANSWERED)
#define OF_ANSWER (DSN_TCP_TWO_ANSWERS | DSN_TCP_BARE | DSN_TCP_ACKED_A | DSN_TCP_ACKED_B)
#define OF_END (DSN_TCP_REFUSED | DSN_TCP_DOUBTED)
_Static_assert(__builtin_popcount(DSN_TCP_OFFERED_A | OF_CALL) == 6, "SYN_SENT: no bit twice");
_Static_assert(__builtin_popcount(OF_ALL | OF_ANSWER) == 6, "SYN_RECEIVED: no bit twice");
_Static_assert(__builtin_popcount(OF_OPEN | DSN_TCP_BOTH_FINS | DSN_TCP_ALONE) == 7, "FIN_WAIT: no bit twice");
_Static_assert(__builtin_popcount(OF_OPEN | DSN_TCP_BOTH_FINS | OF_END) == 8, "CLOSED: no bit twice");
_Static_assert((DSN_TCP_ALONE & ~DSN_TCP_HANDSHAKE) == 0 && (OF_END & ~DSN_TCP_HANDSHAKE) == 0,
               "what a RST clears is what it sets, and who was alone");

#ifdef DSN_CHECKED
static const uint8_t may_have[] = {
    [DSN_TCP_SYN_SENT] = DSN_TCP_OFFERED_A | OF_CALL,
    [DSN_TCP_SYN_RECEIVED] = OF_ALL | OF_ANSWER,
    [DSN_TCP_ESTABLISHED] = OF_OPEN | DSN_TCP_ALONE,
    [DSN_TCP_FIN_WAIT] = OF_OPEN | DSN_TCP_BOTH_FINS | DSN_TCP_ALONE,
    [DSN_TCP_CLOSING] = OF_OPEN | DSN_TCP_BOTH_FINS,
    [DSN_TCP_TIME_WAIT] = OF_OPEN | DSN_TCP_BOTH_FINS,
    [DSN_TCP_CLOSED] = OF_OPEN | DSN_TCP_BOTH_FINS | OF_END,
};

static void check(const struct dsn_session *session, const struct dsn_windows *w) {
    if (session->tcp >= sizeof(may_have) || (w->flags & ~may_have[session->tcp]) != 0)
        rte_panic("TCP in state %u has flags 0x%x\n", session->tcp, w->flags);
}
#else
static inline void check(const struct dsn_session *session, const struct dsn_windows *w) {
    (void)session, (void)w;
}
#endif

enum dsn_reason_number dsn_tcp_follow(struct dsn_session *session, struct dsn_windows *w,
                                      const struct dsn_tcp_segment *s, bool strict) {
    check(session, w);
    enum dsn_reason_number reason = follow(session, w, s, strict);
    check(session, w);
    return reason;
}

bool dsn_tcp_usual(struct dsn_windows *w, const uint8_t *tcp, const uint8_t *end, unsigned side) {
    struct dsn_tcp_side *mine = &w->side[side], *other = &w->side[side ^ 1];
    uint32_t seq = dsn_be32(tcp + 4), ack = dsn_be32(tcp + 8), window = dsn_be16(tcp + 14);
    uint32_t behind = seq + (uint32_t)(end - tcp) - (tcp[12] >> 4) * 4u, most = w->most[side];
    /* I to IV: each of the differences is 0 or more, and none so large that it might as well be below 0. Windows
     * unscaled are as large or smaller, and who was picked up may acknowledge more than `end`: what is between is told
     * by the whole. */
    uint32_t alone = (uint32_t)(w->flags & DSN_TCP_ALONE) << 24; /* too much as well: the whole asks who is heard */
    uint32_t inside = alone | (mine->limit - seq - 1) | (behind - mine->end + w->most[side ^ 1]) | (other->end - ack) |
                      (ack - other->una + most);
    if (unlikely(inside >= DSN_TCP_LARGEST_WINDOW || !dsn_seq_upto(mine->una, behind)))
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
    uint32_t window = RTE_MIN((sender->limit - ack) >> scale_of(w, !side), (uint32_t)UINT16_MAX);
    if (!opening && (w->flags & DSN_TCP_PICKED_UP)) /* what is assumed was said by nobody */
        window = RTE_MIN(window, (uint32_t)w->most[!side]);
    *challenge = (struct dsn_tcp_segment){
        .seq = w->side[!side].end,
        .ack = ack,
        .window = (uint16_t)window,
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
        (void)dsn_tcp_settle(&settled);
        w = &settled;
    }
    if (side == 1 && (called || is_unheard(w)))
        return false;
    uint32_t una = w->side[side].una, end = w->side[side].end;
    if (called && (w->flags & DSN_TCP_TWICE) && dsn_seq_upto(w->side[1].first_iss, seq) &&
        dsn_seq_upto(seq, w->side[1].first_end))
        return true;
    uint32_t sent = dsn_seq_upto(w->side[side].limit, end) ? w->side[side].limit : end;
    bool late = !called && dsn_seq_upto(sent - largest_of(w, !side), seq);
    return dsn_seq_upto(seq, end) && (dsn_seq_upto(una, seq) || late);
}
