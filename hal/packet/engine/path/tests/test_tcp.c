/* TCP as path/tcp.c follows it, at the edges that packets seldom come to: numbers that go round, scales of 14, windows
 * of nothing and of 65,535 units; and that the usual segment's short cut says the same as the whole. */
#include "path/tcp.h"
#include "path/tests/check.h"

#define A 0
#define B 1
#define MOST_SEGMENTS 40

static struct dsn_session session;
static struct dsn_windows windows;
static uint64_t state = 7;

static uint32_t draw(uint32_t below) { /* splitmix64 */
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static struct dsn_tcp_segment segment(unsigned side, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t payload,
                                      uint16_t window) {
    return (struct dsn_tcp_segment){
        .seq = seq,
        .ack = ack,
        .length = payload + ((flags & DSN_TCP_SYN) != 0) + ((flags & DSN_TCP_FIN) != 0),
        .window = window,
        .flags = flags,
        .side = (uint8_t)side,
        .offer = -1,
    };
}

static enum dsn_reason_number follow(struct dsn_tcp_segment s) {
    return dsn_tcp_follow(&session, &windows, &s, true);
}

static void refused(struct dsn_tcp_segment s, enum dsn_reason_number reason) {
    struct dsn_windows before = windows;
    uint8_t tcp = session.tcp;
    CHECK(follow(s) == reason);
    CHECK(memcmp(&before, &windows, sizeof(before)) == 0 && session.tcp == tcp);
}

/* A handshake from these numbers on: A's is `a` + 1 then, B's `b` + 1. An offer of -1: none. */
static void shake(uint32_t a, uint32_t b, uint16_t window, int8_t offer_a, int8_t offer_b) {
    struct dsn_tcp_segment s = segment(A, DSN_TCP_SYN, a, 0, 0, window);
    s.offer = offer_a;
    dsn_tcp_open(&windows, &s);
    session = (struct dsn_session){.tcp = DSN_TCP_SYN_SENT};
    s = segment(B, DSN_TCP_SYN | DSN_TCP_ACK, b, a + 1, 0, window);
    s.offer = offer_b;
    CHECK(follow(s) == DSN_PASSED && session.tcp == DSN_TCP_SYN_RECEIVED);
    CHECK(follow(segment(A, DSN_TCP_ACK, a + 1, b + 1, 0, window)) == DSN_PASSED);
    CHECK(session.tcp == DSN_TCP_ESTABLISHED);
}

/* The numbers may go round anywhere: the handshake, the data, the windows. */
static void numbers_go_round(void) {
    for (uint32_t back = 0; back < 2000; back++) {
        uint32_t a = 0 - back, b = UINT32_C(0x80000000) - back;
        shake(a, b, 1000, -1, -1);
        CHECK(follow(segment(A, DSN_TCP_ACK, a + 1, b + 1, 1000, 1000)) == DSN_PASSED);
        CHECK(windows.side[A].end == a + 1001 && windows.side[A].limit == a + 1001);
        refused(segment(A, DSN_TCP_ACK, a + 1001, b + 1, 1, 1000), DSN_REASON_TCP_WINDOW);
        CHECK(follow(segment(B, DSN_TCP_ACK, b + 1, a + 1001, 0, 0)) == DSN_PASSED);
        CHECK(follow(segment(A, DSN_TCP_ACK, a + 1001, b + 1, 1, 1000)) ==
              DSN_PASSED); /* a probe of the closed window */
        CHECK(follow(segment(A, DSN_TCP_ACK, a + 1002, b + 1, 0, 1000)) == DSN_PASSED); /* which counts as sent */
        refused(segment(A, DSN_TCP_ACK, a + 1003, b + 1, 0, 1000), DSN_REASON_TCP_WINDOW);
        refused(segment(A, DSN_TCP_ACK, a - 1000, b + 1, 0, 1000), DSN_REASON_TCP_WINDOW); /* older than a window */
        CHECK(follow(segment(A, DSN_TCP_ACK, a + 1, b + 1, 0, 1000)) == DSN_PASSED);
        CHECK(follow(segment(A, DSN_TCP_ACK, a + 1, b + 1, 1, 1000)) == DSN_PASSED);
        refused(segment(B, DSN_TCP_ACK, b + 1, a + 1003, 0, 1000), DSN_REASON_TCP_WINDOW); /* of what was never sent */
        CHECK(follow(segment(B, DSN_TCP_ACK, b + 1, a + 1002, 0, 1000)) == DSN_PASSED);
        CHECK(follow(segment(B, DSN_TCP_ACK, b + 1, a + 2, 0, 1000)) == DSN_PASSED);
        refused(segment(B, DSN_TCP_ACK, b + 1, a + 1, 0, 1000), DSN_REASON_TCP_WINDOW);
    }
}

/* Scales count where both offered one, and never in a SYN (RFC 7323 2.2). */
static void scales(void) {
    for (int8_t mine = -1; mine <= 14; mine++)
        for (int8_t other = -1; other <= 14; other++) {
            shake(5, 9, 65535, mine, other);
            unsigned scale = mine >= 0 && other >= 0 ? (unsigned)mine : 0;
            unsigned back = mine >= 0 && other >= 0 ? (unsigned)other : 0;
            CHECK((windows.scale & 15u) == scale && windows.scale >> 4 == (int)back);
            CHECK(windows.side[A].limit == 6 + 65535 || back > 0);
            CHECK(windows.side[B].limit == 10 + ((uint32_t)65535 << scale)); /* A's ACK has said it */
            CHECK(windows.side[A].limit == 6 + 65535);                       /* B has said nothing behind its SYN */
            CHECK(follow(segment(B, DSN_TCP_ACK, 10, 6, 0, 65535)) == DSN_PASSED);
            CHECK(windows.side[A].limit == 6 + ((uint32_t)65535 << back));
            CHECK(windows.most[A] == 65535 && windows.most[B] == 65535);
            CHECK(follow(segment(A, DSN_TCP_ACK, windows.side[A].limit - 1, 10, 1460, 0)) == DSN_PASSED);
            refused(segment(A, DSN_TCP_ACK, windows.side[A].limit + 1, 10, 1460, 0), DSN_REASON_TCP_WINDOW);
        }
    /* Of a SYN's window in units nothing is lost: 1 byte is a unit, and so is none. */
    for (uint32_t window = 0; window <= 65535; window += 1 + window / 3) {
        struct dsn_tcp_segment s = segment(A, DSN_TCP_SYN, 5, 0, 0, (uint16_t)window);
        s.offer = 14;
        dsn_tcp_open(&windows, &s);
        session = (struct dsn_session){.tcp = DSN_TCP_SYN_SENT};
        s = segment(B, DSN_TCP_SYN | DSN_TCP_ACK, 9, 6, 0, (uint16_t)window);
        s.offer = 3;
        CHECK(follow(s) == DSN_PASSED);
        CHECK((uint32_t)windows.most[A] << 14 >= window && windows.most[A] >= 1 && windows.most[A] <= 4);
        CHECK((uint32_t)windows.most[B] << 3 >= window &&
              ((uint32_t)windows.most[B] << 3) < window + 8 + (window == 0));
        CHECK(windows.side[B].limit == 10 + (window ? window : 1));
        /* Another answer, without an offer: the one before stays beside it, and what either offers and grants
         * counts. */
        s = segment(B, DSN_TCP_SYN | DSN_TCP_ACK, 77, 6, 0, 100);
        CHECK(follow(s) == DSN_PASSED && windows.side[B].una == 77 && windows.side[B].limit == 9);
        CHECK((uint32_t)windows.most[A] << 14 >= window && (uint32_t)windows.most[B] << 3 >= RTE_MAX(window, 100u));
        CHECK(windows.side[A].limit == 6 + RTE_MAX(window, 100u));
        /* A says which it has taken. */
        refused(segment(A, DSN_TCP_ACK, 6, 79, 0, 1), DSN_REASON_TCP_WINDOW);
        CHECK(follow(segment(A, DSN_TCP_ACK, 6, 10, 0, 1)) == DSN_PASSED && session.tcp == DSN_TCP_ESTABLISHED);
        CHECK(windows.side[B].una == 10 && windows.side[B].end == 10);
        CHECK(windows.side[B].limit == 10 + ((uint32_t)windows.most[A] << 14));
    }
}

/* RFC 5961 3.2 */
static void resets(void) {
    for (unsigned side = 0; side < 2; side++) {
        uint32_t next = side == A ? 101 : 501, other = side == A ? 501 : 101;
        const uint32_t exact[] = {next, next + 10};
        for (unsigned i = 0; i < 2; i++) {
            shake(100, 500, 4000, -1, -1);
            CHECK(follow(segment(side, DSN_TCP_ACK, next, other, 10, 4000)) == DSN_PASSED);
            refused(segment(side, DSN_TCP_RST, next - 1, 0, 0, 0), DSN_REASON_TCP_WINDOW);
            refused(segment(side, DSN_TCP_RST, next + 1, 0, 0, 0), DSN_REASON_TCP_CHALLENGED);
            refused(segment(side, DSN_TCP_RST, next + 4000, 0, 0, 0), DSN_REASON_TCP_CHALLENGED);
            refused(segment(side, DSN_TCP_RST, next + 4001, 0, 0, 0), DSN_REASON_TCP_WINDOW);
            CHECK(follow(segment(side, DSN_TCP_RST, exact[i], 0, 0, 0)) == DSN_PASSED);
            CHECK(session.tcp == DSN_TCP_CLOSED);
        }
    }
    struct dsn_tcp_segment challenge;
    shake(100, 500, 4000, -1, -1);
    CHECK(dsn_tcp_challenge(&session, &windows, A, &challenge));
    CHECK(challenge.seq == 501 && challenge.ack == 101 && challenge.window == 4000 && challenge.side == B);
    windows.side[A].limit = windows.side[A].una + (UINT32_C(1) << 30);
    CHECK(dsn_tcp_challenge(&session, &windows, A, &challenge) && challenge.window == 65535);
}

static void picked_up(void) {
    struct dsn_tcp_segment s = segment(B, DSN_TCP_ACK, 0xfffffff0, 0x7ffffff0, 100, 65535);
    session = (struct dsn_session){.tcp = (uint8_t)dsn_tcp_pick_up(&windows, &s)};
    CHECK(session.tcp == DSN_TCP_ESTABLISHED && windows.side[B].end == 84 && windows.side[B].una == 0xfffffff0);
    CHECK(windows.side[B].limit == 84 + (UINT32_C(1) << 30) && windows.side[A].end == 0x7ffffff0);
    /* What A has sent wasn't seen: B may acknowledge more of it. */
    uint32_t limit = windows.side[A].limit;
    CHECK(limit == 0x7ffffff0 + (UINT32_C(65535) << 14));
    refused(segment(B, DSN_TCP_ACK, 84, limit + 1, 0, 0), DSN_REASON_TCP_WINDOW);
    struct dsn_tcp_segment challenge; /* A has said nothing, B 65535, whatever is assumed */
    CHECK(dsn_tcp_challenge(&session, &windows, B, &challenge) && challenge.window == 0);
    CHECK(dsn_tcp_challenge(&session, &windows, A, &challenge) && challenge.window == 65535);
    CHECK(follow(segment(B, DSN_TCP_ACK, 84, limit, 0, 0)) == DSN_PASSED && windows.side[A].end == limit);
    s = segment(A, DSN_TCP_ACK | DSN_TCP_FIN, 1, 1, 0, 1);
    CHECK(dsn_tcp_pick_up(&windows, &s) == DSN_TCP_FIN_WAIT);
}

/* RFC 9293 3.10.7.4: a FIN is final when it is acknowledged. */
static void fins(void) {
    for (unsigned side = 0; side < 2; side++) {
        uint32_t next = side == A ? 101 : 501, other = side == A ? 501 : 101;
        shake(100, 500, 4000, -1, -1);
        CHECK(follow(segment(side, DSN_TCP_FIN | DSN_TCP_ACK, next + 10, other, 0, 4000)) == DSN_PASSED);
        CHECK(session.tcp == DSN_TCP_FIN_WAIT && !dsn_tcp_is_over(&windows, side));
        CHECK(follow(segment(side, DSN_TCP_ACK, next, other, 11, 4000)) == DSN_PASSED);
        CHECK(session.tcp == DSN_TCP_ESTABLISHED && windows.side[side].end == next + 11);
        CHECK(follow(segment(side, DSN_TCP_FIN | DSN_TCP_ACK, next + 11, other, 0, 4000)) == DSN_PASSED);
        CHECK(follow(segment(!side, DSN_TCP_ACK, other, next + 12, 0, 4000)) == DSN_PASSED);
        CHECK(session.tcp == DSN_TCP_FIN_WAIT && dsn_tcp_is_over(&windows, side));
        refused(segment(side, DSN_TCP_ACK, next + 12, other, 1, 4000), DSN_REASON_TCP_WINDOW);
        dsn_tcp_reach(&windows, side, next + 500);
        CHECK(windows.side[side].end == next + 12);
    }
}

/* Who isn't held to windows is followed all the same. */
static void loose(void) {
    shake(100, 500, 4000, -1, -1);
    struct dsn_tcp_segment far = segment(A, DSN_TCP_ACK, 100000, 501, 10, 4000), syn, reset;
    CHECK(follow(far) == DSN_REASON_TCP_WINDOW);
    CHECK(dsn_tcp_follow(&session, &windows, &far, false) == DSN_PASSED && windows.side[A].end == 100010);
    syn = segment(A, DSN_TCP_SYN, 1, 0, 0, 1);
    CHECK(dsn_tcp_follow(&session, &windows, &syn, false) == DSN_REASON_TCP_CHALLENGED);
    reset = segment(B, DSN_TCP_RST, 40000, 0, 0, 0);
    CHECK(dsn_tcp_follow(&session, &windows, &reset, false) == DSN_PASSED && session.tcp == DSN_TCP_ESTABLISHED);
    reset.seq = 600;
    CHECK(dsn_tcp_follow(&session, &windows, &reset, false) == DSN_PASSED && session.tcp == DSN_TCP_CLOSED);
    syn = segment(A, DSN_TCP_SYN, 100, 0, 0, 1000);
    dsn_tcp_open(&windows, &syn);
    session.tcp = DSN_TCP_SYN_SENT;
    far = segment(A, DSN_TCP_ACK, 101, 9999, 0, 1000);
    refused(far, DSN_REASON_TCP_STATE);
    CHECK(dsn_tcp_follow(&session, &windows, &far, false) == DSN_PASSED && session.tcp == DSN_TCP_ESTABLISHED);
}

#define MALFORMED (-2)
static void options(void) {
    static const struct {
        uint8_t bytes[8], length;
        int8_t offer;
    } some[] = {
        {{0}, 0, -1},
        {{2, 4, 5, 180, 1, 3, 3, 7}, 8, 7},
        {{1, 3, 3, 15, 3, 3, 2, 0}, 8, 2},
        {{3, 3, 255, 0}, 4, 14},
        {{0, 3, 3, 7}, 4, -1}, /* behind the end */
        {{3, 4, 7, 7}, 4, -1}, /* not a scale's length */
        {{3, 2, 1, 1}, 4, -1}, /* nor this */
        {{1, 1, 1, 3}, 4, MALFORMED},
        {{8, 1, 0, 0}, 4, MALFORMED},
        {{8, 0, 0, 0}, 4, MALFORMED},
        {{8, 5, 0, 0}, 4, MALFORMED},
        {{3, 3, 7, 8, 10, 0, 0, 0}, 8, MALFORMED},
    };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        struct dsn_tcp_options said;
        bool formed = dsn_tcp_options(some[i].bytes, some[i].length, &said);
        CHECK((formed ? said.offer : MALFORMED) == some[i].offer);
    }
}

