/* First packets that wait: in their order, vNICs in turn, those that uplinks bring and all others by turns, whatever is
 * taken out in between; and at a cost that doesn't depend on how many vNICs wait. */
#include "path/tests/many.h"

#include <rte_cycles.h>
#include <stdio.h>
#include <string.h>

#define TRIES 50

static struct rte_mbuf mbufs[DSN_FIRSTS_WAITING];

struct waiting { /* as plainly as can be: what came, in the order in which it did */
    uint32_t vnic, connection;
    const struct rte_mbuf *mbuf;
};

static struct dsn_packet packet(const struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t connection,
                                struct rte_mbuf *mbuf) {
    struct dsn_packet p = {.mbuf = mbuf, .vnic = vnic};
    p.key = (struct dsn_flow_key){.scope = 1, .vrf = vnic->id, .protocol = DSN_UDP};
    memcpy(p.key.source, &connection, sizeof(connection));
    p.hash = dsn_flows_hash(&shard->flows, &p.key);
    return p;
}

/* Odd ones are uplinks. */
static bool is_outside(uint32_t vnic) {
    return vnic % 2;
}

static bool put(struct dsn_shard *shard, uint32_t vnic, uint32_t connection, struct rte_mbuf *mbuf) {
    static const struct dsn_root root;
    const struct dsn_vnic from = {
        .id = vnic,
        .role = is_outside(vnic) ? DSN_VNIC_ROLE_UPLINK : DSN_VNIC_ROLE_VNIC,
    };
    struct dsn_packet p = packet(shard, &from, connection, mbuf);
    shard->root = &root;
    for (unsigned i = 0; i < DSN_FIRSTS_WHOM; i++) /* no tables are asked here */
        shard->firsts.whom[i] = (struct dsn_firsts_whom){.from = &from, .whom.vnic = &from};
    return dsn_firsts_put(shard, &p) == DSN_PASSED;
}

static uint32_t find(const struct dsn_shard *shard, uint32_t vnic, uint32_t connection) {
    const struct dsn_vnic from = {.id = vnic};
    struct dsn_packet p = packet(shard, &from, connection, NULL);
    return dsn_firsts_find(&shard->firsts, &p.key, p.hash);
}

/* Each vNIC has a packet, and each has its turn. Cycles a packet, of the best of some tries. */
static uint64_t cost(struct dsn_shard *shard, uint32_t vnics) {
    uint64_t best = UINT64_MAX;
    shard->firsts.latest = 0; /* the first vNIC is an uplink, whose turn it is behind that */
    for (unsigned i = 0; i < TRIES; i++) {
        for (uint32_t vnic = 1; vnic <= vnics; vnic++)
            CHECK(put(shard, vnic, 7, &mbufs[vnic - 1]));
        uint64_t began = rte_rdtsc();
        for (uint32_t vnic = 1; vnic <= vnics; vnic++)
            CHECK(dsn_firsts_take(shard, dsn_firsts_next(shard)) == &mbufs[vnic - 1]);
        best = RTE_MIN(best, (rte_rdtsc() - began) / vnics);
        CHECK(shard->firsts.count == 0 && shard->firsts.by_uplinks == 0 && shard->firsts.latest == 0);
        for (unsigned outside = 0; outside < 2; outside++)
            CHECK(shard->firsts.ring[outside].turn == 0 && shard->firsts.ring[outside].last == 0);
    }
    return best;
}

/* Takes the first that waits of a connection out of the plain list. */
static const struct rte_mbuf *out(struct waiting *list, uint32_t *count, uint32_t vnic, uint32_t connection) {
    for (uint32_t i = 0; i < *count; i++) {
        if (list[i].vnic != vnic || list[i].connection != connection)
            continue;
        const struct rte_mbuf *mbuf = list[i].mbuf;
        memmove(&list[i], &list[i + 1], (--*count - i) * sizeof(*list));
        return mbuf;
    }
    return NULL;
}

static bool has(const struct waiting *list, uint32_t count, uint32_t vnic) {
    for (uint32_t i = 0; i < count; i++)
        if (list[i].vnic == vnic)
            return true;
    return false;
}

#define VNICS 6
#define CONNECTIONS 5
#define MOST 60

