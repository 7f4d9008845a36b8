/* Frames made from a flow's number, and held against what must come out.
 *
 * Nothing is remembered of a flow: its addresses and ports are bits of its number, mixed by a bijection, so making
 * and checking a frame cost the same for a thousand flows and for ten millions. The mark behind the L4 header (flow
 * id u32, due time u64) says on the way out which flow it was.
 *
 * These functions run on the core that is measured. What stands in a template is not computed; what a flow has of
 * its own is computed for a batch at a time in loops without branches, which compilers turn into vector code; and a
 * batch is only asked whether all of it is right. Who is wrong is asked again, one by one, when it isn't. */
#ifndef DSN_BENCH_FRAME_H
#define DSN_BENCH_FRAME_H

#include "config.h"

#include <string.h>

#define TEMPLATE_SIZE 128 /* the longest header with its mark: TCP, IPv6, VLAN: 90 bytes */
#define MARK_SIZE 12
#define PROBE_ID UINT32_C(0x80000000)
#define BATCH 32
#define BATCH_STEP 8 /* loops go over whole steps: no remainder for a compiler to unroll */

/* Where one field of the tuple lies in a mixed number. */
struct cut {
    uint64_t base, mask;
    unsigned int shift;
};

struct tuple_map {
    uint64_t mask;
    unsigned int half;
    struct cut first, second; /* addresses as they come in the header */
    struct cut first_port, second_port;
};

/* A frame as it lies on the wire, on the way in or out. */
struct wire {
    uint8_t bytes[TEMPLATE_SIZE] __attribute__((aligned(64)));
    uint16_t l3, l4, mark, size;
    uint64_t ip_sum, l4_sum; /* of the constant parts, in memory order */
    struct tuple_map map[2]; /* flows; probes */
};

/* One direction of one kind of phase. */
struct shape {
    struct wire in, out;
    uint8_t mask[TEMPLATE_SIZE] __attribute__((aligned(64))); /* 0 where `out` differs from flow to flow */
    uint32_t sequence, acknowledge;                           /* added to a flow's initial numbers */
    uint32_t acknowledge_mask;
    bool reply;
    bool l4_checksum;
    bool v6, tcp;
};

/* Ids and due times, and what follows from them as it lies in memory. Sizes are a batch's, padded with anything. */
struct batch {
    uint64_t id[BATCH], due[BATCH];
    uint64_t first[BATCH], second[BATCH]; /* IPv4: both addresses in `first` */
    uint64_t ports[BATCH], numbers[BATCH], ip_checksum[BATCH], l4_checksum[BATCH];
};

void shape_init(struct shape *shape, const struct config *config, enum kind kind, int direction);

/* Why a frame that frames_check() refused is wrong, in words; `want` gets what it should have been. */
const char *frame_explain(const struct shape *shape, const uint8_t *frame, size_t size, uint8_t want[TEMPLATE_SIZE]);

static inline uint64_t load(const uint8_t *at, size_t size) {
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

static inline void store(uint8_t *at, uint64_t value, size_t size) {
    memcpy(at, &value, size);
}

static inline uint64_t fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

static inline uint64_t halves(uint64_t value) {
    return (value & 0xffffffff) + (value >> 32);
}

/* A bijection on the bits of `map->mask`: an odd factor and a shifted xor can be undone. It has to spread flows over
 * addresses and ports, not to be random: who sends in random order draws the number at random. */
static inline uint64_t mix(const struct tuple_map *map, uint64_t number) {
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15) & map->mask;
    return x ^ x >> map->half;
}

static inline uint64_t cut(const struct cut *cut, uint64_t x) {
    return cut->base + (x >> cut->shift & cut->mask);
}

static inline uint64_t swap16(uint64_t value) {
    return value >> 8 | (value & 0xff) << 8;
}

static inline uint64_t swap32(uint64_t value) {
    return __builtin_bswap64(value) >> 32;
}

