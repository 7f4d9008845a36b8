#include "traffic.h"

#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Kept out of the way of what runs for each burst: registers and cache lines of the two callbacks are theirs. */
#define COLD __attribute__((noinline, cold))

#define DRAIN_MS 50

struct generator generator;

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("generator: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(2);
}

void set_clocks(struct control *control) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    control->tsc = rte_rdtsc();
    control->monotonic_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Phases */

static void phase_begin(uint64_t now) {
    const struct phase_config *phase = &generator.config.phase[generator.phase];

    memset(&generator.measured, 0, sizeof(generator.measured));
    for (int direction = 0; direction < DIR_COUNT; direction++) {
        struct side *side = &generator.side[direction];
        shape_init(&generator.shape[direction], &generator.config, phase->kind, direction);
        side->sent = 0;
        side->quota = phase_quota(phase, direction);
        side->next_id = 0;
        side->due = 0;
        side->due_step = 0;
        if (phase->rate > 0) {
            double rate = phase->kind == KIND_RUN ? phase->rate / 2 : phase->rate;
            side->due_step = (uint64_t)(generator.hz / rate * 65536.0);
        }
    }
    if (phase->kind == KIND_FIRST) {
        generator.side[DIR_INITIATOR].next_id = generator.fresh_id;
        generator.fresh_id += phase->count;
        generator.id_limit = generator.fresh_id > generator.id_limit ? generator.fresh_id : generator.id_limit;
    }
    generator.measured.flows = phase->kind == KIND_FIRST ? phase->count : generator.config.flows;
    generator.worker = pthread_self();
    set_clocks(generator.control);
    __atomic_store_n(&generator.control->begun, generator.phase + 1, __ATOMIC_RELEASE);
    generator.measured.begin = now;
    generator.measured.end = now;
    generator.last_poll = now;
    generator.state = STATE_RUNNING;
}

static void phase_end(void) {
    int status = results_write(&generator.config, generator.phase, &generator.measured, generator.shape[0].in.size,
                               generator.hz);
    if (status != 0)
        die("cannot write results to %s: %s", generator.config.results, strerror(status));
    generator.phase++;
    generator.state = generator.phase < generator.config.phases ? STATE_WAITING : STATE_FINISHED;
    __atomic_store_n(&generator.control->ended, generator.phase, __ATOMIC_RELEASE);
}

static void publish(void) {
    struct control *control = generator.control;
    control->sent = generator.measured.sent;
    control->out = generator.measured.out;
    control->wrong = generator.measured.wrong;
    control->probe_sent = generator.measured.probe_sent;
}

/* What isn't done for each burst of a running phase. */
static COLD void step(uint64_t now) {
    const struct measurement *measured = &generator.measured;

    switch (generator.state) {
    case STATE_WAITING:
        if (generator.side[0].polled && generator.side[1].polled &&
            __atomic_load_n(&generator.control->go, __ATOMIC_ACQUIRE) > generator.phase)
            phase_begin(rte_rdtsc());
        break;
    case STATE_RUNNING:
        generator.state = STATE_DRAINING;
        generator.drain_begin = now;
        break;
    case STATE_DRAINING:
        publish();
        if (measured->out + measured->wrong < measured->sent) {
            uint64_t quiet = measured->end > generator.drain_begin ? measured->end : generator.drain_begin;
            if (now < quiet || (double)(now - quiet) < DRAIN_MS * 1e-3 * generator.hz)
                break;
        }
        phase_end();
        break;
    case STATE_FINISHED: break;
    }
}

/* Making */

static void fill(struct side *side, const struct shape *shape, struct rte_mbuf **packets, unsigned int count,
                 uint64_t base, bool random) {
    const uint64_t flows = generator.config.flows, due_step = side->due_step;
    const uint16_t size = shape->in.size, port = side->port;
    uint8_t *frames[BATCH];
    uint64_t number = random ? side->random : side->next_id;
    struct batch batch;

    for (unsigned int i = 0; i < count; i++) {
        struct rte_mbuf *packet = packets[i];
        packet->data_len = size;
        packet->pkt_len = size;
        packet->port = port;
        frames[i] = rte_pktmbuf_mtod(packet, uint8_t *);
    }
    for (unsigned int i = 0; i < BATCH; i++) {
        batch.id[i] = random ? random_flow(number + i, flows) : number + i;
        batch.due[i] = base + ((side->due + i * due_step) >> 16);
    }
    *(random ? &side->random : &side->next_id) = number + count;
    side->due += count * due_step;
    frames_make_any(frames, count, &batch, shape, &shape->in, 0);
}

/* How many packets this poll shall get: what is left of the phase, a burst, and no more than are due. */
static inline unsigned int wanted(const struct side *side, unsigned int most, uint64_t now) {
    uint64_t count = side->quota - side->sent;
    if (most > generator.config.burst)
        most = generator.config.burst;
    if (count > most)
        count = most;
    if (side->due_step != 0) {
        uint64_t passed = (now - generator.measured.begin) << 16;
        uint64_t due = passed < side->due ? 0 : (passed - side->due) / side->due_step + 1;
        if (count > due)
            count = due;
    }
    return (unsigned int)count;
}

