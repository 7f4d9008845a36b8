/* The usual way of a packet whose connection is known, inline: checks, TCP, counting, rewriting, queueing. Compiled
 * twice, as all that includes run.h. */
#ifndef DSN_PATH_WAY_H
#define DSN_PATH_WAY_H

#include "path/run.h"
#include "path/tcp.h"

#define dsn_follow_rarely DSN_TWICE(dsn_follow_rarely)
#define dsn_not_followed DSN_TWICE(dsn_not_followed)
#define dsn_wont_fit DSN_TWICE(dsn_wont_fit)
#define dsn_wait_for DSN_TWICE(dsn_wait_for)
#define dsn_decide_again DSN_TWICE(dsn_decide_again)
#define dsn_any_way DSN_TWICE(dsn_any_way)

/* established.c: what is rare. */
/* What dsn_follow_tcp() leaves: all that isn't the usual segment of an established connection. */
enum dsn_reason_number dsn_follow_rarely(struct dsn_shard *shard, const struct dsn_packet *packet, uint32_t ref);
/* What becomes of a segment that was refused for this reason: it is dropped, or takes its connection up anew. */
dsn_end dsn_not_followed(struct dsn_shard *shard, struct dsn_packet *packet, uint32_t ref,
                         enum dsn_reason_number reason);
/* Tells the sender, and the reason. */
enum dsn_reason_number dsn_wont_fit(struct dsn_shard *shard, const struct dsn_packet *packet,
                                    const struct dsn_ops *ops);
/* The neighbour's MAC isn't known. */
dsn_end dsn_wait_for(struct dsn_shard *shard, struct dsn_packet *packet, uint32_t neighbour);
/* Step 2. DSN_PASSED: it obeys the tables as they are now; else it was removed, or can't go on. */
enum dsn_reason_number dsn_decide_again(struct dsn_shard *shard, const struct dsn_packet *packet, uint32_t number);

/* dsn_way() for any op list. */
dsn_end dsn_any_way(struct dsn_shard *shard, struct dsn_packet *packet, uint32_t ref, const struct dsn_ops *ops);

/* Most commits concern few connections: that this is none of them is told by the session alone, since a look into the
 * stamps needs both lines, of which a packet meets one. Without branches: under a stream of commits any of them would
 * be guessed wrong as often as not. False: dsn_decide_again() says. */
static inline bool dsn_is_as_decided(const struct dsn_shard *shard, struct dsn_session *session) {
    uint64_t age = shard->generation - session->generation;
    bool touched = dsn_touches(&shard->since[age % DSN_LATEST], session->touch_a, session->touch_b);
    if (unlikely((age >= DSN_LATEST) | (session->network ^ shard->network) | touched))
        return false;
    session->generation = shard->generation;
    return true;
}

/* Steps 4 and 5. */
static inline enum dsn_reason_number dsn_check_size(struct dsn_shard *shard, const struct dsn_packet *p,
                                                    const struct dsn_ops *ops, uint32_t bits) {
    if (unlikely((bits & DSN_OP_DROP) || ((bits & DSN_OP_REWRITE_TTL) && p->ttl <= 1) || dsn_ip_length(p) > ops->mtu))
        return dsn_wont_fit(shard, p, ops);
    return DSN_PASSED;
}

/* Steps 3 to 5. */
static inline enum dsn_reason_number dsn_check(struct dsn_shard *shard, const struct dsn_packet *p,
                                               const struct dsn_ops *ops, uint32_t bits) {
    if ((bits & DSN_OP_CHECK_SOURCE_MAC) && unlikely(dsn_mac(p->frame + 6) != p->vnic->mac))
        return DSN_REASON_SPOOFED_MAC;
    if ((bits & DSN_OP_CHECK_DESTINATION_MAC) && dsn_mac(p->frame) != dsn_mac(ops->check_mac))
        return DSN_REASON_MAC_MISMATCH;
    return dsn_check_size(shard, p, ops, bits);
}

/* Segments of an established connection that turn nothing. */
static inline bool dsn_is_usual_tcp(const struct dsn_session *session, const struct dsn_packet *p) {
    return session->tcp == DSN_TCP_ESTABLISHED && !(p->tcp_flags & (DSN_TCP_FIN | DSN_TCP_SYN | DSN_TCP_RST));
}

static inline enum dsn_reason_number dsn_follow_tcp(struct dsn_shard *shard, const struct dsn_packet *p, uint32_t ref) {
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    if (likely(dsn_is_usual_tcp(session, p) &&
               dsn_tcp_usual(&shard->flows.windows[ref >> 1], dsn_payload(p), p->frame + p->end, ref & 1))) {
        DSN_STEP(shard, DSN_STEP_STATE, -1, dsn_ref_rest(&shard->flows, ref)->id, session->tcp);
        return DSN_PASSED;
    }
    return dsn_follow_rarely(shard, p, ref);
}

static inline void dsn_decrement_ttl(const struct dsn_packet *p) {
    uint8_t *ip = p->frame + p->ip;
    if (p->version == 6) {
        ip[7]--;
        return;
    }
    /* TTL, protocol and checksum as one little-endian word. RFC 1624 (eqn. 3): ~m + m' of a word less 0x100 is 0xfeff,
     * here with its bytes turned round, which such sums don't mind (RFC 1071 2 (B)). */
    uint32_t word;
    memcpy(&word, ip + 8, 4);
    uint32_t sum = (word >> 16 ^ 0xffff) + 0xfffe;
    sum += sum >> 16;
    word = ((word & 0xffff) - 1) | ~sum << 16;
    memcpy(ip + 8, &word, 4);
}

