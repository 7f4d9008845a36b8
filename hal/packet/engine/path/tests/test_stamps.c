/* What a session alone says of commits since: never that it stands where the stamps deny it, and mostly that it
 * does. */
#include "path/tests/check.h"
#include "path/way.h"

#define SESSIONS 400
#define COMMITS 4000

static struct dsn_shard shard;
static struct dsn_stamps stamps;
static struct dsn_connection connection[SESSIONS];
static uint64_t state = 1;

static uint32_t draw(uint32_t below) {
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static void address(uint8_t bytes[16], uint32_t v4) {
    memset(bytes, 0, 10);
    bytes[10] = bytes[11] = 0xff;
    dsn_put16(bytes + 12, (uint16_t)(v4 >> 16));
    dsn_put16(bytes + 14, (uint16_t)v4);
}

static uint32_t some_v4(void) {
    return 0x0a000000 + (draw(300) << 16);
}

/* As it would be decided at the shard's generation: a few always, a few without a route. */
static void decide(struct dsn_connection *c) {
    bool always = draw(50) == 0;
    memset(c, 0, sizeof(*c));
    for (unsigned side = 0; side < 2; side++) {
        uint8_t bytes[16];
        address(bytes, some_v4());
        dsn_line(c, side)->key.vrf = 1;
        dsn_line(c, side)->route = draw(5) ? dsn_route_key(1, bytes) : DSN_NO_ROUTE_KEY;
        dsn_line(c, side)->policy = DSN_NO_POLICY;
    }
    dsn_line(c, 0)->policy = draw(2) ? dsn_policy_key(7) : DSN_NO_POLICY;
    dsn_line(c, 0)->key.protocol = DSN_UDP;
    c->session.flags = always ? DSN_SESSION_ALWAYS : 0;
    c->session.touch_a = always ? DSN_TOUCH_ALWAYS : dsn_touch_of(dsn_line(c, 0)->route);
    c->session.touch_b = dsn_touch_of(dsn_line(c, 1)->route);
    c->session.generation = shard.generation;
    c->session.network = shard.network;
}

static void commit(struct dsn_root *root) {
    struct dsn_row_route route = {.vrf = 1, .prefix_len = draw(100) ? 96 + 24 : 96 + 8};
    struct dsn_row_firewall_rule rule = {.policy = 7, .direction = 3, .protocol_high = 255, .port_high = 65535};
    struct dsn_row_vrf vrf = {.id = 1};
    root->generation++;
    unsigned kind = draw(40);
    address(route.prefix, some_v4());
    for (unsigned n = draw(3); kind > 1 && n > 0; n--) /* also none: an empty commit */
        dsn_stamp_row(root, DSN_TABLE_ROUTE, 0, &route, 0, root->generation);
    if (kind == 0)
        dsn_stamp_row(root, DSN_TABLE_FIREWALL_RULE, 0, &rule, 0, root->generation);
    if (kind == 1)
        dsn_stamp_row(root, DSN_TABLE_VRF, 0, &vrf, 0, root->generation);
}

/* Two VRFs of which the same is kept of 203.0.0.0/16, and not of shorter prefixes: tests/packets/test_sources.py has
 * them, to see that the right one was asked about. */
static void two_vrfs_are_told_apart_by_short_prefixes_alone(void) {
    static struct dsn_stamps own;
    struct dsn_root root = {.stamps = &own};
    struct dsn_row_route route = {.vrf = 12417, .prefix_len = 96 + 8};
    struct dsn_connection c = {0};
    address(route.prefix, 0xcb000000);
    CHECK(dsn_route_key(1, route.prefix) == dsn_route_key(12417, route.prefix));
    for (unsigned side = 0; side < 2; side++) {
        dsn_line(&c, side)->key.vrf = side == 0 ? 12417 : 1;
        dsn_line(&c, side)->route = side == 0 ? DSN_NO_ROUTE_KEY : dsn_route_key(1, route.prefix);
        dsn_line(&c, side)->policy = DSN_NO_POLICY;
    }
    c.session.generation = 1;
    dsn_stamp_row(&root, DSN_TABLE_ROUTE, 0, &route, 0, 2);
    CHECK(dsn_stamps_hold(&own, &c));
    route.prefix_len = 96 + 16;
    dsn_stamp_row(&root, DSN_TABLE_ROUTE, 0, &route, 0, 3);
    CHECK(!dsn_stamps_hold(&own, &c));
}

int main(void) {
    struct dsn_root root = {.stamps = &stamps};
    uint64_t stands = 0, held = 0, old = 0;
    two_vrfs_are_told_apart_by_short_prefixes_alone();
    for (unsigned i = 0; i < SESSIONS; i++)
        decide(&connection[i]);
    for (unsigned n = 0; n < COMMITS; n++) {
        if (draw(30) == 0)
            shard.network++;
        commit(&root);
        if (draw(3) == 0)
            continue; /* a worker need not see each of them */
        shard.generation = root.generation;
        dsn_stamps_since(&stamps, root.generation, shard.since);
        for (unsigned i = draw(4); i < SESSIONS; i += 1 + draw(8)) {
            struct dsn_connection *c = &connection[i];
            struct dsn_connection before = *c;
            bool always = c->session.flags & DSN_SESSION_ALWAYS;
            bool hold = !always && c->session.network == shard.network && dsn_stamps_hold(&stamps, c);
            uint64_t age = shard.generation - c->session.generation;
            bool said = dsn_is_as_decided(&shard, &c->session);
            CHECK(!said || hold || age == 0);
            CHECK(!said || c->session.generation == shard.generation);
            CHECK(said || memcmp(c, &before, sizeof(before)) == 0);
            CHECK(!said || age < DSN_LATEST);
            stands += said;
            held += hold && age < DSN_LATEST;
            old += age >= DSN_LATEST;
            if (!said)
                decide(c);
        }
    }
    CHECK(old > 100 && stands > 20000);
    CHECK(stands * 10 > held * 8); /* the rest are bits that others touched */
    return 0;
}
