/* The control protocol: SOCK_SEQPACKET unix sockets in the run folder. Which socket one could open is the authority:
 *   load.sock           ports, start, stop
 *   write-OWNER.sock    commit, outcome, stage, forget: the tables of OWNER
 *   read.sock           the rest
 * A request is one message: struct dsn_request, then the verb's body, and with it at most one sealed memfd
 * (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) of bulk data; LOAD brings device descriptors too. The answer is one
 * message: struct dsn_answer, then a body or, for kind != 0, struct dsn_error; bulk data comes in a sealed memfd.
 * Integers are in host order. Whatever breaks these rules is answered CORRUPT and the connection closed. */
#ifndef DSN_WIRE_H
#define DSN_WIRE_H

#include <stdint.h>

#define DSN_WIRE_MAGIC 0x314e5344u /* "DSN1" */
#define DSN_WIRE_VERSION 2
#define DSN_WIRE_MAX 8192 /* longest message */
/* Packets of one request: the control thread runs them, and nobody else is served meanwhile. A trace makes two shards a
 * packet, some milliseconds; of a replay whose times jump a packet takes 0.1 ms. */
#define DSN_REPLAY_PACKETS 4096
#define DSN_TRACE_PACKETS 16

enum dsn_verb {
    DSN_VERB_HELLO = 1, /* any socket; -> dsn_hello, memfd: schema JSON */
    DSN_VERB_LOAD = 2,  /* load.sock; memfd: dsn_load; descriptors for linux and tap ports in their order behind it */
    DSN_VERB_START = 3,
    DSN_VERB_STOP = 4,     /* answered before the engine ends */
    DSN_VERB_TAKE_UP = 5,  /* load.sock; dsn_take_up; a descriptor that the engine keeps as long as the port has it */
    DSN_VERB_COMMIT = 10,  /* dsn_commit, memfd: sections -> dsn_committed */
    DSN_VERB_OUTCOME = 11, /* dsn_outcome_ask -> dsn_outcome */
    DSN_VERB_STAGE = 12,   /* as COMMIT; -> dsn_committed with the stage's number */
    DSN_VERB_MAKE = 13,    /* dsn_number -> dsn_committed */
    DSN_VERB_UNSTAGE = 14, /* dsn_number */
    DSN_VERB_FORGET = 15,  /* dsn_flows_ask -> dsn_number: how many */
    DSN_VERB_SNAPSHOT =
        20, /* dsn_snapshot_ask -> dsn_committed + tag, memfd: sections (rows by table and action, names) */
    DSN_VERB_FLOWS = 21, /* dsn_flows_ask -> dsn_page, memfd: dsn_flow_record[] */
    DSN_VERB_FLOW = 22, /* dsn_flows_ask with id -> memfd: dsn_flow_record, then both op lists as text, NUL-separated */
    DSN_VERB_SETTLE = 23,
    DSN_VERB_COUNTERS = 24,     /* -> memfd, read-only and shared: the live counter segment (counters.h) */
    DSN_VERB_EVENTS = 25,       /* dsn_cursor -> dsn_page, memfd: dsn_event_record[] */
    DSN_VERB_CAPABILITIES = 26, /* -> memfd: JSON */
    DSN_VERB_NEIGHBOURS = 27,   /* dsn_number: cursor -> dsn_page, memfd: dsn_neighbour_record[] */
    DSN_VERB_SHARD = 30,        /* dsn_shard_ask -> dsn_number */
    DSN_VERB_REPLAY = 31,       /* dsn_replay_ask, memfd: dsn_packet_in[] each followed by its bytes padded to 8
                           (DSN_REPLAY_PACKETS at most) -> dsn_page, memfd: dsn_packet_out[], see there */
    DSN_VERB_SHARD_CLOSE = 32,  /* dsn_number */
    DSN_VERB_TRACE = 33, /* dsn_replay_ask with the live shards' flows copied (DSN_TRACE_PACKETS at most): -> as REPLAY,
                           two results a packet: by the installed flow (verdict 0: none), and by the chain now */
    /* FLOWS, FLOW, NEIGHBOURS, SETTLE, COUNTERS (as a copy) and EVENTS take a shard's number in dsn_request.shard, 0:
     * live */
};

struct dsn_request {
    uint32_t magic;
    uint16_t verb;
    uint16_t version;
    uint64_t request; /* echoed */
    uint32_t length;  /* of the body behind this header */
    uint32_t shard;
};

struct dsn_answer {
    uint32_t magic;
    uint16_t verb;
    uint16_t kind; /* 0, or an error kind of the contract: INVALID 1 BUSY 2 FULL 3 STALE 4 TIMEOUT 5 DENIED 6 CORRUPT 7
                      LOST 8 UNSUPPORTED 9 */
    uint64_t request;
    uint32_t length;
    uint32_t reserved;
};

struct dsn_error {
    int32_t table; /* number, or -1 */
    int32_t row;   /* index in the array that was handed in, or -1 */
    uint64_t id;   /* the row's, or DSN_NONE_ID */
    char what[64];
    char field[32];
    char limit[128];
    char got[96];
    char fix[160];
};

struct dsn_hello {
    uint32_t version;
    uint32_t pid;
    uint64_t started_ns; /* CLOCK_BOOTTIME */
    uint64_t generation;
    uint32_t loaded, running;
    char owner[32]; /* whose write socket this is */
    char tag[128];
    char build[64];
    uint64_t life; /* drawn at the engine's start, never 0: what bases and cursors are of */
};

/* Then ports, owners, capacities in this order. Behind the memfd come the descriptors of ports that have one, then none
 * or one an owner, dsnd first and the others as they are first named: a socket of type SOCK_SEQPACKET, bound, on which
 * the engine listens for that owner's writers. Without them it makes write-OWNER.sock itself, mode 0600. */
