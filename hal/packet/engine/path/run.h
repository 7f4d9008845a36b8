/* What is compiled twice, with and without the witness: the way of a packet. */
#ifndef DSN_PATH_RUN_H
#define DSN_PATH_RUN_H

#include "path/shard.h"

#define dsn_chain_decide DSN_TWICE(dsn_chain_decide)
#define dsn_first_packet DSN_TWICE(dsn_first_packet)
#define dsn_first_packet_anew DSN_TWICE(dsn_first_packet_anew)
#define dsn_later DSN_TWICE(dsn_later)
#define dsn_icmp_error DSN_TWICE(dsn_icmp_error)
#define dsn_path_run DSN_TWICE(dsn_path_run)
#define dsn_run_fragment DSN_TWICE(dsn_run_fragment)
#define dsn_run_state DSN_TWICE(dsn_run_state)

#ifdef DSN_WITNESS
#    define DSN_STEP(...) dsn_step(__VA_ARGS__)
#else
#    define DSN_STEP(...) (void)0
#endif

/* Of mbufs that are handed over, in the low bits of hash.fdir.hi. Above them of fragments the ticket under which their
 * first was asked about (path/verdicts.h); in `lo` of later ones its ports, source << 16 | destination. */
enum dsn_handed {
    DSN_HANDED_PLAIN,
    DSN_HANDED_LEARN, /* ARP or ND that its receiver has answered */
    DSN_HANDED_FIRST, /* a first fragment: its receiver has room for it */
    DSN_HANDED_LATER, /* its ranges were looked at; and see dsn_reaches() */
};
static inline enum dsn_handed dsn_handed_how(const struct rte_mbuf *mbuf) {
    return (enum dsn_handed)(mbuf->hash.fdir.hi & 3);
}
static inline uint32_t dsn_handed_ticket(const struct rte_mbuf *mbuf) {
    return mbuf->hash.fdir.hi >> 2;
}

/* Of a later fragment that is handed over, beside what `lo` holds: the TCP sequence number behind it. In the fields of
 * VLAN tags, which the path doesn't use: tags stand in frames. */
static inline void dsn_set_reaches(struct rte_mbuf *mbuf, uint32_t reaches) {
    mbuf->vlan_tci = (uint16_t)reaches;
    mbuf->vlan_tci_outer = (uint16_t)(reaches >> 16);
}
static inline uint32_t dsn_reaches(const struct rte_mbuf *mbuf) {
    return (uint32_t)mbuf->vlan_tci_outer << 16 | mbuf->vlan_tci;
}

enum dsn_packet_state { /* what the bytes and small tables say of a packet */
                        DSN_STATE_DROP,
                        DSN_STATE_ARP,
                        DSN_STATE_ND,
                        DSN_STATE_ECHO,
                        DSN_STATE_ERROR,
                        DSN_STATE_FRAGMENT,
                        DSN_STATE_FLOW,  /* of a connection: it and the next ones */
                        DSN_STATE_PLAIN, /* as the short cut knows them (path/plain.h), untagged, to the card's MAC */
                        DSN_STATE_PLAIN_OWN, /* the same, and from the MAC that its vNIC has */
};

/* What became of a packet: a verdict, and the reason above it; in a register, where struct dsn_result is put together
 * and taken apart. */
typedef uint32_t dsn_end;

static inline dsn_end dsn_dropped(enum dsn_reason_number reason) {
    return DSN_DROP | (dsn_end)reason << 8;
}
static inline enum dsn_reason_number dsn_reason_of(dsn_end end) {
    return (enum dsn_reason_number)(end >> 8);
}
static inline bool dsn_is_drop(dsn_end end) {
    return (uint8_t)end == DSN_DROP;
}

/* Whether it may be sent; false: *d says why not. */
bool dsn_chain_decide(struct dsn_shard *shard, struct dsn_decision *d, const struct dsn_header *header,
                      const struct dsn_vnic *ingress, bool routed);
