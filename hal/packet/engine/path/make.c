#include "path/make.h"

#define TTL 64
#define ND_HOP_LIMIT 255
#define V4_ERROR_MOST 576  /* RFC 1812 4.3.2.3 */
#define V6_ERROR_MOST 1280 /* RFC 4443 2.4 */

/* A frame with room for `length` bytes behind its Ethernet header, which *body points to. */
static struct rte_mbuf *make_frame(struct rte_mempool *pool, const struct dsn_frame_to *to, uint16_t type,
                                   uint16_t length, uint8_t **body) {
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    uint16_t header = to->vlan ? 18 : 14;
    if (mbuf == NULL)
        return NULL;
    uint8_t *frame = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(header + length));
    if (frame == NULL) {
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    memcpy(frame, to->destination, 6);
    memcpy(frame + 6, to->source, 6);
    if (to->vlan) {
        dsn_put16(frame + 12, DSN_TYPE_VLAN);
        dsn_put16(frame + 14, to->vlan);
    }
    dsn_put16(frame + header - 2, type);
    *body = frame + header;
    return mbuf;
}

/* An IP packet with `length` zeroed bytes of payload: TOS or class 0, id 0 and DF, no options. */
static struct rte_mbuf *make_ip(struct rte_mempool *pool, const struct dsn_frame_to *to, const uint8_t source[16],
                                const uint8_t destination[16], uint8_t protocol, uint8_t ttl, uint16_t length,
                                uint8_t **payload) {
    bool v4 = dsn_is_v4(source);
    uint8_t *ip;
    struct rte_mbuf *mbuf =
        make_frame(pool, to, v4 ? DSN_TYPE_IPV4 : DSN_TYPE_IPV6, (uint16_t)(length + (v4 ? 20 : 40)), &ip);
    if (mbuf == NULL)
        return NULL;
    memset(ip, 0, (v4 ? 20u : 40u) + length);
    if (v4) {
        ip[0] = 0x45;
        dsn_put16(ip + 2, (uint16_t)(20 + length));
        ip[6] = 0x40;
        ip[8] = ttl;
        ip[9] = protocol;
        memcpy(ip + 12, source + 12, 4);
        memcpy(ip + 16, destination + 12, 4);
        dsn_put16(ip + 10, (uint16_t)~dsn_sum_fold(dsn_sum(ip, 20, 0)));
        *payload = ip + 20;
    } else {
        ip[0] = 0x60;
        dsn_put16(ip + 4, length);
        ip[6] = protocol;
        ip[7] = ttl;
        memcpy(ip + 8, source, 16);
        memcpy(ip + 24, destination, 16);
        *payload = ip + 40;
    }
    return mbuf;
}

/* Puts in a transport checksum whose field is zero so far. ICMP of IPv4 covers no pseudo header. */
static void put_checksum(const uint8_t source[16], const uint8_t destination[16], uint8_t protocol, uint8_t *payload,
                         uint16_t length, unsigned place) {
    uint64_t sum = protocol == DSN_ICMP ? 0 : dsn_sum_pseudo(source, destination, protocol, length);
    dsn_put16(payload + place, (uint16_t)~dsn_sum_fold(dsn_sum(payload, length, sum)));
}

struct rte_mbuf *dsn_make_arp(struct rte_mempool *pool, const struct dsn_frame_to *to, uint16_t operation,
                              const uint8_t sender_mac[6], const uint8_t sender[16], const uint8_t target_mac[6],
                              const uint8_t target[16]) {
    static const uint8_t kind[6] = {0, 1, 8, 0, 6, 4};
    uint8_t *arp;
    struct rte_mbuf *mbuf = make_frame(pool, to, DSN_TYPE_ARP, 28, &arp);
    if (mbuf == NULL)
        return NULL;
    memcpy(arp, kind, 6);
    dsn_put16(arp + 6, operation);
    memcpy(arp + 8, sender_mac, 6);
    memcpy(arp + 14, sender + 12, 4);
    memcpy(arp + 18, target_mac, 6);
    memcpy(arp + 24, target + 12, 4);
    return mbuf;
}

struct rte_mbuf *dsn_make_solicitation(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                       const uint8_t sender[16], const uint8_t target[16]) {
    uint8_t group[16] = {0xff, 0x02, [11] = 0x01, [12] = 0xff}, *nd;
    struct dsn_frame_to all = *to;
    memcpy(group + 13, target + 13, 3);
    all.destination[0] = all.destination[1] = 0x33;
    memcpy(all.destination + 2, group + 12, 4);
    struct rte_mbuf *mbuf = make_ip(pool, &all, sender, group, DSN_ICMP6, ND_HOP_LIMIT, 32, &nd);
    if (mbuf == NULL)
        return NULL;
    nd[0] = 135;
    memcpy(nd + 8, target, 16);
    nd[24] = 1; /* source link-layer address */
    nd[25] = 1;
    memcpy(nd + 26, to->source, 6);
    put_checksum(sender, group, DSN_ICMP6, nd, 32, 2);
    return mbuf;
}

