#include "path/packet.h"
#include "path/tcp.h"

#define MOST_EXTENSIONS 8
#define MOST_EXTENSION_BYTES 256

static bool is_tag(uint16_t type) {
    return type == DSN_TYPE_VLAN || type == 0x88a8 || type == 0x9100;
}

enum dsn_reason_number dsn_parse_ethernet(struct dsn_packet *p) {
    if (p->length < 14)
        return DSN_REASON_ETHERNET_TRUNCATED;
    if (dsn_mac(p->frame + 6) == 0 || (p->frame[6] & 1))
        return DSN_REASON_ETHERNET_SOURCE_INVALID;
    p->ethertype = dsn_be16(p->frame + 12);
    p->vlan = 0;
    p->ip = 14;
    if (is_tag(p->ethertype)) {
        if (p->ethertype != DSN_TYPE_VLAN)
            return DSN_REASON_VLAN_NESTED;
        if (p->length < 18)
            return DSN_REASON_ETHERNET_TRUNCATED;
        p->vlan = dsn_be16(p->frame + 14) & 0xfff;
        p->ethertype = dsn_be16(p->frame + 16);
        p->ip = 18;
        if (is_tag(p->ethertype))
            return DSN_REASON_VLAN_NESTED;
    }
    return p->ethertype < 0x0600 ? DSN_REASON_LLC : DSN_PASSED;
}

/* What RFC 7126 4 advises to drop, but for source routes: record route, timestamp, and what is obsolete. The rest is
 * left alone, what nobody knows included (RFC 1812 5.2.4). */
static bool option_is_refused(uint8_t kind) {
    static const uint8_t refused[] = {7, 68, 11, 12, 82, 136, 142, 145, 147, 149, 151, 152};
    return memchr(refused, kind, sizeof(refused)) != NULL;
}

/* RFC 791 3.1 */
static enum dsn_reason_number check_options(const uint8_t *options, unsigned length) {
    unsigned place = 0;
    while (place < length && options[place] != 0) {
        uint8_t kind = options[place];
        if (kind == 1) {
            place++;
            continue;
        }
        unsigned size = place + 1 < length ? options[place + 1] : 0;
        if (size < 2 || place + size > length)
            return DSN_REASON_IPV4_OPTIONS;
        if (kind == 131 || kind == 137)
            return DSN_REASON_SOURCE_ROUTE;
        if (option_is_refused(kind))
            return DSN_REASON_IPV4_OPTION_REFUSED;
        place += size;
    }
    return DSN_PASSED;
}

static enum dsn_reason_number parse_ipv4(struct dsn_packet *p) {
    const uint8_t *ip = p->frame + p->ip;
    uint32_t there = p->length - p->ip;
    if (there < 20)
        return DSN_REASON_IPV4_TRUNCATED;
    unsigned size = (ip[0] & 15) * 4, total = dsn_be16(ip + 2);
    if (ip[0] >> 4 != 4 || size < 20 || total < size)
        return DSN_REASON_IPV4_HEADER;
    if (size > there || total > there)
        return DSN_REASON_IPV4_TRUNCATED;
    /* Sums of words in host order: the checksum's byte order independence (RFC 1071 2 (B)). */
    uint64_t sum = 0;
    for (unsigned at = 0; at < size; at += 4) {
        uint32_t word;
        memcpy(&word, ip + at, 4);
        sum += word;
    }
    if (dsn_sum_fold(sum) != 0xffff)
        return DSN_REASON_IPV4_CHECKSUM;
    enum dsn_reason_number wrong = size > 20 ? check_options(ip + 20, size - 20) : DSN_PASSED;
    if (wrong != DSN_PASSED)
        return wrong;
    uint16_t place = dsn_be16(ip + 6);
    p->version = 4;
    p->ttl = ip[8];
    p->transport = (uint16_t)(p->ip + size);
    p->end = (uint16_t)(p->ip + total);
    p->fragment = p->more = false;
    if (place & 0x3fff) {
        p->fragment = true;
        p->more = place & 0x2000;
        p->offset = (uint16_t)((place & 0x1fff) * 8);
        p->part = p->transport;
        p->identification = dsn_be16(ip + 4);
    }
    p->key.protocol = ip[9];
    dsn_map_v4(p->key.source, ip + 12);
    dsn_map_v4(p->key.destination, ip + 16);
    p->discovery = false;
    return DSN_PASSED;
}

