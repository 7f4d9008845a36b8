/* What one run of the generator shall do: a file of `key = value` lines, read once. The keys stand in README.md. */
#ifndef DSN_BENCH_CONFIG_H
#define DSN_BENCH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum proto { PROTO_UDP, PROTO_TCP };

/* What the program under test does to a frame. */
enum expect { EXPECT_5TSWAP, EXPECT_FORWARD, EXPECT_SAME };

/* What a phase sends. The first four walk over the flows in order. */
enum kind {
    KIND_FIRST, /* initiator's first packet (TCP: SYN) of flows not seen so far */
    KIND_EACH,  /* initiator's first packet of each flow (TCP: SYN) */
    KIND_REPLY, /* one reply of each flow (TCP: SYN-ACK) */
    KIND_ACK,   /* initiator's second packet of each flow (TCP: the handshake's last) */
    KIND_RUN,   /* random flows, both directions */
    KIND_COUNT
};

enum { DIR_INITIATOR, DIR_REPLY, DIR_COUNT };

/* Where a flow's number shows in a packet: base plus some bits of the mixed number. */
struct field {
    uint64_t base;
    unsigned int bits;
};

/* Addresses are 16 bytes, an IPv4 one in the last four; only the last eight bytes vary. */
struct tuple_config {
    uint64_t src_high, dst_high; /* first eight bytes, host order */
    struct field src, dst, sport, dport;
    bool has_v4, has_v6;
};

struct phase_config {
    char name[32];
    enum kind kind;
    uint64_t count;
    double rate; /* packets a second, 0: as fast as it is polled */
};

#define MAX_PHASES 64

struct config {
    uint64_t flows;
    enum proto proto;
    bool v6;
    unsigned int frame; /* bytes, FCS not counted */
    unsigned int burst;
    unsigned int ttl;
    bool l4_checksum;
    enum expect expect;
    uint64_t seed;
    uint64_t gap_ns;
    char port[2][64];       /* names of the DPDK ports, by DIR_*: where the initiator's frames come in, the replies' */
    unsigned int vlan[2];   /* 0: no tag */
    uint8_t host_mac[2][6]; /* source of the frames that come in at a port, destination of those that leave there */
    uint8_t card_mac[2][6]; /* the other way round */
    struct tuple_config tuple;
    uint64_t probe_every; /* bursts; 0: no probe */
    uint64_t probe_flows;
    struct tuple_config probe;
    char results[512]; /* folder */
    char control[512]; /* file, may be empty */
    unsigned int phases;
    struct phase_config phase[MAX_PHASES];
};

/* Returns 0, or -1 with a sentence in `error` that names file, line, key and limit. */
int config_read(struct config *config, const char *path, char *error, size_t error_size);

/* Number of bits in which flows differ. */
unsigned int tuple_bits(const struct tuple_config *tuple);

/* How many packets of a phase are of one direction. */
uint64_t phase_quota(const struct phase_config *phase, int direction);

extern const char *const kind_names[KIND_COUNT];

#endif
