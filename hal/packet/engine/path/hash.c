#include "path/hash.h"

#include "path/bytes.h"

/* The first ten words of the fractional part of pi: nothing up the sleeve. */
static const uint64_t K[10] = {
    UINT64_C(0x243f6a8885a308d3), UINT64_C(0x13198a2e03707344), UINT64_C(0xa4093822299f31d0),
    UINT64_C(0x082efa98ec4e6c89), UINT64_C(0x452821e638d01377), UINT64_C(0xbe5466cf34e90c6c),
    UINT64_C(0xc0ac29b7c97c50dd), UINT64_C(0x3f84d5b5b5470917), UINT64_C(0x9216d5d98979fb1b),
    UINT64_C(0xd1310ba698dfb5ac),
};

uint64_t dsn_flow_hash(uint64_t vrf, uint8_t protocol, const uint8_t source[16], const uint8_t destination[16],
                       uint16_t source_port, uint16_t destination_port) {
    uint64_t s[2] = {dsn_be64(source), dsn_be64(source + 8)};
    uint64_t d[2] = {dsn_be64(destination), dsn_be64(destination + 8)};
    unsigned __int128 from = (unsigned __int128)s[0] << 64 | s[1], to = (unsigned __int128)d[0] << 64 | d[1];
    bool swap = from > to || (from == to && source_port > destination_port);
    const uint64_t *a = swap ? d : s, *b = swap ? s : d;
    uint64_t p = swap ? destination_port : source_port, q = swap ? source_port : destination_port;
    uint64_t h = dsn_fold64(a[0] ^ K[0], a[1] ^ K[1]) ^ dsn_fold64(b[0] ^ K[2], b[1] ^ K[3]);
    h = dsn_fold64(h ^ K[4], (p << 48 | q << 32 | protocol) ^ K[5]);
    return dsn_fold64(h ^ K[6], vrf ^ K[7]);
}

uint64_t dsn_flow_pick(uint64_t flow_hash, unsigned attempt, uint64_t total) {
    return dsn_fold64(flow_hash ^ K[8], attempt ^ K[9]) % total;
}

static uint64_t turned(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned count) {
    while (count-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turned(v[1], 13) ^ v[0];
        v[3] = turned(v[3], 16) ^ v[2];
        v[0] = turned(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = turned(v[1], 17) ^ v[2];
        v[3] = turned(v[3], 21) ^ v[0];
        v[2] = turned(v[2], 32);
    }
}

static void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

uint64_t dsn_siphash(const uint8_t key[16], const uint8_t *message, size_t length) {
    uint64_t k0 = dsn_word(key, 0), k1 = dsn_word(key, 1), last = (uint64_t)length << 56;
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t whole = length / 8;
    for (unsigned n = 0; n < whole; n++)
        sip_word(v, dsn_word(message, n));
    for (size_t at = whole * 8; at < length; at++)
        last |= (uint64_t)message[at] << 8 * (at % 8);
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