struct extensions {
    uint32_t transport; /* from the IP header's first byte on */
    uint32_t part;      /* the same, behind the fragment header; 0: there is none */
    uint32_t identification;
    uint16_t offset;
    uint8_t protocol;
    bool fragment, more;
};

/* Options of a hop-by-hop or destination options header (RFC 8200 4.2). Refused: the jumbo payload (RFC 2675), that no
 * frame holds, and the home address (RFC 6275 6.3), a source address that nobody has checked. */
static bool options6_are_right(const uint8_t *options, uint32_t length) {
    for (uint32_t place = 0, size; place < length; place += size) {
        size = options[place] == 0 ? 1 : place + 1 < length ? 2u + options[place + 1] : length + 1;
        if (place + size > length || options[place] == 0xc2 || options[place] == 0xc9)
            return false;
    }
    return true;
}

/* One extension header, whole. Routing: type 0 (RFC 5095), 1 and 3 are refused (RFC 9288 3.5.2.5), no others (RFC 5095
 * 4.2). */
static enum dsn_reason_number check_extension(uint8_t number, const uint8_t *header, uint32_t size) {
    if (number == 43)
        return header[2] == 0 || header[2] == 1 || header[2] == 3 ? DSN_REASON_SOURCE_ROUTE : DSN_PASSED;
    if (number != 0 && number != 60)
        return DSN_PASSED;
    return options6_are_right(header + 2, size - 2) ? DSN_PASSED : DSN_REASON_IPV6_OPTIONS;
}

/* What stands between an IPv6 header and the transport (RFC 8200 4). */
static enum dsn_reason_number walk_extensions(const uint8_t *ip, uint32_t length, struct extensions *e) {
    uint8_t next = ip[6];
    uint32_t place = 40;
    bool fragmented = false;
    *e = (struct extensions){0};
    for (unsigned count = 0;; count++) {
        if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60)
            break;
        /* A first fragment has the whole chain (RFC 7112 5). */
        enum dsn_reason_number cut = e->fragment ? DSN_REASON_FRAGMENT_TINY : DSN_REASON_IPV6_EXTENSION;
        if (count == MOST_EXTENSIONS || (next == 0 && count > 0) || (next == 44 && fragmented))
            return DSN_REASON_IPV6_EXTENSION;
        if (place + 8 > length)
            return cut;
        uint32_t size = next == 44 ? 8 : next == 51 ? (ip[place + 1] + 2u) * 4 : (ip[place + 1] + 1u) * 8;
        if (place + size - 40 > MOST_EXTENSION_BYTES)
            return DSN_REASON_IPV6_EXTENSION;
        if (place + size > length)
            return cut;
        enum dsn_reason_number wrong = check_extension(next, ip + place, size);
        if (wrong != DSN_PASSED)
            return wrong;
        if (next == 44) {
            uint16_t field = dsn_be16(ip + place + 2);
            fragmented = true;
            e->offset = field & 0xfff8;
            e->more = field & 1;
            e->fragment = e->offset > 0 || e->more;
            e->identification = dsn_be32(ip + place + 4);
            e->part = place + 8;
        }
        next = ip[place];
        place += size;
        if (e->offset > 0)
            break;
    }
    e->protocol = next;
    e->transport = place;
    return DSN_PASSED;
}

