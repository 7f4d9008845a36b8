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
    int order = memcmp(source, destination, 16);
    bool swap = order > 0 || (order == 0 && source_port > destination_port);
    const uint8_t *a = swap ? destination : source, *b = swap ? source : destination;
    uint64_t p = swap ? destination_port : source_port, q = swap ? source_port : destination_port;
    uint64_t h =
        dsn_fold64(dsn_be64(a) ^ K[0], dsn_be64(a + 8) ^ K[1]) ^ dsn_fold64(dsn_be64(b) ^ K[2], dsn_be64(b + 8) ^ K[3]);
    h = dsn_fold64(h ^ K[4], (p << 48 | q << 32 | protocol) ^ K[5]);
    return dsn_fold64(h ^ K[6], vrf ^ K[7]);
}

uint64_t dsn_flow_pick(uint64_t flow_hash, unsigned attempt, uint64_t total) {
    return dsn_fold64(flow_hash ^ K[8], attempt ^ K[9]) % total;
}
