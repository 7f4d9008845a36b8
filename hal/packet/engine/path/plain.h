/* The parser's short cut: untagged frames with IPv4 without options or IPv6 without extension headers, unfragmented,
 * with sane TCP or UDP in them; almost all packets are of this kind. What it says yes to, path/parse.c parses to the
 * same packet (path/tests/parse.c holds them to it); about the rest it says nothing. */
#ifndef DSN_PATH_PLAIN_H
#define DSN_PATH_PLAIN_H

#include "path/packet.h"

#include <rte_branch_prediction.h>
#include <stddef.h>

#define DSN_RAW16(value) ((uint16_t)RTE_STATIC_BSWAP16(value)) /* as it lies in a packet */

static inline uint16_t dsn_raw16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, 2);
    return value;
}

static inline uint64_t dsn_raw64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return value;
}

/* Behind dsn_plain_set. */
static __rte_always_inline bool dsn_plain_transport(struct dsn_packet *p, const uint8_t *l4, unsigned length,
                                                    uint8_t protocol, uint8_t flags) {
    uint32_t ports = dsn_be32(l4), turned = ports << 16 | ports >> 16; /* the destination's above the source's */
    if (protocol == DSN_UDP) {
        unsigned size = dsn_be16(l4 + 4);
        if (size < 8 || size > length || (uint16_t)ports == 0)
            return false;
    } else {
        if (protocol != DSN_TCP || length < 20)
            return false;
        unsigned size = (l4[12] >> 4) * 4u, tcp = l4[13];
        unsigned turns = tcp & (DSN_TCP_SYN | DSN_TCP_FIN | DSN_TCP_RST);
        if (size < 20 || size > length || (uint16_t)ports == 0 || ports >> 16 == 0 || (turns & (turns - 1)) != 0 ||
            !(tcp & (DSN_TCP_SYN | DSN_TCP_RST | DSN_TCP_ACK)) || (size > 20 && (tcp & DSN_TCP_SYN)))
            return false;
        p->tcp_flags = (uint8_t)tcp;
    }
    dsn_key_set_word(&p->key, 6, (uint64_t)flags << 40 | (uint64_t)protocol << 32 | turned);
    return true;
}

/* Written as words: many small stores are what a burst of small packets would wait for. */
static inline void dsn_plain_set(struct dsn_packet *p, uint8_t version, uint8_t ttl, uint16_t transport, unsigned end) {
    uint64_t places = (uint64_t)end << 48 | (uint64_t)transport << 32 | 14u << 16; /* no VLAN */
    uint32_t numbers = (uint32_t)ttl << 8 | version;                               /* no TCP flags, no state yet */
    uint32_t kinds = 0; /* no ICMP type, no fragment, none of neighbour discovery */
    _Static_assert(offsetof(struct dsn_packet, end) == offsetof(struct dsn_packet, vlan) + 6 &&
                       offsetof(struct dsn_packet, state) == offsetof(struct dsn_packet, version) + 3 &&
                       offsetof(struct dsn_packet, discovery) == offsetof(struct dsn_packet, icmp_type) + 3,
                   "places, numbers, kinds");
    memcpy(&p->vlan, &places, 8);
    memcpy(&p->version, &numbers, 4);
    memcpy(&p->icmp_type, &kinds, 4);
}

/* Addresses that dsn_parse_addresses has nothing against, by their first byte; groups are left to it. */
static inline bool dsn_plain_v4(uint8_t first) {
    return (uint8_t)(first - 1) < 223 && first != 127;
}

/* What a short cut needs of the frame's length, and where offsets end. */
static inline bool dsn_plain_length(uint32_t length) {
    return length - (14 + 20 + 8) <= DSN_LONGEST_FRAME - (14 + 20 + 8);
}

/* Source MAC: neither zero nor a group's. */
static inline bool dsn_plain_source(const uint8_t *frame) {
    return dsn_mac(frame + 6) != 0 && !(frame[6] & 1);
}

