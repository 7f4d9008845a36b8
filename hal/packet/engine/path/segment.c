/* What of a TCP segment is looked at (RFC 9293 3.1). */
#include "path/tcp.h"

#include <rte_common.h>

int8_t dsn_tcp_offer(const uint8_t *options, unsigned length) {
    int8_t offer = -1;
    for (unsigned place = 0; place < length && options[place] != 0;) {
        if (options[place] == 1) {
            place++;
            continue;
        }
        unsigned size = place + 1 < length ? options[place + 1] : 0;
        if (size < 2 || place + size > length)
            return DSN_TCP_MALFORMED;
        if (options[place] == 3 && size == 3)
            offer = (int8_t)RTE_MIN(options[place + 2], DSN_TCP_MOST_SCALE);
        place += size;
    }
    return offer;
}

/* TCP-MD5 or TCP-AO among options that are well-formed (RFC 2385, 5925). */
static __rte_cold bool is_signed(const uint8_t *options, unsigned length) {
    for (unsigned place = 0; place < length && options[place] != 0;) {
        if (options[place] == 19 || options[place] == 29)
            return true;
        place += options[place] == 1 ? 1u : options[place + 1];
    }
    return false;
}

struct dsn_tcp_segment dsn_tcp_segment_of(const struct dsn_packet *p, unsigned side) {
    const uint8_t *tcp = dsn_payload(p);
    uint32_t header = (tcp[12] >> 4) * 4u;
    bool syn = p->tcp_flags & DSN_TCP_SYN, fin = p->tcp_flags & DSN_TCP_FIN;
    return (struct dsn_tcp_segment){
        .seq = dsn_be32(tcp + 4),
        .ack = dsn_be32(tcp + 8),
        .length = dsn_payload_length(p) - header + syn + fin,
        .window = dsn_be16(tcp + 14),
        .flags = p->tcp_flags,
        .side = (uint8_t)side,
        .offer = syn ? dsn_tcp_offer(tcp + 20, header - 20) : (int8_t)-1,
        .is_signed = syn && is_signed(tcp + 20, header - 20),
    };
}

uint32_t dsn_tcp_base(const struct dsn_packet *p) {
    struct dsn_tcp_segment s = dsn_tcp_segment_of(p, 0);
    return s.seq + s.length - (uint32_t)(p->end - p->part);
}
