/* What ARP and neighbour discovery packets say, as far as their bytes go. The order in docs/forwarding.md is: malformed
 * (dsn_parse_arp, dsn_parse_nd), antispoof, ignored (dsn_discovery_ignored first, then what tables say). */
#ifndef DSN_PATH_DISCOVERY_H
#define DSN_PATH_DISCOVERY_H

#include "schema.h"

#include <stdbool.h>

struct dsn_packet;

enum dsn_discovery_kind {
    DSN_ARP_REQUEST,
    DSN_ARP_REPLY,
    DSN_SOLICITATION,
    DSN_ADVERTISEMENT,
    DSN_DISCOVERY_OTHER, /* 133, 134, 137 */
};

struct dsn_discovery {
    uint8_t kind;
    bool unspecified;                     /* the sender tells no address: ND from ::, an ARP request from 0.0.0.0 */
    bool has_source, has_target;          /* link-layer options (ARP: neither; the sender's MAC is the frame's) */
    uint8_t sender_mac[6];                /* the frame's */
    uint8_t source_mac[6], target_mac[6]; /* of the options */
    uint8_t sender[16];                   /* ARP: protocol address; ND: IP source address */
    uint8_t target[16];                   /* zero in DSN_DISCOVERY_OTHER */
    uint8_t destination[16];              /* whom it is told: ARP: the target, ND: the IP destination */
};

/* DSN_PASSED or `arp_malformed`; the packet's Ethernet header is parsed. */
enum dsn_reason_number dsn_parse_arp(const struct dsn_packet *packet, struct dsn_discovery *told);
/* DSN_PASSED or `nd_malformed`; the packet's IP header is parsed and its `discovery` is true. Of its mbuf only the
 * mark of an unfinished checksum is looked at. */
enum dsn_reason_number dsn_parse_nd(const struct dsn_packet *packet, struct dsn_discovery *told);

/* `arp_ignored` or `nd_ignored` where nobody can answer it or be confirmed by it, whatever tables say; DSN_PASSED:
 * a request for `target`, or news about the neighbour dsn_discovery_neighbour. */
enum dsn_reason_number dsn_discovery_ignored(const struct dsn_discovery *told);

static inline bool dsn_discovery_asks(const struct dsn_discovery *told) {
    return told->kind == DSN_ARP_REQUEST || told->kind == DSN_SOLICITATION;
}

/* Whom a packet that isn't ignored confirms, once it is answered or accepted, and with which MAC. */
static inline const uint8_t *dsn_discovery_neighbour(const struct dsn_discovery *told) {
    return told->kind == DSN_ADVERTISEMENT ? told->target : told->sender;
}
static inline const uint8_t *dsn_discovery_mac(const struct dsn_discovery *told) {
    return told->kind == DSN_ADVERTISEMENT ? told->target_mac : told->sender_mac;
}

/* Of an ICMP message (echo, ND) that is whole; true also where its mbuf says that it is unfinished. */
bool dsn_icmp_checksum_is_right(const struct dsn_packet *packet);

#endif
