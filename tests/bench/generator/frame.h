/* Frames made from a flow's number, and held against what must come out.
 *
 * Nothing is remembered of a flow: its addresses and ports are bits of its number, mixed by a bijection, so making
 * and checking a frame cost the same for a thousand flows and for ten millions. The mark behind the L4 header (flow
 * id u32, due time u64) says on the way out which flow it was. These functions run on the core that is measured:
 * what stands in a template is not computed, and what a flow has of its own is computed without a branch. */
#ifndef DSN_BENCH_FRAME_H
#define DSN_BENCH_FRAME_H

#include "config.h"

#include <string.h>

#define TEMPLATE_SIZE 128 /* the longest header with its mark: TCP, IPv6, VLAN: 90 bytes */
#define MARK_SIZE 12
#define PROBE_ID UINT32_C(0x80000000)

struct tuple_map {
	uint64_t src, dst; /* bases, host order */
	uint16_t sport, dport;
	unsigned int src_bits, dst_bits, sport_bits, half;
	uint64_t mask, src_mask, dst_mask, sport_mask;
};

struct mark {
	uint32_t id;
	uint64_t due;
} __attribute__((packed));

/* One direction of one kind of phase: the frame as it comes in and as it must go out. */
struct shape {
	uint8_t in[TEMPLATE_SIZE] __attribute__((aligned(64)));
	uint8_t out[TEMPLATE_SIZE] __attribute__((aligned(64)));
	uint8_t mask[TEMPLATE_SIZE] __attribute__((aligned(64))); /* 0 where `out` differs from flow to flow */
	uint16_t in_l3, in_l4, in_mark, in_size;
	uint16_t out_l3, out_l4, out_mark, out_size;
	uint32_t sequence, acknowledge; /* added to a flow's initial numbers */
	uint32_t acknowledge_mask;
	uint64_t in_ip_sum, out_ip_sum; /* of the constant parts, in memory order */
	uint64_t l4_sum;
	struct tuple_map map[2]; /* flows; probes */
	bool reply;    /* source and destination are exchanged */
	bool swapped;  /* and once more on the way out */
	bool l4_checksum;
	bool v6, tcp;
};

void shape_init(struct shape *shape, const struct config *config, enum kind kind, int direction);

/* Why a frame that frame_check() refused is wrong, in words; `want` gets what it should have been. */
const char *frame_explain(const struct shape *shape, const uint8_t *frame, size_t size, uint8_t want[TEMPLATE_SIZE]);

/* What differs from flow to flow, as it lies in memory. */
struct fields {
	uint64_t src, dst; /* IPv4: in the low half */
	uint32_t ports;
	uint32_t sequence, acknowledge;
	uint16_t l4_checksum;
	uint32_t address_sum;
};

static inline uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline uint64_t half_words(uint64_t value)
{
	return (value & 0xffffffff) + (value >> 32);
}

static inline uint64_t mix(const struct tuple_map *map, uint64_t number)
{
	uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15) & map->mask;
	x ^= x >> map->half;
	x = x * UINT64_C(0xd6e8feb86659fd93) & map->mask;
	return x ^ x >> map->half;
}

static inline __attribute__((always_inline)) void fields_make(struct fields *fields, const struct shape *shape,
							      uint32_t id, uint64_t due, bool v6, bool tcp)
{
	const struct tuple_map *map = &shape->map[id >> 31];
	uint64_t x = mix(map, id & ~PROBE_ID);
	uint64_t src = map->src + (x & map->src_mask);
	/* A shift of 64 has no meaning, so fields as wide as that are shifted away in two steps. */
	x = x >> (map->src_bits / 2) >> (map->src_bits - map->src_bits / 2);
	uint64_t dst = map->dst + (x & map->dst_mask);
	x = x >> (map->dst_bits / 2) >> (map->dst_bits - map->dst_bits / 2);
	uint16_t sport = __builtin_bswap16((uint16_t)(map->sport + (x & map->sport_mask)));
	uint16_t dport = __builtin_bswap16((uint16_t)(map->dport + (x >> map->sport_bits)));
	uint64_t sum;

	if (v6) {
		src = __builtin_bswap64(src);
		dst = __builtin_bswap64(dst);
		sum = half_words(src) + half_words(dst);
	} else {
		src = __builtin_bswap32((uint32_t)src);
		dst = __builtin_bswap32((uint32_t)dst);
		sum = src + dst;
	}
	fields->src = shape->reply ? dst : src;
	fields->dst = shape->reply ? src : dst;
	fields->ports = shape->reply ? (uint32_t)dport | (uint32_t)sport << 16 : (uint32_t)sport | (uint32_t)dport << 16;
	fields->address_sum = fold(sum);
	sum += shape->l4_sum + fields->ports + id + half_words(due);
	if (tcp) {
		uint32_t mine = id * UINT32_C(0x9e3779b1), other = mine ^ UINT32_C(0x5bd1e995);
		uint32_t sequence = (shape->reply ? other : mine) + shape->sequence;
		uint32_t acknowledge = ((shape->reply ? mine : other) + shape->acknowledge) & shape->acknowledge_mask;
		fields->sequence = __builtin_bswap32(sequence);
		fields->acknowledge = __builtin_bswap32(acknowledge);
		sum += (uint64_t)fields->sequence + fields->acknowledge;
	}
	uint16_t checksum = (uint16_t)~fold(sum);
	if (!tcp)
		checksum = checksum == 0 ? 0xffff : checksum;
	fields->l4_checksum = shape->l4_checksum ? checksum : 0;
}

