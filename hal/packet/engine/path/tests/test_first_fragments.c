/* First fragments that another worker judges: until he has said so they keep their place, and so long no other one is
 * asked about in it; what he has refused goes with the next first one, however long that took him. And how many there
 * may be, and what a copy of one counts for. */
#include "path/first_fragments.h"

#include "path/tests/check.h"

#define UPLINK 7
#define HOST 8
#define ROUNDS (2 * DSN_VERDICT_PLACES)

static struct dsn_vnic_states vnics;
static struct dsn_verdicts *verdicts;
static struct dsn_fragments fragments;
static const struct dsn_vnic vnic = {.id = UPLINK, .role = DSN_VNIC_ROLE_UPLINK};
static const struct dsn_vnic host = {.id = HOST, .role = DSN_VNIC_ROLE_VNIC};
static const struct dsn_whom whom = {.vnic = &vnic}, from_host = {.vnic = &host},
                             to_host = {.vnic = &host, .inbound = true};

static struct dsn_packet first_of(uint32_t identification) {
    return (struct dsn_packet){
        .version = 6,
        .ip = 14,
        .part = 14 + 40 + 8,
        .end = 14 + 40 + 8 + 64,
        .fragment = true,
        .more = true,
        .identification = identification,
    };
}

static uint32_t asks(uint32_t identification) {
    struct dsn_packet p = first_of(identification);
    CHECK(dsn_fragment_first(&fragments, &p, 0) == DSN_PASSED);
    return dsn_fragment_ask(&fragments, &p, whom, 0, 0);
}

static struct dsn_first_fragment *found(uint32_t identification) {
    struct dsn_packet p = first_of(identification);
    return dsn_fragment_of(&fragments, &p, 0);
}

static uint32_t remembered(void) {
    return vnics.state[dsn_vnic_state(&vnics, UPLINK)].fragments[0];
}

static void what_is_refused_late_goes_all_the_same(void) {
    uint32_t waits = asks(1), passes = asks(2);
    dsn_verdict_say(verdicts, passes, 1);
    for (uint32_t n = 3; n < 40; n++) { /* each looks at those that were asked about */
        dsn_verdict_say(verdicts, asks(n), 0);
        CHECK(fragments.count <= 3);
    }
    struct dsn_packet next = first_of(40);
    CHECK(dsn_fragment_first(&fragments, &next, 0) == DSN_PASSED);
    CHECK(fragments.count == 2 && remembered() == 2 && found(1) != NULL && found(2) != NULL);
    dsn_verdict_say(verdicts, waits, 0);
    CHECK(dsn_fragment_first(&fragments, &next, 0) == DSN_PASSED);
    CHECK(fragments.count == 1 && remembered() == 1);
    dsn_fragment_forget(&fragments, found(2));
    CHECK(fragments.count == 0 && remembered() == 0);
}

static void a_place_is_nobody_elses_meanwhile(void) {
    uint32_t waits = asks(1), passes = asks(2);
    dsn_verdict_say(verdicts, passes, 5);
    for (uint32_t n = 3; n < ROUNDS; n++) { /* more than there are places */
        uint32_t ticket = asks(n);
        CHECK(dsn_verdict_place(ticket) != dsn_verdict_place(waits));
        CHECK(dsn_verdict_place(ticket) != dsn_verdict_place(passes));
        dsn_verdict_say(verdicts, ticket, 0);
    }
    CHECK(found(1) != NULL && dsn_verdict_of(verdicts, waits) == DSN_SAID_NOTHING);
    CHECK(found(2) != NULL && dsn_verdict_is_go(verdicts, passes, 5));
}

/* As many as may be of it, each another datagram; how many that are. */
static uint32_t fills(struct dsn_whom some, uint32_t limit, uint32_t begin) {
    const uint32_t *used = &vnics.state[dsn_vnic_state(&vnics, some.vnic->id)].fragments[some.inbound];
    uint32_t before = *used;
    while (*used < dsn_fragments_most(&fragments, some, *used, limit)) {
        struct dsn_packet p = first_of(begin + *used);
        CHECK(dsn_fragment_first(&fragments, &p, 0) == DSN_PASSED);
        dsn_fragment_remember(&fragments, &p, some, 1, 2, 0, 0);
    }
    return *used - before;
}

