/* The whole path, on the property tests' universe. An input is a story: packets of given bytes, earlier ones again with
 * a byte changed, replies to what came out, time, commits, links. Packets of one time go as bursts through one set of
 * shards, and one by one, with the witness, through another: where a single worker has them and no burst is longer than
 * its chains, so that no first packet waits for its turn, both say the same. */
#include "card.h"
#include "path/firsts.h"
#include "path/packet.h"
#include "path/verdicts.h"

#define MOST_EVENTS 96
#define MOST_BURST DSN_BURST
#define CONNECTIONS 64
#define KEPT 16

/* Shards as live workers have them, and what they count. */
struct side {
    uint16_t workers;
    struct dsn_shard *shard[2];
    struct dsn_verdicts *verdicts;
    struct dsn_segment segment;
    uint64_t frames[DSN_MAX_PORTS]; /* a digest of what was sent, a port */
};
static struct side burst, single;
static uint16_t most; /* packets of a burst */

struct frame {
    uint8_t bytes[2048];
    uint16_t size;
    uint8_t port; /* index */
};
static struct frame kept[KEPT], answer; /* the latest that went in, and the latest that came out */
static unsigned keeps;

static struct rte_mempool *pool;
static uint64_t now;
static unsigned changed; /* number of the change that is made, 0: none */

static struct dsn_port **ports(void) {
    return fuzz_control.engine.ports;
}

static void open_side(struct side *side, uint16_t workers, uint64_t pickup_until) {
    struct dsn_failure failure;
    *side = (struct side){.workers = workers, .verdicts = workers > 1 ? dsn_verdicts_create(workers) : NULL};
    FUZZ_CHECK(workers == 1 || side->verdicts != NULL);
    FUZZ_CHECK(dsn_segment_create(&side->segment, &fuzz_control.tables, workers, ports(),
                                  fuzz_control.engine.port_count, false, &failure));
    for (uint16_t worker = 0; worker < workers; worker++) {
        struct dsn_shard_config config = {
            .counters = side->segment.block[worker],
            .limits = side->segment.limits[worker],
            .connections = CONNECTIONS,
            .worker = worker,
            .workers = workers,
            .flow_limit = fuzz_control.load.flow_limit,
            .inbound_flow_limit = fuzz_control.load.inbound_flow_limit,
            .punt_limit = fuzz_control.load.punt_limit,
            .new_flow_limit = fuzz_control.load.new_flow_limit,
            .half_open_limit = fuzz_control.load.half_open_limit,
            .fragment_limit = fuzz_control.load.fragment_limit,
            .icmp_limit = fuzz_control.load.icmp_limit,
            .challenge_limit = fuzz_control.load.challenge_limit,
            .verdicts = side->verdicts,
            .pickup_until_ns = pickup_until,
            .ports = ports(),
            .port_count = fuzz_control.engine.port_count,
            .pool = pool,
        };
        side->shard[worker] = dsn_shard_create(&config);
        FUZZ_CHECK(side->shard[worker] != NULL);
    }
}

static void close_side(struct side *side) {
    for (uint16_t worker = 0; worker < side->workers; worker++)
        dsn_shard_destroy(side->shard[worker]);
    dsn_verdicts_destroy(side->verdicts);
    dsn_segment_destroy(&side->segment);
}

/* What leaves the card can be read by others. */
static void frame_holds(const uint8_t *frame, uint32_t size) {
    struct dsn_packet p = {.frame = (uint8_t *)(uintptr_t)frame, .length = size};
    FUZZ_CHECK(size >= 14 && size <= 9216 + 18);
    enum dsn_reason_number reason = dsn_parse_ethernet(&p);
    FUZZ_CHECK(reason == DSN_PASSED);
    if (p.ethertype != DSN_TYPE_ARP)
        FUZZ_CHECK(dsn_parse_ip(&p) == DSN_PASSED);
}

