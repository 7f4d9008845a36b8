/* The parser: a table of frames and what they are, and for these and many bent ones that the short cut says what the
 * whole parser says. */
#include "path/plain.h"
#include "path/tests/check.h"

#define ROOM 512

struct frame {
    uint8_t bytes[ROOM];
    uint32_t length;
};

static enum dsn_reason_number parse(struct frame *frame, struct dsn_packet *p) {
    memset(p, 0, sizeof(*p));
    p->frame = frame->bytes;
    p->length = frame->length;
    enum dsn_reason_number reason = dsn_parse_ethernet(p);
    if (reason == DSN_PASSED)
        reason = dsn_parse_ip(p);
    if (reason == DSN_PASSED)
        reason = dsn_parse_addresses(p);
    if (reason == DSN_PASSED && !dsn_is_later(p))
        reason = dsn_parse_transport(p);
    return reason;
}

static void same_as_plain(struct frame *frame) {
    struct dsn_packet whole, plain = {.frame = frame->bytes, .length = frame->length};
    enum dsn_reason_number reason = parse(frame, &whole);
    if (!dsn_parse_plain(&plain, 0))
        return;
    CHECK(reason == DSN_PASSED && !whole.fragment && !whole.discovery);
    CHECK(dsn_key_equal(&plain.key, &whole.key) && plain.version == whole.version && plain.ttl == whole.ttl);
    CHECK(plain.vlan == whole.vlan && plain.ip == whole.ip && plain.transport == whole.transport);
    CHECK(plain.end == whole.end && plain.tcp_flags == whole.tcp_flags && plain.icmp_type == whole.icmp_type);
    CHECK(!plain.fragment && !plain.more && !plain.discovery);
}

static void sum_ip(struct frame *frame) {
    uint8_t *ip = frame->bytes + 14;
    dsn_put16(ip + 10, 0);
    dsn_put16(ip + 10, (uint16_t)~dsn_sum_fold(dsn_sum(ip, (ip[0] & 15) * 4u, 0)));
}

static struct frame v4(uint8_t protocol, uint16_t payload) {
    struct frame frame = {.length = 34u + payload};
    uint8_t *f = frame.bytes;
    memcpy(f, "\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0\x45", 15);
    dsn_put16(f + 16, (uint16_t)(20 + payload));
    f[22] = 64;
    f[23] = protocol;
    memcpy(f + 26, "\x0a\1\0\x14\x0a\2\0\5", 8);
    sum_ip(&frame);
    return frame;
}

static struct frame v6(uint8_t protocol, uint16_t payload) {
    struct frame frame = {.length = 54u + payload};
    uint8_t *f = frame.bytes;
    memcpy(f, "\x02\0\0\0\0\1\x02\0\0\0\0\2\x86\xdd\x60", 15);
    dsn_put16(f + 18, payload);
    f[20] = protocol;
    f[21] = 64;
    memcpy(f + 22, "\x20\1\x0d\xb8\0\1\0\0\0\0\0\0\0\0\0\x14\x20\1\x0d\xb8\0\2\0\0\0\0\0\0\0\0\0\5", 32);
    return frame;
}

static void put_tcp(struct frame *frame, unsigned at, uint8_t flags) {
    memcpy(frame->bytes + at, "\x9c\x40\1\xbb", 4);
    frame->bytes[at + 12] = 5 << 4;
    frame->bytes[at + 13] = flags;
}

static void put_udp(struct frame *frame, unsigned at, uint16_t size) {
    memcpy(frame->bytes + at, "\x9c\x40\0\x35", 4);
    dsn_put16(frame->bytes + at + 4, size);
}

static void expect(struct frame frame, enum dsn_reason_number reason) {
    struct dsn_packet p;
    enum dsn_reason_number got = parse(&frame, &p);
    if (got != reason) {
        fprintf(stderr, "%s instead of %s\n", got == DSN_PASSED ? "passed" : dsn_reason_name[got],
                reason == DSN_PASSED ? "passed" : dsn_reason_name[reason]);
        exit(1);
    }
    same_as_plain(&frame);
}

/* A good frame with one byte set; IPv4's checksum made right again. */
static struct frame with(struct frame frame, unsigned at, uint8_t byte) {
    frame.bytes[at] = byte;
    if (dsn_be16(frame.bytes + 12) == DSN_TYPE_IPV4 && at >= 14 && at < 34)
        sum_ip(&frame);
    return frame;
}

static struct frame cut(struct frame frame, uint32_t length) {
    frame.length = length;
    return frame;
}

