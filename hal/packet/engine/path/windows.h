/* What bounds a TCP connection's two sides, and what a segment may say to it: for handshake.c and tcp.c. Roman numbers
 * are those of docs/tracking.md, *TCP*. */
#ifndef DSN_PATH_WINDOWS_H
#define DSN_PATH_WINDOWS_H

#include "path/tcp.h"

#include <rte_common.h>

#define DSN_TCP_LARGEST_WINDOW (UINT32_C(1) << 30) /* RFC 7323 2.3 */
#define DSN_TCP_HANDSHAKE (DSN_TCP_BARE | DSN_TCP_ACKED_A | DSN_TCP_ACKED_B)

/* --- what stands in a segment --- */

static inline bool is(const struct dsn_tcp_segment *s, unsigned flags) {
    return s->flags & flags;
}

static inline uint32_t end_of(const struct dsn_tcp_segment *s) {
    return s->seq + s->length;
}

static inline bool holds_data(const struct dsn_tcp_segment *s) {
    return s->length > (unsigned)is(s, DSN_TCP_SYN) + is(s, DSN_TCP_FIN);
}

/* --- windows (RFC 7323 2) --- */

/* Of a side; 0 unless both have offered one (2.2). */
static inline unsigned scale_of(const struct dsn_windows *w, unsigned side) {
    return (w->flags & DSN_TCP_OFFERED) == DSN_TCP_OFFERED ? w->scale >> 4 * side & 15 : 0;
}

static inline uint32_t most_of(const struct dsn_windows *w, unsigned side) {
    return (uint32_t)w->most[side] << scale_of(w, side);
}

/* Behind SYN_SENT, two answers settled. Of what was picked up nothing is known: as large as can be. */
static inline uint32_t largest_of(const struct dsn_windows *w, unsigned side) {
    return w->flags & DSN_TCP_PICKED_UP ? (uint32_t)UINT16_MAX << DSN_TCP_MOST_SCALE : most_of(w, side);
}

/* Behind SYN_SENT: B has said nothing that is known. */
static inline bool is_unheard(const struct dsn_windows *w) {
    return w->most[1] == 0 && !(w->flags & DSN_TCP_PICKED_UP);
}

/* A window in bytes, in units of the side's scale. */
static inline uint16_t units_of(const struct dsn_windows *w, unsigned side, uint32_t bytes) {
    unsigned scale = scale_of(w, side);
    uint32_t units = (bytes + (1u << scale) - 1) >> scale;
    return (uint16_t)RTE_MAX(RTE_MIN(units, (uint32_t)UINT16_MAX), 1u);
}

static inline void take_offer(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    unsigned flag = s->side == 0 ? DSN_TCP_OFFERED_A : DSN_TCP_OFFERED_B, shift = 4u * s->side;
    unsigned scale = s->offer >= 0 ? (unsigned)s->offer : 0;
    w->flags = (uint8_t)((w->flags & ~flag) | (s->offer >= 0 ? flag : 0));
    w->scale = (uint8_t)((w->scale & ~(15u << shift)) | scale << shift);
}

/* What its sender has sent, and the largest window that it has said. A window in a SYN is never scaled (RFC 7323
 * 2.2). */
static inline void advertise(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    uint16_t window = is(s, DSN_TCP_SYN) ? units_of(w, s->side, s->window) : s->window;
    dsn_tcp_reach(w, s->side, end_of(s));
    w->most[s->side] = RTE_MAX(w->most[s->side], window);
}

static inline void allow(struct dsn_windows *w, unsigned side, uint32_t limit) {
    w->side[side].limit = dsn_seq_later(w->side[side].limit, limit);
}

/* What its sender lets the other one send. */
static inline void grant(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    unsigned scale = is(s, DSN_TCP_SYN) ? 0 : scale_of(w, s->side);
    allow(w, !s->side, s->ack + ((uint32_t)s->window << scale));
}

