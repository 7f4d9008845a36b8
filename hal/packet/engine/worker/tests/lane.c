/* What a lane takes: of one port never more than there are places left, counted as it is taken, in whatever bursts. */
#include "worker/lane.h"
#include "path/tests/check.h"
#include "worker/tests/standin.h"

#include <rte_eal.h>
#include <string.h>

#define PLACES 16 /* one of which a ring keeps */

static struct rte_mbuf packet[512];
static unsigned made;

static struct rte_mbuf *from(uint16_t port) {
    CHECK(made < RTE_DIM(packet));
    packet[made].port = port;
    return &packet[made++];
}

static uint16_t put(struct dsn_lane *lane, uint16_t port, uint16_t count) {
    struct rte_mbuf *some[32];
    for (uint16_t i = 0; i < count; i++)
        some[i] = from(port);
    return dsn_lane_put(lane, some, count);
}

static unsigned take_all(struct dsn_lane *lane) {
    struct rte_mbuf *some[DSN_BURST];
    unsigned all = 0;
    for (uint16_t count; (count = dsn_lane_take(lane, some)) > 0;)
        all += count;
    return all;
}

static void a_port_has_as_many_as_are_left(struct dsn_lane *lane) {
    CHECK(put(lane, 0, 32) == 8); /* and 7 are left */
    CHECK(put(lane, 0, 32) == 0);
    CHECK(put(lane, 1, 32) == 4);
    CHECK(put(lane, 2, 32) == 2);
    CHECK(put(lane, 3, 32) == 1);
    for (uint16_t i = 0; i < 20; i++)
        CHECK(put(lane, 4, 2) == 0); /* no place at all: it counts for nobody */
    CHECK(take_all(lane) == 15 && dsn_lane_is_empty(lane));
    CHECK(put(lane, 4, 32) == 8 && take_all(lane) == 8);
}

static void who_has_a_place_stands_in_front(struct dsn_lane *lane) {
    struct rte_mbuf *some[12], *others[4], *taken[DSN_BURST];
    CHECK(put(lane, 0, 32) == 8);
    for (uint16_t i = 0; i < 12; i++) /* of the port that has its part, and of another one, in turn */
        some[i] = from(i % 2);
    for (uint16_t i = 0; i < 4; i++)
        others[i] = some[2 * i + 1];
    CHECK(dsn_lane_put(lane, some, 12) == 4);
    for (uint16_t i = 0; i < 12; i++) /* the rest in its order as well */
        CHECK(some[i]->port == (i < 4 || i == 9 || i == 11));
    CHECK(dsn_lane_take(lane, taken) == 12);
    CHECK(memcmp(taken + 8, others, sizeof(others)) == 0);
    CHECK(dsn_lane_is_empty(lane));
}

int main(void) {
    cpu_set_t cpus;
    CHECK(standin_eal(&cpus) >= 0);
    struct dsn_lane *lane = dsn_lane_create("lane", PLACES);
    CHECK(lane != NULL);
    for (int round = 0; round < 3; round++) { /* what was taken counts no longer */
        made = 0;
        a_port_has_as_many_as_are_left(lane);
        who_has_a_place_stands_in_front(lane);
    }
    dsn_lane_destroy(lane);
    rte_eal_cleanup();
    return 0;
}
