/* A flood that is refused because there is no room costs a burst a bounded time, and room is found where there is
 * some. */
#include "path/tests/many.h"

#include <stdio.h>

#define CAPACITY 20000

/* A burst of packets that would each open one; how many may. Between them nothing is opened. */
static uint32_t burst(struct dsn_shard *shard, uint64_t now) {
    static const struct dsn_vnic uplink = {.role = DSN_VNIC_ROLE_UPLINK}, vnic = {.role = DSN_VNIC_ROLE_VNIC,
                                                                                  .id = 5,
                                                                                  .flow_limit = CAPACITY,
                                                                                  .new_flow_limit = UINT32_MAX};
    static const struct dsn_root root;
    uint32_t passed = 0;
    dsn_shard_begin(shard, &root, now, false);
    for (unsigned i = 0; i < DSN_BURST; i++)
        passed += dsn_limits(shard, &vnic, &uplink, 0, DSN_TCP_NONE, now) == DSN_PASSED;
    return passed;
}

int main(void) {
    uint64_t last = 1000 * DSN_SECOND + DSN_SECOND / 2, due = last + 120 * DSN_SECOND;
    uint32_t looked = 0, most = 0;
    struct dsn_shard *shard = shard_of_many(CAPACITY, last);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(burst(shard, due - DSN_SECOND / 3 + i) == 0);
        most = RTE_MAX(most, DSN_LOOKS - shard->looks);
        looked += DSN_LOOKS - shard->looks;
    }
    printf("%d refused packets at %d connections that live: %u looked at, %u in a burst at most\n", 1000 * DSN_BURST,
           CAPACITY, looked, most);
    CHECK(most == DSN_LOOKS); /* several bursts were needed to see them all */
    CHECK(looked <= CAPACITY);
    CHECK(shard->flows.used == CAPACITY);
    CHECK(burst(shard, due - 1) == 0);
    CHECK(burst(shard, due) == DSN_BURST); /* one that is due is room for all, since none of them is opened */
    CHECK(shard->flows.used == CAPACITY - 1);
    dsn_shard_destroy(shard);
    return 0;
}
