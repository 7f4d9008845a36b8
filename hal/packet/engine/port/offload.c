#include "port/offload.h"

#include "compat.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_tcp.h>
#include <rte_udp.h>

void dsn_csum_finish(struct rte_mbuf *mbuf) {
    uint16_t start, field, sum;
    if (!dsn_mbuf_csum_get(mbuf, &start, &field))
        return;
    mbuf->ol_flags &= ~DSN_MBUF_CSUM_PARTIAL;
    mbuf->tx_offload = 0;
    /* The field holds the pseudo header's sum, which so becomes part of the whole. */
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    if (start >= mbuf->data_len || (uint32_t)field + 2 > mbuf->data_len)
        return;
    sum = (uint16_t)~rte_raw_cksum(frame + start, mbuf->data_len - start);
    if (sum == 0)
        sum = 0xffff; /* the same number, and what UDP may send (RFC 768) */
    memcpy(frame + field, &sum, sizeof(sum));
}

/* Finds the headers: they are checked against each other, since lengths below are computed from them. */
static bool locate(struct dsn_segmenter *s, const struct virtio_net_hdr *header) {
    uint32_t at = 2 * RTE_ETHER_ADDR_LEN;
    uint16_t type = 0;
    for (int tags = 0; tags < 3; tags++) {
        if (at + 4 > s->length)
            return false;
        type = (uint16_t)(s->frame[at] << 8 | s->frame[at + 1]);
        if (type != RTE_ETHER_TYPE_VLAN && type != RTE_ETHER_TYPE_QINQ)
            break;
        at += 4;
    }
    s->l3 = (uint16_t)(at + 2);
    s->l4 = header->csum_start;
    uint32_t least = 0;
    if (type == RTE_ETHER_TYPE_IPV4) {
        least = s->l3 + sizeof(struct rte_ipv4_hdr);
        s->version = 4;
    } else if (type == RTE_ETHER_TYPE_IPV6) {
        least = s->l3 + sizeof(struct rte_ipv6_hdr);
        s->version = 6;
    } else {
        return false;
    }
    if (s->l4 < least || s->l4 > UINT16_MAX - 64)
        return false;
    if (s->version == 4 && s->l4 != s->l3 + (s->frame[s->l3] & 15) * 4)
        return false;
    if (!s->tcp) {
        s->payload = s->l4 + sizeof(struct rte_udp_hdr);
        return s->payload < s->length;
    }
    if (s->l4 + sizeof(struct rte_tcp_hdr) > s->length)
        return false;
    s->payload = (uint16_t)(s->l4 + (s->frame[s->l4 + 12] >> 4) * 4);
    return s->payload >= s->l4 + sizeof(struct rte_tcp_hdr) && s->payload < s->length;
}

bool dsn_segment_begin(struct dsn_segmenter *s, const uint8_t *frame, uint32_t length,
                       const struct virtio_net_hdr *header, uint32_t room) {
    *s = (struct dsn_segmenter){.frame = frame, .length = length, .next = length, .size = header->gso_size};
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6: s->tcp = true; break;
    case VIRTIO_NET_HDR_GSO_UDP_L4: break;
    default: return false;
    }
    if (s->size == 0 || !(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !locate(s, header) ||
        s->payload + RTE_MIN(length - s->payload, (uint32_t)s->size) > room)
        return false;
    s->next = s->payload;
    return true;
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at) {
    return (uint32_t)(at[0] << 8 | at[1]);
}

static uint32_t fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* Makes the copied headers those of the segment of `size` bytes whose payload began at s->next. */
static void adapt(const struct dsn_segmenter *s, uint8_t *frame, uint32_t size) {
    uint8_t *ip = frame + s->l3, *l4 = frame + s->l4;
    uint32_t whole = s->length - s->l4; /* the large packet's transport length, as in its pseudo header */
    uint32_t part = s->payload - s->l4 + size;
    uint8_t *field = l4 + (s->tcp ? 16 : 6);
    if (s->version == 4) {
        put16(ip + 2, s->l4 - s->l3 + part);
        put16(ip + 4, (get16(ip + 4) + s->count) & 0xffff);
        put16(ip + 10, 0);
        uint16_t sum = (uint16_t)~rte_raw_cksum(ip, s->l4 - s->l3);
        memcpy(ip + 10, &sum, sizeof(sum));
    } else {
        put16(ip + 4, s->l4 - s->l3 - sizeof(struct rte_ipv6_hdr) + part);
    }
    put16(field, fold(get16(field) + (~whole & 0xffff) + part));
    if (!s->tcp) {
        put16(l4 + 4, part);
        return;
    }
    uint32_t sequence;
    memcpy(&sequence, l4 + 4, sizeof(sequence));
    sequence = rte_cpu_to_be_32(rte_be_to_cpu_32(sequence) + (s->next - s->payload));
    memcpy(l4 + 4, &sequence, sizeof(sequence));
    if (s->next + size < s->length) /* FIN and PSH belong to the last byte, CWR (RFC 3168 6.1.2) to the first segment */
        l4[13] &= (uint8_t)~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
    if (s->next > s->payload)
        l4[13] &= (uint8_t)~RTE_TCP_CWR_FLAG;
}

uint16_t dsn_segment_take(struct dsn_segmenter *s, struct rte_mempool *pool, struct rte_mbuf **packets,
                          uint16_t count) {
    uint16_t taken = 0;
    for (; taken < count && dsn_segments_wait(s); taken++) {
        uint32_t size = RTE_MIN(s->length - s->next, (uint32_t)s->size);
        struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
        if (mbuf == NULL)
            break;
        uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
        memcpy(frame, s->frame, s->payload);
        memcpy(frame + s->payload, s->frame + s->next, size);
        mbuf->data_len = (uint16_t)(s->payload + size);
        mbuf->pkt_len = mbuf->data_len;
        adapt(s, frame, size);
        dsn_mbuf_csum_set(mbuf, s->l4, s->tcp ? 16 : 6);
        packets[taken] = mbuf;
        s->next += size;
        s->count++;
    }
    return taken;
}
