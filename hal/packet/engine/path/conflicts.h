/* Somebody on an uplink tells of an address that is the card's or a vNIC's (RFC 5227 2.4, RFC 4862 5.4.4). */
#ifndef DSN_PATH_CONFLICTS_H
#define DSN_PATH_CONFLICTS_H

#include "path/derive.h"

#define DSN_CONFLICTS 64 /* addresses of either kind that are told of, and defended, in ten seconds */
#define DSN_DEFEND_INTERVAL UINT64_C(10000000000)

struct dsn_conflict {
    uint64_t id, until_ns; /* of the address's row; until when nothing more is told of it */
};

struct dsn_conflicts {
    struct dsn_conflict own[DSN_CONFLICTS], vnics[DSN_CONFLICTS];
};

struct dsn_shard;

/* True: `mac` has no business with this address. It is told, and where the address is the card's on this uplink it is
 * defended by an announcement, either at most once in ten seconds. */
bool dsn_conflict(struct dsn_shard *shard, const struct dsn_vnic *uplink, const uint8_t address[16],
                  const uint8_t mac[6]);

#endif
