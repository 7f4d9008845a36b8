/* Packets that the card makes, byte by byte (docs/forwarding.md, *Packets that the card makes*): whole frames, their
 * VLAN tag included (0: untagged), in one segment of an mbuf of `pool`. NULL: no memory, or no room in a buffer.
 * Addresses are 16 bytes, IPv4 mapped. Nothing but the bytes is asked here: whether to answer, and from where, is
 * the caller's business. */
#ifndef DSN_PATH_MADE_H
#define DSN_PATH_MADE_H

#include <stdbool.h>
#include <stdint.h>

struct dsn_packet;
struct rte_mbuf;
struct rte_mempool;

/* These three go to the source MAC of the packet that they answer, from its destination MAC, in its VLAN. Its headers
 * are parsed, and its bytes are still as they came. */

/* Quotes the packet. `value` is an MTU, or 0. Of `source`'s family, which is the packet's. */
struct rte_mbuf *dsn_make_icmp_error(struct rte_mempool *pool, const struct dsn_packet *about, const uint8_t source[16],
                                     uint8_t type, uint8_t code, uint32_t value);
/* About a TCP segment; not about a later fragment. */
struct rte_mbuf *dsn_make_rst(struct rte_mempool *pool, const struct dsn_packet *about);
/* To an echo request that is no fragment. */
struct rte_mbuf *dsn_make_echo_reply(struct rte_mempool *pool, const struct dsn_packet *request);

/* Broadcast: who has `target`? */
struct rte_mbuf *dsn_make_arp_request(struct rte_mempool *pool, uint16_t vlan, const uint8_t mac[6],
                                      const uint8_t sender[16], const uint8_t target[16]);
/* `address` has `mac`, told to the one who asked. */
struct rte_mbuf *dsn_make_arp_reply(struct rte_mempool *pool, uint16_t vlan, const uint8_t mac[6],
                                    const uint8_t address[16], const uint8_t asker_mac[6], const uint8_t asker[16]);
/* To the solicited-node group of `target`. */
struct rte_mbuf *dsn_make_ns(struct rte_mempool *pool, uint16_t vlan, const uint8_t mac[6], const uint8_t sender[16],
                             const uint8_t target[16]);
/* `address` has `mac`, told to the one who asked; `router`: it is an address of the card. */
struct rte_mbuf *dsn_make_na(struct rte_mempool *pool, uint16_t vlan, const uint8_t mac[6], const uint8_t address[16],
                             const uint8_t asker_mac[6], const uint8_t asker[16], bool router);

#endif
