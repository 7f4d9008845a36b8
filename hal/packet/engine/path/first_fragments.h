/* Fragments: no reassembly. Later ones follow their first, and may not overlap (RFC 1858, RFC 5722). */
#ifndef DSN_PATH_FIRST_FRAGMENTS_H
#define DSN_PATH_FIRST_FRAGMENTS_H

#include "path/derive.h"
#include "path/flows.h"
#include "path/packet.h"
#include "path/verdicts.h"
#include "path/vnics.h"
#include "path/whom.h"

#define DSN_FRAGMENTS 4096 /* first ones remembered at a time */
#define DSN_FRAGMENT_RANGES 8

struct dsn_first_fragment {
    struct dsn_flow_key flow; /* of the first fragment */
    uint32_t identification;
    uint32_t next; /* in its hash chain, or of those that are free */
    uint32_t older, newer;
    uint32_t vnic;       /* state of whom it counts for (path/vnics.h); 0: it doesn't count */
    uint64_t connection; /* id; 0: another worker has it */
    uint32_t ref;        /* its line, while the record is still that connection's */
    uint32_t ticket;     /* another worker was asked by it whether the first one passed; 0: it has */
    uint8_t protocol;    /* of IPv4, else 0 */
    uint8_t count;
    bool inbound;   /* it counts for what goes to the vNIC */
    bool by_uplink; /* it counts as one that came by an uplink */
    bool refuses;   /* two of them overlapped: none passes any more */
    uint8_t before; /* bytes before the fragmentable part of the whole datagram: 60 or 248 at most */
    uint16_t total; /* bytes of that part, as its last fragment says; 0: that one has not come */
    uint32_t base;  /* of TCP: dsn_tcp_base() */
    uint64_t created_ns;
    struct {
        uint16_t begin, end;
    } range[DSN_FRAGMENT_RANGES];
};

/* Of those whose connections other workers have. */
struct dsn_asking {
    struct dsn_verdicts *verdicts;
    uint16_t worker;
    /* Places to ask in. What is given back stands behind all others, so that none is another's while somebody may still
     * say what became of its first. */
    uint16_t place[DSN_VERDICT_PLACES], next, given;
    /* Entries that were asked about: those that were refused go when the next first one comes. */
    struct dsn_asked {
        uint32_t number, ticket;
    } asked[DSN_FRAGMENTS];
    uint32_t oldest, count;
};

struct dsn_fragments {
    struct dsn_first_fragment *entry;
    uint32_t *head;          /* places + 1, as all below */
    uint32_t oldest, newest; /* a list by age: all live equally long, unless they are whole before */
    uint32_t free, count, by_uplinks;
    struct dsn_vnic_states *vnics; /* whose counts of them are kept */
    struct dsn_asking *asking;     /* NULL: one worker has all connections */
    uint64_t seed[3];              /* secret: who sends fragments must not choose the list that they are in */
};

bool dsn_fragments_create(struct dsn_fragments *fragments, struct dsn_vnic_states *vnics, struct dsn_verdicts *verdicts,
                          uint16_t worker);
void dsn_fragments_destroy(struct dsn_fragments *fragments);

/* What holds for every fragment. */
enum dsn_reason_number dsn_fragment_check(const struct dsn_packet *packet);
/* May this first fragment go on? */
enum dsn_reason_number dsn_fragment_first(struct dsn_fragments *fragments, const struct dsn_packet *packet,
                                          uint64_t now);
/* Those that are too old go. */
void dsn_fragments_expire(struct dsn_fragments *fragments, uint64_t now);
/* How many may be remembered of who has as many as `used`, by what its row or the card says (0: nothing) and by what
 * room there is. */
uint32_t dsn_fragments_most(const struct dsn_fragments *fragments, struct dsn_whom whom, uint32_t used, uint32_t limit);
/* It has passed, and this is its connection's line; `base`: see struct dsn_first_fragment. Room was found by
 * dsn_fragment_first. */
void dsn_fragment_remember(struct dsn_fragments *fragments, const struct dsn_packet *packet, struct dsn_whom whom,
                           uint64_t connection, uint32_t ref, uint32_t base, uint64_t now);
/* Another worker has its connection: the entry holds once that one says so, under this ticket. */
uint32_t dsn_fragment_ask(struct dsn_fragments *fragments, const struct dsn_packet *packet, struct dsn_whom whom,
                          uint32_t base, uint64_t now);
/* A copy of an entry of another shard, for the line that its connection has here. */
void dsn_fragment_copy(struct dsn_fragments *fragments, const struct dsn_first_fragment *first, uint32_t ref);
/* The first fragment that this later one follows; NULL: none is alive. */
struct dsn_first_fragment *dsn_fragment_of(struct dsn_fragments *fragments, const struct dsn_packet *packet,
                                           uint64_t now);
/* May this later fragment follow its first? If so, its bytes are taken. */
enum dsn_reason_number dsn_fragment_follow(struct dsn_first_fragment *first, const struct dsn_packet *packet);
/* All bytes of its datagram have come. */
bool dsn_fragment_is_whole(const struct dsn_first_fragment *first);
/* It is empty behind that. */
void dsn_fragment_forget(struct dsn_fragments *fragments, struct dsn_first_fragment *first);

#endif
