/* A packet on its way, and the parser: steps 2 to 10 of docs/forwarding.md as far as the bytes alone say it. The
 * parser is a pure function of the frame's bytes; nothing here looks at tables. */
#ifndef DSN_PATH_PACKET_H
#define DSN_PATH_PACKET_H

#include "path/bytes.h"
#include "path/hash.h"
#include "schema.h"

#define DSN_TYPE_IPV4 0x0800
#define DSN_TYPE_ARP 0x0806
#define DSN_TYPE_VLAN 0x8100
#define DSN_TYPE_IPV6 0x86dd

#define DSN_ICMP 1
#define DSN_TCP 6
#define DSN_UDP 17
#define DSN_ICMP6 58

#define DSN_TCP_FIN 0x01
#define DSN_TCP_SYN 0x02
#define DSN_TCP_RST 0x04
#define DSN_TCP_ACK 0x10

#define DSN_LONGEST_FRAME 60000 /* offsets are 16 bits; no port takes in what is as long */

#define DSN_PASSED DSN_REASONS /* what a check answers that has no reason to drop */

struct dsn_vnic;
struct rte_mbuf;

struct dsn_packet {
    struct dsn_flow_key key; /* addresses, protocol and ports by the parser; scope, VRF and flags by the path */
    uint64_t hash;           /* of the key */
    struct rte_mbuf *mbuf;
    uint8_t *frame;
    const struct dsn_vnic *vnic;       /* whom it comes from; NULL until found */
    uint32_t length;                   /* of the frame as it came */
    uint32_t ref;                      /* of the flow line that it may belong to; 0: none */
    uint16_t vlan, ip, transport, end; /* offsets in the frame; `end`: behind the IP packet, where padding begins */
    uint8_t version, ttl, tcp_flags;
    uint8_t state; /* of the burst: enum dsn_packet_state */
    uint8_t icmp_type;
    bool fragment, more; /* atomic fragments are none */
    bool discovery;      /* ICMPv6 of type 133-137 */
    uint32_t identification;
    uint16_t offset, part; /* of a fragment: where in the datagram's fragmentable part, in bytes, and in the frame; of
                              other IPv6 `part` is where its fragment header ends, `ip` where it has none */
    uint16_t ethertype, reason;
};

static inline uint16_t dsn_ip_length(const struct dsn_packet *packet) {
    return packet->end - packet->ip;
}
static inline uint16_t dsn_payload_length(const struct dsn_packet *packet) {
    return packet->end - packet->transport;
}
static inline const uint8_t *dsn_payload(const struct dsn_packet *packet) {
    return packet->frame + packet->transport;
}
static inline bool dsn_is_later(const struct dsn_packet *packet) {
    return packet->fragment && packet->offset > 0;
}
/* IPv6 with a fragment header, be it an atomic one. */
static inline bool dsn_has_fragment_header(const struct dsn_packet *packet) {
    return packet->fragment || packet->part > packet->ip;
}
static inline bool dsn_is_icmp(const struct dsn_packet *packet) {
    return packet->key.protocol == (packet->version == 4 ? DSN_ICMP : DSN_ICMP6);
}
static inline uint8_t dsn_echo_request(uint8_t protocol) {
    return protocol == DSN_ICMP ? 8 : 128;
}
static inline uint8_t dsn_echo_reply(uint8_t protocol) {
    return protocol == DSN_ICMP ? 0 : 129;
}
static inline bool dsn_is_icmp_error(const struct dsn_packet *packet) {
    uint8_t type = packet->icmp_type;
    if (!dsn_is_icmp(packet) || dsn_is_later(packet))
        return false;
    return packet->version == 4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}
static inline bool dsn_is_bare_syn(const struct dsn_packet *packet) {
    return packet->key.protocol == DSN_TCP && (packet->tcp_flags & (DSN_TCP_SYN | DSN_TCP_ACK)) == DSN_TCP_SYN;
}

/* To an address that bridges keep to themselves (IEEE 802.1Q 8.6.3): LLDP, LACP, PAUSE, STP, 802.1X. */
static inline bool dsn_is_link_control(const struct dsn_packet *packet) {
    return packet->length >= 14 && memcmp(packet->frame, "\x01\x80\xc2\0\0", 5) == 0 && packet->frame[5] < 16;
}

/* Each takes a packet whose `frame` and `length` are set (the next ones: what the ones before set) and answers
 * DSN_PASSED or the reason to drop it. */
enum dsn_reason_number dsn_parse_ethernet(struct dsn_packet *packet);
/* Steps 4 (but ARP) and 6; the key is zero but for what it sets. */
enum dsn_reason_number dsn_parse_ip(struct dsn_packet *packet);
/* Step 8. */
enum dsn_reason_number dsn_parse_addresses(const struct dsn_packet *packet);
/* Step 10, for all but later fragments. */
enum dsn_reason_number dsn_parse_transport(struct dsn_packet *packet);

/* Whether an ICMP error says something that there is: a code, an MTU. */
enum dsn_reason_number dsn_parse_error(const struct dsn_packet *packet);

/* What an ICMP error quotes, the other way round: addresses, protocol and ports as a packet that answers the quoted
 * one would have them. False if it doesn't hold its IP header and 8 bytes. *sequence: of TCP. */
bool dsn_parse_quoted(const struct dsn_packet *packet, struct dsn_flow_key *key, uint32_t *sequence);

#endif
