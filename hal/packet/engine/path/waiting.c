#include "path/waiting.h"

#include "path/answers.h"
#include "path/shard.h"

/* What waits may be pushed out by its own share after this long: an answer takes milliseconds. So of a scan no more
 * than DSN_WAITING_EACH requests go out in it. */
#define PATIENCE (32 * DSN_SECOND / 1000)

/* --- places: in the queue of a neighbour, and in its share by age --- */

static void enter(struct dsn_shard *shard, uint32_t number, const struct dsn_waiting *packet) {
    struct dsn_neighbours *n = &shard->neighbours;
    struct dsn_neighbour *one = &n->neighbour[number];
    struct dsn_vnic_state *state = &shard->vnics.state[packet->share];
    uint16_t place = n->no_packet;
    if (place != 0)
        n->no_packet = n->packet[place].newer;
    else
        place = ++n->packets;
    n->packet[place] = *packet;
    n->packet[place].older = state->newest;
    if (state->newest != 0)
        n->packet[state->newest].newer = place;
    else
        state->oldest = place;
    state->newest = place;
    state->waiting++;
    one->queue[one->queued++] = place;
    n->waiting++;
}

/* It is in its neighbour's queue still. Its mbuf is the caller's from now on. */
static struct dsn_waiting leave(struct dsn_shard *shard, uint16_t place) {
    struct dsn_neighbours *n = &shard->neighbours;
    struct dsn_waiting packet = n->packet[place];
    struct dsn_vnic_state *state = &shard->vnics.state[packet.share];
    if (packet.older != 0)
        n->packet[packet.older].newer = packet.newer;
    else
        state->oldest = packet.newer;
    if (packet.newer != 0)
        n->packet[packet.newer].older = packet.older;
    else
        state->newest = packet.older;
    state->waiting--;
    n->waiting--;
    n->packet[place] = (struct dsn_waiting){.newer = n->no_packet};
    n->no_packet = place;
    return packet;
}

/* --- what becomes of those that wait --- */

void dsn_waiting_give_up(struct dsn_shard *shard, struct dsn_neighbour *one, bool tell) {
    uint8_t count = one->queued;
    one->queued = 0;
    for (uint8_t i = 0; i < count; i++) {
        struct dsn_waiting packet = leave(shard, one->queue[i]);
        const struct dsn_vnic *vnic = dsn_vnic_by_id(shard->root, shard->vnics.state[packet.share].id);
        if (tell && vnic != NULL)
            dsn_tell_unreachable(shard, vnic, packet.mbuf);
        dsn_count_lost(shard, packet.vnic, DSN_REASON_NEIGHBOUR_UNRESOLVED);
        rte_pktmbuf_free(packet.mbuf);
    }
}

void dsn_waiting_send(struct dsn_shard *shard, struct dsn_neighbour *one, const struct dsn_vnic *uplink) {
    uint8_t count = one->queued, source[6];
    one->queued = 0;
    memcpy(source, &uplink->mac, 6);
    for (uint8_t i = 0; i < count; i++) {
        struct dsn_waiting packet = leave(shard, one->queue[i]);
        struct dsn_packet p = {.frame = rte_pktmbuf_mtod(packet.mbuf, uint8_t *), .length = packet.mbuf->data_len};
        enum dsn_reason_number reason = DSN_REASON_PORT_FULL;
        (void)dsn_parse_ethernet(&p); /* it passed once */
        rte_pktmbuf_adj(packet.mbuf, p.ip);
        if (dsn_put_ethernet(packet.mbuf, one->mac, source, uplink->vlan, p.ethertype))
            reason = dsn_transmit(shard, packet.vnic, uplink->slot, dsn_port_index(shard, uplink->port), packet.mbuf);
        if (reason == DSN_PASSED)
            continue;
        dsn_count_drop(shard, packet.vnic, reason);
        rte_pktmbuf_free(packet.mbuf);
    }
}

/* Who goes of a full queue where one more comes of this share: the oldest (RFC 4861 7.2.2) of those that would have
 * most there, so that a flood pushes out nothing but its own. */