static void drain(struct side *side) {
    for (uint16_t worker = 0; worker < side->workers; worker++)
        for (uint16_t index = 0; index < fuzz_control.engine.port_count; index++) {
            struct dsn_tx *tx = dsn_shard_tx(side->shard[worker], index);
            for (uint16_t i = 0; i < tx->count; i++) {
                struct rte_mbuf *mbuf = tx->packets[i];
                FUZZ_CHECK(mbuf != NULL);
                tx->packets[i] = NULL; /* a place that is counted and not filled shows */
                const uint8_t *bytes = rte_pktmbuf_mtod(mbuf, const uint8_t *);
                FUZZ_CHECK(mbuf->nb_segs == 1 && mbuf->data_len == mbuf->pkt_len);
                frame_holds(bytes, mbuf->data_len);
                for (uint32_t at = 0; at < mbuf->data_len; at++)
                    side->frames[index] = (side->frames[index] ^ bytes[at]) * UINT64_C(0x100000001b3);
                side->frames[index] += mbuf->data_len;
                if (side == &burst && mbuf->data_len <= sizeof(answer.bytes)) {
                    answer.size = mbuf->data_len;
                    answer.port = (uint8_t)index;
                    memcpy(answer.bytes, bytes, answer.size);
                }
                rte_pktmbuf_free(mbuf);
            }
            tx->count = 0;
        }
}

/* What others own goes to them: a fragment first to whoever keeps its first one's ports, then to its connection's. */
static void hand_over(struct side *side) {
    const struct dsn_root *root = fuzz_control.tables.live;
    struct rte_mbuf *packets[DSN_BURST * 4];
    for (unsigned hop = 0, some = side->workers > 1; some; hop++) {
        some = 0;
        for (uint16_t worker = 0; worker < side->workers; worker++) {
            struct dsn_tx *queue = dsn_shard_handover(side->shard[worker], 1 - worker);
            uint16_t count = queue->count;
            FUZZ_CHECK(dsn_shard_handover(side->shard[worker], worker)->count == 0 && (count == 0 || hop < 3));
            memcpy(packets, queue->packets, count * sizeof(packets[0]));
            queue->count = 0;
            for (uint16_t at = 0; at < count; at += MOST_BURST, some++) {
                uint16_t part = count - at < MOST_BURST ? count - at : MOST_BURST;
                dsn_path_burst(side->shard[1 - worker], root, packets + at, part, now, true);
                drain(side);
            }
        }
    }
}

/* First packets that wait come with bursts of nothing. */
static void let_come(struct side *side) {
    for (uint16_t worker = 0; worker < side->workers; worker++)
        for (unsigned turn = 0; dsn_path_waits(side->shard[worker]); turn++) {
            FUZZ_CHECK(turn < MOST_BURST);
            dsn_path_burst(side->shard[worker], fuzz_control.tables.live, NULL, 0, now, false);
            drain(side);
        }
}

static void tick(struct side *side) {
    for (uint16_t worker = 0; worker < side->workers; worker++)
        for (unsigned turn = 0; dsn_path_tick(side->shard[worker], fuzz_control.tables.live, now) <= now; turn++) {
            FUZZ_CHECK(turn < 100000);
            drain(side);
        }
    drain(side);
}

static struct rte_mbuf *mbuf_of(const struct frame *frame) {
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    FUZZ_CHECK(mbuf != NULL);
    memcpy(rte_pktmbuf_append(mbuf, frame->size), frame->bytes, frame->size);
    mbuf->port = frame->port;
    return mbuf;
}

static struct frame waiting[MOST_BURST];
static uint16_t waits;

