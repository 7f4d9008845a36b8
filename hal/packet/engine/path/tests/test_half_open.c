/* Who makes way: lists of what is half-open and of what has ended, held against plain ones, as connections of many
 * shares come, turn and go by chance. */
#include "path/shard.h"
#include "path/tcp.h"
#include "path/tests/check.h"

#include <stdio.h>

#define CAPACITY 96
#define VNICS 5 /* and what counts for none */
#define SHARES (2 * (VNICS + 1))
#define TURNS 50000

static uint64_t drops[DSN_REASONS], engine[DSN_ENGINE_COUNTERS], drawn = 1;
static struct dsn_vnic_counters vnic_counters[1];
static struct dsn_shard *shard;

/* Plainly: when a record came into its list, and when a share last got one. */
static uint64_t entered[CAPACITY + 1], latest[2][SHARES], entries;
static enum dsn_half_kind kind[CAPACITY + 1];
static bool there[CAPACITY + 1];
static unsigned of[CAPACITY + 1];

static uint32_t draw(uint32_t most) {
    drawn = drawn * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)((drawn >> 33) % most);
}

static void lists_as(uint32_t number, enum dsn_half_kind now) {
    kind[number] = now;
    entered[number] = ++entries;
    if (now != DSN_LIVES)
        latest[now == DSN_ENDED][of[number]] = entries;
}

static uint32_t count(unsigned share, bool ended) {
    uint32_t some = 0;
    for (uint32_t i = 1; i <= CAPACITY; i++)
        some += there[i] && of[i] == share && kind[i] != DSN_LIVES && (kind[i] == DSN_ENDED) == ended;
    return some;
}

static uint32_t oldest(unsigned share, enum dsn_half_kind which) {
    uint32_t found = 0;
    for (uint32_t i = 1; i <= CAPACITY; i++)
        if (there[i] && of[i] == share && kind[i] == which && (found == 0 || entered[i] < entered[found]))
            found = i;
    return found;
}

static unsigned has_most(bool ended) {
    unsigned most = 0;
    for (unsigned share = 1; share < SHARES; share++) {
        uint32_t one = count(share, ended), other = count(most, ended);
        if (one > other || (one == other && latest[ended][share] < latest[ended][most]))
            most = share;
    }
    return most;
}

static uint32_t of_others(unsigned share) {
    uint32_t some = 0;
    for (unsigned i = 0; i < SHARES; i++)
        some += i == share ? 0 : count(i, false) + count(i, true);
    return some;
}

static uint32_t victim(unsigned share, bool others) {
    unsigned ended = has_most(true), half = has_most(false);
    if (oldest(share, DSN_ENDED) != 0 || !others)
        return oldest(share, DSN_ENDED);
    if (count(ended, true) > 0)
        return oldest(ended, DSN_ENDED);
    if (count(half, false) <= count(share, false))
        return 0;
    uint32_t tcp = oldest(half, DSN_HALF_TCP);
    return tcp != 0 ? tcp : oldest(half, DSN_HALF_OTHER);
}

static enum dsn_half_kind kind_now(uint32_t number) {
    const struct dsn_session *session = &shard->flows.connection[number].session;
    bool doubted = shard->flows.windows[number].flags & DSN_TCP_DOUBTED;
    if (dsn_line(&shard->flows.connection[number], 0)->key.protocol != DSN_TCP) {
        bool exchange = session->flags & DSN_SESSION_EXCHANGE;
        return !(session->flags & DSN_SESSION_REPLIED) ? DSN_HALF_OTHER : exchange ? DSN_ENDED : DSN_LIVES;
    }
    if (session->tcp == DSN_TCP_SYN_SENT || session->tcp == DSN_TCP_SYN_RECEIVED)
        return DSN_HALF_TCP;
    bool closed = session->tcp == DSN_TCP_CLOSED && !doubted;
    if (doubted && session->tcp < DSN_TCP_TIME_WAIT) /* the same bits: one side alone was heard */
        return DSN_ENDED;
    return closed || session->tcp == DSN_TCP_TIME_WAIT ? DSN_ENDED : DSN_LIVES;
}

static void count_for(uint32_t number, unsigned share) {
    shard->flows.connection[number].session.flags |= share & 1 ? DSN_SESSION_INBOUND : DSN_SESSION_OWN;
    shard->flows.rest[number].share = share / 2;
    of[number] = share;
}

