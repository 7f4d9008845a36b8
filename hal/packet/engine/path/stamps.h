/* Stamps: at which generation the things that connections are decided from last changed. What was decided at
 * generation g stands while every stamp of what it was decided from is g or less. Stamps may be coarse, never missed:
 *   - a route is stamped by (VRF, first 16 bits for IPv4, 32 for IPv6), hashed; a shorter prefix stamps its VRF;
 *   - a rule is stamped by its group, and the latest changes of rules are kept: whom none of them covers isn't
 *     concerned;
 *   - tracking has none: nothing is decided from it;
 *   - everything else, tables of strangers' stages included, is one stamp.
 * Links and neighbours aren't tables: shards count their changes (struct dsn_session.network). */
#ifndef DSN_PATH_STAMPS_H
#define DSN_PATH_STAMPS_H

#include "path/flows.h"
#include "table.h"

#define DSN_ROUTE_STAMPS 16384
#define DSN_WIDE_STAMPS 256
#define DSN_POLICY_STAMPS 4096
#define DSN_RULE_CHANGES 256

struct dsn_rule_change {
    uint64_t generation;
    uint64_t policy; /* as dsn_policy_key has it */
    struct dsn_row_firewall_rule rule;
};

/* What the latest generations touched, so that a packet can tell without its connection's other line that it isn't
 * concerned: a bit for what dsn_touch_of() makes of a route key; all of them where anything but routes changed. */
#define DSN_LATEST 16
#define DSN_TOUCH_NO_ROUTE 254 /* of what looked up no route */
#define DSN_TOUCH_ALWAYS 255   /* any generation touches it */
struct dsn_touched {
    uint64_t bits[4];
};

static inline uint8_t dsn_touch_of(uint16_t route) {
    return route == DSN_NO_ROUTE_KEY ? DSN_TOUCH_NO_ROUTE : (uint8_t)(route % DSN_TOUCH_NO_ROUTE);
}

static inline bool dsn_touches(const struct dsn_touched *touched, uint8_t a, uint8_t b) {
    return (touched->bits[a / 64] >> a % 64 | touched->bits[b / 64] >> b % 64) & 1;
}

struct dsn_stamps {
    uint64_t structure;
    uint64_t changes; /* ever made; the latest DSN_RULE_CHANGES of them are kept */
    uint64_t route[DSN_ROUTE_STAMPS];
    uint64_t wide[DSN_WIDE_STAMPS];
    uint64_t policy[DSN_POLICY_STAMPS];
    struct dsn_rule_change change[DSN_RULE_CHANGES];
    struct {
        uint64_t generation; /* another one's stands where a commit stamped nothing */
        struct dsn_touched touched;
    } latest[DSN_LATEST]; /* by generation */
};

/* What a flow line keeps of the lookup of a route, and of its rule group. */
uint16_t dsn_route_key(uint64_t vrf, const uint8_t address[16]);
uint16_t dsn_policy_key(uint64_t policy);

/* since[n]: what the n latest generations up to this one touched. */
void dsn_stamps_since(const struct dsn_stamps *stamps, uint64_t generation, struct dsn_touched since[DSN_LATEST]);

/* True if nothing has changed that the connection was decided from, links and neighbours apart. */
bool dsn_stamps_hold(const struct dsn_stamps *stamps, const struct dsn_connection *connection);

/* How often a port's link has changed, ever. */
uint32_t dsn_link_changes(void);

#endif
