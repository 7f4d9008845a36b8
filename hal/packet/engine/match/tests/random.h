/* A small generator for tests and benches: the same numbers for the same seed, everywhere. */
#ifndef DSN_TEST_RANDOM_H
#define DSN_TEST_RANDOM_H

#include <stdint.h>

static uint64_t random_state = 1;

static inline uint64_t random64(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint32_t random_below(uint32_t limit) {
    return (uint32_t)((random64() >> 32) * limit >> 32);
}

static inline uint32_t random_between(uint32_t low, uint32_t high) { /* both included */
    return low + random_below(high - low + 1);
}

/* Clears the bits of a 16-byte address beyond a prefix's length. */
static inline void keep_bits(uint8_t address[16], unsigned length) {
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = length <= i * 8 ? 0 : length - i * 8;
        if (kept < 8)
            address[i] &= (uint8_t)(0xff00u >> kept);
    }
}

static inline int prefix_covers(const uint8_t prefix[16], unsigned length, const uint8_t address[16]) {
    for (unsigned i = 0; i < 16 && i * 8 < length; i++) {
        unsigned kept = length - i * 8;
        uint8_t mask = kept >= 8 ? 0xff : (uint8_t)(0xff00u >> kept);
        if ((prefix[i] ^ address[i]) & mask)
            return 0;
    }
    return 1;
}

#endif
