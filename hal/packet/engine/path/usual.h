/* The way that almost all packets take, in as few steps as there can be: plain ones (path/plain.h) of living, up to
 * date connections whose op list is the usual one (path/ops.h), to a port that is up. It looks first and changes
 * nothing before it is sure; where it isn't, path/way.h does all of it, in words that are easier to hold against
 * docs/forwarding.md.
 *
 * What follows from an op list alone is worked out once for a train of packets that have it, all that follow each
 * other: a burst of a port mostly leaves by one other. Nobody else changes anything meanwhile: whatever isn't of the
 * usual way ends the train. */
#ifndef DSN_PATH_USUAL_H
#define DSN_PATH_USUAL_H

#include "path/way.h"

/* What all packets with one op list have in common, and how many of them went. */
struct dsn_train {
    uint32_t ops;    /* the list's number; 0: none */
    uint32_t egress; /* slot */
    uint8_t least;   /* enum dsn_packet_state of whom it fits */
    bool tracked;    /* follows TCP */
    uint16_t mtu;
    uint32_t room;           /* in the queue */
    struct rte_mbuf **queue; /* where its packets go on */
    struct dsn_tx *tx;
    struct dsn_neighbour *neighbour; /* that they go to, or NULL */
    uint64_t macs;                   /* first eight bytes of the frame */
    uint32_t source_end;             /* and the next four */
    uint32_t packets;
    uint64_t bytes;
};

/* Accounts for the packets so far. */
static inline void dsn_train_end(struct dsn_train *train) {
    if (train->packets > 0) {
        dsn_tx_add(train->tx, train->egress, train->packets, train->bytes);
        if (train->neighbour != NULL)
            train->neighbour->used = true;
    }
    train->ops = 0;
    train->packets = 0;
    train->bytes = 0;
    train->least = DSN_STATE_PLAIN;
}

/* Another train begins, with this op list; false: it isn't a usual one, or can't be followed now. */
static __rte_noinline bool dsn_train_begin(struct dsn_shard *shard, struct dsn_train *train, uint32_t number) {
    const struct dsn_ops *ops = dsn_ops_at(&shard->ops, number);
    uint64_t destination = dsn_mac(ops->destination);
    uint16_t source;
    dsn_train_end(train);
    if ((ops->ops & (DSN_OPS_USUAL | DSN_OPS_RARE)) != DSN_OPS_USUAL || ops->port == DSN_NO_PORT ||
        !atomic_load_explicit(&shard->config.ports[ops->port]->up, memory_order_relaxed))
        return false;
    train->neighbour = NULL;
    if (ops->ops & DSN_OP_NEIGHBOUR) {
        struct dsn_neighbour *one = &shard->neighbours.neighbour[ops->neighbour];
        if (one->state != DSN_NEIGHBOUR_REACHABLE && one->state != DSN_NEIGHBOUR_PROBE)
            return false;
        destination = dsn_mac(one->mac);
        train->neighbour = one;
    }
    memcpy(&source, ops->source, 2);
    memcpy(&train->source_end, ops->source + 2, 4);
    train->macs = destination | (uint64_t)source << 48;
    train->egress = ops->egress;
    train->least = ops->ops & DSN_OP_CHECK_SOURCE_MAC ? DSN_STATE_PLAIN_OWN : DSN_STATE_PLAIN;
    train->tracked = ops->ops & DSN_OP_TRACK;
    train->mtu = ops->mtu;
    train->tx = &shard->tx[ops->port];
    train->queue = train->tx->packets + train->tx->count;
    train->room = (uint32_t)RTE_DIM(train->tx->packets) - train->tx->count;
    train->ops = number;
    return true;
}

#ifdef DSN_WITNESS
/* A witness is told each step: all packets go the long way. */
static inline bool dsn_usual_way(struct dsn_shard *shard, const struct dsn_packet *p, struct dsn_train *train) {
    (void)shard, (void)p, (void)train, (void)dsn_train_begin;
    return false;
}
#else
/* Sends the packet, or leaves it as it is: then nothing has changed. */
static __rte_always_inline bool dsn_usual_way(struct dsn_shard *shard, const struct dsn_packet *p,
                                              struct dsn_train *train) {
    struct dsn_connection *c = dsn_ref_connection(&shard->flows, p->ref); /* the 0th record's lines fit no packet */
    const struct dsn_line *line = dsn_line(c, p->ref & 1);
    struct dsn_session *session = &c->session;
    uint64_t now = shard->now;
    if (unlikely(p->state < DSN_STATE_PLAIN || !dsn_key_equal(&line->key, &p->key) ||
                 now - session->last_ns >= DSN_SHORTEST_TIMEOUT || !dsn_is_as_decided(shard, session)))
        return false;
    if (unlikely(line->ops != train->ops) && !dsn_train_begin(shard, train, line->ops))
        return false;
    unsigned size = p->end - 14u, reply = p->ref & 1;
    if (unlikely(p->state < train->least || p->ttl <= 1 || size > train->mtu || train->packets == train->room))
        return false;
    if (unlikely(dsn_session_turns(session, reply)))
        return false;
    if (unlikely(train->tracked) && /* not that it is seldom: out of the way of those that aren't */
        !(dsn_is_usual_tcp(session, p) &&
          dsn_tcp_usual(&shard->flows.windows[p->ref >> 1], dsn_payload(p), p->frame + p->end, reply)))
        return false;
    struct rte_mbuf *mbuf = p->mbuf;
    session->last_ns = now;
    session->packets[reply]++;
    session->bytes[reply] += size;
    dsn_decrement_ttl(p);
    memcpy(p->frame, &train->macs, 8);
    memcpy(p->frame + 8, &train->source_end, 4);
    if (unlikely(p->end != p->length)) { /* padding behind it stays here */
        mbuf->data_len = p->end;
        mbuf->pkt_len = p->end;
    }
    dsn_mark(mbuf, p->vnic->slot, train->egress);
    train->bytes += p->end;
    train->queue[train->packets++] = mbuf;
    return true;
}

#endif

#endif
