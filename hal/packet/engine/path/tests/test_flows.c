/* The flow table: as many connections as promised, whatever their keys; what is taken out is gone; the wheel finds what
 * has expired and nothing else, and looks for it at few that live. */
#include "path/flows.h"
#include "path/packet.h"
#include "path/tests/check.h"

#include <stdio.h>

#define CAPACITY 4096

static struct dsn_flows flows;
static uint64_t state = 42;

static uint64_t draw(void) { /* splitmix64 */
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void set_key(struct dsn_flow_key *key, uint32_t number, unsigned direction, bool hostile) {
    *key = (struct dsn_flow_key){.scope = direction, .vrf = 1, .protocol = DSN_UDP, .flags = DSN_KEY_ROUTED};
    memcpy(key->source + 12, &number, 4);
    key->destination_port = (uint16_t)number;
    if (!hostile) {
        uint64_t more = number * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(key->destination, &more, 8);
    }
}

static uint32_t open_one(uint32_t number, bool hostile, uint64_t hash_mask) {
    uint32_t taken = dsn_flows_take(&flows);
    if (taken == 0)
        return 0;
    for (unsigned direction = 0; direction < 2; direction++) {
        struct dsn_line *line = dsn_line(&flows.connection[taken], direction);
        set_key(&line->key, number, direction, hostile);
        line->ops = 1;
        dsn_flows_enter(&flows, dsn_ref(taken, direction), dsn_flows_hash(&flows, &line->key) & hash_mask);
    }
    return taken;
}

static void close_one(uint32_t taken) {
    dsn_flows_leave(&flows, dsn_ref(taken, 0));
    dsn_flows_leave(&flows, dsn_ref(taken, 1));
    dsn_flows_disarm(&flows, taken);
    dsn_flows_give(&flows, taken);
}

static uint32_t find(uint32_t number, unsigned direction, bool hostile, uint64_t hash_mask) {
    struct dsn_flow_key key;
    set_key(&key, number, direction, hostile);
    return dsn_flows_find(&flows, &key, dsn_flows_hash(&flows, &key) & hash_mask);
}

static void fill(bool hostile, uint64_t hash_mask) {
    static uint32_t taken[CAPACITY];
    CHECK(dsn_flows_create(&flows, CAPACITY));
    for (uint32_t i = 0; i < CAPACITY; i++)
        CHECK((taken[i] = open_one(i, hostile, hash_mask)) != 0);
    CHECK(dsn_flows_take(&flows) == 0 && flows.used == CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        for (unsigned direction = 0; direction < 2; direction++)
            CHECK(find(i, direction, hostile, hash_mask) == dsn_ref(taken[i], direction));
    CHECK(find(CAPACITY, 0, hostile, hash_mask) == 0);
    dsn_flows_destroy(&flows);
}

/* Opened and closed at random for long: what is open is found, what isn't is not, and nothing is left behind. */
static void churn(void) {
    static uint32_t taken[2 * CAPACITY];
    CHECK(dsn_flows_create(&flows, CAPACITY));
    for (uint32_t turn = 0; turn < 200000; turn++) {
        uint32_t number = draw() % (2 * CAPACITY);
        if (taken[number] != 0) {
            close_one(taken[number]);
            taken[number] = 0;
        } else {
            taken[number] = open_one(number, false, UINT64_MAX);
        }
        uint32_t other = draw() % (2 * CAPACITY);
        CHECK(find(other, turn & 1, false, UINT64_MAX) == (taken[other] ? dsn_ref(taken[other], turn & 1) : 0));
    }
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        if (taken[i] != 0)
            close_one(taken[i]);
    CHECK(flows.used == 0);
    for (uint32_t i = 0; i < flows.buckets; i++)
        CHECK(flows.bucket[i].passed == 0);
    dsn_flows_destroy(&flows);
}

/* UDP without a reply lives 120 s. Times jump from milliseconds to hours. */
static void wheel(void) {
    static uint64_t last[CAPACITY + 1];
    uint64_t now = 5 * DSN_SECOND + 17, open = 0;
    CHECK(dsn_flows_create(&flows, CAPACITY));
    for (uint32_t turn = 0; turn < 20000; turn++) {
        uint64_t kind = draw() % 100;
        now += kind < 40   ? draw() % (DSN_SECOND / 4000)
               : kind < 90 ? draw() % (DSN_SECOND / 4)
               : kind < 99 ? draw() % (60 * DSN_SECOND)
                           : draw() % (9000 * DSN_SECOND);
        uint32_t budget = UINT32_MAX, number;
        while ((number = dsn_flows_next_expired(&flows, now, &budget)) != 0) {
            CHECK(now - last[number] >= 120 * DSN_SECOND);
            close_one(number);
            last[number] = 0;
            open--;
        }
        for (uint32_t i = 1; i <= flows.high; i++)
            CHECK(last[i] == 0 || now - last[i] < 120 * DSN_SECOND);
        if (open < 64 && (number = open_one(turn, false, UINT64_MAX)) != 0) {
            flows.connection[number].session.last_ns = last[number] = now;
            dsn_flows_arm(&flows, number);
            open++;
        }
        number = 1 + (uint32_t)(draw() % 64);
        if (number <= flows.high && last[number] != 0) /* used: its deadline moves on, the wheel isn't told */
            flows.connection[number].session.last_ns = last[number] = now;
    }
    CHECK(flows.used == open);
    dsn_flows_destroy(&flows);
}

/* Deadlines that come nearer: a TCP connection that is closed has 10 s left, and the wheel is told. */
static void nearer(void) {
    static uint64_t due[CAPACITY + 1];
    uint64_t now = 3 * DSN_SECOND;
    CHECK(dsn_flows_create(&flows, CAPACITY));
    for (uint32_t turn = 0; turn < 100000; turn++) {
        uint32_t budget = UINT32_MAX, number;
        now += draw() % (DSN_SECOND / (turn & 4096 ? 10 : 10000));
        while ((number = dsn_flows_next_expired(&flows, now, &budget)) != 0) {
            CHECK(due[number] <= now);
            close_one(number);
            due[number] = 0;
        }
        for (uint32_t i = 1; i <= flows.high; i++)
            CHECK(due[i] == 0 || due[i] > now);
        if (flows.used < 64 && (number = open_one(turn, false, UINT64_MAX)) != 0) {
            struct dsn_connection *c = &flows.connection[number];
            dsn_line(c, 0)->key.protocol = dsn_line(c, 1)->key.protocol = DSN_TCP;
            dsn_flows_leave(&flows, dsn_ref(number, 0)); /* never found again: its key has changed */
            c->session.tcp = DSN_TCP_SYN_SENT;
            c->session.last_ns = now;
            dsn_flows_arm(&flows, number);
            due[number] = now + 240 * DSN_SECOND;
        }
        number = 1 + (uint32_t)(draw() % 64);
        if (number <= flows.high && due[number] != 0) {
            flows.connection[number].session.tcp = DSN_TCP_CLOSED;
            flows.connection[number].session.last_ns = now;
            dsn_flows_arm(&flows, number);
            due[number] = now + 10 * DSN_SECOND;
        }
    }
    dsn_flows_destroy(&flows);
}

#define MANY 262144
#define REFUSED 10000
#define LOOKS 4096

/* Packets that are refused at a limit, while all that is there falls due later in the running second. */
static void refused(const char *when, uint64_t between, uint64_t last_of_all) {
    uint64_t begin = 1000 * DSN_SECOND, now, looked = 0;
    uint32_t found = 0;
    CHECK(dsn_flows_create(&flows, MANY));
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t number = open_one(i, false, UINT64_MAX);
        flows.connection[number].session.last_ns = begin + i * last_of_all / MANY;
        dsn_flows_arm(&flows, number);
    }
    now = begin + 120 * DSN_SECOND - REFUSED * between / 2;
    for (uint32_t i = 0; i < REFUSED; i++, now += between) {
        uint32_t budget = LOOKS, number = dsn_flows_next_expired(&flows, now, &budget);
        looked += LOOKS - budget;
        if (number == 0)
            continue;
        CHECK(now - flows.connection[number].session.last_ns >= 120 * DSN_SECOND);
        close_one(number);
        found++;
    }
    printf("%d refused packets at %d connections, %s: %ju looked at, %.1f a packet, %u expired\n", REFUSED, MANY, when,
           (uintmax_t)looked, (double)looked / REFUSED, found);
    CHECK(looked <= MANY + 200 * REFUSED);
    CHECK(found > REFUSED / 3); /* some came before anything was due, and some while the second was sorted */
    dsn_flows_destroy(&flows);
}

int main(void) {
    refused("opened in a second", 20000, DSN_SECOND - 1);
    refused("opened in a tenth of one", 20000, DSN_SECOND / 10);
    refused("opened at once", 20000, 0);
    fill(false, UINT64_MAX);
    fill(true, UINT64_MAX);
    fill(true, 0);      /* all in one bucket, all with one tag: slow, and it holds */
    fill(true, 0xffff); /* one bucket */
    churn();
    wheel();
    nearer();
    return 0;
}
