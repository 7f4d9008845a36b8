/* Hashes of flows. dsn_flow_hash is part of the contract (docs/forwarding.md, test vectors in path/tests): the owner
 * of a connection and its ECMP member follow from it. dsn_key_hash is an internal matter under a secret seed. */
#ifndef DSN_PATH_HASH_H
#define DSN_PATH_HASH_H

#include <rte_vect.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DSN_KEY_ROUTED 1 /* addressed to the card's own MAC */
#define DSN_KEY_UPLINK 2 /* the scope is all uplinks of the VRF */

/* What tells the packets of one direction of a connection from all others: compared and hashed as seven words. */
struct dsn_flow_key {
    uint8_t source[16], destination[16];
    uint64_t scope; /* id of the vNIC or tap the packets come from; 0 for uplinks */
    uint64_t vrf;
    uint16_t source_port, destination_port;
    uint8_t protocol, flags;
    uint16_t zero;
};
_Static_assert(sizeof(struct dsn_flow_key) == 56, "dsn_flow_key");

/* The low xor the high 64 bits of a*b. */
static inline uint64_t dsn_fold64(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t dsn_word(const void *bytes, unsigned n) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)bytes + n * 8, 8);
    return word;
}

/* Keys are written word by word, as they are read: a CPU waits where it reads as one what was stored in pieces. */
static inline void dsn_key_set_word(struct dsn_flow_key *key, unsigned n, uint64_t word) {
    memcpy((uint8_t *)key + n * 8, &word, 8);
}

static inline void dsn_key_set(struct dsn_flow_key *key, uint16_t source_port, uint16_t destination_port,
                               uint8_t protocol, uint8_t flags) {
    dsn_key_set_word(key, 6,
                     (uint64_t)flags << 40 | (uint64_t)protocol << 32 | (uint32_t)destination_port << 16 | source_port);
}

/* Of addresses, of ports and protocol with scope and VRF, which senders don't choose. */
static inline uint64_t dsn_key_hash(const struct dsn_flow_key *key, const uint64_t seed[6]) {
    uint64_t where = dsn_word(key, 4) ^ (dsn_word(key, 5) << 32 | dsn_word(key, 5) >> 32);
    return dsn_fold64(dsn_word(key, 0) ^ seed[0], dsn_word(key, 1) ^ seed[1]) ^
           dsn_fold64(dsn_word(key, 2) ^ seed[2], dsn_word(key, 3) ^ seed[3]) ^
           dsn_fold64(where ^ seed[4], dsn_word(key, 6) ^ seed[5]);
}

static inline bool dsn_key_equal(const struct dsn_flow_key *a, const struct dsn_flow_key *b) {
#if defined(__AVX2__)
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b; /* 32 bytes twice, eight of them both times */
    __m256i low = _mm256_xor_si256(_mm256_loadu_si256((const void *)x), _mm256_loadu_si256((const void *)y));
    __m256i high =
        _mm256_xor_si256(_mm256_loadu_si256((const void *)(x + 24)), _mm256_loadu_si256((const void *)(y + 24)));
    __m256i differ = _mm256_or_si256(low, high);
    return _mm256_testz_si256(differ, differ);
#else
    uint64_t differ = 0;
    for (unsigned n = 0; n < 7; n++)
        differ |= dsn_word(a, n) ^ dsn_word(b, n);
    return differ == 0;
#endif
}

uint64_t dsn_flow_hash(uint64_t vrf, uint8_t protocol, const uint8_t source[16], const uint8_t destination[16],
                       uint16_t source_port, uint16_t destination_port);
/* SipHash-2-4 (Aumasson and Bernstein 2012): choices that must not be guessed. */
uint64_t dsn_siphash(const uint8_t key[16], const uint8_t *message, size_t length);
/* A point of 0..total-1 for the n-th attempt; total is not 0. */
uint64_t dsn_flow_pick(uint64_t flow_hash, unsigned attempt, uint64_t total);

/* Of the hash with VRF 0, whatever the VRF. */
static inline uint16_t dsn_flow_owner(uint64_t flow_hash, uint16_t workers) {
    return (uint16_t)((flow_hash >> 32) * workers >> 32);
}

#endif
