/* Events, numbered from 1 on: the latest are kept, and a late reader learns how many it missed. Logs of rules, which
 * packets make, have a ring of their own: they push out each other, and nothing else. */
#ifndef DSN_EVENTS_H
#define DSN_EVENTS_H

#include "path.h"

#define DSN_EVENTS_KEPT 4096 /* of logs, and of all others */

enum dsn_event_kind { /* the contract's */
                      DSN_EVENT_COMMIT = 1,
                      DSN_EVENT_PORT_UP,
                      DSN_EVENT_PORT_DOWN,
                      DSN_EVENT_RULE_LOG,
};

struct dsn_events {
    uint64_t life; /* of what tells them: numbers begin anew with each */
    uint64_t last; /* number of the last one */
    struct dsn_event_ring {
        uint64_t put; /* how many were kept, ever */
        struct dsn_event_record record[DSN_EVENTS_KEPT];
    } others, logs;
};

void dsn_events_put(struct dsn_events *events, uint64_t now, enum dsn_event_kind kind, uint64_t id, const char *data);
/* What a shard has to tell. What its own ring lost takes numbers, too, and is missed like what is overwritten here. */
void dsn_events_take(struct dsn_events *events, struct dsn_shard *shard);
/* Those behind cursor, in order, into `records` (room for twice DSN_EVENTS_KEPT). Behind one of another life all are.
 * False: a cursor of this life that was never given. */
bool dsn_events_read(const struct dsn_events *events, const struct dsn_cursor *cursor, struct dsn_event_record *records,
                     struct dsn_page *page);
/* 64 random bits, never 0. False: there are none to be had. */
bool dsn_life_draw(uint64_t *life);

#endif