struct dsn_load {
    uint32_t ports, owners, capacities;
    uint32_t workers, connections;
    uint32_t flow_limit, inbound_flow_limit, punt_limit, new_flow_limit, half_open_limit, fragment_limit, icmp_limit,
        challenge_limit;
    uint64_t pickup_ns;
};
struct dsn_load_port {
    uint32_t number;
    uint16_t mtu;
    uint8_t has_fd; /* a descriptor comes with the message: an AF_PACKET socket (linux) or a tap */
    uint8_t reserved;
    uint8_t mac[8];
    char name[32];
    char device[112]; /* "linux:eth1", "tap:punt0", "null", "ring", "pcap:in,out", "dpdk:net_...", "replay" */
};
struct dsn_load_owner {
    char owner[32];
    char table[32];
    uint64_t awaited; /* 1: nothing is forwarded before OWNER has committed; said with any of its tables */
};
struct dsn_load_capacity {
    char table[32];
    uint64_t entries;
};

struct dsn_commit {
    uint64_t transaction;
    uint64_t base;     /* generation, or UINT64_MAX: whatever is there */
    uint64_t lease_ns; /* STAGE */
    uint32_t sections;
    uint32_t reserved;
    char tag[128];
    uint64_t life; /* that `base` is of */
};
enum dsn_section_kind { DSN_INSERT = 1, DSN_MODIFY, DSN_DELETE, DSN_DEPENDS, DSN_NAMES, DSN_TAGS };
struct dsn_section { /* the memfd begins with these, then the data at their offsets (multiples of 8) */
    uint16_t kind;
    uint16_t table;  /* number in the engine's schema */
    uint16_t action; /* number in the table */
    uint16_t reserved;
    uint32_t count;
    uint32_t stride; /* bytes of an element: the row's size; DELETE and DEPENDS: 8 (ids); NAMES: sizeof dsn_name; TAGS
                        (in snapshots, of no table): sizeof dsn_owner_tag */
    uint64_t offset;
};
struct dsn_name {
    uint64_t id;
    uint32_t line;
    uint32_t reserved;
    char text[64];
    char file[128];
};
struct dsn_owner_tag { /* of an owner that has committed */
    char owner[32];
    char tag[128];
};
struct dsn_committed {
    uint64_t generation;
    uint64_t number; /* STAGE: its number; SNAPSHOT: how many sections */
    char tag[128];   /* of the generation, whoever's it is */
};
struct dsn_outcome_ask {
    uint64_t transaction;
};
struct dsn_outcome {
    uint64_t kind; /* 1 committed, 2 refused, 3 unknown */
    uint64_t generation;
    uint64_t error_kind;
    struct dsn_error error;
};
struct dsn_number {
    uint64_t number;
};
struct dsn_take_up { /* a port whose interface was deleted, and the index of another one in its namespace */
    uint32_t port, interface;
    uint64_t namespace; /* its cookie (SO_NETNS_COOKIE): an index means nothing in another one */
};
struct dsn_cursor { /* both 0: from the first event on */
    uint64_t number, life;
};
struct dsn_snapshot_ask {
    uint64_t tables; /* a bit a table number; 0: all */
};
struct dsn_flows_ask { /* a field holds where its bit in `given` is set, in the order of the fields from `vrf` on */
    uint64_t given;
    uint64_t cursor; /* 0, or dsn_page.cursor of the page before */
    uint64_t vrf, vnic, id;
    uint8_t source[16], destination[16];
    uint8_t source_len, destination_len, protocol, reserved;
    uint16_t source_port, destination_port;
};
struct dsn_page {
    uint64_t count;  /* elements in the memfd */
    uint64_t cursor; /* where to go on; FLOWS, NEIGHBOURS: 0 at the end */
    uint64_t missed; /* EVENTS */
    uint64_t life;   /* EVENTS: that `cursor` is of */
    uint64_t lost;   /* EVENTS: 1 where the one that was asked with is of another life */
};
struct dsn_flow_record { /* the versioned external form of a connection */
    uint64_t id, vrf, ingress, egress;
    uint64_t generation, created_ns, last_ns, timeout_ns;
    uint64_t packets[2], bytes[2], rules[2];
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port;
    uint8_t protocol, tcp_state;
    uint16_t worker;
};
struct dsn_neighbour_record {
    uint64_t uplink; /* id of its row in table vnic */
    uint8_t address[16], mac[6];
    uint16_t worker;
    uint8_t state; /* a NeighbourState of the contract */
    uint8_t reserved[7];
};
struct dsn_event_record {
    uint64_t number, time_ns;
    uint16_t kind;
    int16_t table;
    uint32_t reserved;
    uint64_t id;
    char data[128]; /* as long as a tag; the longest RULE_LOG has 107 bytes */
};
struct dsn_shard_ask {
    uint32_t connections;
    uint32_t pickup;
    uint64_t stage; /* 0, or a stage's number */
};
struct dsn_replay_ask {
    uint64_t stage;
    uint32_t count;
    uint32_t witness;
};
struct dsn_packet_in {
    uint64_t time_ns;
    uint32_t port; /* number */
    uint32_t length;
};
struct dsn_packet_out { /* then `steps` dsn_step, then `outputs` times: dsn_packet_in (time 0) + bytes padded to 8 */
    uint16_t verdict, reason;
    uint32_t steps;
    uint32_t outputs;
    uint32_t size; /* of this record with all that follows it */
};
struct dsn_step {
    uint16_t kind;
    int16_t table;
    uint32_t reserved;
    uint64_t id, value;
};

#endif