/* Where a packet would leave, asked of those stages alone that say where, in the order of their numbers. */
bool dsn_chain_where(struct dsn_shard *shard, struct dsn_decision *d, const struct dsn_header *header,
                     const struct dsn_vnic *ingress, bool routed);

/* Both directions of a connection, as decided. */
struct dsn_opening {
    struct dsn_header header; /* the initiator's */
    const struct dsn_vnic *ingress, *egress;
    struct dsn_flow_key key[2];
    uint64_t hash[2]; /* of the keys, where it is to be installed */
    struct dsn_ops ops[2];
    uint16_t route[2];
    bool routed, network, always; /* `always`: no stamp says when it has changed */
    struct dsn_decision decision;
};

/* opening.c: what both directions do, from header, ingress, routed and decision; and a record of it. */
void dsn_opening_fill(struct dsn_shard *shard, struct dsn_opening *opening);
void dsn_key_reply(struct dsn_flow_key *reply, const struct dsn_flow_key *key, const struct dsn_vnic *egress);
static inline bool dsn_key_is_of(const struct dsn_flow_key *key, const struct dsn_vnic *vnic) {
    return key->scope == vnic->scope && key->vrf == vnic->vrf && (key->flags & DSN_KEY_UPLINK) == vnic->key_flags;
}
/* DSN_PASSED, or why there is no room. The record's number goes to *number. `windows`: of TCP. */
enum dsn_reason_number dsn_opening_install(struct dsn_shard *shard, const struct dsn_opening *opening,
                                           uint8_t tcp_state, const struct dsn_windows *windows, uint32_t *number);
/* Replaces what was decided of a connection that lives on. */
enum dsn_reason_number dsn_opening_replace(struct dsn_shard *shard, const struct dsn_opening *opening, uint32_t number);

/* The packet's mbuf is taken unless the verdict is DROP or CONSUME. */
dsn_end dsn_first_packet(struct dsn_shard *shard, struct dsn_packet *packet);
/* The same of a packet that begins a connection anew: what it ends is there until the new one is. */
dsn_end dsn_first_packet_anew(struct dsn_shard *shard, struct dsn_packet *packet, uint32_t ref);
/* reaches: of TCP, the sequence number behind this later fragment. */
dsn_end dsn_later(struct dsn_shard *shard, struct dsn_packet *packet, uint32_t ref, uint32_t reaches);
dsn_end dsn_icmp_error(struct dsn_shard *shard, struct dsn_packet *packet);
/* A packet that steps 1 to 14 have sorted out. learn_only: another worker has answered it. */
dsn_end dsn_run_state(struct dsn_shard *shard, struct dsn_packet *packet, uint8_t state, bool learn_only);
/* A fragment, of which no more than its IP header is parsed. */
dsn_end dsn_run_fragment(struct dsn_shard *shard, struct dsn_packet *packet, enum dsn_handed how);
/* Parses a packet and finds the key that its connection would have: for ICMP errors that of what they quote, for later
 * fragments without ports. False: it belongs to none. */
bool dsn_path_key(const struct dsn_shard *shard, const struct dsn_root *root, struct rte_mbuf *mbuf,
                  struct dsn_packet *packet, struct dsn_flow_key *key);

static inline void dsn_count(struct dsn_session *session, const struct dsn_packet *packet, unsigned direction) {
    session->packets[direction]++;
    session->bytes[direction] += dsn_ip_length(packet);
}

static inline void dsn_header_of(struct dsn_header *header, const struct dsn_packet *packet) {
    memcpy(header->destination_mac, packet->frame, 6);
    memcpy(header->source_mac, packet->frame + 6, 6);
    memcpy(header->source, packet->key.source, 32); /* and destination */
    header->source_port = packet->key.source_port;
    header->destination_port = packet->key.destination_port;
    header->protocol = packet->key.protocol;
    header->icmp_type = packet->icmp_type;
}

#endif