/* Each of the next two, of a frame of such a length, source and EtherType: `flags` are the key's. They set what
 * dsn_parse_ethernet, dsn_parse_ip and dsn_parse_transport set, but for the EtherType; the addresses are as
 * dsn_parse_addresses wants them. */
static __rte_always_inline bool dsn_plain_ipv4(struct dsn_packet *p, uint8_t flags) {
    const uint8_t *ip = p->frame + 14;
    uint64_t a = dsn_raw64(ip), b = dsn_raw64(ip + 8), addresses = dsn_raw64(ip + 12);
    uint32_t source = (uint32_t)addresses, destination = (uint32_t)(addresses >> 32);
    /* Modulo 65,535, of which 2^64 - 1 is a multiple: a right checksum makes it 0. `a` is far below 2^64 where the
     * fragment's place is 0, so nothing is lost. */
    uint64_t sum = a + b;
    sum += sum < b;
    sum += destination;
    sum += sum < destination;
    bool summed = sum * UINT64_C(0xfffefffefffeffff) <= UINT64_C(0x0001000100010001);
    unsigned end = 14u + dsn_be16(ip + 2);
    /* Version 4 and five words; no more fragments and the first place, as bytes 6 and 7 say. */
    if ((a & UINT64_C(0xff3f0000000000ff)) != 0x45 || end > p->length || end < 14 + 20 + 8 || !summed ||
        !dsn_plain_v4((uint8_t)source) || !dsn_plain_v4((uint8_t)destination))
        return false;
    dsn_key_set_word(&p->key, 0, 0);
    dsn_key_set_word(&p->key, 1, (uint64_t)source << 32 | 0xffff0000u);
    dsn_key_set_word(&p->key, 2, 0);
    dsn_key_set_word(&p->key, 3, (addresses & ~(uint64_t)UINT32_MAX) | 0xffff0000u);
    dsn_plain_set(p, 4, (uint8_t)b, 34, end);
    return dsn_plain_transport(p, ip + 20, end - 34, (uint8_t)(b >> 8), flags);
}

static __rte_always_inline bool dsn_plain_ipv6(struct dsn_packet *p, uint8_t flags) {
    const uint8_t *ip = p->frame + 14;
    if (p->length < 14 + 40 + 8)
        return false;
    uint64_t source[2] = {dsn_raw64(ip + 8), dsn_raw64(ip + 16)};
    uint64_t destination[2] = {dsn_raw64(ip + 24), dsn_raw64(ip + 32)};
    unsigned end = 54u + dsn_be16(ip + 4);
    /* A first half of zeros: ::, ::1 and mapped ones are among those. */
    if (ip[0] >> 4 != 6 || end > p->length || end < 14 + 40 + 8 || source[0] == 0 || destination[0] == 0 ||
        ip[8] == 0xff || ip[24] == 0xff)
        return false;
    dsn_key_set_word(&p->key, 0, source[0]);
    dsn_key_set_word(&p->key, 1, source[1]);
    dsn_key_set_word(&p->key, 2, destination[0]);
    dsn_key_set_word(&p->key, 3, destination[1]);
    dsn_plain_set(p, 6, ip[7], 54, end);
    return dsn_plain_transport(p, ip + 40, end - 54, ip[6], flags);
}

/* Both of them, from the frame alone. */
static inline bool dsn_parse_plain(struct dsn_packet *p, uint8_t flags) {
    if (!dsn_plain_length(p->length) || !dsn_plain_source(p->frame))
        return false;
    uint16_t type = dsn_raw16(p->frame + 12);
    return type == DSN_RAW16(DSN_TYPE_IPV4) ? dsn_plain_ipv4(p, flags)
                                            : type == DSN_RAW16(DSN_TYPE_IPV6) && dsn_plain_ipv6(p, flags);
}

#endif