static unsigned int allocate(struct side *side, struct rte_mbuf **packets, unsigned int have, unsigned int want) {
    /* A port that receives of itself (net_null without no-rx) hands its packets in: they are overwritten. */
    if (have > want)
        rte_pktmbuf_free_bulk(packets + want, have - want);
    else if (have < want && rte_pktmbuf_alloc_bulk(side->pool, packets + have, want - have) != 0) {
        generator.measured.alloc_failed++;
        return have;
    }
    return want;
}

static COLD unsigned int give_answers(struct side *side, struct rte_mbuf **packets, unsigned int have,
                                      unsigned int most) {
    rte_spinlock_lock(&side->answers_lock);
    unsigned int count = allocate(side, packets, have, side->answers < most ? side->answers : most);
    for (unsigned int i = 0; i < count; i++) {
        uint32_t size = (uint32_t)side->answer_size[i];
        packets[i]->data_len = (uint16_t)size;
        packets[i]->pkt_len = size;
        packets[i]->port = side->port;
        memcpy(rte_pktmbuf_mtod(packets[i], void *), side->answer[i], size);
    }
    side->answers = 0;
    rte_spinlock_unlock(&side->answers_lock);
    return count;
}

static COLD void make_probe(const struct shape *shape, struct rte_mbuf *packet, uint64_t now) {
    uint8_t *frame = rte_pktmbuf_mtod(packet, uint8_t *);
    struct batch batch = {
        .id = {PROBE_ID | (generator.probe_next++ % generator.config.probe_flows)},
        .due = {now},
    };
    frames_make_any(&frame, 1, &batch, shape, &shape->in, 1);
    generator.measured.probe_sent++;
}

uint16_t on_rx(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t have, uint16_t most, void *argument) {
    struct side *side = argument;
    uint64_t now = rte_rdtsc();
    (void)port;
    (void)queue;

    if (unlikely(side->answers > 0))
        return (uint16_t)give_answers(side, packets, have, most);
    if (unlikely(generator.state != STATE_RUNNING)) {
        side->polled = true;
        step(now);
        /* What belongs to a drain is its end, not its length. */
        generator.last_poll = now;
        return (uint16_t)allocate(side, packets, have, 0);
    }

    struct measurement *measured = &generator.measured;
    uint64_t since = now - generator.last_poll;
    generator.last_poll = now;
    measured->polls++;
    if (unlikely(since > generator.gap_ticks)) {
        measured->gaps++;
        measured->gap_ticks += since;
    }
    unsigned int count = allocate(side, packets, have, wanted(side, most, now));
    if (count == 0) {
        if (generator.side[0].sent == generator.side[0].quota && generator.side[1].sent == generator.side[1].quota)
            step(now);
        return 0;
    }
    const struct shape *shape = &generator.shape[side - generator.side];
    bool random = generator.config.phase[generator.phase].kind == KIND_RUN;
    for (unsigned int at = 0; at < count; at += BATCH)
        fill(side, shape, packets + at, count - at < BATCH ? count - at : BATCH, side->due_step ? measured->begin : now,
             random);
    unsigned int regular = count;
    if (generator.config.probe_every != 0 && side == &generator.side[DIR_INITIATOR] &&
        side->bursts++ % generator.config.probe_every == 0) {
        /* In the place of the last one, whose turn comes with the next burst. */
        make_probe(shape, packets[--regular], now);
        *(random ? &side->random : &side->next_id) -= 1;
        side->due -= side->due_step;
    }
    side->sent += regular;
    measured->sent += regular;
    publish();
    if (unlikely(__atomic_load_n(&generator.control->stop, __ATOMIC_RELAXED) != 0)) {
        generator.side[0].quota = generator.side[0].sent;
        generator.side[1].quota = generator.side[1].sent;
    }
    return (uint16_t)count;
}

/* Checking */

/* What isn't of ours and not wrong: questions get an answer, from whichever thread they come. */
static COLD enum other look_at_other(struct side *side, const struct rte_mbuf *packet) {
    const uint8_t *mac = generator.config.host_mac[side - generator.side];
    uint8_t answer[ANSWER_SIZE];
    size_t size;
    enum other other = neighbour_look(rte_pktmbuf_mtod(packet, const uint8_t *), packet->data_len, mac, answer, &size);

    if (other == OTHER_QUESTION) {
        rte_spinlock_lock(&side->answers_lock);
        if (side->answers < ANSWERS) {
            memcpy(side->answer[side->answers], answer, size);
            side->answer_size[side->answers++] = size;
        }
        rte_spinlock_unlock(&side->answers_lock);
    }
    if (other == OTHER_QUESTION || other == OTHER_CONTROL)
        __atomic_fetch_add(&generator.measured.control, 1, __ATOMIC_RELAXED);
    return other;
}

