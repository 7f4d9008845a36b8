/* Private shards: the very path that live traffic takes, on flows, neighbours and counters of their own. */
#include "replay.h"

#include "memfd.h"
#include "port/kinds.h"

#include <inttypes.h>
#include <stdlib.h>

#define MOST_BYTES ((size_t)256 << 20)
#define MOST_RESULTS ((size_t)1 << 30)
#define MOST_CONNECTIONS (1u << 20)
#define GUESTS (DSN_REPLAYS / 2)     /* shards of other users than who started the engine: they can't take all */
#define GUEST_CONNECTIONS (1u << 20) /* of all of theirs together: each takes some 800 bytes once it is used */
/* What shards may hold at once: 256 packets that wait for neighbours in each, and those of the one that runs. */
#define POOL_PACKETS (DSN_REPLAYS * 256u + 1024u)
#define LONGEST_MTU 9216
#define LONGEST_FRAME (LONGEST_MTU + DSN_FRAME_EXTRA)
#define LATEST_NS INT64_MAX /* so that every time-out behind it still is a number */

struct dsn_replay *dsn_replay_of(struct dsn_control *control, struct dsn_exchange *exchange) {
    if (exchange->shard == 0)
        return NULL;
    for (int place = 0; place < DSN_REPLAYS; place++)
        if (control->replay[place].number == exchange->shard && control->replay[place].holder == exchange->from)
            return &control->replay[place];
    dsn_refuse(&exchange->failure, DSN_INVALID, "shard", "number", "one that this connection made and did not close",
               NULL);
    dsn_got(&exchange->failure, "%u", exchange->shard);
    return NULL;
}

void dsn_replay_end(struct dsn_control *control, struct dsn_replay *replay) {
    (void)control;
    if (replay->shard)
        dsn_shard_destroy(replay->shard);
    dsn_segment_destroy(&replay->segment);
    free(replay->events);
    *replay = (struct dsn_replay){0};
}

bool dsn_replay_pool(struct dsn_control *control, struct dsn_failure *failure) {
    if (!control->replay_pool)
        control->replay_pool = dsn_pool_create("dsn_replay", POOL_PACKETS, LONGEST_MTU);
    uint16_t count = control->engine.port_count;
    memcpy(control->replay_port, control->engine.ports, count * sizeof(control->replay_port[0]));
    control->replay_port[count] = &control->nowhere;
    control->nowhere.index = count;
    return control->replay_pool || dsn_refuse(failure, DSN_FULL, "shard", "", "memory for its packets",
                                              "Give the engine more (memory_mb in card.toml).");
}

struct dsn_shard *dsn_shard_for(struct dsn_control *control, const struct dsn_segment *segment, uint32_t connections,
                                uint64_t pickup_until, struct dsn_failure *failure) {
    struct dsn_shard_config config = {
        .counters = segment->block[0],
        .limits = segment->limits[0],
        .connections = connections,
        .workers = 1,
        .flow_limit = control->load.flow_limit,
        .inbound_flow_limit = control->load.inbound_flow_limit,
        .punt_limit = control->load.punt_limit,
        .new_flow_limit = control->load.new_flow_limit,
        .half_open_limit = control->load.half_open_limit,
        .fragment_limit = control->load.fragment_limit,
        .icmp_limit = control->load.icmp_limit,
        .challenge_limit = control->load.challenge_limit,
        .pickup_until_ns = pickup_until,
        .ports = control->replay_port,
        .port_count = control->engine.port_count,
        .pool = control->replay_pool,
    };
    struct dsn_shard *shard = dsn_shard_create(&config);
    if (shard == NULL)
        dsn_refuse(failure, DSN_FULL, "shard", "connections", "memory for it", "Ask for fewer connections.");
    return shard;
}