/* Turns as two plain queues of vNICs, of uplinks and of all others, by turns where there is somebody in both; who gets
 * its first packet is last in his, and so is who has had a turn. */
static void as_plainly(struct dsn_shard *shard) {
    struct waiting list[MOST];
    uint32_t turn[2][VNICS + 1], turns[2] = {0}, count = 0, step = 12345, taken = 0, ended = 0;
    bool outside = false;
    for (unsigned i = 0; i < 200000; i++) {
        step = step * 1664525 + 1013904223; /* Numerical Recipes: the same at each run */
        uint32_t vnic = step / 7 % VNICS + 1, connection = step / 61 % CONNECTIONS, what = step / 401 % 7;
        struct rte_mbuf *mbuf = &mbufs[i % DSN_FIRSTS_WAITING];
        if (what < 3 && count < MOST && put(shard, vnic, connection, mbuf)) {
            if (!has(list, count, vnic))
                turn[is_outside(vnic)][turns[is_outside(vnic)]++] = vnic;
            list[count++] = (struct waiting){vnic, connection, mbuf};
            continue;
        }
        if (count == 0)
            continue;
        uint32_t number;
        if (what < 6) { /* its turn: the oldest connection of that vNIC */
            outside = turns[!outside] > 0 ? !outside : outside;
            uint32_t *ring = turn[outside], last = turns[outside] - 1;
            vnic = ring[0];
            memmove(ring, ring + 1, last * sizeof(*ring));
            ring[last] = vnic;
            number = dsn_firsts_next(shard);
            for (uint32_t at = 0; at < count; at++)
                if (list[at].vnic == vnic) {
                    connection = list[at].connection;
                    break;
                }
            CHECK(number == find(shard, vnic, connection));
        } else { /* replies were met: whichever it is */
            number = find(shard, vnic, connection);
        }
        for (bool more = number != 0; more; taken++) { /* all of it goes together */
            const struct rte_mbuf *wanted = out(list, &count, vnic, connection);
            CHECK(dsn_firsts_take(shard, number) == wanted);
            number = find(shard, vnic, connection);
            more = number != 0;
        }
        CHECK(out(list, &count, vnic, connection) == NULL);
        if (has(list, count, vnic))
            continue;
        uint32_t *ring = turn[is_outside(vnic)], *in = &turns[is_outside(vnic)];
        for (uint32_t at = 0; at < *in; at++)
            if (ring[at] == vnic) {
                memmove(ring + at, ring + at + 1, (--*in - at) * sizeof(*ring));
                ended++;
                break;
            }
    }
    printf("%u packets taken, %u times the last of its vNIC\n", taken, ended);
    CHECK(taken > 50000 && ended > 5000);
    while (shard->firsts.count > 0)
        dsn_firsts_take(shard, dsn_firsts_next(shard));
}

/* However many uplinks bring more than may wait, half of all places are for others; one of these has a quarter. */
static void outside_leaves_room(struct dsn_shard *shard) {
    uint32_t got[2] = {0}, least = UINT32_MAX;
    for (uint32_t vnic = 1; vnic < 2000; vnic += 2) {
        uint32_t some = 0;
        while (put(shard, vnic, some, &mbufs[0]))
            some++;
        got[0] += some;
        least = vnic < 10 ? RTE_MIN(least, some) : least;
    }
    CHECK(got[0] == DSN_FIRSTS_OUTSIDE && least > 0 && dsn_firsts_most(&shard->firsts, true) == 0);
    while (put(shard, 2, got[1], &mbufs[0]))
        got[1]++;
    CHECK(got[1] == DSN_FIRSTS_EACH);
    while (shard->firsts.count > 0)
        dsn_firsts_take(shard, dsn_firsts_next(shard));
}

int main(void) {
    struct dsn_shard *shard = shard_of_many(8, DSN_SECOND);
    as_plainly(shard);
    outside_leaves_room(shard);
    uint64_t few = cost(shard, 64), many = cost(shard, DSN_FIRSTS_WAITING);
    printf("%ju cycles a packet of 64 vNICs, %ju of %d\n", few, many, DSN_FIRSTS_WAITING);
    CHECK(many < 8 * few); /* caches; a walk over all of them were 32 times as much */
    dsn_shard_destroy(shard);
    return 0;
}