static COLD void count_other(struct side *side, const struct shape *shape, const struct rte_mbuf *packet) {
    struct measurement *measured = &generator.measured;
    const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);
    enum other other = look_at_other(side, packet);

    if (other == OTHER_ICMP)
        measured->icmp++;
    if (other == OTHER_WRONG && measured->wrong++ == 0) {
        struct wrong_sample *sample = &measured->sample;
        sample->size = packet->pkt_len;
        memcpy(sample->got, frame, packet->data_len < TEMPLATE_SIZE ? packet->data_len : TEMPLATE_SIZE);
        sample->why = packet->nb_segs != 1 ? "in more than one segment"
                                           : frame_explain(shape, frame, packet->pkt_len, sample->want);
    }
}

static COLD void on_probe(uint64_t due, uint64_t now) {
    struct control *control = generator.control;
    uint64_t arm = __atomic_load_n(&control->probe_arm, __ATOMIC_ACQUIRE);

    if (arm != control->probe_armed) {
        control->probe_first_out = 0;
        control->probe_first_out_due = 0;
        __atomic_store_n(&control->probe_armed, arm, __ATOMIC_RELEASE);
    }
    generator.measured.probe_out++;
    control->probe_out = generator.measured.probe_out;
    control->probe_last_out_due = due;
    __atomic_store_n(&control->probe_last_out, now, __ATOMIC_RELEASE);
    if (control->probe_first_out == 0) {
        control->probe_first_out_due = due;
        __atomic_store_n(&control->probe_first_out, now, __ATOMIC_RELEASE);
    }
}

/* One frame of a batch in which not all is right and of a known flow. */
static COLD void check_one(struct side *side, const struct shape *shape, const struct rte_mbuf *packet, uint64_t now) {
    struct measurement *measured = &generator.measured;
    const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);
    struct batch batch;

    if (packet->nb_segs == 1 && packet->pkt_len == shape->out.size) {
        unsigned int probe = (unsigned int)load(frame + shape->out.mark, 4) >> 31;
        if ((!probe || generator.config.probe_every != 0) && frames_check_any(&frame, 1, &batch, shape, probe) &&
            batch.due[0] >= measured->begin) {
            if (batch.id[0] < generator.id_limit) {
                measured->out++;
                measured->end = now;
                count_latency(&measured->latency, batch.due[0], now, 1);
                return;
            }
            if (probe && (batch.id[0] & ~PROBE_ID) < generator.config.probe_flows) {
                on_probe(batch.due[0], now);
                return;
            }
        }
    }
    count_other(side, shape, packet);
}

static void check(struct side *side, const struct shape *shape, struct rte_mbuf **packets, unsigned int count,
                  uint64_t now) {
    struct measurement *measured = &generator.measured;
    const uint64_t id_limit = generator.id_limit, begin = measured->begin, size = shape->out.size;
    const uint8_t *frames[BATCH];
    struct batch batch;
    uint64_t wrong = 0, late = 0;

    for (unsigned int i = 0; i < count; i++) {
        const struct rte_mbuf *packet = packets[i];
        wrong |= (packet->pkt_len ^ size) | (packet->data_len ^ size);
        frames[i] = rte_pktmbuf_mtod(packet, const uint8_t *);
    }
    wrong |= (wrong == 0 && !frames_check_any(frames, count, &batch, shape, 0)) ? 1 : 0;
    if (likely(wrong == 0)) {
        for (unsigned int i = 0; i < count; i++) {
            wrong |= (id_limit - 1 - batch.id[i]) >> 63 | (batch.due[i] - begin) >> 63;
            late |= batch.due[i] ^ batch.due[0];
        }
    }
    if (unlikely(wrong != 0)) {
        for (unsigned int i = 0; i < count; i++)
            check_one(side, shape, packets[i], now);
        return;
    }
    if (late == 0) {
        count_latency(&measured->latency, batch.due[0], now, count);
    } else {
        for (unsigned int i = 0; i < count; i++)
            count_latency(&measured->latency, batch.due[i], now, 1);
    }
    measured->out += count;
    measured->end = now;
}

uint16_t on_tx(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count, void *argument) {
    struct side *side = argument;
    /* What leaves here came in on the other side. */
    const struct shape *shape = &generator.shape[side == generator.side ? DIR_REPLY : DIR_INITIATOR];
    (void)port;
    (void)queue;

    if (unlikely(generator.state == STATE_WAITING || generator.state == STATE_FINISHED ||
                 !pthread_equal(pthread_self(), generator.worker))) {
        /* Nothing of ours is under way, or not here; a router may still ask for its neighbours. */
        for (unsigned int i = 0; i < count; i++) {
            if (look_at_other(side, packets[i]) == OTHER_WRONG)
                __atomic_fetch_add(&generator.measured.strange_thread, 1, __ATOMIC_RELAXED);
        }
        return count;
    }
    uint64_t now = rte_rdtsc();
    for (unsigned int at = 0; at < count; at += BATCH)
        check(side, shape, packets + at, count - at < BATCH ? count - at : BATCH, now);
    return count;
}
