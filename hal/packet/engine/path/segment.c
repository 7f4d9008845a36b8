/* What of a TCP segment is looked at (RFC 9293 3.1). */
#include "path/tcp.h"

#include <rte_common.h>

bool dsn_tcp_options(const uint8_t *options, unsigned length, struct dsn_tcp_options *said) {
    *said = (struct dsn_tcp_options){.offer = -1};
    for (unsigned place = 0; place < length && options[place] != 0;) {
        if (options[place] == 1) {
            place++;
            continue;
        }
        unsigned size = place + 1 < length ? options[place + 1] : 0;
        if (size < 2 || place + size > length)
            return false;
        if (options[place] == 3 && size == 3)
            said->offer = (int8_t)RTE_MIN(options[place + 2], DSN_TCP_MOST_SCALE);
        said->is_signed |= (options[place] == 19 && size == 18) || (options[place] == 29 && size >= 4);
        place += size;
    }
    return true;
}

struct dsn_tcp_segment dsn_tcp_segment_of(const struct dsn_packet *p, unsigned side) {
    const uint8_t *tcp = dsn_payload(p);
    uint32_t header = (tcp[12] >> 4) * 4u;
    bool syn = p->tcp_flags & DSN_TCP_SYN, fin = p->tcp_flags & DSN_TCP_FIN;
    struct dsn_tcp_options said = {.offer = -1};
    if (syn)
        (void)dsn_tcp_options(tcp + 20, header - 20, &said); /* they were looked at as it was parsed */
    return (struct dsn_tcp_segment){
        .seq = dsn_be32(tcp + 4),
        .ack = dsn_be32(tcp + 8),
        .length = dsn_payload_length(p) - header + syn + fin,
        .window = dsn_be16(tcp + 14),
        .flags = p->tcp_flags,
        .side = (uint8_t)side,
        .offer = said.offer,
        .is_signed = said.is_signed,
    };
}

uint32_t dsn_tcp_base(const struct dsn_packet *p) {
    struct dsn_tcp_segment s = dsn_tcp_segment_of(p, 0);
    return s.seq + s.length - (uint32_t)(p->end - p->part);
}
