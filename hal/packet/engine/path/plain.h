/* The parser's short cut: untagged frames with IPv4 without options or IPv6 without extension headers, unfragmented,
 * with sane TCP or UDP in them; almost all packets are of this kind. What it says yes to, path/parse.c parses to the same
 * packet (path/tests/parse.c holds them to it); about the rest it says nothing. */
#ifndef DSN_PATH_PLAIN_H
#define DSN_PATH_PLAIN_H

#include "path/packet.h"

#include <rte_branch_prediction.h>

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

static __rte_always_inline bool dsn_plain_transport(struct dsn_packet *p, const uint8_t *l4, unsigned length,
                                                    uint8_t protocol, uint8_t flags) {
    uint32_t ports = dsn_be32(l4), turned = ports << 16 | ports >> 16; /* the destination's above the source's */
    if (protocol == DSN_UDP) {
        unsigned size = dsn_be16(l4 + 4);
        if (size < 8 || size > length || (uint16_t)ports == 0)
            return false;
        p->tcp_flags = 0;
    } else {
        if (protocol != DSN_TCP || length < 20)
            return false;
        unsigned size = (l4[12] >> 4) * 4u, tcp = l4[13];
        unsigned turns = tcp & (DSN_TCP_SYN | DSN_TCP_FIN | DSN_TCP_RST);
        if (size < 20 || size > length || (uint16_t)ports == 0 || ports >> 16 == 0 || (turns & (turns - 1)) != 0 ||
            !(tcp & (DSN_TCP_SYN | DSN_TCP_RST | DSN_TCP_ACK)))
            return false;
        p->tcp_flags = (uint8_t)tcp;
    }
    dsn_key_set_word(&p->key, 6, (uint64_t)flags << 40 | (uint64_t)protocol << 32 | turned);
    return true;
}

/* Addresses that dsn_parse_addresses has nothing against, by their first byte; groups are left to it. */
static inline bool dsn_plain_v4(uint8_t first) {
    return (uint8_t)(first - 1) < 223 && first != 127;
}

/* `flags`: of the key. Sets what dsn_parse_ethernet, dsn_parse_ip and dsn_parse_transport set, but for the EtherType; the
 * addresses are as dsn_parse_addresses wants them. */
static __rte_always_inline bool dsn_parse_plain(struct dsn_packet *p, uint8_t flags) {
    const uint8_t *frame = p->frame, *ip = frame + 14;
    if (p->length < 14 + 20 + 8 || p->length > DSN_LONGEST_FRAME || dsn_mac(frame + 6) == 0 || (frame[6] & 1))
        return false;
    uint16_t type = dsn_raw16(frame + 12);
    unsigned end;
    if (likely(type == DSN_RAW16(DSN_TYPE_IPV4))) {
        uint64_t a = dsn_raw64(ip), b = dsn_raw64(ip + 8), addresses = dsn_raw64(ip + 12);
        uint32_t source = (uint32_t)addresses, destination = (uint32_t)(addresses >> 32);
        /* Modulo 65,535, of which 2^64 - 1 is a multiple: a right checksum makes it 0. `a` is far below 2^64 where the
         * fragment's place is 0, so nothing is lost. */
        uint64_t sum = a + b;
        sum += sum < b;
        sum += destination;
        sum += sum < destination;
        bool summed = sum * UINT64_C(0xfffefffefffeffff) <= UINT64_C(0x0001000100010001);
        end = 14u + dsn_be16(ip + 2);
        if (ip[0] != 0x45 || end > p->length || end < 14 + 20 + 8 || (dsn_raw16(ip + 6) & DSN_RAW16(0x3fff)) != 0 ||
            !summed || !dsn_plain_v4((uint8_t)source) || !dsn_plain_v4((uint8_t)destination))
            return false;
        dsn_key_set_word(&p->key, 0, 0);
        dsn_key_set_word(&p->key, 1, (uint64_t)source << 32 | 0xffff0000u);
        dsn_key_set_word(&p->key, 2, 0);
        dsn_key_set_word(&p->key, 3, (addresses & ~(uint64_t)UINT32_MAX) | 0xffff0000u);
        p->version = 4;
        p->ttl = ip[8];
        p->transport = 34;
        if (!dsn_plain_transport(p, ip + 20, end - 34, ip[9], flags))
            return false;
    } else {
        if (type != DSN_RAW16(DSN_TYPE_IPV6) || p->length < 14 + 40 + 8)
            return false;
        uint64_t source[2] = {dsn_raw64(ip + 8), dsn_raw64(ip + 16)};
        uint64_t destination[2] = {dsn_raw64(ip + 24), dsn_raw64(ip + 32)};
        end = 54u + dsn_be16(ip + 4);
        /* A first half of zeros: ::, ::1 and mapped ones are among those. */
        if (ip[0] >> 4 != 6 || end > p->length || end < 14 + 40 + 8 || source[0] == 0 || destination[0] == 0 ||
            ip[8] == 0xff || ip[24] == 0xff)
            return false;
        dsn_key_set_word(&p->key, 0, source[0]);
        dsn_key_set_word(&p->key, 1, source[1]);
        dsn_key_set_word(&p->key, 2, destination[0]);
        dsn_key_set_word(&p->key, 3, destination[1]);
        p->version = 6;
        p->ttl = ip[7];
        p->transport = 54;
        if (!dsn_plain_transport(p, ip + 40, end - 54, ip[6], flags))
            return false;
    }
    p->vlan = 0;
    p->ip = 14;
    p->end = (uint16_t)end;
    p->icmp_type = 0;
    p->fragment = p->more = p->discovery = false;
    return true;
}

#endif