bool dsn_do_shard(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_shard_ask *ask = exchange->body;
    struct dsn_failure *failure = &exchange->failure;
    struct dsn_replay *replay = control->replay;
    while (replay < control->replay + DSN_REPLAYS && replay->number)
        replay++;
    unsigned guests = 0, taken = 0;
    for (int place = 0; place < DSN_REPLAYS; place++) {
        bool guest = control->replay[place].number && control->replay[place].guest;
        guests += guest;
        taken += guest ? control->replay[place].connections : 0;
    }
    if (exchange->guest && guests >= GUESTS)
        return dsn_refuse(failure, DSN_FULL, "shard", "", "8 at a time of others than who started the engine",
                          "Close one.");
    if (replay == control->replay + DSN_REPLAYS)
        return dsn_refuse(failure, DSN_FULL, "shard", "", "16 at a time", "Close one.");
    if (ask->connections < 1 || ask->connections > MOST_CONNECTIONS) {
        dsn_refuse(failure, DSN_INVALID, "shard", "connections", "1..1048576", NULL);
        return dsn_got(failure, "%u", ask->connections);
    }
    if (exchange->guest && ask->connections > GUEST_CONNECTIONS - taken) {
        dsn_refuse(failure, DSN_FULL, "shard", "connections",
                   "1048576 in all shards of others than who started the engine",
                   "Close one, or ask for fewer connections.");
        return dsn_got(failure, "%u, beside %u", ask->connections, taken);
    }
    if (!dsn_staged_root(control, ask->stage, failure) || !dsn_replay_pool(control, failure) ||
        !dsn_segment_create(&replay->segment, &control->tables, 1, control->engine.ports, control->engine.port_count,
                            false, failure))
        return false;
    replay->events = calloc(1, sizeof(*replay->events));
    replay->shard = dsn_shard_for(control, &replay->segment, ask->connections, ask->pickup ? UINT64_MAX : 0, failure);
    if (!replay->shard || !replay->events || !dsn_life_draw(&replay->events->life)) {
        if (!replay->events)
            dsn_refuse(failure, DSN_FULL, "shard", "", "memory for it", NULL);
        dsn_replay_end(control, replay);
        return false;
    }
    /* Numbers aren't given twice: a late request never meets another's shard. */
    replay->number = ++control->replays_made;
    replay->holder = exchange->from;
    replay->guest = exchange->guest;
    replay->connections = ask->connections;
    replay->stage = ask->stage;
    struct dsn_number answer = {replay->number};
    dsn_say(exchange, &answer, sizeof(answer));
    return true;
}

bool dsn_do_shard_close(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_number *ask = exchange->body;
    for (int place = 0; place < DSN_REPLAYS; place++)
        if (ask->number && control->replay[place].number == ask->number &&
            control->replay[place].holder == exchange->from)
            dsn_replay_end(control, &control->replay[place]);
    return true;
}

/* --- results, a growing buffer --- */

bool dsn_results_room(struct dsn_results *results, size_t more) {
    if (results->size + more <= results->room)
        return true;
    size_t room = results->room ? results->room * 2 : 65536;
    while (room < results->size + more)
        room *= 2;
    uint8_t *data = room <= MOST_RESULTS ? realloc(results->data, room) : NULL;
    if (data == NULL)
        return false;
    results->data = data;
    results->room = room;
    return true;
}

static struct dsn_packet_out *head_of(struct dsn_results *results) {
    return (struct dsn_packet_out *)(results->data + results->head);
}

bool dsn_results_begin(struct dsn_results *results) {
    if (!dsn_results_room(results, sizeof(struct dsn_packet_out)))
        return false;
    results->head = results->size;
    results->size += sizeof(struct dsn_packet_out);
    *head_of(results) = (struct dsn_packet_out){0};
    return true;
}

static bool put_frame(struct dsn_results *results, const struct dsn_port *port, struct rte_mbuf *frame) {
    uint32_t length = frame->pkt_len, padded = (length + 7) & ~7u;
    if (!dsn_results_room(results, sizeof(struct dsn_packet_in) + padded))
        return false;
    struct dsn_packet_in *record = (void *)(results->data + results->size);
    *record = (struct dsn_packet_in){.port = port->number, .length = length};
    uint8_t *bytes = (uint8_t *)(record + 1);
    memset(bytes, 0, padded);
    const void *from = rte_pktmbuf_read(frame, 0, length, bytes);
    if (from && from != bytes)
        memcpy(bytes, from, length);
    results->size += sizeof(*record) + padded;
    head_of(results)->outputs++;
    return true;
}

