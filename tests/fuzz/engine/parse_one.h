/* One frame through the whole parser, as the path does it, and what has to hold of whatever comes out. */
#ifndef FUZZ_PARSE_ONE_H
#define FUZZ_PARSE_ONE_H

#include "frames.h"
#include "path/plain.h"

#include <stdio.h>
#include <stdlib.h>

static inline enum dsn_reason_number fuzz_parse(uint8_t *frame, uint32_t size, struct dsn_packet *p) {
    *p = (struct dsn_packet){.frame = frame, .length = size};
    enum dsn_reason_number reason = dsn_parse_ethernet(p);
    if (reason == DSN_PASSED)
        reason = dsn_parse_ip(p);
    if (reason == DSN_PASSED)
        reason = dsn_parse_addresses(p);
    if (reason == DSN_PASSED && !dsn_is_later(p))
        reason = dsn_parse_transport(p);
    return reason;
}

static inline void fuzz_holds(const struct dsn_packet *p) {
    FUZZ_CHECK(p->version == 4 || p->version == 6);
    FUZZ_CHECK(p->ip >= 14 && p->transport >= p->ip + (p->version == 4 ? 20 : 40));
    FUZZ_CHECK(p->transport <= p->end && p->end <= p->length);
    FUZZ_CHECK(!dsn_is_later(p) || p->key.source_port == 0);
    if (p->fragment) { /* its piece begins behind a header of 60 bytes, or extension headers of 256, at most */
        FUZZ_CHECK(p->part >= p->ip + (p->version == 4 ? 20 : 48) && p->part <= p->transport);
        FUZZ_CHECK(p->part <= p->ip + (p->version == 4 ? 60 : 40 + 256));
    }
}

/* What the short cut says yes to is the same packet. */
static inline void fuzz_same(uint8_t *frame, uint32_t size, enum dsn_reason_number reason, const struct dsn_packet *p) {
    struct dsn_packet plain = {.frame = frame, .length = size};
    if (!dsn_parse_plain(&plain, 0))
        return;
    FUZZ_CHECK(reason == DSN_PASSED && !p->fragment && !p->discovery);
    FUZZ_CHECK(dsn_key_equal(&plain.key, &p->key) && plain.version == p->version && plain.ttl == p->ttl);
    FUZZ_CHECK(plain.vlan == p->vlan && plain.ip == p->ip && plain.transport == p->transport && plain.end == p->end);
    FUZZ_CHECK(plain.tcp_flags == p->tcp_flags && plain.icmp_type == p->icmp_type && !plain.fragment);
}

#endif
