/* What the path precomputes from small tables, one for each root: packets look things up here by slot or by one hash,
 * and never search a table. It follows the idle root row by row (dsn_derive_out, dsn_derive_in): a commit costs what
 * its rows and what hangs on them cost, whatever the tables hold. */
#ifndef DSN_PATH_DERIVE_H
#define DSN_PATH_DERIVE_H

#include "path/bytes.h"
#include "table.h"

/* A row of table vnic as the path sees it; by slot. */
struct dsn_vnic {
    uint64_t id, vrf, scope; /* scope: as in struct dsn_flow_key */
    uint64_t own_mac;        /* the card's MAC towards it (dsn_mac), or DSN_NO_MAC */
    uint64_t mac, match_mac;
    uint32_t slot, port; /* port: number */
    uint16_t vlan, mtu;
    uint8_t role, serves;
    uint8_t key_flags; /* DSN_KEY_UPLINK or 0 */
    uint8_t ops;       /* what the stages of its egress chain put on every packet (enum dsn_op) */
    bool present;

    uint64_t subnet;
    uint32_t subnet_slot, vrf_slot, profile_slot;
    uint32_t flow_limit, inbound_flow_limit, punt_limit, new_flow_limit, half_open_limit, fragment_limit, icmp_limit,
        challenge_limit;
};

struct dsn_chain { /* stages of one direction of a profile, by position */
    const uint8_t *stage;
    uint32_t count;
};

struct dsn_subnet {
    uint8_t lowest_v4[16], lowest_v6[16]; /* the card's numerically lowest addresses, link-local ones apart */
    uint8_t lowest_any_v4[16], lowest_any_v6[16];
    bool has_v4, has_v6, has_any_v4, has_any_v6;
    uint32_t uplink; /* slot + 1 of the one with the lowest id; 0: none */
};

struct dsn_member {
    uint32_t next_hop; /* slot */
    uint16_t weight, position;
    uint32_t next; /* slot + 1 of the member with the next position; 0: this is the last */
};

struct dsn_group {
    uint32_t first; /* slot + 1 of the member with the lowest position */
    uint32_t count;
    uint64_t weight; /* of all */
};

struct dsn_derived; /* derived.h */

const struct dsn_vnic *dsn_vnics(const struct dsn_derived *derived);

static inline const struct dsn_vnic *dsn_vnic_at(const struct dsn_root *root, uint32_t slot) {
    return dsn_vnics(root->derived) + slot;
}
/* The row with this id; NULL: none. */
const struct dsn_vnic *dsn_vnic_by_id(const struct dsn_root *root, uint64_t id);
/* The row with exactly this key; NULL: none. */
const struct dsn_vnic *dsn_vnic_by_key(const struct dsn_root *root, uint32_t port, uint16_t vlan, uint64_t mac);
/* Whom a frame comes from; NULL: nobody. */
const struct dsn_vnic *dsn_vnic_of_frame(const struct dsn_root *root, uint32_t port, uint16_t vlan, uint64_t mac);

/* The only row of a port number that takes frames from any MAC; NULL: there are more, or none. */
const struct dsn_vnic *dsn_vnic_alone(const struct dsn_root *root, uint32_t port);

struct dsn_chain dsn_chain_of(const struct dsn_root *root, const struct dsn_vnic *vnic, unsigned direction);
const struct dsn_subnet *dsn_subnet_at(const struct dsn_root *root, uint32_t slot);
/* The VRF's punt tap; NULL: none. */
const struct dsn_vnic *dsn_tap_of(const struct dsn_root *root, uint32_t vrf_slot);
struct dsn_group dsn_group_at(const struct dsn_root *root, uint32_t slot);
const struct dsn_member *dsn_members(const struct dsn_derived *derived); /* by slot */
/* Slots of next hops with this uplink and address, by ascending id: up to `count` are written; returns how many
 * there are, count + 1 where there are more. */
uint32_t dsn_next_hops(const struct dsn_root *root, const struct dsn_vnic *uplink, const uint8_t address[16],
                       uint32_t *slots, uint32_t count);

#endif
