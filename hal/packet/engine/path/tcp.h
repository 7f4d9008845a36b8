/* TCP as a bystander sees it (RFC 9293 3.3.2), and how long a connection stays without packets: *TCP* in
 * docs/forwarding.md. */
#ifndef DSN_PATH_TCP_H
#define DSN_PATH_TCP_H

#include <stdbool.h>
#include <stdint.h>

#define DSN_SECOND UINT64_C(1000000000)

enum dsn_tcp_state {
    DSN_TCP_NONE, /* of other protocols */
    DSN_TCP_SYN_SENT,
    DSN_TCP_SYN_RECEIVED,
    DSN_TCP_ESTABLISHED,
    DSN_TCP_FIN_WAIT,
    DSN_TCP_CLOSING,
    DSN_TCP_TIME_WAIT,
    DSN_TCP_CLOSED,
    DSN_TCP_STATES,
};

/* What dsn_tcp_step answers besides a state. */
#define DSN_TCP_REFUSED 0xfe /* `tcp_state` */
#define DSN_TCP_REOPEN 0xff  /* the connection is removed, and this is a first packet */

uint8_t dsn_tcp_begin(uint8_t protocol, bool picked_up);

/* For all but the usual segment: see dsn_tcp_step. */
uint8_t dsn_tcp_turn(uint8_t state, uint8_t flags, bool initiator, bool closer);

/* The state behind a segment with these flags. `initiator`: it is the initiator's; `closer`: it is of the side that
 * sent the first FIN (asked in FIN_WAIT and CLOSING alone). A step from another state to FIN_WAIT makes its side the
 * one that closed first. */
static inline uint8_t dsn_tcp_step(uint8_t state, uint8_t flags, bool initiator, bool closer) {
    if (__builtin_expect(state == DSN_TCP_ESTABLISHED && !(flags & 7), 1)) /* none of FIN, SYN, RST */
        return state;
    return dsn_tcp_turn(state, flags, initiator, closer);
}

/* `state` counts for TCP, `replied` for UDP. Nanoseconds. */
uint64_t dsn_timeout_of(uint8_t protocol, uint8_t state, bool replied);

#endif