/* Everything of one time. */
static void run(void) {
    static struct dsn_witness witness;
    const struct dsn_root *root = fuzz_control.tables.live;
    struct rte_mbuf *mbufs[2][MOST_BURST];
    uint16_t count[2] = {0, 0};
    if (waits == 0)
        return;
    tick(&burst);
    for (uint16_t i = 0; i < waits; i++) {
        uint16_t worker = burst.workers == 1 ? 0 : (waiting[i].port + waiting[i].size) % 2;
        mbufs[worker][count[worker]++] = mbuf_of(&waiting[i]);
    }
    for (uint16_t worker = 0; worker < burst.workers; worker++) {
        dsn_path_burst(burst.shard[worker], root, mbufs[worker], count[worker], now, false);
        drain(&burst);
        hand_over(&burst);
        let_come(&burst);
        hand_over(&burst);
    }
    for (uint16_t i = 0; i < waits; i++) {
        tick(&single);
        struct dsn_result result = i % 4 == 3
                                       ? dsn_path_one(single.shard[0], root, mbuf_of(&waiting[i]), now)
                                       : dsn_path_witness(single.shard[0], root, mbuf_of(&waiting[i]), now, &witness);
        FUZZ_CHECK(result.verdict >= DSN_FORWARD && result.verdict <= DSN_PUNT);
        FUZZ_CHECK((result.verdict == DSN_DROP) == (result.reason != 0) && result.reason < DSN_REASONS);
        drain(&single);
    }
    waits = 0;
}

