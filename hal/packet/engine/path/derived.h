/* What is behind path/derive.h. Nobody else includes it. */
#ifndef DSN_PATH_DERIVED_H
#define DSN_PATH_DERIVED_H

#include "path.h"
#include "path/derive.h"
#include "path/hash.h"
#include "path/order.h"

#define LONGEST_CHAIN 256 /* positions are bytes */

struct port_vnics { /* of one port number: most have a single row, found without another look */
    uint32_t number, count;
    uint32_t slots; /* of all of them, combined by exclusive or: the slot, where there is one */
    uint32_t tap;   /* slot + 1 of the card's own interface with the lowest id */
};

struct chain { /* one direction of a profile: stages, and beside them their positions */
    uint8_t stage[LONGEST_CHAIN], position[LONGEST_CHAIN];
};

struct place { /* what a row of profile_stage has put in */
    uint32_t profile;
    uint8_t direction, position;
};

struct profile {
    uint16_t count[2]; /* of its chains */
    uint8_t ops;       /* what its egress chain puts on every packet */
};

struct group {
    uint32_t first, count; /* first: slot + 1 of the member with the lowest position */
    uint64_t weight;
};

struct dsn_derived {
    uint32_t vnic_mask; /* of the hashes */
    uint64_t seed[2];   /* of the hashes, secret: MACs and ids are whatever a writer, or his tenants, choose */
    struct dsn_vnic *vnic;
    struct port_vnics *port;     /* hash by number */
    uint32_t *by_key, *by_id;    /* hashes of slots + 1 */
    struct dsn_order of_port;    /* the card's own interfaces, by (port, id) */
    struct dsn_order of_profile; /* vNICs, by (profile, slot) */
    struct dsn_order of_subnet;  /* vNICs, by (subnet, uplinks first, id) */
    struct profile *profile;     /* by slot */
    struct chain (*chain)[2];    /* by slot of profile */
    struct place *place;         /* by slot of profile_stage */
    struct dsn_subnet *subnet;   /* by slot */
    struct dsn_order addresses;  /* by (subnet, kind, address, slot) */
    struct group *group;         /* by slot */
    struct dsn_member *member;   /* by slot */
    struct dsn_order of_group;   /* members, by (group, position) */
    struct dsn_order hops;       /* by (port and VLAN, address, id) */
    uint64_t looked;             /* see dsn_derive_looked() */
};

static inline uint64_t dsn_derive_mix(const struct dsn_derived *d, uint64_t a, uint64_t b) {
    return dsn_fold64(a ^ d->seed[0], b ^ d->seed[1]);
}

/* derive_vnics.c */
void dsn_derive_vnic_out(struct dsn_derived *d, uint32_t slot);
void dsn_derive_vnic_in(struct dsn_root *root, uint32_t slot);
/* What vNICs have from their subnet's row, and from the ops of their profile. */
void dsn_derive_subnet_mac(struct dsn_root *root, uint32_t subnet);
void dsn_derive_profile_ops(struct dsn_derived *d, uint32_t profile);

#endif