/* Step 7. `bits`: ops->ops, as far as the caller knows them. */
static __rte_always_inline dsn_end dsn_send(struct dsn_shard *shard, struct dsn_packet *p, const struct dsn_ops *ops,
                                            uint32_t bits) {
    uint64_t destination = dsn_mac(ops->destination);
    struct rte_mbuf *mbuf = p->mbuf;
    if (bits & DSN_OP_REWRITE_TTL)
        dsn_decrement_ttl(p);
    if (bits & DSN_OP_NEIGHBOUR) {
        struct dsn_neighbour *one = &shard->neighbours.neighbour[ops->neighbour];
        if (unlikely(one->state != DSN_NEIGHBOUR_REACHABLE && one->state != DSN_NEIGHBOUR_PROBE))
            return dsn_wait_for(shard, p, ops->neighbour);
        if (!one->used)
            one->used = true;
        destination = dsn_mac(one->mac);
    }
    unsigned size = bits & DSN_OP_PUSH ? 18 : 14;
    if (unlikely(mbuf->data_off + p->ip < size))
        return dsn_dropped(DSN_REASON_PORT_FULL); /* a port that leaves no room before frames */
    uint8_t *frame = p->frame + p->ip - size;
    if (bits & DSN_OP_REWRITE_MACS) {
        uint16_t source;
        memcpy(&source, ops->source, 2);
        destination |= (uint64_t)source << 48;
        memcpy(frame, &destination, 8);
        memcpy(frame + 8, ops->source + 2, 4);
    } else if (frame != p->frame) {
        memmove(frame, p->frame, 12);
    }
    if (bits & DSN_OP_PUSH) { /* the EtherType stands before the IP header already */
        dsn_put16(frame + 12, DSN_TYPE_VLAN);
        dsn_put16(frame + 14, ops->push);
    }
    mbuf->data_off = (uint16_t)(mbuf->data_off + p->ip - size);
    mbuf->pkt_len = size + dsn_ip_length(p);
    mbuf->data_len = (uint16_t)mbuf->pkt_len;
    enum dsn_reason_number reason = dsn_transmit(shard, p->vnic->slot, ops->egress, ops->port, mbuf);
    if (unlikely(reason != DSN_PASSED))
        return dsn_dropped(reason);
    DSN_STEP(shard, DSN_STEP_SEND, DSN_TABLE_VNIC, ops->egress_id, 0);
    return bits & DSN_OP_PUNT ? DSN_PUNT : DSN_FORWARD;
}

/* The packet is its connection's: it counts and goes. */
static __rte_always_inline dsn_end dsn_go(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref,
                                          const struct dsn_ops *ops, uint32_t bits, const struct dsn_meter *meter) {
    struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    if (bits & DSN_OP_METER)
        dsn_meter_take(shard, meter);
    if (likely(session->tcp != DSN_TCP_CLOSED)) /* who is closed has his time-out from then on */
        session->last_ns = shard->now;
    if (unlikely(dsn_session_turns(session, ref & 1)))
        dsn_connection_turns(shard, ref);
    dsn_count(session, p, ref & 1);
    return dsn_send(shard, p, ops, bits);
}

/* Steps 3 to 7. */
static __rte_always_inline dsn_end dsn_way(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref,
                                           const struct dsn_ops *ops, uint32_t bits) {
    const struct dsn_session *session = &dsn_ref_connection(&shard->flows, ref)->session;
    enum dsn_reason_number reason = dsn_check(shard, p, ops, bits);
    struct dsn_meter meter;
    if (unlikely(reason != DSN_PASSED))
        return dsn_dropped(reason);
    if ((bits & DSN_OP_METER) && !dsn_meter_may(shard, p, session, ref & 1, &meter))
        return dsn_dropped(DSN_REASON_PUNT_LIMIT);
    if (bits & DSN_OP_TRACK) {
        if (unlikely(dsn_is_bare_syn(p)) && (session->tcp == DSN_TCP_TIME_WAIT || session->tcp == DSN_TCP_CLOSED))
            return dsn_first_packet_anew(shard, p, ref);
        reason = dsn_follow_tcp(shard, p, ref);
        if (unlikely(reason != DSN_PASSED))
            return dsn_not_followed(shard, p, ref, reason);
    }
    return dsn_go(shard, p, ref, ops, bits, &meter);
}

static __rte_always_inline dsn_end dsn_established(struct dsn_shard *shard, struct dsn_packet *p, uint32_t ref) {
    struct dsn_connection *c = dsn_ref_connection(&shard->flows, ref);
    const struct dsn_line *line = dsn_line(c, ref & 1);
    shard->meeting = ref;
    DSN_STEP(shard, DSN_STEP_FLOW, -1, dsn_ref_rest(&shard->flows, ref)->id, ref & 1);
    if (unlikely(!dsn_is_as_decided(shard, &c->session))) {
        enum dsn_reason_number reason = dsn_decide_again(shard, p, ref >> 1);
        if (reason != DSN_PASSED)
            return dsn_dropped(reason);
        if (!dsn_key_equal(&line->key, &p->key)) /* replies come from elsewhere now */
            return dsn_first_packet(shard, p);
    }
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, line->ops);
    if (likely((ops->ops & (DSN_OPS_USUAL | DSN_OPS_RARE)) == DSN_OPS_USUAL))
        return dsn_way(shard, p, ref, ops, (ops->ops & ~(DSN_OPS_USUAL | DSN_OPS_RARE)) | DSN_OPS_USUAL);
    return dsn_any_way(shard, p, ref, ops);
}

#endif