static void what_comes_by_uplinks_is_half_of_all(void) {
    CHECK(fragments.count == 0 && fragments.by_uplinks == 0);
    CHECK(fills(whom, 0, 0) == 683 && fills(to_host, 0, 10000) == 151 && fills(from_host, 0, 20000) == 1024);
    CHECK(fragments.by_uplinks == 683 + 151 && fragments.count == 683 + 151 + 1024);
    CHECK(fills(to_host, 5000, 30000) == 2048 - 683 - 151 && fills(whom, 5000, 40000) == 0);
    CHECK(dsn_fragments_most(&fragments, to_host, 2048 - 683, 5000) == 2048 - 683);
    CHECK(fills(from_host, 2048, 50000) == 1024);
    struct dsn_packet p = first_of(60000);
    CHECK(dsn_fragment_first(&fragments, &p, 0) == DSN_REASON_FRAGMENT_TABLE_FULL);
    dsn_fragment_forget(&fragments, found(682)); /* the uplink's */
    CHECK(fragments.by_uplinks == 2047 && dsn_fragments_most(&fragments, whom, 682, 0) == 0);
    CHECK(dsn_fragments_most(&fragments, whom, 682, 5000) == 683);
    dsn_fragment_forget(&fragments, found(20000)); /* the host's own, which makes room for whom that is left */
    CHECK(fragments.by_uplinks == 2047 && dsn_fragments_most(&fragments, whom, 682, 5000) == 683);
    dsn_fragments_expire(&fragments, 30 * DSN_SECOND);
    CHECK(fragments.count == 0 && fragments.by_uplinks == 0);
}

/* A trace's copy counts for nobody: not for the vNIC, nor for what comes by uplinks. */
static void a_copy_counts_for_nobody(void) {
    struct dsn_vnic_states other_vnics;
    struct dsn_fragments other;
    CHECK(dsn_vnic_states_create(&other_vnics) && dsn_fragments_create(&other, &other_vnics, NULL, 0));
    struct dsn_packet p = first_of(1);
    CHECK(dsn_fragment_first(&fragments, &p, 0) == DSN_PASSED);
    dsn_fragment_remember(&fragments, &p, whom, 1, 2, 0, 0);
    const uint32_t *counts = other_vnics.state[dsn_vnic_state(&other_vnics, UPLINK)].fragments;
    CHECK(remembered() == 1 && fragments.by_uplinks == 1);

    dsn_fragment_copy(&other, found(1), 6);
    struct dsn_first_fragment *copy = dsn_fragment_of(&other, &p, 0);
    CHECK(copy != NULL && copy->ref == 6 && copy->connection == 1);
    CHECK(other.count == 1 && other.by_uplinks == 0 && counts[0] == 0);
    dsn_fragment_forget(&other, copy);
    CHECK(other.count == 0 && other.by_uplinks == 0 && counts[0] == 0);

    CHECK(remembered() == 1 && fragments.by_uplinks == 1 && found(1)->ref == 2);
    dsn_fragment_forget(&fragments, found(1));
    CHECK(asks(1) != 0); /* of one that another worker judges, likewise */
    dsn_fragment_copy(&other, found(1), 6);
    CHECK(found(1)->ticket != 0 && dsn_fragment_of(&other, &p, 0)->ticket == 0);
    dsn_fragment_forget(&fragments, found(1));
    CHECK(fragments.count == 0 && fragments.by_uplinks == 0 && remembered() == 0);
    dsn_fragments_destroy(&other);
    dsn_vnic_states_destroy(&other_vnics);
}

int main(void) {
    verdicts = dsn_verdicts_create(2);
    CHECK(verdicts != NULL && dsn_vnic_states_create(&vnics) && dsn_fragments_create(&fragments, &vnics, verdicts, 1));
    what_is_refused_late_goes_all_the_same();
    a_place_is_nobody_elses_meanwhile();
    dsn_fragments_expire(&fragments, 30 * DSN_SECOND);
    what_comes_by_uplinks_is_half_of_all();
    a_copy_counts_for_nobody();
    dsn_fragments_destroy(&fragments);
    dsn_vnic_states_destroy(&vnics);
    dsn_verdicts_destroy(verdicts);
    return 0;
}
