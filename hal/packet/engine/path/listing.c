/* What others ask of a shard: its connections, counters up to date, and a copy of what one packet could meet. */
#include "path/run.h"
#include "path/tcp.h"
#include "path/words.h"

#define PLACES 8192                         /* records looked at in one call */
#define PAGE 1024                           /* the same where much is done with each: taken out, settled */
#define SWEEPING UINT64_MAX                 /* a cursor */
#define USES (UINT64_C(1) << 32)            /* cursors above it are slots of table vnic */
#define COPY_NEIGHBOURS (UINT64_C(1) << 32) /* cursors above it are neighbours', those below are vNICs' */
#define TICK_WHILE (DSN_SECOND / 500)       /* between two ticks of a round of settling */

enum { GIVEN_VRF = 1 << 0, GIVEN_VNIC = 1 << 1, GIVEN_ID = 1 << 2, GIVEN_SOURCE = 1 << 3, GIVEN_DESTINATION = 1 << 4 };
enum { GIVEN_PROTOCOL = 1 << 7, GIVEN_SOURCE_PORT = 1 << 9, GIVEN_DESTINATION_PORT = 1 << 10 };

static bool is_within(const uint8_t address[16], const uint8_t prefix[16], uint8_t length) {
    bool v4 = length >= 96 && dsn_is_v4(prefix);
    unsigned bytes = length / 8, bits = length % 8;
    return length <= 128 && v4 == dsn_is_v4(address) && memcmp(address, prefix, bytes) == 0 &&
           (bits == 0 || (address[bytes] ^ prefix[bytes]) >> (8 - bits) == 0);
}

static bool matches(const struct dsn_flows *flows, const struct dsn_connection *c, const struct dsn_flows_ask *ask) {
    const struct dsn_rest *rest = dsn_rest(flows, c);
    const struct dsn_flow_key *key = &dsn_line(c, 0)->key;
    uint64_t given = ask->given;
    return (!(given & GIVEN_VRF) || key->vrf == ask->vrf) &&
           (!(given & GIVEN_VNIC) || rest->ingress == ask->vnic || rest->egress == ask->vnic) &&
           (!(given & GIVEN_ID) || rest->id == ask->id) &&
           (!(given & GIVEN_PROTOCOL) || key->protocol == ask->protocol) &&
           (!(given & GIVEN_SOURCE_PORT) || key->source_port == ask->source_port) &&
           (!(given & GIVEN_DESTINATION_PORT) || key->destination_port == ask->destination_port) &&
           (!(given & GIVEN_SOURCE) || is_within(key->source, ask->source, ask->source_len)) &&
           (!(given & GIVEN_DESTINATION) || is_within(key->destination, ask->destination, ask->destination_len));
}

/* Who asks read the clock before the worker did for its last burst: then the worker's time counts, or what it has just
 * used would have been idle since before the beginning of time. */
static bool lives(const struct dsn_shard *shard, const struct dsn_connection *c, uint64_t now) {
    return dsn_line(c, 0)->ops != 0 && !dsn_expired(&shard->flows, c, RTE_MAX(now, shard->now));
}

static void record_of(const struct dsn_shard *shard, const struct dsn_connection *c, struct dsn_flow_record *record) {
    const struct dsn_session *session = &c->session;
    const struct dsn_rest *rest = dsn_rest(&shard->flows, c);
    const struct dsn_flow_key *key = &dsn_line(c, 0)->key;
    *record = (struct dsn_flow_record){
        .id = rest->id,
        .vrf = key->vrf,
        .ingress = rest->ingress,
        .egress = rest->egress,
        .generation = session->generation,
        .created_ns = rest->created_ns,
        .last_ns = session->last_ns,
        .timeout_ns = dsn_timeout_ns(&shard->flows, c),
        .packets = {session->packets[0], session->packets[1]},
        .bytes = {session->bytes[0], session->bytes[1]},
        .rules = {rest->row_id[0], rest->row_id[1]},
        .source_port = key->source_port,
        .destination_port = key->destination_port,
        .protocol = key->protocol,
        .tcp_state = session->tcp,
        .worker = shard->config.worker,
    };
    memcpy(record->source, key->source, 16);
    memcpy(record->destination, key->destination, 16);
}

uint32_t dsn_shard_flows(struct dsn_shard *shard, const struct dsn_root *root, const struct dsn_flows_ask *which,
                         uint64_t now, struct dsn_flow_record *records, uint32_t count, uint64_t *cursor) {
    const struct dsn_flows *flows = &shard->flows;
    uint32_t found = 0, looked = 0;
    uint64_t number = *cursor > 0 ? *cursor : 1;
    (void)root;
    for (; number <= flows->high && found < count && looked < PLACES; number++, looked++) {
        const struct dsn_connection *c = &flows->connection[number];
        if (lives(shard, c, now) && matches(&shard->flows, c, which))
            record_of(shard, c, &records[found++]);
    }
    *cursor = number <= flows->high ? number : 0;
    return found;
}