struct rte_mbuf *dsn_make_advertisement(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                        const uint8_t target[16], const uint8_t *asker, const uint8_t mac[6],
                                        bool router) {
    static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 0x01}, all_nodes_mac[6] = {0x33, 0x33, [5] = 0x01};
    struct dsn_frame_to all = *to;
    bool solicited = asker != NULL;
    uint8_t *nd;
    if (!solicited) {
        asker = all_nodes;
        memcpy(all.destination, all_nodes_mac, 6);
    }
    struct rte_mbuf *mbuf = make_ip(pool, &all, target, asker, DSN_ICMP6, ND_HOP_LIMIT, 32, &nd);
    if (mbuf == NULL)
        return NULL;
    nd[0] = 136;
    nd[4] = (uint8_t)(DSN_NA_OVERRIDE | (solicited ? DSN_NA_SOLICITED : 0) | (router ? DSN_NA_ROUTER : 0));
    memcpy(nd + 8, target, 16);
    nd[24] = 2; /* target link-layer address */
    nd[25] = 1;
    memcpy(nd + 26, mac, 6);
    put_checksum(target, asker, DSN_ICMP6, nd, 32, 2);
    return mbuf;
}

struct rte_mbuf *dsn_make_echo_reply(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                     const struct dsn_packet *p) {
    const uint8_t *source = p->key.destination, *destination = p->key.source;
    uint16_t length = dsn_payload_length(p);
    uint8_t *icmp;
    struct rte_mbuf *mbuf = make_ip(pool, to, source, destination, p->key.protocol, TTL, length, &icmp);
    if (mbuf == NULL)
        return NULL;
    icmp[0] = dsn_echo_reply(p->key.protocol);
    memcpy(icmp + 4, dsn_payload(p) + 4, length - 4u);
    put_checksum(source, destination, p->key.protocol, icmp, length, 2);
    return mbuf;
}

struct rte_mbuf *dsn_make_error(struct rte_mempool *pool, const struct dsn_frame_to *to, const struct dsn_packet *p,
                                const uint8_t source[16], uint8_t type, uint8_t code, uint32_t value) {
    uint16_t most = p->version == 4 ? V4_ERROR_MOST - 28 : V6_ERROR_MOST - 48;
    uint16_t quoted = RTE_MIN(dsn_ip_length(p), most);
    uint8_t protocol = p->version == 4 ? DSN_ICMP : DSN_ICMP6, *icmp;
    struct rte_mbuf *mbuf = make_ip(pool, to, source, p->key.source, protocol, TTL, (uint16_t)(quoted + 8), &icmp);
    if (mbuf == NULL)
        return NULL;
    icmp[0] = type;
    icmp[1] = code;
    dsn_put32(icmp + 4, value);
    memcpy(icmp + 8, p->frame + p->ip, quoted);
    put_checksum(source, p->key.source, protocol, icmp, (uint16_t)(quoted + 8), 2);
    return mbuf;
}

/* A segment without data or options back to whoever sent this one. */
static struct rte_mbuf *make_tcp(struct rte_mempool *pool, const struct dsn_frame_to *to, const struct dsn_packet *p,
                                 const struct dsn_tcp_segment *answer) {
    const uint8_t *segment = dsn_payload(p);
    uint8_t *tcp;
    struct rte_mbuf *mbuf = make_ip(pool, to, p->key.destination, p->key.source, DSN_TCP, TTL, 20, &tcp);
    if (mbuf == NULL)
        return NULL;
    memcpy(tcp, segment + 2, 2);
    memcpy(tcp + 2, segment, 2);
    dsn_put32(tcp + 4, answer->seq);
    dsn_put32(tcp + 8, answer->ack);
    tcp[12] = 5 << 4;
    tcp[13] = answer->flags;
    dsn_put16(tcp + 14, answer->window);
    put_checksum(p->key.destination, p->key.source, DSN_TCP, tcp, 20, 16);
    return mbuf;
}

/* RFC 9293 3.10.7.1 */
struct rte_mbuf *dsn_make_reset(struct rte_mempool *pool, const struct dsn_frame_to *to, const struct dsn_packet *p) {
    struct dsn_tcp_segment segment = dsn_tcp_segment_of(p, 0), reset = {.flags = DSN_TCP_RST};
    if (segment.flags & DSN_TCP_ACK) {
        reset.seq = segment.ack;
    } else {
        reset.ack = segment.seq + segment.length;
        reset.flags |= DSN_TCP_ACK;
    }
    return make_tcp(pool, to, p, &reset);
}

struct rte_mbuf *dsn_make_challenge(struct rte_mempool *pool, const struct dsn_frame_to *to, const struct dsn_packet *p,
                                    const struct dsn_tcp_segment *challenge) {
    return make_tcp(pool, to, p, challenge);
}
