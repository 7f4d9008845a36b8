/* Hashes of flows. dsn_flow_hash is part of the contract (docs/forwarding.md, test vectors in path/tests): the owner
 * of a connection and its ECMP member follow from it. dsn_key_hash is an internal matter under a secret seed. */
#ifndef DSN_PATH_HASH_H
#define DSN_PATH_HASH_H

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

static inline uint64_t dsn_key_hash(const struct dsn_flow_key *key, const uint64_t seed[8]) {
    uint64_t h = dsn_fold64(dsn_word(key, 0) ^ seed[0], dsn_word(key, 1) ^ seed[1]) ^
                 dsn_fold64(dsn_word(key, 2) ^ seed[2], dsn_word(key, 3) ^ seed[3]) ^
                 dsn_fold64(dsn_word(key, 4) ^ seed[4], dsn_word(key, 5) ^ seed[5]);
    return dsn_fold64(h ^ seed[6], dsn_word(key, 6) ^ seed[7]);
}

static inline bool dsn_key_equal(const struct dsn_flow_key *a, const struct dsn_flow_key *b) {
    uint64_t differ = 0;
    for (unsigned n = 0; n < 7; n++)
        differ |= dsn_word(a, n) ^ dsn_word(b, n);
    return differ == 0;
}

uint64_t dsn_flow_hash(uint64_t vrf, uint8_t protocol, const uint8_t source[16], const uint8_t destination[16],
                       uint16_t source_port, uint16_t destination_port);
/* A point of 0..total-1 for the n-th attempt; total is not 0. */
uint64_t dsn_flow_pick(uint64_t flow_hash, unsigned attempt, uint64_t total);

static inline uint16_t dsn_flow_owner(uint64_t flow_hash, uint16_t workers) {
    return (uint16_t)((flow_hash >> 32) * workers >> 32);
}

#endif