/* RFC 5927 4.1 */
static void could_have_sent(void) {
    shake(UINT32_MAX - 50, 500, 30, -1, -1);
    uint32_t next = UINT32_MAX - 49;
    CHECK(follow(segment(A, DSN_TCP_ACK, next, 501, 30, 30)) == DSN_PASSED);
    CHECK(follow(segment(B, DSN_TCP_ACK, 501, next + 30, 0, 30)) == DSN_PASSED);
    CHECK(follow(segment(A, DSN_TCP_ACK, next + 30, 501, 30, 30)) == DSN_PASSED);
    CHECK(dsn_tcp_could_have_sent(&session, &windows, A, next + 60) &&
          dsn_tcp_could_have_sent(&session, &windows, A, next + 30));
    CHECK(!dsn_tcp_could_have_sent(&session, &windows, A, next + 61) &&
          !dsn_tcp_could_have_sent(&session, &windows, A, next + 29));
}

static void put_header(uint8_t tcp[20], const struct dsn_tcp_segment *s) {
    memset(tcp, 0, 20);
    dsn_put32(tcp + 4, s->seq);
    dsn_put32(tcp + 8, s->ack);
    tcp[12] = 5 << 4;
    tcp[13] = s->flags;
    dsn_put16(tcp + 14, s->window);
}

