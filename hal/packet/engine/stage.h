/* What a stage is to the engine: the interface that authors of stages write against. hal/packet/model/stage.py is the
 * same for the twin; docs/guides/new-stage.md leads through both.
 *
 *     static enum dsn_say decide(struct dsn_decision *d) {
 *         struct dsn_row_quiet_port key = {.vnic = dsn_id_at(d->root, DSN_TABLE_VNIC, d->ingress),
 *                                          .port = d->header->destination_port};
 *         uint32_t slot = dsn_find(d->root, DSN_TABLE_QUIET_PORT, &key.vnic);
 *         if (slot == DSN_NO_SLOT)
 *             return dsn_miss(d, DSN_TABLE_QUIET_PORT), DSN_PASS;
 *         dsn_match(d, DSN_TABLE_QUIET_PORT, slot);
 *         return dsn_drop(d, DSN_REASON_QUIET_PORT_HIT);
 *     }
 *     const struct dsn_stage DSN_STAGE(quiet) = {.name = "quiet", .decide = decide};
 *
 * A stage is asked for the first packet of a connection, and again when something it may have been decided from has
 * changed; it keeps nothing between two calls, allocates nothing and never waits. What every packet of a connection has
 * to meet, it says as ops. Its stage.c is compiled twice, with and without the witness: nothing but its `struct
 * dsn_stage` may have external linkage. */
#ifndef DSN_STAGE_H
#define DSN_STAGE_H

#include "path/ops.h"
#include "table.h"
#include "wire.h"

#ifdef DSN_WITNESS
#    define DSN_TWICE(name) name##_witnessed
#else
#    define DSN_TWICE(name) name
#endif
#define DSN_STAGE(name) DSN_TWICE(dsn_stage_##name)

/* Where the length stands in rows of tables matched by longest prefix: id, scope, prefix, length. */
#define DSN_PREFIX_LEN_AT 32

struct dsn_shard;
struct dsn_witness;

enum dsn_chain_direction { DSN_EGRESS, DSN_INGRESS };

/* What a stage may decide from. */
struct dsn_header {
    uint8_t source_mac[6], destination_mac[6];
    uint8_t source[16], destination[16];    /* IPv4 mapped */
    uint16_t source_port, destination_port; /* of TCP and UDP; of an ICMP echo request its identifier and 0; else 0 */
    uint8_t protocol, icmp_type;
};

struct dsn_decided_by {
    uint32_t slot; /* DSN_NO_SLOT: no row */
    uint8_t table;
};

/* One walk of the chain. Stages read the first block and write by the functions below. */
struct dsn_decision {
    const struct dsn_root *root;
    const struct dsn_header *header;
    uint64_t flow_hash; /* as docs/forwarding.md says; the same for both directions */
    uint32_t ingress;   /* slot in table vnic that the packet comes from */
    uint32_t egress;    /* slot it leaves by, as far as decided: DSN_NO_SLOT; always there in direction ingress */
    uint8_t direction;  /* enum dsn_chain_direction: the part of the chain in which the stage stands */
    bool routed;        /* addressed to the card's own MAC; otherwise it is bridged */

    uint8_t tell;       /* enum dsn_told: what the sender of what is dropped gets */
    bool has_neighbour; /* where it leaves by an uplink */
    uint8_t neighbour[16];
    uint16_t reason;
    uint16_t route, policy[2]; /* stamps (path/stamps.h) */
    bool network;              /* links or neighbours were asked for */
    bool always;               /* no stamp says when it has to be decided again */
    struct dsn_decided_by by[2], by_drop;
    struct dsn_shard *shard;
    struct dsn_witness *witness; /* or NULL */
};

/* What the sender of a dropped packet is told (RFC 1812 5.2.7.1, RFC 4443 3.1), where the card has an address for
 * it. */
enum dsn_told {
    DSN_TOLD_NOTHING,
    DSN_TOLD_REFUSED,  /* a TCP RST, or prohibited */
    DSN_TOLD_NO_ROUTE, /* network unreachable */
    DSN_TOLD_NO_HOST   /* host, or address, unreachable */
};

enum dsn_say {
    DSN_PASS,  /* on to the next stage */
    DSN_LEAVE, /* the same, and now it is decided where the packet leaves: dsn_leave */
    DSN_REFUSE /* the chain ends: dsn_drop */
};

/* What ARP or neighbour discovery says of its sender. */
struct dsn_announcement {
    uint8_t source_mac[6];   /* of the frame */
    uint8_t macs, mac[2][6]; /* every other MAC it tells of: ARP's sender, ND's link-layer options */
    bool unspecified;        /* `address` is 0.0.0.0 in an ARP request, or :: in ND: it tells of none */
    bool has_target;         /* an NA's */
    uint8_t address[16], target[16];
};

