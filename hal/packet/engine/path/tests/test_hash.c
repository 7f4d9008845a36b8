/* The hash of the contract: test vectors, and that it is the same for both directions. And SipHash. */
#include "path/hash.h"
#include "path/tests/check.h"

#include <arpa/inet.h>

#include "path/tests/flow_hash_vectors.h"

static void address(uint8_t out[16], const char *text) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET6, text, out) == 1)
        return;
    memcpy(out, mapped, sizeof(mapped));
    CHECK(inet_pton(AF_INET, text, out + 12) == 1);
}

int main(void) {
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        const struct vector *v = &vectors[i];
        uint8_t source[16], destination[16];
        address(source, v->source);
        address(destination, v->destination);
        uint64_t there = dsn_flow_hash(v->vrf, v->protocol, source, destination, v->source_port, v->destination_port);
        uint64_t back = dsn_flow_hash(v->vrf, v->protocol, destination, source, v->destination_port, v->source_port);
        CHECK(there == v->hash && back == v->hash);
        CHECK(dsn_flow_pick(there, 0, 1000) == v->pick[0] && dsn_flow_pick(there, 1, 1000) == v->pick[1] &&
              dsn_flow_pick(there, 15, 1000) == v->pick[2]);
        there = dsn_flow_hash(0, v->protocol, source, destination, v->source_port, v->destination_port);
        CHECK(dsn_flow_owner(there, 1) == 0 && dsn_flow_owner(there, 2) == v->owner[0] &&
              dsn_flow_owner(there, 64) == v->owner[1]);
    }
    /* SipHash's paper, appendix A. */
    uint8_t key[16], message[15];
    for (uint8_t i = 0; i < sizeof(key); i++)
        key[i] = i;
    memcpy(message, key, sizeof(message));
    CHECK(dsn_siphash(key, message, sizeof(message)) == UINT64_C(0xa129ca6149be45e5));
    return 0;
}
