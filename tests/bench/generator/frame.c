#include "frame.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_PSH = 8, TCP_ACK = 16 };

static uint64_t low_bits(unsigned int bits)
{
	return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

static void map_init(struct tuple_map *map, const struct tuple_config *tuple)
{
	unsigned int bits = tuple_bits(tuple);
	map->src = tuple->src.base;
	map->dst = tuple->dst.base;
	map->sport = (uint16_t)tuple->sport.base;
	map->dport = (uint16_t)tuple->dport.base;
	map->src_bits = tuple->src.bits;
	map->dst_bits = tuple->dst.bits;
	map->sport_bits = tuple->sport.bits;
	map->src_mask = low_bits(tuple->src.bits);
	map->dst_mask = low_bits(tuple->dst.bits);
	map->sport_mask = low_bits(tuple->sport.bits);
	map->mask = low_bits(bits);
	map->half = bits > 1 ? (bits + 1) / 2 : 1;
}

static void put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put64(uint8_t *at, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

static uint64_t sum_words(const uint8_t *at, size_t size)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < size; i += 2)
		sum += load(at + i, 2);
	return sum;
}

static uint16_t put_ethernet(uint8_t *frame, const uint8_t *destination, const uint8_t *source, unsigned int vlan,
			     bool v6)
{
	uint16_t at = 12;
	memcpy(frame, destination, 6);
	memcpy(frame + 6, source, 6);
	if (vlan != 0) {
		put16(frame + at, 0x8100);
		put16(frame + at + 2, vlan);
		at += 4;
	}
	put16(frame + at, v6 ? 0x86dd : 0x0800);
	return at + 2;
}

/* The header with everything that all flows share; addresses without the bits that vary are left 0. */
static uint16_t put_ip(uint8_t *l3, const struct config *config, unsigned int payload, unsigned int ttl,
		       bool exchanged)
{
	unsigned int protocol = config->proto == PROTO_TCP ? 6 : 17;
	if (config->v6) {
		l3[0] = 0x60;
		put16(l3 + 4, payload);
		l3[6] = (uint8_t)protocol;
		l3[7] = (uint8_t)ttl;
		put64(l3 + 8, exchanged ? config->tuple.dst_high : config->tuple.src_high);
		put64(l3 + 24, exchanged ? config->tuple.src_high : config->tuple.dst_high);
		return 40;
	}
	l3[0] = 0x45;
	put16(l3 + 2, 20 + payload);
	l3[6] = 0x40; /* don't fragment */
	l3[8] = (uint8_t)ttl;
	l3[9] = (uint8_t)protocol;
	return 20;
}

static unsigned int tcp_flags(enum kind kind)
{
	if (kind == KIND_FIRST || kind == KIND_EACH)
		return TCP_SYN;
	if (kind == KIND_REPLY)
		return TCP_SYN | TCP_ACK;
	if (kind == KIND_ACK)
		return TCP_ACK;
	return TCP_PSH | TCP_ACK;
}

static uint16_t put_l4(uint8_t *l4, const struct config *config, unsigned int payload, unsigned int flags)
{
	if (config->proto == PROTO_UDP) {
		put16(l4 + 4, payload);
		return 8;
	}
	l4[12] = 5 << 4;
	l4[13] = (uint8_t)flags;
	put16(l4 + 14, 0xffff);
	return 20;
}

static void mask_init(struct shape *shape)
{
	uint8_t *l3 = shape->mask + shape->out_l3, *l4 = shape->mask + shape->out_l4;

	memset(shape->mask, 0, sizeof(shape->mask));
	memset(shape->mask, 0xff, shape->out_mark);
	if (shape->v6) {
		memset(l3 + 16, 0, 8);
		memset(l3 + 32, 0, 8);
	} else {
		memset(l3 + 10, 0, 10);
	}
	memset(l4, 0, 4);
	if (shape->tcp) {
		memset(l4 + 4, 0, 8);
		memset(l4 + 16, 0, 2);
	} else {
		memset(l4 + 6, 0, 2);
	}
}