struct dsn_stage {
    const char *name;
    enum dsn_say (*decide)(struct dsn_decision *decision);
    uint8_t ops; /* DSN_OP_CHECK_SOURCE_MAC: asked of every packet from a vNIC with this stage in its egress chain */
    bool says_where; /* it may answer DSN_LEAVE */
    /* Optional, asked of egress stages: DSN_REASONS to let it pass, or the reason to drop. The last one is asked where
     * stages don't decide: of echo requests to the card itself, of ICMP errors, and before a reply is picked up. */
    uint16_t (*check_arp)(const struct dsn_root *root, uint32_t vnic, const struct dsn_announcement *message);
    uint16_t (*check_nd)(const struct dsn_root *root, uint32_t vnic, const struct dsn_announcement *message);
    uint16_t (*check_source)(const struct dsn_root *root, uint32_t vnic, const struct dsn_header *header);
};

/* By number (enum dsn_stage_number); NULL for the frame and for stages without stage.c, which no profile may name. */
extern const struct dsn_stage *const dsn_stage_table[DSN_STAGES];
extern const struct dsn_stage *const dsn_stage_table_witnessed[DSN_STAGES];

/* The row whose chain this is: that the packet comes from, in direction ingress that it goes to. */
static inline uint32_t dsn_chain_vnic(const struct dsn_decision *d) {
    return d->direction == DSN_INGRESS ? d->egress : d->ingress;
}

static inline uint64_t dsn_id_at(const struct dsn_root *root, enum dsn_table_number table, uint32_t slot) {
    uint64_t id;
    memcpy(&id, dsn_row(root, table, slot), sizeof(id));
    return id;
}

/* Slot of the longest prefix that covers the address, in a table matched so; DSN_NO_SLOT. `scope` is the id in the
 * key's first field. An IPv4 address is covered by IPv4 prefixes alone: ::/0 is IPv6's. */
static inline uint32_t dsn_longest(const struct dsn_root *root, enum dsn_table_number table, uint64_t scope,
                                   const uint8_t address[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint32_t slot = dsn_lpm_find(root->table[table].match, scope, address);
    if (slot == DSN_NO_SLOT || memcmp(address, mapped, sizeof(mapped)) != 0)
        return slot;
    const uint8_t *row = dsn_row(root, table, slot);
    return row[DSN_PREFIX_LEN_AT] >= 96 ? slot : DSN_NO_SLOT;
}

/* Passes, and this row said so: if its table is declared with `counts`, it counts a hit, and the connection's packets
 * and bytes. */
static inline enum dsn_say dsn_pass_by(struct dsn_decision *d, enum dsn_table_number table, uint32_t slot) {
    d->by[d->direction] = (struct dsn_decided_by){.slot = slot, .table = (uint8_t)table};
    return DSN_PASS;
}

/* It leaves by this row of table vnic, on an uplink to this neighbour (16 bytes, or NULL). */
static inline enum dsn_say dsn_leave(struct dsn_decision *d, uint32_t vnic, const uint8_t *neighbour) {
    d->egress = vnic;
    d->has_neighbour = neighbour != NULL;
    if (neighbour != NULL)
        memcpy(d->neighbour, neighbour, 16);
    return DSN_LEAVE;
}

static inline enum dsn_say dsn_drop(struct dsn_decision *d, enum dsn_reason_number reason) {
    d->reason = (uint16_t)reason;
    return DSN_REFUSE;
}

/* The same, and the sender is told. */
static inline enum dsn_say dsn_drop_tell(struct dsn_decision *d, enum dsn_reason_number reason, enum dsn_told told) {
    d->tell = (uint8_t)told;
    return dsn_drop(d, reason);
}

/* The same, and this row said so: it counts a hit, as in dsn_pass_by. */
static inline enum dsn_say dsn_drop_by(struct dsn_decision *d, enum dsn_reason_number reason,
                                       enum dsn_table_number table, uint32_t slot, enum dsn_told told) {
    d->by_drop = (struct dsn_decided_by){.slot = slot, .table = (uint8_t)table};
    return dsn_drop_tell(d, reason, told);
}

void dsn_witness_step(struct dsn_witness *witness, uint16_t kind, int16_t table, uint64_t id, uint64_t value);
#define DSN_STEP_MATCH 2
#define DSN_STEP_MISS 3

/* For whoever asks why: this row matched; no row of this table did. */
static inline void dsn_match(struct dsn_decision *d, enum dsn_table_number table, uint32_t slot) {
#ifdef DSN_WITNESS
    dsn_witness_step(d->witness, DSN_STEP_MATCH, (int16_t)table, dsn_id_at(d->root, table, slot), 0);
#else
    (void)d, (void)table, (void)slot;
#endif
}

static inline void dsn_miss(struct dsn_decision *d, enum dsn_table_number table) {
#ifdef DSN_WITNESS
    dsn_witness_step(d->witness, DSN_STEP_MISS, (int16_t)table, 0, 0);
#else
    (void)d, (void)table;
#endif
}

/* What is alive at the moment. The connection is decided again when it changes. */
bool dsn_link_is_up(struct dsn_decision *d, uint32_t port);
bool dsn_neighbour_failed(struct dsn_decision *d, uint32_t uplink, const uint8_t address[16]);

/* A change of any table has connections decided again, but for these two tables, which say themselves who is
 * concerned: whoever looks into them says what for, and gets the slot. */
uint32_t dsn_look_up_route(struct dsn_decision *d, uint64_t vrf, const uint8_t address[16]);
uint32_t dsn_look_up_rule(struct dsn_decision *d, const struct dsn_classify_key *key);

#endif