/* All frames that the shard left in its queues; false: memory lacked, they are dropped all the same. */
bool dsn_results_drain(struct dsn_results *results, struct dsn_control *control, struct dsn_shard *shard,
                       struct dsn_segment *segment) {
    bool kept = true;
    for (uint16_t index = 0; index < control->engine.port_count; index++) {
        struct dsn_tx *tx = dsn_shard_tx(shard, index);
        for (uint16_t i = 0; i < tx->count; i++) {
            kept = kept && put_frame(results, control->engine.ports[index], tx->packets[i]);
            segment->port[index].tx_packets++;
            segment->port[index].tx_bytes += tx->packets[i]->pkt_len;
            dsn_shard_sent(shard, dsn_frame_to(tx->packets[i]), 1, tx->packets[i]->pkt_len);
            rte_pktmbuf_free(tx->packets[i]);
        }
        tx->count = 0;
    }
    return kept;
}

/* Steps stand before outputs, which are there already: those move up. */
bool dsn_results_end(struct dsn_results *results, struct dsn_result verdict, const struct dsn_witness *witness) {
    size_t steps = witness ? witness->count * sizeof(witness->step[0]) : 0;
    if (!dsn_results_room(results, steps))
        return false;
    uint8_t *begin = results->data + results->head + sizeof(struct dsn_packet_out);
    if (steps) {
        memmove(begin + steps, begin, results->size - results->head - sizeof(struct dsn_packet_out));
        memcpy(begin, witness->step, steps);
    }
    results->size += steps;
    struct dsn_packet_out *head = head_of(results);
    head->verdict = verdict.verdict;
    head->reason = verdict.reason;
    head->steps = witness ? witness->count : 0;
    head->size = (uint32_t)(results->size - results->head);
    return true;
}

/* --- packets of a request --- */

bool dsn_packets_open(struct dsn_packets *packets, struct dsn_control *control, struct dsn_exchange *exchange,
                      unsigned most) {
    const struct dsn_replay_ask *ask = exchange->body;
    *packets = (struct dsn_packets){.control = control, .left = ask->count};
    if (ask->count > most) {
        dsn_refuse(&exchange->failure, DSN_INVALID, "packets", "count", NULL, "Send them in parts.");
        dsn_limit(&exchange->failure, "0..%u at once", most);
        return dsn_got(&exchange->failure, "%u", ask->count);
    }
    int memfd = exchange->memfd;
    exchange->memfd = -1;
    if (memfd < 0)
        return dsn_refuse(&exchange->failure, DSN_CORRUPT, "replay", "", "a memfd of packets", NULL);
    return dsn_memfd_map(memfd, 0, MOST_BYTES, &packets->data, &packets->size, &exchange->failure);
}

static struct dsn_port *port_of(struct dsn_control *control, uint32_t number) {
    for (uint16_t i = 0; i < control->engine.port_count; i++)
        if (control->engine.ports[i]->number == number)
            return control->engine.ports[i];
    control->nowhere.number = number;
    return &control->nowhere;
}

static bool packet_refused(struct dsn_packets *packets, enum dsn_kind kind, const char *field, const char *limit,
                           uint64_t got, struct dsn_failure *failure) {
    dsn_refuse(failure, kind, "packet to replay", field, limit, NULL);
    failure->error.row = (int32_t)packets->done;
    return dsn_got(failure, "%" PRIu64, got);
}