static inline __attribute__((always_inline)) void batch_compute(struct batch *batch, unsigned int count,
                                                                const struct shape *shape, const struct wire *wire,
                                                                const struct tuple_map *from, bool v6, bool tcp) {
    const struct tuple_map map = *from;
    const uint64_t ip_sum = wire->ip_sum, l4_sum = wire->l4_sum;
    const uint32_t sequence_add = shape->sequence, acknowledge_add = shape->acknowledge;
    const uint32_t acknowledge_mask = shape->acknowledge_mask;
    const uint32_t mine_xor = shape->reply ? UINT32_C(0x5bd1e995) : 0;
    const uint64_t checksum_mask = shape->l4_checksum ? 0xffff : 0;

    for (unsigned int i = 0; i < (count + BATCH_STEP - 1) / BATCH_STEP * BATCH_STEP; i++) {
        uint64_t id = batch->id[i], x = mix(&map, id & ~PROBE_ID);
        uint64_t first = cut(&map.first, x), second = cut(&map.second, x), sum;
        uint64_t ports = swap16(cut(&map.first_port, x)) | swap16(cut(&map.second_port, x)) << 16;
        if (v6) {
            first = __builtin_bswap64(first);
            second = __builtin_bswap64(second);
            sum = halves(first) + halves(second);
            batch->first[i] = first;
            batch->second[i] = second;
        } else {
            first = swap32(first);
            second = swap32(second);
            sum = first + second;
            batch->first[i] = first | second << 32;
            batch->ip_checksum[i] = fold(sum + ip_sum) ^ 0xffff;
        }
        batch->ports[i] = ports;
        sum += l4_sum + ports + id + halves(batch->due[i]);
        if (tcp) {
            uint32_t initial = (uint32_t)id * UINT32_C(0x9e3779b1);
            uint32_t sequence = (initial ^ mine_xor) + sequence_add;
            uint32_t acknowledge = ((initial ^ mine_xor ^ UINT32_C(0x5bd1e995)) + acknowledge_add) & acknowledge_mask;
            uint64_t numbers = swap32(sequence) | swap32(acknowledge) << 32;
            batch->numbers[i] = numbers;
            sum += halves(numbers);
        }
        uint64_t checksum = fold(sum) ^ 0xffff;
        if (!tcp) /* RFC 768: a sum of zero is sent as all ones */
            checksum |= (checksum - 1) >> 48;
        batch->l4_checksum[i] = checksum & checksum_mask;
    }
}

/* Writes the headers and marks of `count` frames, at most BATCH, for the ids and due times in `batch`. Each frame has
 * room for TEMPLATE_SIZE bytes. */
static inline __attribute__((always_inline)) void frames_make(uint8_t *const *frames, unsigned int count,
                                                              struct batch *batch, const struct shape *shape,
                                                              const struct wire *wire, unsigned int map, bool v6,
                                                              bool tcp) {
    const size_t l3 = wire->l3, l4 = wire->l4, mark = wire->mark;

    batch_compute(batch, count, shape, wire, &wire->map[map], v6, tcp);
    for (unsigned int i = 0; i < count; i++) {
        uint8_t *frame = frames[i];
        memcpy(frame, wire->bytes, v6 || tcp ? 96 : 64);
        if (v6) {
            store(frame + l3 + 16, batch->first[i], 8);
            store(frame + l3 + 32, batch->second[i], 8);
        } else {
            store(frame + l3 + 10, batch->ip_checksum[i], 2);
            store(frame + l3 + 12, batch->first[i], 8);
        }
        store(frame + l4, batch->ports[i], 4);
        if (tcp)
            store(frame + l4 + 4, batch->numbers[i], 8);
        store(frame + l4 + (tcp ? 16 : 6), batch->l4_checksum[i], 2);
        store(frame + mark, batch->id[i], 4);
        store(frame + mark + 4, batch->due[i], 8);
    }
}