/* The side has said what ends here, data or not. A FIN with something behind it, or data in its place, is none for its
 * receiver, and nobody's who said this (RFC 9293 3.10.7.4): if he hasn't acknowledged it, it is taken back. */
static inline void have_said(struct dsn_windows *w, unsigned side, uint32_t end, bool data) {
    uint32_t sent = w->side[side].end;
    if (!dsn_tcp_is_over(w, side) && (!dsn_seq_upto(end, sent) || (data && end == sent)))
        w->flags &= (uint8_t)~dsn_tcp_fin_of(side);
    dsn_tcp_reach(w, side, end);
}

/* A segment that isn't a SYN has passed. What it acknowledges was sent, though it may have gone another way, or before
 * the card was there; `una` is the caller's. A FIN in front of what was sent, or acknowledged before it came, is none.
 * `opening`: `una` is still the ISS. */
static inline void record(struct dsn_windows *w, const struct dsn_tcp_segment *s, bool opening) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    have_said(w, s->side, end_of(s), holds_data(s) && !is(s, DSN_TCP_FIN));
    advertise(w, s);
    grant(w, s);
    have_said(w, !s->side, s->ack, false);
    if (is(s, DSN_TCP_FIN) && end_of(s) == sender->end && !dsn_seq_upto(sender->end, sender->una + opening))
        w->flags |= (uint8_t)dsn_tcp_fin_of(s->side);
}

static inline void acknowledge(struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    struct dsn_tcp_side *other = &w->side[!s->side];
    other->una = dsn_seq_later(other->una, s->ack);
}

/* What its sender may still say again, at the least: it needn't have heard what was acknowledged last, nor sent more
 * than a window behind that. (What was sent doesn't tell: probes and data in a SYN are bounded by no window.) */
static inline uint32_t oldest(const struct dsn_windows *w, unsigned side) {
    return w->side[side].una - largest_of(w, !side);
}

/* I. What holds no data may stand at the window's end, or behind what probed beyond it; data only in front of that end,
 * but for the probe of a window that is shut (RFC 9293 3.8.6.1). */
static inline bool begins_in_window(const struct dsn_tcp_side *sender, const struct dsn_tcp_segment *s) {
    if (!holds_data(s))
        return dsn_seq_upto(s->seq, dsn_seq_later(sender->limit, sender->end));
    bool shut = dsn_seq_upto(sender->limit, sender->una + 1);
    return dsn_seq_upto(s->seq + !shut, sender->limit);
}

/* All of it was acknowledged: its receiver, who waits for what comes behind, answers and looks at nothing that it says
 * (RFC 9293 3.10.7.4). So it opens no window, acknowledges nothing and ends nothing. */
static inline bool is_old(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    return !dsn_seq_upto(w->side[s->side].una, end_of(s));
}

/* I and II: it begins where its sender may send (RFC 9293 3.4), and isn't older than a window's worth. Nothing comes
 * behind a FIN that was acknowledged. */
static inline bool seq_fits(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *sender = &w->side[s->side];
    return begins_in_window(sender, s) && dsn_seq_upto(oldest(w, s->side), end_of(s)) &&
           (!dsn_tcp_is_over(w, s->side) || dsn_seq_upto(end_of(s), sender->end));
}

/* III and IV: it acknowledges what was sent, and nothing older than a window's worth (RFC 5961 5.2). */
static inline bool ack_fits(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *other = &w->side[!s->side];
    uint32_t most = w->flags & DSN_TCP_PICKED_UP ? dsn_seq_later(other->limit, other->end) : other->end;
    return dsn_seq_upto(s->ack, most) && dsn_seq_upto(other->una - largest_of(w, s->side), s->ack);
}

/* Of what the other side has sent, its SYN at least, while `una` is its ISS. */
static inline bool acks_syn(const struct dsn_windows *w, const struct dsn_tcp_segment *s) {
    const struct dsn_tcp_side *other = &w->side[!s->side];
    return s->ack != other->una && dsn_seq_upto(other->una, s->ack) && dsn_seq_upto(s->ack, other->end);
}

#endif