/* Near the bounds of what may come, so that about half of it fits. */
static uint32_t near(uint32_t number) {
    static const uint32_t away[] = {0, 1, 0 - 1u, 2, 1000, 0 - 1000u, UINT32_C(1) << 30, UINT32_C(1) << 31};
    return number + away[draw(8)] + draw(3);
}

/* The short cut follows what the whole would, to the same windows, and leaves as it is what it doesn't. */
static void short_cut(void) {
    static const uint16_t window[] = {0, 1, 1000, 65535};
    static uint8_t frame[20 + 2000];
    unsigned passed = 0, left = 0, whole_passed = 0;
    for (unsigned connection = 0; connection < 20000; connection++) {
        uint32_t a = near(draw(2) ? 0 : UINT32_C(0x80000000)), b = near(0);
        shake(a, b, window[1 + draw(3)], (int8_t)(draw(16) - 1), (int8_t)(draw(16) - 1));
        if (draw(4) == 0) {
            struct dsn_tcp_segment s = segment(draw(2), DSN_TCP_ACK, a + 1, b + 1, 0, window[draw(4)]);
            session.tcp = (uint8_t)dsn_tcp_pick_up(&windows, &s);
        }
        for (unsigned i = 0; i < MOST_SEGMENTS; i++) {
            unsigned side = draw(2);
            const struct dsn_tcp_side *mine = &windows.side[side], *other = &windows.side[!side];
            uint32_t payload = draw(3) ? 0 : draw(2000);
            struct dsn_tcp_segment s = segment(side, DSN_TCP_ACK, near(draw(2) ? mine->end : mine->limit),
                                               near(draw(2) ? other->end : other->una), payload, window[draw(4)]);
            struct dsn_windows before = windows, whole = windows;
            put_header(frame, &s);
            bool fits = dsn_tcp_usual(&windows, frame, frame + 20 + payload, side);
            enum dsn_reason_number reason = dsn_tcp_follow(&session, &whole, &s, true);
            CHECK((!fits || reason == DSN_PASSED) && session.tcp == DSN_TCP_ESTABLISHED);
            whole_passed += reason == DSN_PASSED;
            CHECK(memcmp(&windows, fits ? &whole : &before, sizeof(windows)) == 0);
            passed += fits;
            left += !fits;
        }
    }
    CHECK(passed > 50000 && left > 50000 && whole_passed > passed);
    printf("%u took the short cut, %u passed, %u didn't\n", passed, whole_passed, left);
}

int main(void) {
    numbers_go_round();
    scales();
    resets();
    picked_up();
    fins();
    loose();
    options();
    could_have_sent();
    short_cut();
    return 0;
}