static void table(void) {
    struct frame tcp = v4(DSN_TCP, 20), udp = v4(DSN_UDP, 12), tcp6 = v6(DSN_TCP, 20), udp6 = v6(DSN_UDP, 12), bad;
    put_tcp(&tcp, 34, DSN_TCP_SYN);
    put_udp(&udp, 34, 12);
    put_tcp(&tcp6, 54, DSN_TCP_ACK);
    put_udp(&udp6, 54, 12);
    expect(tcp, DSN_PASSED);
    expect(udp, DSN_PASSED);
    expect(tcp6, DSN_PASSED);
    expect(udp6, DSN_PASSED);
    expect(cut(tcp, 13), DSN_REASON_ETHERNET_TRUNCATED);
    expect(with(tcp, 6, 3), DSN_REASON_ETHERNET_SOURCE_INVALID);
    bad = tcp;
    memset(bad.bytes + 6, 0, 6);
    expect(bad, DSN_REASON_ETHERNET_SOURCE_INVALID);
    expect(with(with(tcp, 12, 0x88), 13, 0xa8), DSN_REASON_VLAN_NESTED);
    expect(with(with(tcp, 12, 0x05), 13, 0xff), DSN_REASON_LLC);
    expect(with(with(tcp, 12, 0x86), 13, 0xdc), DSN_REASON_ETHERTYPE_UNSUPPORTED);
    expect(cut(with(with(tcp, 12, 0x81), 13, 0), 17), DSN_REASON_ETHERNET_TRUNCATED);
    expect(cut(tcp, 33), DSN_REASON_IPV4_TRUNCATED);
    expect(cut(tcp, 53), DSN_REASON_IPV4_TRUNCATED);
    expect(with(tcp, 14, 0x55), DSN_REASON_IPV4_HEADER);
    expect(with(tcp, 14, 0x44), DSN_REASON_IPV4_HEADER);
    expect(with(tcp, 17, 19), DSN_REASON_IPV4_HEADER);
    bad = tcp;
    bad.bytes[24] ^= 1;
    expect(bad, DSN_REASON_IPV4_CHECKSUM);
    expect(with(tcp, 26, 127), DSN_REASON_ADDRESS_INVALID);
    expect(with(tcp, 30, 0), DSN_REASON_ADDRESS_INVALID);
    expect(with(tcp, 30, 239), DSN_REASON_GROUP_MISMATCH);
    expect(with(tcp, 30, 240), DSN_REASON_ADDRESS_INVALID);
    expect(with(tcp, 46, 4 << 4), DSN_REASON_L4_HEADER);
    expect(with(tcp, 46, 6 << 4), DSN_REASON_L4_TRUNCATED);
    expect(with(tcp, 47, DSN_TCP_SYN | DSN_TCP_FIN), DSN_REASON_TCP_FLAGS);
    expect(with(tcp, 47, 0), DSN_REASON_TCP_FLAGS);
    expect(with(udp, 39, 7), DSN_REASON_L4_HEADER);
    expect(with(udp, 39, 13), DSN_REASON_L4_HEADER);
    expect(with(udp, 20, 0x20), DSN_PASSED); /* a first fragment */
    expect(with(with(udp, 20, 0x20), 39, 200), DSN_PASSED);
    expect(with(tcp, 23, DSN_ICMP6), DSN_REASON_L4_HEADER);
    expect(cut(tcp6, 53), DSN_REASON_IPV6_TRUNCATED);
    expect(cut(tcp6, 73), DSN_REASON_IPV6_TRUNCATED);
    expect(with(tcp6, 14, 0x40), DSN_REASON_IPV6_HEADER);
    expect(with(tcp6, 20, 43), DSN_REASON_IPV6_EXTENSION);
    expect(with(tcp6, 22, 0xff), DSN_REASON_ADDRESS_INVALID);
    expect(with(tcp6, 38, 0xff), DSN_REASON_GROUP_MISMATCH);
    expect(with(tcp6, 20, 59), DSN_PASSED); /* some transport */
    expect(with(udp6, 20, DSN_ICMP), DSN_REASON_L4_HEADER);
    struct frame options = v4(DSN_UDP, 12); /* one NOP, then a source route */
    memmove(options.bytes + 38, options.bytes + 34, 12);
    options.length += 4;
    options = with(with(with(with(options, 14, 0x46), 17, 36), 34, 1), 35, 131);
    sum_ip(&options);
    expect(options, DSN_REASON_IPV4_OPTIONS); /* longer than the header */
    options = with(options, 36, 3);
    sum_ip(&options);
    expect(options, DSN_REASON_SOURCE_ROUTE);
}

/* Bytes set to values that matter, one, two or three in a frame. */
static void bent(void) {
    static const uint8_t values[] = {0,  1,  2,  5,   6,   7,   8,   16,  17,  20, 40,
                                     44, 58, 60, 127, 128, 133, 223, 224, 240, 255};
    uint64_t state = 7;
    struct frame good[4] = {v4(DSN_TCP, 20), v4(DSN_UDP, 12), v6(DSN_TCP, 28), v6(DSN_UDP, 12)};
    put_tcp(&good[0], 34, DSN_TCP_ACK);
    put_udp(&good[1], 34, 12);
    put_tcp(&good[2], 54, DSN_TCP_SYN);
    put_udp(&good[3], 54, 12);
    for (unsigned turn = 0; turn < 2000000; turn++) {
        struct frame frame = good[turn & 3];
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        for (unsigned n = 0; n <= (state >> 60) % 3; n++)
            frame.bytes[(state >> (8 * n + 20)) % frame.length] = values[(state >> (5 * n + 12)) % sizeof(values)];
        if (state >> 63)
            frame.length = (uint32_t)(state >> 33) % (frame.length + 20);
        if (turn & 64 && frame.bytes[14] == 0x45)
            sum_ip(&frame);
        same_as_plain(&frame);
    }
}

/* Any checksum but the right one is wrong, at both ends of its range too. */
static void checksums(void) {
    struct frame udp = v4(DSN_UDP, 12);
    put_udp(&udp, 34, 12);
    for (unsigned identification = 0; identification < 65536; identification += 257) {
        dsn_put16(udp.bytes + 18, (uint16_t)identification);
        sum_ip(&udp);
        for (unsigned other = 0; other < 65536; other += 1) {
            struct frame frame = udp;
            struct dsn_packet plain = {.frame = frame.bytes, .length = frame.length}, whole;
            dsn_put16(frame.bytes + 24, (uint16_t)other);
            CHECK(dsn_parse_plain(&plain, 0) == (parse(&frame, &whole) == DSN_PASSED));
        }
    }
}

int main(void) {
    table();
    bent();
    checksums();
    return 0;
}