uint32_t dsn_shard_neighbours(struct dsn_shard *shard, struct dsn_neighbour_record *records, uint32_t count,
                              uint64_t *cursor) {
    const struct dsn_neighbours *neighbours = &shard->neighbours;
    uint32_t found = 0, looked = 0;
    uint64_t number = *cursor > 0 ? *cursor : 1;
    for (; number <= neighbours->high && found < count && looked < PLACES; number++, looked++) {
        const struct dsn_neighbour *one = &neighbours->neighbour[number];
        if (one->state == DSN_NEIGHBOUR_NONE)
            continue;
        struct dsn_neighbour_record *record = &records[found++];
        *record =
            (struct dsn_neighbour_record){.uplink = one->uplink, .worker = shard->config.worker, .state = one->state};
        memcpy(record->address, one->address, 16);
        memcpy(record->mac, one->mac, 6);
    }
    *cursor = number <= neighbours->high ? number : 0;
    return found;
}

size_t dsn_shard_flow_words(struct dsn_shard *shard, const struct dsn_root *root, uint64_t id, uint64_t now, char *text,
                            size_t size) {
    (void)root;
    for (uint32_t number = 1; number <= shard->flows.high; number++) {
        const struct dsn_connection *c = &shard->flows.connection[number];
        if (shard->flows.rest[number].id == id && lives(shard, c, now))
            return dsn_words_of(shard, c, text, size);
    }
    return 0;
}

uint32_t dsn_shard_forget_some(struct dsn_shard *shard, const struct dsn_root *root, const struct dsn_flows_ask *which,
                               uint64_t now, uint64_t *cursor) {
    uint32_t forgotten = 0;
    uint64_t number = *cursor > 0 ? *cursor : 1;
    dsn_shard_use(shard, root);
    for (uint32_t i = 0; i < PAGE && number <= shard->flows.high; i++, number++) {
        const struct dsn_connection *c = &shard->flows.connection[number];
        if (!lives(shard, c, now) || !matches(&shard->flows, c, which))
            continue;
        dsn_connection_remove(shard, (uint32_t)number);
        forgotten++;
    }
    *cursor = number <= shard->flows.high ? number : 0;
    return forgotten;
}

uint32_t dsn_shard_forget(struct dsn_shard *shard, const struct dsn_root *root, const struct dsn_flows_ask *which,
                          uint64_t now) {
    uint32_t forgotten = 0;
    uint64_t cursor = 0;
    do
        forgotten += dsn_shard_forget_some(shard, root, which, now, &cursor);
    while (cursor != 0);
    return forgotten;
}

/* Those from *number on, a page of them; *number is then the next one's. */
static void settle_page(struct dsn_shard *shard, uint32_t *number) {
    const struct dsn_flows *flows = &shard->flows;
    for (uint32_t i = 0; i < PAGE && *number <= flows->high; i++, ++*number)
        if (dsn_line(&flows->connection[*number], 0)->ops != 0)
            dsn_connection_settle(shard, *number);
}

void dsn_shard_settle_some(struct dsn_shard *shard, const struct dsn_root *root, uint64_t *cursor) {
    dsn_shard_use(shard, root);
    if (*cursor == 0 || *cursor == SWEEPING) {
        bool swept = dsn_connections_sweep(shard, shard->now, PAGE);
        *cursor = !swept ? SWEEPING : shard->flows.high > 0 ? 1 : USES;
    } else if (*cursor < USES) {
        uint32_t number = (uint32_t)*cursor;
        settle_page(shard, &number);
        *cursor = number <= shard->flows.high ? number : USES;
    } else {
        uint32_t slot = (uint32_t)(*cursor - USES);
        dsn_uses_page(shard, &slot);
        *cursor = slot < root->table[DSN_TABLE_VNIC].capacity ? USES + slot : 0;
    }
    shard->counters.engine[DSN_COUNT_FLOWS_NOW] = shard->flows.used;
}

void dsn_shard_settle(struct dsn_shard *shard, const struct dsn_root *root) {
    uint64_t cursor = 0;
    do
        dsn_shard_settle_some(shard, root, &cursor);
    while (cursor != 0);
}

/* A round a second over all records, some a tick; none where no packet came since the last one. */
static bool settle_some(struct dsn_shard *shard, uint64_t now) {
    const struct dsn_flows *flows = &shard->flows;
    uint64_t packets = shard->counters.engine[DSN_COUNT_PACKETS];
    if (shard->settle_next == 0) {
        if (now - shard->settled_ns < DSN_SECOND || packets == shard->settled_packets)
            return false;
        shard->settled_ns = now;
        shard->settled_packets = packets;
        shard->settle_next = 1;
    }
    settle_page(shard, &shard->settle_next);
    if (shard->settle_next > flows->high)
        shard->settle_next = 0;
    return shard->settle_next != 0;
}

