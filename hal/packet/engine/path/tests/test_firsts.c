/* First packets that wait: in their order, vNICs in turn, whatever is taken out in between; and at a cost that doesn't
 * depend on how many vNICs wait. */
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

static bool put(struct dsn_shard *shard, uint32_t vnic, uint32_t connection, struct rte_mbuf *mbuf) {
    const struct dsn_vnic from = {.id = vnic};
    struct dsn_packet p = packet(shard, &from, connection, mbuf);
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
    for (unsigned i = 0; i < TRIES; i++) {
        for (uint32_t vnic = 1; vnic <= vnics; vnic++)
            CHECK(put(shard, vnic, 7, &mbufs[vnic - 1]));
        uint64_t began = rte_rdtsc();
        for (uint32_t vnic = 1; vnic <= vnics; vnic++)
            CHECK(dsn_firsts_take(shard, dsn_firsts_next(shard)) == &mbufs[vnic - 1]);
        best = RTE_MIN(best, (rte_rdtsc() - began) / vnics);
        CHECK(shard->firsts.count == 0 && shard->firsts.turn == 0 && shard->firsts.last == 0);
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

/* Turns as a plain queue of vNICs; who gets its first packet is last in it, and so is who has had a turn. */
static void as_plainly(struct dsn_shard *shard) {
    struct waiting list[MOST];
    uint32_t turn[VNICS + 1], turns = 0, count = 0, step = 12345, taken = 0, ended = 0;
    for (unsigned i = 0; i < 200000; i++) {
        step = step * 1664525 + 1013904223; /* Numerical Recipes: the same at each run */
        uint32_t vnic = step / 7 % VNICS + 1, connection = step / 61 % CONNECTIONS, what = step / 401 % 7;
        struct rte_mbuf *mbuf = &mbufs[i % DSN_FIRSTS_WAITING];
        if (what < 3 && count < MOST && put(shard, vnic, connection, mbuf)) {
            if (!has(list, count, vnic))
                turn[turns++] = vnic;
            list[count++] = (struct waiting){vnic, connection, mbuf};
            continue;
        }
        if (count == 0)
            continue;
        uint32_t number;
        if (what < 6) { /* its turn: the oldest connection of that vNIC */
            vnic = turn[0];
            memmove(turn, turn + 1, (turns - 1) * sizeof(*turn));
            turn[turns - 1] = vnic;
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
        for (uint32_t at = 0; at < turns; at++)
            if (turn[at] == vnic) {
                memmove(turn + at, turn + at + 1, (--turns - at) * sizeof(*turn));
                ended++;
                break;
            }
    }
    printf("%u packets taken, %u times the last of its vNIC\n", taken, ended);
    CHECK(taken > 50000 && ended > 5000);
    while (shard->firsts.count > 0)
        dsn_firsts_take(shard, dsn_firsts_next(shard));
}

int main(void) {
    struct dsn_shard *shard = shard_of_many(8, DSN_SECOND);
    as_plainly(shard);
    uint64_t few = cost(shard, 64), many = cost(shard, DSN_FIRSTS_WAITING);
    printf("%ju cycles a packet of 64 vNICs, %ju of %d\n", few, many, DSN_FIRSTS_WAITING);
    CHECK(many < 8 * few); /* caches; a walk over all of them were 32 times as much */
    dsn_shard_destroy(shard);
    return 0;
}
