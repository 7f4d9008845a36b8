/* First fragments of one shard, which later ones follow; no reassembly (RFC 1858, RFC 5722). Times never go back. */
#ifndef DSN_PATH_FRAGMENTS_H
#define DSN_PATH_FRAGMENTS_H

#include "schema.h"

struct dsn_packet;
struct dsn_fragments;

#define DSN_FRAGMENT_ROOM 4096
#define DSN_FRAGMENT_LIFETIME UINT64_C(30000000000)
#define DSN_FRAGMENT_RANGES 8

struct dsn_first_fragment; /* what a first one leaves for those that follow */

/* All memory is taken here. The seed is dsn_key_hash's. NULL: no memory. */
struct dsn_fragments *dsn_fragments_create(const uint64_t seed[8]);
void dsn_fragments_destroy(struct dsn_fragments *fragments);

/* Packets here have `fragment` set, and scope, VRF and flags in their key. */

/* What holds for every fragment: DSN_PASSED or `fragment_invalid`. */
enum dsn_reason_number dsn_fragment_check(const struct dsn_packet *packet);

/* May this first fragment go on? DSN_PASSED, `fragment_overlap`, `fragment_table_full`. */
enum dsn_reason_number dsn_fragments_check_first(struct dsn_fragments *fragments, const struct dsn_packet *packet,
                                                 uint64_t now);
/* This first fragment has passed. `connection` is the caller's name for it. */
void dsn_fragments_remember(struct dsn_fragments *fragments, const struct dsn_packet *packet, uint64_t connection,
                            unsigned direction, uint64_t now);

/* The living first fragment that this later one follows; NULL: `fragment_no_first`. */
struct dsn_first_fragment *dsn_fragments_find(struct dsn_fragments *fragments, const struct dsn_packet *packet,
                                              uint64_t now);
uint64_t dsn_fragment_connection(const struct dsn_first_fragment *first, unsigned *direction);
/* May this later one follow it (asked when the connection is seen to live)? If so, its bytes are taken.
 * DSN_PASSED, `fragment_overlap`, `fragment_ranges`. */
enum dsn_reason_number dsn_fragments_follow(struct dsn_first_fragment *first, const struct dsn_packet *packet);

#endif
