/* What vNICs may only say if it is declared (docs/neighbours.md, *Guard*): router advertisements and redirects (RFC
 * 6105, RFC 7113), and what DHCP servers say (RFC 7610). Part of the frame: no profile leaves it out. */
#ifndef DSN_PATH_GUARD_H
#define DSN_PATH_GUARD_H

#include "path/derive.h"
#include "path/packet.h"

#define DSN_SERVES_ROUTER 1
#define DSN_SERVES_DHCP 2
#define DSN_ROUTER_ADVERTISEMENT 134
#define DSN_REDIRECT 137

/* The reason to drop an ICMP message that only routers send; DSN_PASSED. */
static inline enum dsn_reason_number dsn_routers_alone(const struct dsn_vnic *vnic, uint8_t protocol, uint8_t type) {
    bool six = protocol == DSN_ICMP6;
    if (vnic->role != DSN_VNIC_ROLE_VNIC || (vnic->serves & DSN_SERVES_ROUTER))
        return DSN_PASSED;
    if (type == (six ? DSN_ROUTER_ADVERTISEMENT : 9)) /* RFC 1256 */
        return DSN_REASON_RA_GUARD;
    return type == (six ? DSN_REDIRECT : 5) ? DSN_REASON_REDIRECT_GUARD : DSN_PASSED;
}

/* What only a DHCP server sends, to the port at which clients hear him (RFC 2131 4.1, RFC 8415 7.2), from a vNIC that
 * is none. */
static inline bool dsn_servers_alone(const struct dsn_vnic *vnic, uint8_t protocol, uint16_t to) {
    return protocol == DSN_UDP && (to == 68 || to == 546) && vnic->role == DSN_VNIC_ROLE_VNIC &&
           !(vnic->serves & DSN_SERVES_DHCP);
}

/* A client asks: what is replied would be a server's. */
static inline bool dsn_client_asks(const struct dsn_vnic *vnic, uint8_t protocol, uint16_t from, uint16_t to) {
    return ((from == 68 && to == 67) || (from == 546 && to == 547)) && dsn_servers_alone(vnic, protocol, from);
}

/* The same of a packet to a group, whose transport isn't parsed. */
static inline bool dsn_servers_alone_to_group(const struct dsn_packet *p) {
    const uint8_t *ports = dsn_payload(p);
    return !dsn_is_later(p) && p->key.protocol == DSN_UDP && dsn_payload_length(p) >= 4 &&
           dsn_servers_alone(p->vnic, DSN_UDP, dsn_be16(ports + 2));
}

#endif