static enum dsn_reason_number parse_ipv6(struct dsn_packet *p) {
    const uint8_t *ip = p->frame + p->ip;
    uint32_t there = p->length - p->ip;
    if (there < 40)
        return DSN_REASON_IPV6_TRUNCATED;
    uint32_t length = dsn_be16(ip + 4);
    if (ip[0] >> 4 != 6 || (length == 0 && ip[6] == 0))
        return DSN_REASON_IPV6_HEADER;
    if (40 + length > there)
        return DSN_REASON_IPV6_TRUNCATED;
    struct extensions e;
    enum dsn_reason_number wrong = walk_extensions(ip, 40 + length, &e);
    if (wrong != DSN_PASSED)
        return wrong;
    p->version = 6;
    p->ttl = ip[7];
    p->transport = (uint16_t)(p->ip + e.transport);
    p->end = (uint16_t)(p->ip + 40 + length);
    p->fragment = e.fragment;
    p->more = e.more;
    p->offset = e.offset;
    p->part = (uint16_t)(p->ip + e.part);
    p->identification = e.identification;
    p->key.protocol = e.protocol;
    memcpy(p->key.source, ip + 8, 32); /* and destination */
    p->discovery = false;
    if (e.protocol == DSN_ICMP6 && e.offset == 0 && e.transport < 40 + length) {
        uint8_t type = ip[e.transport];
        p->discovery = type >= 133 && type <= 137;
    }
    return DSN_PASSED;
}

enum dsn_reason_number dsn_parse_ip(struct dsn_packet *p) {
    if (p->length > DSN_LONGEST_FRAME)
        return DSN_REASON_IPV4_HEADER;
    if (p->ethertype == DSN_TYPE_IPV4)
        return parse_ipv4(p);
    return p->ethertype == DSN_TYPE_IPV6 ? parse_ipv6(p) : DSN_REASON_ETHERTYPE_UNSUPPORTED;
}

enum dsn_reason_number dsn_parse_addresses(const struct dsn_packet *p) {
    static const uint8_t loopback[16] = {[15] = 1}, unspecified[16];
    const uint8_t *source = p->key.source, *destination = p->key.destination;
    if (p->version == 4) {
        uint8_t s = source[12], d = destination[12];
        if (s == 0 || s == 127 || s >= 224 || d == 0 || d == 127 || d >= 240)
            return DSN_REASON_ADDRESS_INVALID;
        return d >= 224 ? DSN_REASON_GROUP_MISMATCH : DSN_PASSED;
    }
    if (memcmp(source, unspecified, 16) == 0 && !p->discovery)
        return DSN_REASON_ADDRESS_INVALID;
    if (memcmp(source, loopback, 16) == 0 || source[0] == 0xff || dsn_is_v4(source))
        return DSN_REASON_ADDRESS_INVALID;
    if (memcmp(destination, unspecified, 16) == 0 || memcmp(destination, loopback, 16) == 0 || dsn_is_v4(destination))
        return DSN_REASON_ADDRESS_INVALID;
    return destination[0] == 0xff ? DSN_REASON_GROUP_MISMATCH : DSN_PASSED;
}

static enum dsn_reason_number parse_tcp(struct dsn_packet *p, const uint8_t *tcp, unsigned length,
                                        enum dsn_reason_number truncated) {
    if (length < 20)
        return truncated;
    unsigned size = (tcp[12] >> 4) * 4;
    if (size < 20)
        return DSN_REASON_L4_HEADER;
    if (size > length)
        return truncated;
    uint8_t flags = tcp[13];
    p->key.source_port = dsn_be16(tcp);
    p->key.destination_port = dsn_be16(tcp + 2);
    p->tcp_flags = flags;
    if (p->key.source_port == 0 || p->key.destination_port == 0)
        return DSN_REASON_L4_HEADER;
    if (((flags & DSN_TCP_SYN) && (flags & (DSN_TCP_FIN | DSN_TCP_RST))) ||
        ((flags & DSN_TCP_FIN) && (flags & DSN_TCP_RST)) || !(flags & (DSN_TCP_SYN | DSN_TCP_RST | DSN_TCP_ACK)))
        return DSN_REASON_TCP_FLAGS;
    struct dsn_tcp_options said;
    if ((flags & DSN_TCP_SYN) && !dsn_tcp_options(tcp + 20, size - 20, &said))
        return DSN_REASON_TCP_OPTIONS;
    return DSN_PASSED;
}

