/* Builds the packets that the card makes. */
#ifndef DSN_PATH_MAKE_H
#define DSN_PATH_MAKE_H

#include "path/packet.h"
#include "path/tcp.h"

#include <rte_mbuf.h>

struct dsn_frame_to {
    uint8_t destination[6], source[6];
    uint16_t vlan; /* 0: untagged */
};

/* NULL everywhere: no buffer, or it is too small. Addresses are 16 bytes, IPv4 mapped. */
struct rte_mbuf *dsn_make_arp(struct rte_mempool *pool, const struct dsn_frame_to *to, uint16_t operation,
                              const uint8_t sender_mac[6], const uint8_t sender[16], const uint8_t target_mac[6],
                              const uint8_t target[16]);
/* To the target's solicited-node group (RFC 4861 4.3), whatever to->destination says. */
struct rte_mbuf *dsn_make_solicitation(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                       const uint8_t sender[16], const uint8_t target[16]);
#define DSN_NA_ROUTER 0x80
#define DSN_NA_SOLICITED 0x40
#define DSN_NA_OVERRIDE 0x20
/* The answer to a solicitation (RFC 4861 4.4); mac: what it tells. asker NULL: to all nodes, whatever to->destination
 * says (7.2.4, 7.2.6). */
struct rte_mbuf *dsn_make_advertisement(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                        const uint8_t target[16], const uint8_t *asker, const uint8_t mac[6],
                                        bool router);
/* To what the packet asks or is about. */
struct rte_mbuf *dsn_make_echo_reply(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                     const struct dsn_packet *packet);
struct rte_mbuf *dsn_make_error(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                const struct dsn_packet *packet, const uint8_t source[16], uint8_t type, uint8_t code,
                                uint32_t value);
struct rte_mbuf *dsn_make_reset(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                const struct dsn_packet *packet);
/* The other end's ACK (path/tcp.h) to whoever sent the packet. */
struct rte_mbuf *dsn_make_challenge(struct rte_mempool *pool, const struct dsn_frame_to *to,
                                    const struct dsn_packet *packet, const struct dsn_tcp_segment *challenge);

#endif