static uint16_t last_in(const struct dsn_neighbours *n, const struct dsn_neighbour *one, uint32_t share) {
    uint8_t last = 0, most = 0;
    for (uint8_t i = 0; i < one->queued; i++) {
        uint32_t its = n->packet[one->queue[i]].share;
        uint8_t count = its == share;
        for (uint8_t k = 0; k < one->queued; k++)
            count = (uint8_t)(count + (n->packet[one->queue[k]].share == its));
        if (count > most) {
            most = count;
            last = i;
        }
    }
    return one->queue[last];
}

/* It waits no more, as another packet is to wait for `instead`. A neighbour for which none waits any more is forgotten,
 * but a next hop: what a scan asks for stays as little as what may wait. */
static void push_out(struct dsn_shard *shard, uint16_t place, enum dsn_reason_number reason, uint32_t instead) {
    struct dsn_waiting packet = leave(shard, place);
    struct dsn_neighbour *one = &shard->neighbours.neighbour[packet.neighbour];
    uint8_t i = 0;
    while (one->queue[i] != place)
        i++;
    for (one->queued--; i < one->queued; i++)
        one->queue[i] = one->queue[i + 1];
    dsn_count_lost(shard, packet.vnic, reason);
    rte_pktmbuf_free(packet.mbuf);
    if (one->queued == 0 && packet.neighbour != instead && !dsn_neighbour_is_next_hop(shard, one))
        dsn_neighbour_forget(shard, packet.neighbour);
}

/* Does the oldest go of a full share, so that this neighbour is asked for? Where that is a next hop at once: of these
 * there are few, and who is flooded has to find his. Of a copied shard the packets aren't there. */
static bool makes_way(const struct dsn_shard *shard, uint16_t oldest, const struct dsn_neighbour *one, uint64_t now) {
    return oldest == 0 || now - shard->neighbours.packet[oldest].since >= PATIENCE ||
           dsn_neighbour_is_next_hop(shard, one);
}

enum dsn_reason_number dsn_neighbour_wait(struct dsn_shard *shard, uint32_t number, struct rte_mbuf *packet,
                                          uint32_t vnic, uint64_t now) {
    const struct dsn_neighbours *n = &shard->neighbours;
    const struct dsn_neighbour *one = &n->neighbour[number];
    if (one->state == DSN_NEIGHBOUR_FAILED)
        return DSN_REASON_NEIGHBOUR_UNRESOLVED;
    const struct dsn_vnic *from = dsn_vnic_at(shard->root, vnic);
    uint32_t share = dsn_vnic_state(&shard->vnics, from->id);
    const struct dsn_vnic_state *state = &shard->vnics.state[share];
    if (share == 0)
        return DSN_REASON_NEIGHBOUR_QUEUE_LIMIT;
    bool is_new = one->state == DSN_NEIGHBOUR_NONE, full = one->queued >= DSN_NEIGHBOUR_QUEUE;
    uint16_t last = full ? last_in(n, one, share) : 0, own = 0;
    if ((!full || n->packet[last].share != share) && state->waiting >= DSN_WAITING_EACH) {
        own = state->oldest;
        if (!makes_way(shard, own, one, now)) {
            dsn_neighbours_are_limited(shard, DSN_LIMIT_WAITING, share, from);
            return DSN_REASON_NEIGHBOUR_QUEUE_LIMIT;
        }
    } else if (!full && n->waiting >= (state->waiting > 0 ? DSN_WAITING : DSN_WAITING_MOST)) {
        return DSN_REASON_NEIGHBOUR_QUEUE_FULL;
    }
    enum dsn_reason_number reason = is_new ? dsn_neighbour_may_begin(shard, share, from) : DSN_PASSED;
    if (reason != DSN_PASSED)
        return reason;
    if (own != 0) {
        dsn_neighbours_are_limited(shard, DSN_LIMIT_WAITING, share, from);
        push_out(shard, own, DSN_REASON_NEIGHBOUR_QUEUE_LIMIT, number);
    }
    if (is_new)
        dsn_neighbour_begin(shard, number, share, now);
    if (one->queued >= DSN_NEIGHBOUR_QUEUE)
        push_out(shard, last, DSN_REASON_NEIGHBOUR_QUEUE_FULL, number);
    enter(shard, number,
          &(struct dsn_waiting){.mbuf = packet, .since = now, .vnic = vnic, .share = share, .neighbour = number});
    return DSN_PASSED;
}