static inline void store(uint8_t *at, const void *value, size_t size)
{
	memcpy(at, value, size);
}

/* Writes a frame's headers and mark; room for TEMPLATE_SIZE bytes. */
static inline __attribute__((always_inline)) void frame_make(uint8_t *frame, const struct shape *shape, uint32_t id,
							     uint64_t due, bool v6, bool tcp)
{
	struct fields fields;
	struct mark mark = {id, due};
	uint8_t *l3 = frame + shape->in_l3, *l4 = frame + shape->in_l4;

	fields_make(&fields, shape, id, due, v6, tcp);
	memcpy(frame, shape->in, v6 || tcp ? 96 : 64);
	if (v6) {
		store(l3 + 16, &fields.src, 8);
		store(l3 + 32, &fields.dst, 8);
	} else {
		uint16_t checksum = (uint16_t)~fold(shape->in_ip_sum + fields.address_sum);
		uint64_t addresses = fields.src | fields.dst << 32;
		store(l3 + 10, &checksum, 2);
		store(l3 + 12, &addresses, 8);
	}
	store(l4, &fields.ports, 4);
	if (tcp) {
		uint64_t numbers = (uint64_t)fields.sequence | (uint64_t)fields.acknowledge << 32;
		store(l4 + 4, &numbers, 8);
	}
	store(l4 + (tcp ? 16 : 6), &fields.l4_checksum, 2);
	store(frame + shape->in_mark, &mark, sizeof(mark));
}

static inline uint64_t load(const uint8_t *at, size_t size)
{
	uint64_t value = 0;
	memcpy(&value, at, size);
	return value;
}

/* True if every bit up to the mark's end is as it must be. `frame` must hold out_size bytes: look at its length first. */
static inline __attribute__((always_inline)) bool frame_check(const uint8_t *frame, const struct shape *shape,
							      struct mark *mark, bool v6, bool tcp)
{
	struct fields fields;
	const uint8_t *l3 = frame + shape->out_l3, *l4 = frame + shape->out_l4;
	uint64_t wrong = 0;

	memcpy(mark, frame + shape->out_mark, sizeof(*mark));
	fields_make(&fields, shape, mark->id, mark->due, v6, tcp);
	for (unsigned int i = 0; i < (v6 || tcp ? 96 : 64); i += 8)
		wrong |= (load(frame + i, 8) ^ load(shape->out + i, 8)) & load(shape->mask + i, 8);
	uint64_t src = shape->swapped ? fields.dst : fields.src;
	uint64_t dst = shape->swapped ? fields.src : fields.dst;
	uint32_t ports = shape->swapped ? fields.ports << 16 | fields.ports >> 16 : fields.ports;
	if (v6) {
		wrong |= load(l3 + 16, 8) ^ src;
		wrong |= load(l3 + 32, 8) ^ dst;
	} else {
		uint16_t checksum = (uint16_t)~fold(shape->out_ip_sum + fields.address_sum);
		wrong |= load(l3 + 10, 2) ^ checksum;
		wrong |= load(l3 + 12, 8) ^ (src | dst << 32);
	}
	wrong |= load(l4, 4) ^ ports;
	if (tcp)
		wrong |= load(l4 + 4, 8) ^ ((uint64_t)fields.sequence | (uint64_t)fields.acknowledge << 32);
	wrong |= load(l4 + (tcp ? 16 : 6), 2) ^ fields.l4_checksum;
	return wrong == 0;
}

#endif