uint64_t dsn_path_tick(struct dsn_shard *shard, const struct dsn_root *root, uint64_t now) {
    if (!dsn_shard_begin(shard, root, now, true))
        return now;
    /* Where it has more to take out it goes on soon: another worker may wait for what these connections have lent. */
    bool more = !dsn_connections_sweep(shard, now, PAGE);
    more |= settle_some(shard, now);
    uint64_t next = more ? now + TICK_WHILE : now + DSN_SECOND;
    uint64_t pickup = shard->config.pickup_until_ns;
    if (pickup > now && pickup != DSN_FOREVER && pickup < next)
        next = pickup;
    uint64_t due = dsn_neighbours_due(&shard->neighbours);
    return due < next ? due : next;
}

/* --- for trace --- */

static uint32_t copy_ops(struct dsn_shard *to, struct dsn_shard *from, uint32_t number) {
    struct dsn_ops ops = *dsn_ops_at(&from->ops, number);
    if (ops.neighbour != 0) {
        const struct dsn_neighbour *one = &from->neighbours.neighbour[ops.neighbour];
        ops.neighbour = dsn_neighbour_place(&to->neighbours, one->uplink, one->address);
        if (ops.neighbour == 0)
            return 0;
    }
    return dsn_ops_hold(to, &ops);
}

/* The number of the copy; 0: no room. */
static uint32_t copy_connection(struct dsn_shard *to, struct dsn_shard *from, uint32_t number) {
    const struct dsn_connection *c = &from->flows.connection[number];
    uint32_t taken = dsn_flows_take(&to->flows);
    if (taken == 0)
        return 0;
    struct dsn_connection *copy = &to->flows.connection[taken];
    *copy = *c;
    if (dsn_line(c, 0)->key.protocol == DSN_TCP)
        to->flows.windows[taken] = from->flows.windows[number];
    to->flows.rest[taken] = from->flows.rest[number];
    to->flows.rest[taken].wheel_next = to->flows.rest[taken].wheel_previous = 0;
    to->flows.rest[taken].share = 0; /* counted with all others there */
    dsn_line(copy, 0)->ops = copy_ops(to, from, dsn_line(c, 0)->ops);
    dsn_line(copy, 1)->ops = copy_ops(to, from, dsn_line(c, 1)->ops);
    if (dsn_line(copy, 0)->ops == 0 || dsn_line(copy, 1)->ops == 0) {
        dsn_ops_let_go(to, dsn_line(copy, 0)->ops);
        dsn_ops_let_go(to, dsn_line(copy, 1)->ops);
        dsn_flows_give(&to->flows, taken);
        return 0;
    }
    dsn_connection_enter(to, taken);
    dsn_flows_arm(&to->flows, taken);
    return taken;
}

void dsn_shard_copy_some(struct dsn_shard *to, struct dsn_shard *from, uint64_t *cursor) {
    const struct dsn_neighbours *neighbours = &from->neighbours;
    uint64_t number = *cursor > 0 ? *cursor : 1, vnics = from->vnics.high;
    for (uint32_t i = 0; i < PAGE && number <= COPY_NEIGHBOURS; i++, number++) {
        if (number > vnics) {
            number = COPY_NEIGHBOURS;
            continue;
        }
        dsn_vnic_state_copy(&to->vnics, &from->vnics, (uint32_t)number);
    }
    for (uint32_t i = 0; i < PAGE && number > COPY_NEIGHBOURS && number <= COPY_NEIGHBOURS + neighbours->high;
         i++, number++)
        if (neighbours->neighbour[number - COPY_NEIGHBOURS].state != DSN_NEIGHBOUR_NONE)
            dsn_neighbour_copy(to, from, &neighbours->neighbour[number - COPY_NEIGHBOURS]);
    *cursor = number <= COPY_NEIGHBOURS + neighbours->high ? number : 0;
}

uint64_t dsn_shard_copy_for(struct dsn_shard *to, struct dsn_shard *from, const struct dsn_root *root,
                            struct rte_mbuf *mbuf, uint64_t now) {
    struct dsn_flow_key key;
    struct dsn_first_fragment *first = NULL;
    struct dsn_packet packet = {0};
    to->root = root;
    to->now = now = RTE_MAX(now, from->now);
    to->generation = from->generation;
    memcpy(to->since, from->since, sizeof(to->since));
    to->structure = from->structure;
    to->network = from->network;
    to->links = from->links;
    to->conflicts = from->conflicts;
    if (mbuf->port >= from->config.port_count) /* not loaded: no flow begins there */
        return now;
    if (!dsn_path_key(from, root, mbuf, &packet, &key))
        return now;
    uint32_t ref = 0;
    if (dsn_is_later(&packet)) {
        first = dsn_fragment_of(&from->fragments, &packet, now);
        ref = first != NULL ? first->ref : 0;
        if (ref != 0 && dsn_ref_rest(&from->flows, ref)->id != first->connection)
            ref = 0;
    } else {
        ref = dsn_flows_find(&from->flows, &key, dsn_flows_hash(&from->flows, &key));
    }
    if (ref == 0 || !lives(from, dsn_ref_connection(&from->flows, ref), now))
        return now;
    uint32_t number = copy_connection(to, from, ref >> 1);
    if (number != 0 && first != NULL)
        dsn_fragment_copy(&to->fragments, first, dsn_ref(number, ref & 1));
    return now;
}