static void opens(void) {
    uint32_t number = dsn_flows_take(&shard->flows);
    if (number == 0)
        return;
    static const uint8_t others[] = {DSN_UDP, DSN_ICMP, DSN_ICMP6, 47};
    bool tcp = draw(4) != 0;
    dsn_line(&shard->flows.connection[number], 0)->key.protocol = tcp ? DSN_TCP : others[draw(4)];
    shard->flows.connection[number].session.tcp = tcp ? DSN_TCP_SYN_SENT : DSN_TCP_NONE;
    shard->flows.windows[number].flags = 0;
    count_for(number, draw(SHARES) & draw(SHARES)); /* some have more */
    kind[number] = DSN_LIVES;
    there[number] = true;
    lists_as(number, tcp ? DSN_HALF_TCP : DSN_HALF_OTHER);
    dsn_half_enter(shard, number);
}

/* A packet of anything but TCP passes. */
static void is_heard(uint32_t number, unsigned direction) {
    struct dsn_connection *c = &shard->flows.connection[number];
    uint8_t protocol = dsn_line(c, 0)->key.protocol;
    bool first = direction == 1 && !(c->session.flags & DSN_SESSION_REPLIED), exchanges = protocol != 47;
    bool goes_on = direction == 0 && (c->session.flags & DSN_SESSION_EXCHANGE);
    CHECK(dsn_session_turns(&c->session, direction) == (first || goes_on));
    if (first || goes_on)
        dsn_connection_turns(shard, dsn_ref(number, direction));
    enum dsn_half_kind now = first ? (exchanges ? DSN_ENDED : DSN_LIVES) : kind[number];
    if (goes_on && protocol == DSN_UDP)
        now = DSN_LIVES;
    if (now != kind[number])
        lists_as(number, now);
    CHECK(kind_now(number) == now);
}

static void turns(uint32_t number) {
    struct dsn_session *session = &shard->flows.connection[number].session;
    if (session->tcp == DSN_TCP_NONE) {
        is_heard(number, draw(2));
        return;
    }
    session->tcp = (uint8_t)(DSN_TCP_SYN_RECEIVED + draw(DSN_TCP_CLOSED - DSN_TCP_SYN_RECEIVED + 1));
    shard->flows.windows[number].flags = draw(4) == 0 ? DSN_TCP_DOUBTED_B : 0;
    if (kind_now(number) != kind[number])
        lists_as(number, kind_now(number));
    dsn_half_turn(shard, number);
}

static void moves(uint32_t number) {
    enum dsn_half_kind now = kind[number];
    dsn_half_leave(shard, number);
    lists_as(number, DSN_LIVES);
    shard->flows.connection[number].session.flags &= (uint8_t)~(DSN_SESSION_INBOUND | DSN_SESSION_OWN);
    count_for(number, draw(SHARES));
    dsn_half_enter(shard, number);
    lists_as(number, now);
}

static void goes(uint32_t number) {
    dsn_half_leave(shard, number);
    lists_as(number, DSN_LIVES);
    there[number] = false;
    dsn_flows_give(&shard->flows, number);
}

static void is_as_it_should_be(unsigned share) {
    bool others = draw(4) != 0;
    CHECK(dsn_half_victim(shard, share / 2, share & 1, others) == victim(share, others));
    CHECK(dsn_half_of_others(shard, share / 2, share & 1) == of_others(share));
    CHECK(dsn_half_oldest(shard, share / 2, share & 1) == oldest(share, DSN_HALF_TCP));
    CHECK(dsn_half_ended(shard, share / 2, share & 1) == oldest(share, DSN_ENDED));
    CHECK(dsn_half_ended_count(shard, share / 2, share & 1) == count(share, true));
}

int main(void) {
    const struct dsn_shard_config config = {
        .counters = {.drops = drops, .vnic = vnic_counters, .engine = engine},
        .connections = CAPACITY,
        .workers = 1,
    };
    uint32_t ended = 0, half = 0;
    CHECK((shard = dsn_shard_create(&config)) != NULL);
    static const struct dsn_root root; /* time-outs are the defaults */
    shard->root = &root;
    for (uint64_t id = 1; id <= VNICS; id++)
        CHECK(dsn_vnic_state(&shard->vnics, id) == id);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        uint32_t number = 1 + draw(CAPACITY), what = draw(16);
        unsigned share = draw(SHARES);
        if (what < 6)
            opens();
        else if (!there[number])
            continue;
        else if (what < 13)
            turns(number);
        else if (what < 14)
            moves(number);
        else
            goes(number);
        is_as_it_should_be(share);
        uint32_t gone = victim(share, true);
        CHECK(gone == 0 || dsn_half_is_ended(shard, gone) == (kind[gone] == DSN_ENDED));
        ended += gone != 0 && kind[gone] == DSN_ENDED;
        half += gone != 0 && kind[gone] != DSN_ENDED;
        if (turn / 1000 % 2 == 0 && gone != 0)
            goes(gone);
    }
    printf("%u that had ended and %u half-open ones would make way\n", ended, half);
    CHECK(ended > TURNS / 100 && half > TURNS / 100);
    dsn_shard_destroy(shard);
    return 0;
}