void shape_init(struct shape *shape, const struct config *config, enum kind kind, int direction)
{
	int from = direction, to = !direction;
	bool tcp = config->proto == PROTO_TCP, reply = direction == DIR_REPLY, forward = config->expect == EXPECT_FORWARD;
	unsigned int tag_in = config->vlan[from] ? 4 : 0, tag_out = config->vlan[to] ? 4 : 0;
	unsigned int flags = tcp_flags(kind);
	unsigned int headers = (config->v6 ? 40 : 20) + (tcp ? 20 : 8);

	memset(shape, 0, sizeof(*shape));
	shape->v6 = config->v6;
	shape->tcp = tcp;
	shape->reply = reply;
	shape->swapped = config->expect == EXPECT_5TSWAP;
	shape->l4_checksum = config->l4_checksum;
	map_init(&shape->map[0], &config->tuple);
	map_init(&shape->map[1], &config->probe);

	/* Only a router changes the tag: testpmd and a bridge's plain port leave it. */
	if (!forward)
		tag_out = tag_in;
	/* The frame's length holds on the way in, before a tag is taken off or put on. */
	unsigned int size = 14 + tag_in + headers + MARK_SIZE;
	size = size > config->frame ? size : config->frame;
	unsigned int l4_size = size - 14 - tag_in - (config->v6 ? 40 : 20);

	shape->in_size = (uint16_t)size;
	shape->in_l3 = put_ethernet(shape->in, config->card_mac[from], config->host_mac[from], config->vlan[from],
				    config->v6);
	shape->in_l4 = shape->in_l3 + put_ip(shape->in + shape->in_l3, config, l4_size, config->ttl, reply);
	shape->in_mark = shape->in_l4 + put_l4(shape->in + shape->in_l4, config, l4_size, flags);

	shape->out_size = (uint16_t)(size - tag_in + tag_out);
	if (shape->swapped)
		shape->out_l3 = put_ethernet(shape->out, config->host_mac[from], config->card_mac[from],
					     config->vlan[from], config->v6);
	else if (forward)
		shape->out_l3 = put_ethernet(shape->out, config->host_mac[to], config->card_mac[to], config->vlan[to],
					     config->v6);
	else
		shape->out_l3 = put_ethernet(shape->out, config->card_mac[from], config->host_mac[from],
					     config->vlan[from], config->v6);
	shape->out_l4 = shape->out_l3 + put_ip(shape->out + shape->out_l3, config, l4_size,
					       config->ttl - (forward ? 1 : 0), reply != shape->swapped);
	shape->out_mark = shape->out_l4 + put_l4(shape->out + shape->out_l4, config, l4_size, flags);
	mask_init(shape);

	if (kind == KIND_REPLY) {
		shape->acknowledge = 1 + MARK_SIZE; /* the SYN carried a mark */
		shape->acknowledge_mask = UINT32_MAX;
	} else if (kind == KIND_ACK || kind == KIND_RUN) {
		/* Each later packet is the same one once more: inside every window, and nothing to remember. */
		shape->sequence = 1 + MARK_SIZE;
		shape->acknowledge = 1 + MARK_SIZE;
		shape->acknowledge_mask = UINT32_MAX;
	}
	if (!config->v6) {
		shape->in_ip_sum = sum_words(shape->in + shape->in_l3, 20);
		shape->out_ip_sum = sum_words(shape->out + shape->out_l3, 20);
	} else {
		shape->l4_sum += sum_words(shape->in + shape->in_l3 + 8, 32);
	}
	/* Pseudo header, and all of the L4 header that is in the template. */
	shape->l4_sum += htons((uint16_t)l4_size) + htons(tcp ? 6 : 17);
	shape->l4_sum += sum_words(shape->in + shape->in_l4, tcp ? 20 : 8);
}

const char *frame_explain(const struct shape *shape, const uint8_t *frame, size_t size, uint8_t want[TEMPLATE_SIZE])
{
	/* What goes out is what would come in for a shape whose templates are those of the way out. */
	struct shape out = *shape;
	struct mark mark;
	size_t differs = 0;

	memset(want, 0, TEMPLATE_SIZE);
	if (size < shape->out_mark + sizeof(mark))
		return "too short for a mark";
	memcpy(&mark, frame + shape->out_mark, sizeof(mark));
	memcpy(out.in, shape->out, sizeof(out.in));
	out.in_l3 = shape->out_l3;
	out.in_l4 = shape->out_l4;
	out.in_mark = shape->out_mark;
	out.in_ip_sum = shape->out_ip_sum;
	out.reply = shape->reply;
	if (shape->v6 && shape->tcp)
		frame_make(want, &out, mark.id, mark.due, true, true);
	else if (shape->v6)
		frame_make(want, &out, mark.id, mark.due, true, false);
	else if (shape->tcp)
		frame_make(want, &out, mark.id, mark.due, false, true);
	else
		frame_make(want, &out, mark.id, mark.due, false, false);
	if (shape->swapped) {
		uint8_t *l3 = want + out.in_l3, *l4 = want + out.in_l4;
		size_t width = shape->v6 ? 16 : 4, at = shape->v6 ? 8 : 12;
		uint64_t src = load(l3 + at + width - (width < 8 ? width : 8), width < 8 ? width : 8);
		uint64_t dst = load(l3 + at + 2 * width - (width < 8 ? width : 8), width < 8 ? width : 8);
		uint16_t sport = (uint16_t)load(l4, 2), dport = (uint16_t)load(l4 + 2, 2);
		store(l3 + at + width - (width < 8 ? width : 8), &dst, width < 8 ? width : 8);
		store(l3 + at + 2 * width - (width < 8 ? width : 8), &src, width < 8 ? width : 8);
		store(l4, &dport, 2);
		store(l4 + 2, &sport, 2);
	}
	if (size != shape->out_size)
		return "wrong length";
	while (differs < shape->out_mark && frame[differs] == want[differs])
		differs++;
	if (differs < shape->out_l3)
		return "wrong Ethernet header";
	if (differs < shape->out_l4)
		return "wrong IP header";
	if (differs < shape->out_mark)
		return "wrong L4 header, or the mark was changed";
	return "of another phase, or out of a port where it has no business";
}
