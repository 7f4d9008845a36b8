/* Large segments are cut as the sender's own stack would have, and unfinished checksums come out right: each segment
 * is checked by sums made here, byte by byte. */
#include "port/offload.h"
#include "path/tests/check.h"
#include "worker/tests/standin.h"

#include <rte_eal.h>
#include <stdio.h>
#include <stdlib.h>

enum { TAGS_AT = 12, ROOM = 9238 };

struct frame {
    uint8_t bytes[66000];
    uint32_t length, l3, l4, payload;
    int version;
    bool tcp;
    struct virtio_net_hdr header;
};

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at) {
    return (uint32_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at) {
    return get16(at) << 16 | get16(at + 2);
}

static uint32_t sum_of(const uint8_t *at, uint32_t length, uint32_t sum) {
    for (uint32_t i = 0; i < length; i++)
        sum += i % 2 != 0 ? at[i] : (uint32_t)at[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint32_t pseudo_sum(const uint8_t *ip, int version, bool tcp, uint32_t length) {
    return sum_of(ip + (version == 4 ? 12 : 8), version == 4 ? 8 : 32, (tcp ? 6 : 17) + length);
}

/* A large packet as a veth hands it over: whole lengths, the pseudo header's sum where the checksum belongs. */
static void make(struct frame *f, int version, bool tcp, int tags, uint32_t options, uint32_t data, uint16_t size) {
    memset(f, 0, sizeof(*f));
    f->version = version;
    f->tcp = tcp;
    f->l3 = 14 + 4 * (uint32_t)tags;
    f->l4 = f->l3 + (version == 4 ? 20 + options : 40 + options);
    f->payload = f->l4 + (tcp ? 32 : 8);
    f->length = f->payload + data;
    memset(f->bytes, 0x22, 12);
    for (int i = 0; i < tags; i++) {
        put16(f->bytes + TAGS_AT + 4 * i, 0x8100);
        put16(f->bytes + TAGS_AT + 4 * i + 2, 7);
    }
    put16(f->bytes + f->l3 - 2, version == 4 ? 0x0800 : 0x86dd);
    uint8_t *ip = f->bytes + f->l3, *l4 = f->bytes + f->l4;
    if (version == 4) {
        ip[0] = (uint8_t)(0x40 | (20 + options) / 4);
        put16(ip + 2, f->length - f->l3);
        put16(ip + 4, 0xfffe); /* wraps on the way */
        ip[8] = 64;
        ip[9] = tcp ? 6 : 17;
        for (uint32_t i = 12; i < 20; i++)
            ip[i] = (uint8_t)(10 + i);
        memset(ip + 20, 1, options);
        put16(ip + 10, ~sum_of(ip, 20 + options, 0) & 0xffff);
    } else {
        ip[0] = 0x60;
        put16(ip + 4, f->length - f->l3 - 40);
        ip[6] = options > 0 ? 60 : tcp ? 6 : 17;
        ip[40] = tcp ? 6 : 17; /* a destination options header of 8 bytes, or overwritten below */
        for (uint32_t i = 8; i < 40; i++)
            ip[i] = (uint8_t)(0x20 + i);
    }
    put16(l4, 1234);
    put16(l4 + 2, 443);
    if (tcp) {
        put16(l4 + 4, 0xffff); /* its sequence number wraps too */
        put16(l4 + 6, 0xff00);
        l4[12] = 8 << 4;
        l4[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
    } else {
        put16(l4 + 4, f->length - f->l4);
    }
    put16(l4 + (tcp ? 16 : 6), pseudo_sum(ip, version, tcp, f->length - f->l4));
    for (uint32_t i = 0; i < data; i++)
        f->bytes[f->payload + i] = (uint8_t)(i * 7 + i / 251);
    f->header = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = tcp ? (version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN : VIRTIO_NET_HDR_GSO_TCPV6)
                        : VIRTIO_NET_HDR_GSO_UDP_L4,
        .gso_size = size,
        .csum_start = (uint16_t)f->l4,
        .csum_offset = tcp ? 16 : 6,
    };
}

static void check_segment(const struct frame *f, const struct rte_mbuf *mbuf, uint32_t n, uint32_t at, bool last) {
    const uint8_t *bytes = rte_pktmbuf_mtod(mbuf, const uint8_t *), *ip = bytes + f->l3, *l4 = bytes + f->l4;
    uint32_t size = mbuf->data_len - f->payload;
    CHECK(memcmp(bytes, f->bytes, f->l3) == 0);
    CHECK(memcmp(bytes + f->payload, f->bytes + f->payload + at, size) == 0);
    if (f->version == 4) {
        CHECK(get16(ip + 2) == mbuf->data_len - f->l3);
        CHECK(get16(ip + 4) == ((0xfffe + n) & 0xffff));
        CHECK(sum_of(ip, f->l4 - f->l3, 0) == 0xffff);
    } else {
        CHECK(get16(ip + 4) == mbuf->data_len - f->l3 - 40);
    }
    if (f->tcp) {
        CHECK(get32(l4 + 4) == (uint32_t)(0xffffff00u + at));
        CHECK(l4[13] == (0x10 | (n == 0 ? 0x80 : 0) | (last ? 0x09 : 0)));
    } else {
        CHECK(get16(l4 + 4) == mbuf->data_len - f->l4);
    }
    CHECK(sum_of(l4, mbuf->data_len - f->l4, pseudo_sum(ip, f->version, f->tcp, mbuf->data_len - f->l4)) == 0xffff);
}

static void cut(struct rte_mempool *pool, const struct frame *f, uint16_t burst) {
    struct dsn_segmenter segmenter;
    struct rte_mbuf *packets[32];
    uint32_t at = 0, n = 0, data = f->length - f->payload;
    CHECK(dsn_segment_begin(&segmenter, f->bytes, f->length, &f->header, ROOM));
    while (dsn_segments_wait(&segmenter)) {
        uint16_t count = dsn_segment_take(&segmenter, pool, packets, burst);
        CHECK(count > 0);
        for (uint16_t i = 0; i < count; i++, n++) {
            uint32_t size = packets[i]->data_len - f->payload;
            CHECK(size == (data - at < f->header.gso_size ? data - at : f->header.gso_size));
            CHECK(packets[i]->ol_flags & DSN_MBUF_CSUM_PARTIAL);
            dsn_csum_finish(packets[i]);
            CHECK(!(packets[i]->ol_flags & DSN_MBUF_CSUM_PARTIAL));
            check_segment(f, packets[i], n, at, at + size == data);
            at += size;
            rte_pktmbuf_free(packets[i]);
        }
    }
    CHECK(at == data);
}

static void refused(const struct frame *f, uint32_t length, struct virtio_net_hdr header, uint32_t room) {
    struct dsn_segmenter segmenter;
    CHECK(!dsn_segment_begin(&segmenter, f->bytes, length, &header, room));
    CHECK(!dsn_segments_wait(&segmenter));
}

static void lies(struct frame *f) {
    struct virtio_net_hdr header;
    make(f, 4, true, 1, 0, 5000, 1400);
    for (uint32_t length = 0; length <= f->payload; length++)
        refused(f, length, f->header, ROOM);
    refused(f, f->length, f->header, f->payload + 1399);
    header = f->header, header.gso_size = 0;
    refused(f, f->length, header, ROOM);
    header = f->header, header.flags = 0;
    refused(f, f->length, header, ROOM);
    header = f->header, header.gso_type = VIRTIO_NET_HDR_GSO_UDP; /* fragments, not segments */
    refused(f, f->length, header, ROOM);
    for (uint32_t start = 0; start < 65536; start++) {
        header = f->header, header.csum_start = (uint16_t)start;
        if (start != f->l4)
            refused(f, f->length, header, ROOM);
    }
    f->bytes[f->l4 + 12] = 4 << 4;
    refused(f, f->length, f->header, ROOM);
}

/* Tags pushed and popped in between don't move what the checksum is about; lengths that lie change nothing. */
static void finish(struct rte_mempool *pool, struct frame *f) {
    make(f, 6, false, 0, 0, 333, 1400);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    CHECK(mbuf != NULL);
    memcpy(rte_pktmbuf_append(mbuf, (uint16_t)f->length), f->bytes, f->length);
    dsn_mbuf_csum_set(mbuf, (uint16_t)f->l4, 6);
    uint8_t *front = (uint8_t *)rte_pktmbuf_prepend(mbuf, 4);
    CHECK(front != NULL);
    memmove(front, front + 4, 12);
    put16(front + 12, 0x8100);
    dsn_csum_finish(mbuf);
    memmove(front + 4, front, 12);
    rte_pktmbuf_adj(mbuf, 4);
    check_segment(f, mbuf, 0, 0, true);
    for (uint16_t start = 0; start < 500; start += 7) {
        dsn_mbuf_csum_set(mbuf, start, 60000);
        dsn_csum_finish(mbuf);
    }
    check_segment(f, mbuf, 0, 0, true);
    rte_pktmbuf_free(mbuf);
}

int main(void) {
    static struct frame f;
    cpu_set_t cpus;
    CHECK(standin_eal(&cpus) >= 0);
    struct rte_mempool *pool = dsn_pool_create("packets", 1024, 9216);
    CHECK(pool != NULL);
    for (int version = 4; version <= 6; version += 2)
        for (int tcp = 0; tcp < 2; tcp++)
            for (int tags = 0; tags < 3; tags++)
                for (uint32_t options = 0; options <= 8; options += 8) {
                    make(&f, version, tcp, tags, options, 1, 1400);
                    cut(pool, &f, 32);
                    make(&f, version, tcp, tags, options, 5000, 1);
                    cut(pool, &f, 31);
                    make(&f, version, tcp, tags, options, 64000, 1400);
                    cut(pool, &f, 7);
                    make(&f, version, tcp, tags, options, 64000, 8900);
                    cut(pool, &f, 32);
                }
    lies(&f);
    finish(pool, &f);
    CHECK(rte_mempool_in_use_count(pool) == 0);
    rte_eal_cleanup();
    puts("segments and checksums: as they should be");
    return 0;
}