/* One worker: the same frames on each port, the same drops. */
static void same(void) {
    const struct dsn_counter_block *a = dsn_shard_counters(burst.shard[0]), *b = dsn_shard_counters(single.shard[0]);
    if (burst.workers != 1 || most > DSN_FIRSTS)
        return;
    for (int reason = 0; reason < DSN_REASONS; reason++)
        FUZZ_CHECK(a->drops[reason] == b->drops[reason]);
    FUZZ_CHECK(memcmp(burst.frames, single.frames, sizeof(burst.frames)) == 0);
    static const enum dsn_engine_counter counters[] = {DSN_COUNT_FLOWS_OPENED, DSN_COUNT_PICKUPS, DSN_COUNT_PACKETS};
    for (unsigned i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        FUZZ_CHECK(a->engine[counters[i]] == b->engine[counters[i]]);
    size_t limits = fuzz_control.tables.live->table[DSN_TABLE_VNIC].capacity * sizeof(*burst.segment.limits[0]);
    FUZZ_CHECK(memcmp(burst.segment.limits[0], single.segment.limits[0], limits) == 0);
}

static void put(const struct frame *frame) {
    if (waits == most)
        run();
    waiting[waits++] = *frame;
    kept[keeps++ % KEPT] = *frame;
}

static void wait_for(uint64_t ns) {
    if (ns == 0)
        return;
    run();
    now += ns;
}

/* --- the story --- */

#define SECOND UINT64_C(1000000000)
static const uint64_t pauses[] = {0,
                                  0,
                                  0,
                                  1,
                                  1000000,
                                  SECOND / 2,
                                  SECOND,
                                  3 * SECOND,
                                  10 * SECOND,
                                  31 * SECOND,
                                  61 * SECOND,
                                  121 * SECOND,
                                  241 * SECOND,
                                  301 * SECOND,
                                  601 * SECOND,
                                  7441 * SECOND};

static void mend(struct frame *frame, uint8_t how) {
    if (how & 1)
        fuzz_frame_mend(frame->bytes, frame->size);
    if (how & 2)
        fuzz_icmp_mend(frame->bytes, frame->size);
}

static void send(struct fuzz_input *in, uint8_t how) {
    struct frame frame = {.port = (uint8_t)(fuzz_u8(in) % fuzz_control.engine.port_count)};
    size_t size;
    wait_for(pauses[fuzz_u8(in) % 16]);
    const uint8_t *bytes = fuzz_bytes(in, fuzz_u16(in) % sizeof(frame.bytes), &size);
    memcpy(frame.bytes, bytes, size);
    frame.size = (uint16_t)size;
    mend(&frame, how);
    put(&frame);
}

static void again(struct fuzz_input *in, uint8_t how) {
    struct frame frame = kept[fuzz_u8(in) % KEPT];
    wait_for(pauses[fuzz_u8(in) % 16]);
    for (unsigned patches = fuzz_u8(in) % 4; patches > 0; patches--) {
        uint8_t at = fuzz_u8(in), value = fuzz_u8(in);
        if (frame.size)
            frame.bytes[at % frame.size] = value;
    }
    mend(&frame, how);
    put(&frame);
}

static void swap(uint8_t *a, uint8_t *b, size_t size) {
    uint8_t held[16];
    memcpy(held, a, size);
    memcpy(a, b, size);
    memcpy(b, held, size);
}

/* A TCP header becomes that of who answers: it goes on where it was acknowledged, and acknowledges all that it got.
 * With CWR the numbers stay as they are. */
static void answer_segment(uint8_t *tcp, size_t size, uint8_t flags) {
    uint32_t seq = dsn_be32(tcp + 4), ack = dsn_be32(tcp + 8), header = (tcp[12] >> 4) * 4u;
    uint32_t got = size > header ? (uint32_t)(size - header) : 0;
    got += ((tcp[13] & DSN_TCP_SYN) != 0) + ((tcp[13] & DSN_TCP_FIN) != 0);
    tcp[13] = flags;
    if (flags & 0x80)
        return;
    dsn_put32(tcp + 4, ack);
    dsn_put32(tcp + 8, seq + got);
}

/* The latest frame that came out, turned round, with other TCP flags. */
static void reply(struct fuzz_input *in, uint8_t how) {
    uint8_t flags = fuzz_u8(in);
    wait_for(pauses[fuzz_u8(in) % 16]);
    run();
    struct frame frame = answer;
    size_t ip = frame.size >= 18 && frame.bytes[12] == 0x81 ? 18 : 14, l4 = 0;
    uint8_t *f = frame.bytes;
    if (frame.size < 34)
        return;
    swap(f, f + 6, 6);
    if (f[ip] == 0x45 && frame.size >= ip + 28) {
        swap(f + ip + 12, f + ip + 16, 4);
        l4 = f[ip + 9] == DSN_TCP || f[ip + 9] == DSN_UDP ? ip + 20 : 0;
    } else if (f[ip] >> 4 == 6 && frame.size >= ip + 48) {
        swap(f + ip + 8, f + ip + 24, 16);
        l4 = f[ip + 6] == DSN_TCP || f[ip + 6] == DSN_UDP ? ip + 40 : 0;
    } else if (dsn_be16(f + ip - 2) == DSN_TYPE_ARP && frame.size >= ip + 28) {
        f[ip + 7] = 2;
        swap(f + ip + 8, f + ip + 18, 10);
        f[6] = f[ip + 8] = 2; /* who was asked for has some MAC now */
        memcpy(f + 7, "\0\0\0\1", 4);
        f[11] = f[ip + 13] = flags;
        memcpy(f + ip + 9, f + 7, 4);
    }
    if (l4)
        swap(f + l4, f + l4 + 2, 2);
    if (l4 && flags && frame.size >= l4 + 20 && f[ip] && (f[ip] == 0x45 ? f[ip + 9] : f[ip + 6]) == DSN_TCP)
        answer_segment(f + l4, frame.size - l4, flags);
    mend(&frame, how);
    put(&frame);
}

static void change(unsigned number) {
    run();
    fuzz_card_inside(true);
    if (changed)
        fuzz_commit(2 * changed + 1);
    changed = number;
    if (changed)
        fuzz_commit(2 * changed);
    fuzz_card_inside(false);
}

static void look(struct fuzz_input *in) {
    struct dsn_flow_record records[CONNECTIONS];
    struct dsn_flows_ask which = {0};
    static char text[8192];
    uint64_t cursor = 0, missed;
    struct dsn_event_record event;
    run();
    which.given = fuzz_u8(in) % 4 == 3 ? fuzz_u16(in) : 0;
    which.vrf = 1;
    which.vnic = 10;
    which.protocol = DSN_TCP;
    which.source_len = which.destination_len = 64;
    for (unsigned side = 0; side < 2; side++) {
        struct dsn_shard *shard = side ? single.shard[0] : burst.shard[0];
        dsn_shard_settle(shard, fuzz_control.tables.live);
        unsigned all = 0;
        do {
            uint32_t count =
                dsn_shard_flows(shard, fuzz_control.tables.live, &which, now, records, CONNECTIONS, &cursor);
            for (uint32_t i = 0; i < count; i++)
                FUZZ_CHECK(dsn_shard_flow_words(shard, fuzz_control.tables.live, records[i].id, now, text,
                                                sizeof(text)) <= sizeof(text));
            all += count;
        } while (cursor);
        FUZZ_CHECK(all <= CONNECTIONS);
        while (dsn_shard_event(shard, &event, &missed))
            FUZZ_CHECK(memchr(event.data, 0, sizeof(event.data)) != NULL);
    }
}

static void forget(struct fuzz_input *in) {
    struct dsn_flows_ask which = {.given = fuzz_u8(in) % 4 == 3 ? 2 : 0, .vnic = 10 + fuzz_u8(in) % 4};
    run();
    for (uint16_t worker = 0; worker < burst.workers; worker++)
        dsn_shard_forget(burst.shard[worker], fuzz_control.tables.live, &which, now);
    dsn_shard_forget(single.shard[0], fuzz_control.tables.live, &which, now);
}

static void link_of(unsigned which, bool up) {
    run();
    atomic_store(&ports()[which % fuzz_control.engine.port_count]->up, up);
    dsn_stamp_link();
}

/* TRACE's way: onto an empty shard what this packet could meet. */
static void copy(struct fuzz_input *in) {
    struct side side;
    static struct dsn_witness witness;
    struct frame frame = kept[fuzz_u8(in) % KEPT];
    run();
    open_side(&side, 1, 0);
    struct rte_mbuf *mbuf = mbuf_of(&frame);
    uint64_t cursor = 0;
    do
        dsn_shard_copy_some(side.shard[0], single.shard[0], &cursor);
    while (cursor != 0);
    (void)dsn_shard_copy_for(side.shard[0], single.shard[0], fuzz_control.tables.live, mbuf, now);
    struct dsn_result result = dsn_path_witness(side.shard[0], fuzz_control.tables.live, mbuf, now, &witness);
    FUZZ_CHECK(result.verdict >= DSN_FORWARD && result.verdict <= DSN_PUNT);
    drain(&side);
    close_side(&side);
}

static void happen(struct fuzz_input *in) {
    uint8_t what = fuzz_u8(in), how = what >> 6;
    switch (what & 15) {
    case 0:
    case 1:
    case 2:
    case 3: send(in, how); break;
    case 4:
    case 5:
    case 6:
    case 7: again(in, how); break;
    case 8:
    case 9:
    case 10: reply(in, how); break;
    case 11: wait_for(pauses[fuzz_u8(in) % 16]); break;
    case 12: change(fuzz_u8(in) % (fuzz_memfds / 2)); break;
    case 13: link_of(fuzz_u8(in), how & 1); break;
    case 14: how & 1 ? forget(in) : look(in); break;
    default: copy(in); break;
    }
}

static void end(void) {
    fuzz_card_inside(true);
    dsn_server_destroy(&fuzz_control);
    dsn_unload(&fuzz_control, false);
    fuzz_card_inside(false);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    fuzz_card_begin();
    fuzz_card_inside(true);
    fuzz_card_open();
    fuzz_load();
    fuzz_commit(1);
    pool = rte_pktmbuf_pool_create("fuzz", 1023, 0, 0, RTE_PKTMBUF_HEADROOM + 9216 + 32, SOCKET_ID_ANY);
    FUZZ_CHECK(pool != NULL);
    fuzz_card_inside(false);
    atexit(end);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {data, size};
    uint8_t how = fuzz_u8(&in);
    now = SECOND;
    uint64_t pickup = how & 2 ? now + 20 * SECOND : 0;
    memset(kept, 0, sizeof(kept));
    memset(&answer, 0, sizeof(answer));
    keeps = 0;
    most = how & 4 ? MOST_BURST : DSN_FIRSTS;
    open_side(&burst, how & 1 ? 2 : 1, pickup);
    open_side(&single, 1, pickup);
    for (unsigned i = 0; i < MOST_EVENTS && in.size > 0; i++) {
        happen(&in);
        if (waits == 0)
            same();
    }
    run();
    same();
    change(0);
    for (uint16_t i = 0; i < fuzz_control.engine.port_count; i++)
        link_of(i, true);
    close_side(&burst);
    close_side(&single);
    FUZZ_CHECK(rte_mempool_in_use_count(pool) == 0);
    return 0;
}
