#include "frame.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_PSH = 8, TCP_ACK = 16 };

static uint64_t low_bits(unsigned int bits) {
    return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

static void cut_init(struct cut *cut, const struct field *field, unsigned int *at) {
    cut->base = field->base;
    cut->mask = low_bits(field->bits);
    cut->shift = field->bits > 0 ? *at : 0;
    *at += field->bits;
}

static void map_init(struct tuple_map *map, const struct tuple_config *tuple, bool exchanged) {
    unsigned int at = 0, bits = tuple_bits(tuple);
    map->mask = low_bits(bits);
    map->half = bits > 1 ? (bits + 1) / 2 : 1;
    cut_init(exchanged ? &map->second : &map->first, &tuple->src, &at);
    cut_init(exchanged ? &map->first : &map->second, &tuple->dst, &at);
    cut_init(exchanged ? &map->second_port : &map->first_port, &tuple->sport, &at);
    cut_init(exchanged ? &map->first_port : &map->second_port, &tuple->dport, &at);
}

static void put16(uint8_t *at, unsigned int value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put64(uint8_t *at, uint64_t value) {
    for (int i = 7; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

static uint64_t sum_words(const uint8_t *at, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i += 2)
        sum += load(at + i, 2);
    return sum;
}

static uint16_t put_ethernet(uint8_t *frame, const uint8_t *destination, const uint8_t *source, unsigned int vlan,
                             bool v6) {
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
                       bool exchanged) {
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

static unsigned int tcp_flags(enum kind kind) {
    if (kind == KIND_FIRST || kind == KIND_EACH)
        return TCP_SYN;
    if (kind == KIND_REPLY)
        return TCP_SYN | TCP_ACK;
    if (kind == KIND_ACK)
        return TCP_ACK;
    return TCP_PSH | TCP_ACK;
}

static uint16_t put_l4(uint8_t *l4, const struct config *config, unsigned int payload, unsigned int flags) {
    if (config->proto == PROTO_UDP) {
        put16(l4 + 4, payload);
        return 8;
    }
    l4[12] = 5 << 4;
    l4[13] = (uint8_t)flags;
    put16(l4 + 14, 0xffff);
    return 20;
}

static void mask_init(struct shape *shape) {
    uint8_t *l3 = shape->mask + shape->out.l3, *l4 = shape->mask + shape->out.l4;

    memset(shape->mask, 0, sizeof(shape->mask));
    memset(shape->mask, 0xff, shape->out.mark);
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

static void wire_init(struct wire *wire, const struct config *config, const uint8_t *destination, const uint8_t *source,
                      unsigned int vlan, unsigned int l4_size, unsigned int ttl, unsigned int flags, bool exchanged) {
    bool tcp = config->proto == PROTO_TCP;
    wire->l3 = put_ethernet(wire->bytes, destination, source, vlan, config->v6);
    wire->l4 = wire->l3 + put_ip(wire->bytes + wire->l3, config, l4_size, ttl, exchanged);
    wire->mark = wire->l4 + put_l4(wire->bytes + wire->l4, config, l4_size, flags);
    wire->size = wire->l4 + (uint16_t)l4_size;
    map_init(&wire->map[0], &config->tuple, exchanged);
    map_init(&wire->map[1], &config->probe, exchanged);
    /* Pseudo header, and all of the L4 header that is in the template. */
    if (config->v6)
        wire->l4_sum = sum_words(wire->bytes + wire->l3 + 8, 32);
    else
        wire->ip_sum = sum_words(wire->bytes + wire->l3, 20);
    wire->l4_sum += htons((uint16_t)l4_size) + htons(tcp ? 6 : 17);
    wire->l4_sum += sum_words(wire->bytes + wire->l4, tcp ? 20 : 8);
}

void shape_init(struct shape *shape, const struct config *config, enum kind kind, int direction) {
    int from = direction, to = !direction;
    bool tcp = config->proto == PROTO_TCP, reply = direction == DIR_REPLY;
    unsigned int flags = tcp_flags(kind), vlan = config->vlan[from];
    unsigned int headers = 14 + (vlan ? 4 : 0) + (config->v6 ? 40 : 20);
    /* The frame's length holds on the way in, before a tag is taken off or put on. */
    unsigned int least = headers + (tcp ? 20 : 8) + MARK_SIZE;
    unsigned int l4_size = (least > config->frame ? least : config->frame) - headers;
    const uint8_t *host = config->host_mac[from], *card = config->card_mac[from];

    memset(shape, 0, sizeof(*shape));
    shape->v6 = config->v6;
    shape->tcp = tcp;
    shape->reply = reply;
    shape->l4_checksum = config->l4_checksum;
    wire_init(&shape->in, config, card, host, vlan, l4_size, config->ttl, flags, reply);
    switch (config->expect) {
    case EXPECT_5TSWAP: wire_init(&shape->out, config, host, card, vlan, l4_size, config->ttl, flags, !reply); break;
    case EXPECT_FORWARD: /* a router puts the other side's tag on */
        wire_init(&shape->out, config, config->host_mac[to], config->card_mac[to], config->vlan[to], l4_size,
                  config->ttl - 1, flags, reply);
        break;
    case EXPECT_SAME: wire_init(&shape->out, config, card, host, vlan, l4_size, config->ttl, flags, reply); break;
    }
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
}

const char *frame_explain(const struct shape *shape, const uint8_t *frame, size_t size, uint8_t want[TEMPLATE_SIZE]) {
    const struct wire *out = &shape->out;
    struct batch batch = {0};
    size_t differs = 0;

    memset(want, 0, TEMPLATE_SIZE);
    if (size < (size_t)out->mark + MARK_SIZE)
        return "too short for a mark";
    batch.id[0] = load(frame + out->mark, 4);
    batch.due[0] = load(frame + out->mark + 4, 8);
    frames_make_any(&want, 1, &batch, shape, out, batch.id[0] >> 31);
    if (size != out->size)
        return "wrong length";
    while (differs < out->mark && frame[differs] == want[differs])
        differs++;
    if (differs < out->l3)
        return "wrong Ethernet header";
    if (differs < out->l4)
        return "wrong IP header";
    if (differs < out->mark)
        return "wrong L4 header, or the mark was changed";
    return "of another phase, or out of a port where it has no business";
}