enum dsn_reason_number dsn_parse_transport(struct dsn_packet *p) {
    const uint8_t *l4 = dsn_payload(p);
    unsigned length = dsn_payload_length(p);
    enum dsn_reason_number truncated = p->fragment ? DSN_REASON_FRAGMENT_TINY : DSN_REASON_L4_TRUNCATED;
    uint8_t protocol = p->key.protocol;
    if (protocol == DSN_TCP)
        return parse_tcp(p, l4, length, truncated);
    if (protocol == DSN_UDP) {
        if (length < 8)
            return truncated;
        unsigned size = dsn_be16(l4 + 4);
        p->key.source_port = dsn_be16(l4);
        p->key.destination_port = dsn_be16(l4 + 2);
        return size < 8 || (!p->fragment && size > length) || p->key.destination_port == 0 ? DSN_REASON_L4_HEADER
                                                                                           : DSN_PASSED;
    }
    if (protocol == (p->version == 4 ? DSN_ICMP6 : DSN_ICMP))
        return DSN_REASON_L4_HEADER;
    if (protocol != DSN_ICMP && protocol != DSN_ICMP6)
        return DSN_PASSED;
    if (length < 8)
        return truncated;
    p->icmp_type = l4[0];
    if (p->icmp_type == dsn_echo_request(protocol))
        p->key.source_port = dsn_be16(l4 + 4);
    else if (p->icmp_type == dsn_echo_reply(protocol))
        p->key.destination_port = dsn_be16(l4 + 4);
    return DSN_PASSED;
}

/* Codes of each type, of IPv4 by RFC 792, 1122 3.2.2.1 and 1812 5.2.7.1; of IPv6 new ones are for hosts to judge
 * (RFC 4890 4.3.1). */
static unsigned codes_of(const struct dsn_packet *p) {
    if (p->version == 4)
        return p->icmp_type == 3 ? 16 : p->icmp_type == 11 ? 2 : 3;
    return p->icmp_type == 3 ? 2 : 256;
}

enum dsn_reason_number dsn_parse_error(const struct dsn_packet *p) {
    const uint8_t *icmp = dsn_payload(p);
    if (icmp[1] >= codes_of(p))
        return DSN_REASON_ICMP_TYPE;
    uint32_t mtu = dsn_be32(icmp + 4);
    if (p->version == 4) /* 0: a router of before RFC 1191; 68: RFC 791 3.2 */
        return p->icmp_type == 3 && icmp[1] == 4 && (uint16_t)mtu != 0 && (uint16_t)mtu < 68
                   ? DSN_REASON_ICMP_ERROR_INVALID
                   : DSN_PASSED;
    return p->icmp_type == 2 && mtu < 1280 ? DSN_REASON_ICMP_ERROR_INVALID : DSN_PASSED; /* RFC 8201 4 */
}

bool dsn_parse_quoted(const struct dsn_packet *p, struct dsn_flow_key *key, uint32_t *sequence) {
    const uint8_t *ip = dsn_payload(p) + 8;
    uint32_t length = dsn_payload_length(p) - 8u, size;
    memset(key, 0, sizeof(*key));
    if (p->version == 4) {
        size = length ? (ip[0] & 15) * 4u : 0;
        if (size < 20 || length < size || ip[0] >> 4 != 4 || (dsn_be16(ip + 6) & 0x1fff) || dsn_be16(ip + 2) < size + 8)
            return false;
        key->protocol = ip[9];
        dsn_map_v4(key->destination, ip + 12);
        dsn_map_v4(key->source, ip + 16);
    } else {
        struct extensions e;
        if (length < 40 || ip[0] >> 4 != 6 || walk_extensions(ip, length, &e) != DSN_PASSED || e.offset > 0)
            return false;
        size = e.transport;
        if (40u + dsn_be16(ip + 4) < size + 8)
            return false;
        key->protocol = e.protocol;
        memcpy(key->destination, ip + 8, 16);
        memcpy(key->source, ip + 24, 16);
    }
    const uint8_t *l4 = ip + size;
    if (length < size + 8)
        return false;
    if (key->protocol == DSN_TCP || key->protocol == DSN_UDP) {
        key->destination_port = dsn_be16(l4);
        key->source_port = dsn_be16(l4 + 2);
        *sequence = dsn_be32(l4 + 4);
    } else if (key->protocol == p->key.protocol) {
        if (l4[0] == dsn_echo_request(key->protocol))
            key->destination_port = dsn_be16(l4 + 4);
        else if (l4[0] == dsn_echo_reply(key->protocol))
            key->source_port = dsn_be16(l4 + 4);
        else
            return false;
    }
    return true;
}