bool dsn_packets_next(struct dsn_packets *packets, struct dsn_failure *failure) {
    size_t room = packets->size - packets->at;
    struct dsn_packet_in head;
    if (packets->left == 0)
        return false;
    if (room < sizeof(head))
        return packet_refused(packets, DSN_CORRUPT, "", "as many as were announced", packets->done, failure);
    memcpy(&head, packets->data + packets->at, sizeof(head));
    size_t padded = ((size_t)head.length + 7) & ~(size_t)7;
    if (padded > room - sizeof(head))
        return packet_refused(packets, DSN_CORRUPT, "length", "inside the memfd", head.length, failure);
    if (head.time_ns < packets->earliest)
        return packet_refused(packets, DSN_INVALID, "time_ns", "no earlier than the packet before", head.time_ns,
                              failure);
    if (head.time_ns > LATEST_NS)
        return packet_refused(packets, DSN_INVALID, "time_ns", "0..2^63 - 1", head.time_ns, failure);
    if (head.length > LONGEST_FRAME)
        return packet_refused(packets, DSN_INVALID, "data", "9238 bytes", head.length, failure);
    packets->port = port_of(packets->control, head.port);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(packets->control->replay_pool);
    if (mbuf == NULL)
        return packet_refused(packets, DSN_FULL, "", "memory for packets", packets->done, failure);
    char *bytes = rte_pktmbuf_append(mbuf, (uint16_t)head.length); /* the pool's packets have room for the longest */
    memcpy(bytes, packets->data + packets->at + sizeof(head), head.length);
    mbuf->port = packets->port->index;
    packets->mbuf = mbuf;
    packets->time = packets->earliest = head.time_ns;
    packets->at += sizeof(head) + padded;
    packets->left--;
    packets->done++;
    return true;
}

bool dsn_results_answer(struct dsn_results *results, uint64_t count, struct dsn_exchange *exchange) {
    struct dsn_page page = {.count = count};
    exchange->answer_fd = dsn_bulk_copy("dsn-results", results->data, results->size, &exchange->failure);
    dsn_say(exchange, &page, sizeof(page));
    return exchange->answer_fd >= 0;
}

static bool replay_one(struct dsn_replay *replay, const struct dsn_root *root, struct dsn_packets *packets,
                       bool with_witness, struct dsn_results *results) {
    static struct dsn_witness witness; /* 8 KiB; the control thread is alone here */
    struct rte_mbuf *mbuf = packets->mbuf;
    replay->now = packets->time;
    if (packets->port != &packets->control->nowhere) {
        replay->segment.port[packets->port->index].rx_packets++;
        replay->segment.port[packets->port->index].rx_bytes += mbuf->pkt_len;
    }
    witness.count = 0;
    bool kept = dsn_results_begin(results);
    /* Timers first and by themselves, so that what they sent stands before the packet's own frames; as often as they
     * fill the queues. */
    for (uint64_t due = 0; kept && due <= replay->now;) {
        due = dsn_path_tick(replay->shard, root, replay->now);
        kept = dsn_results_drain(results, packets->control, replay->shard, &replay->segment);
    }
    struct dsn_result verdict = with_witness ? dsn_path_witness(replay->shard, root, mbuf, replay->now, &witness)
                                             : dsn_path_one(replay->shard, root, mbuf, replay->now);
    kept = kept && dsn_results_drain(results, packets->control, replay->shard, &replay->segment);
    dsn_events_take(replay->events, replay->shard); /* before its ring is full */
    return kept && dsn_results_end(results, verdict, with_witness ? &witness : NULL);
}

bool dsn_do_replay(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_replay_ask *ask = exchange->body;
    struct dsn_replay *replay = dsn_replay_of(control, exchange);
    struct dsn_packets packets;
    struct dsn_results results = {0};
    if (replay == NULL)
        return exchange->failure.kind ? false
                                      : dsn_refuse(&exchange->failure, DSN_INVALID, "replay", "shard",
                                                   "a private shard's number", "Make a shard first.");
    /* What was decided from a staged commit can't be told from what the commit after it decides. */
    if (ask->stage != replay->stage)
        return dsn_refuse(&exchange->failure, DSN_INVALID, "replay", "stage", "that of the shard",
                          "Make another shard.");
    const struct dsn_root *root = dsn_staged_root(control, ask->stage, &exchange->failure);
    if (root == NULL || !dsn_packets_open(&packets, control, exchange, DSN_REPLAY_PACKETS))
        return false;
    bool kept = true;
    packets.earliest = replay->now;
    while (kept && dsn_packets_next(&packets, &exchange->failure))
        kept = replay_one(replay, root, &packets, ask->witness, &results);
    if (!kept)
        dsn_refuse(&exchange->failure, DSN_FULL, "replay", "", "memory for its results", "Send fewer packets at once.");
    bool done = exchange->failure.kind == 0 && dsn_results_answer(&results, packets.done, exchange);
    dsn_memfd_unmap(packets.data, packets.size);
    free(results.data);
    return done;
}
