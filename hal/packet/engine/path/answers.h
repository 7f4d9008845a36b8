/* What the card itself takes in, and the packets that it makes, byte by byte (docs/neighbours.md, *ARP* and on). */
#ifndef DSN_PATH_ANSWERS_H
#define DSN_PATH_ANSWERS_H

#include "path/derive.h"
#include "path/packet.h"

struct dsn_shard;
struct dsn_header;
struct dsn_root;
struct rte_mbuf;

/* What a vNIC's egress stages say of the source that it sends from; DSN_PASSED: nothing against it. */
enum dsn_reason_number dsn_ask_source(const struct dsn_root *root, const struct dsn_vnic *vnic,
                                      const struct dsn_header *header);

/* Of an ICMP message that is no fragment; one that its sender has not finished is. */
bool dsn_checksum_is_right(const struct dsn_packet *packet);

/* DSN_PASSED: consumed. None of them takes the mbuf. learn_only: another worker has answered. */
enum dsn_reason_number dsn_take_arp(struct dsn_shard *shard, const struct dsn_packet *packet, bool learn_only);
enum dsn_reason_number dsn_take_nd(struct dsn_shard *shard, const struct dsn_packet *packet, bool learn_only);
/* True: what passed dsn_take_nd() is a router's on a vNIC and goes on to another, by dsn_bridge_nd(), which takes the
 * mbuf where it passes. */
bool dsn_nd_goes_on(const struct dsn_packet *packet);
enum dsn_reason_number dsn_bridge_nd(struct dsn_shard *shard, const struct dsn_packet *packet);
/* An echo request to an address of the card. */
enum dsn_reason_number dsn_take_echo(struct dsn_shard *shard, const struct dsn_packet *packet,
                                     const struct dsn_header *header);

/* A request for a neighbour's MAC. */
void dsn_ask_neighbour(struct dsn_shard *shard, const struct dsn_vnic *uplink, const uint8_t address[16]);

/* Tells everybody on the vNIC's or uplink's port where an address of the card is: an ARP announcement (RFC 5227 1.1),
 * or an advertisement to all nodes (RFC 4861 7.2.6). */
void dsn_announce(struct dsn_shard *shard, const struct dsn_vnic *vnic, const uint8_t address[16]);

/* An ICMP error to the sender of a packet, never about an ICMP error or a later fragment. value: an MTU. */
void dsn_tell(struct dsn_shard *shard, const struct dsn_packet *packet, uint8_t type, uint8_t code, uint32_t value);
/* To the sender of a frame from the vNIC that waited for a neighbour in vain: host or address unreachable. */
void dsn_tell_unreachable(struct dsn_shard *shard, const struct dsn_vnic *vnic, struct rte_mbuf *frame);
/* What the chain that refused it says; told: enum dsn_told. */
void dsn_tell_refused(struct dsn_shard *shard, const struct dsn_packet *packet, uint8_t told);
/* A segment of this line was refused that may be forged. If it asks for it, and limits allow it, its sender gets the
 * other end's ACK (RFC 5961 3.2, 4.2), by the way that what the other end sends takes; as far as limits go each such
 * segment is one that was challenged. */
void dsn_challenge(struct dsn_shard *shard, const struct dsn_packet *packet, uint32_t ref, bool asks);

#endif