/* Which flow the number-th packet is of: a hash of a counter, so that a batch of them needs no chain. */
static inline uint64_t random_flow(uint64_t number, uint64_t flows) {
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (uint64_t)(uint32_t)(x ^ x >> 32) * (uint32_t)flows >> 32;
}

typedef uint64_t vector __attribute__((vector_size(32)));

static inline vector load_vector(const uint8_t *at) {
    vector value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* True if every bit of every frame up to its mark's end is as it must be. Leaves ids and due times in `batch`. The
 * frames hold `out.size` bytes, and TEMPLATE_SIZE may be read: look at their lengths first. */
static inline __attribute__((always_inline)) bool frames_check(const uint8_t *const *frames, unsigned int count,
                                                               struct batch *batch, const struct shape *shape,
                                                               unsigned int map, bool v6, bool tcp) {
    const struct wire *wire = &shape->out;
    const size_t l3 = wire->l3, l4 = wire->l4, mark = wire->mark;
    const unsigned int vectors = v6 || tcp ? 3 : 2;
    vector wrong_vector = {0};
    uint64_t wrong = 0;

    for (unsigned int i = 0; i < count; i++) {
        batch->id[i] = load(frames[i] + mark, 4);
        batch->due[i] = load(frames[i] + mark + 4, 8);
    }
    for (unsigned int i = count; i % BATCH_STEP != 0; i++)
        batch->id[i] = batch->due[i] = 0;
    batch_compute(batch, count, shape, wire, &wire->map[map], v6, tcp);
    for (unsigned int i = 0; i < count; i++) {
        const uint8_t *frame = frames[i];
        for (unsigned int at = 0; at < vectors; at++)
            wrong_vector |= (load_vector(frame + 32 * at) ^ load_vector(wire->bytes + 32 * at)) &
                            load_vector(shape->mask + 32 * at);
        if (v6) {
            wrong |= load(frame + l3 + 16, 8) ^ batch->first[i];
            wrong |= load(frame + l3 + 32, 8) ^ batch->second[i];
        } else {
            wrong |= load(frame + l3 + 10, 2) ^ batch->ip_checksum[i];
            wrong |= load(frame + l3 + 12, 8) ^ batch->first[i];
        }
        wrong |= load(frame + l4, 4) ^ batch->ports[i];
        if (tcp)
            wrong |= load(frame + l4 + 4, 8) ^ batch->numbers[i];
        wrong |= load(frame + l4 + (tcp ? 16 : 6), 2) ^ batch->l4_checksum[i];
    }
    return (wrong | wrong_vector[0] | wrong_vector[1] | wrong_vector[2] | wrong_vector[3]) == 0;
}

/* Which of the four kinds of header a shape has is decided once a burst, outside the loops. */
static inline void frames_make_any(uint8_t *const *frames, unsigned int count, struct batch *batch,
                                   const struct shape *shape, const struct wire *wire, unsigned int map) {
    if (shape->v6 && shape->tcp)
        frames_make(frames, count, batch, shape, wire, map, true, true);
    else if (shape->v6)
        frames_make(frames, count, batch, shape, wire, map, true, false);
    else if (shape->tcp)
        frames_make(frames, count, batch, shape, wire, map, false, true);
    else
        frames_make(frames, count, batch, shape, wire, map, false, false);
}

static inline bool frames_check_any(const uint8_t *const *frames, unsigned int count, struct batch *batch,
                                    const struct shape *shape, unsigned int map) {
    if (shape->v6 && shape->tcp)
        return frames_check(frames, count, batch, shape, map, true, true);
    if (shape->v6)
        return frames_check(frames, count, batch, shape, map, true, false);
    if (shape->tcp)
        return frames_check(frames, count, batch, shape, map, false, true);
    return frames_check(frames, count, batch, shape, map, false, false);
}

#endif
