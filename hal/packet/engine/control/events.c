#include "events.h"

#include <stdio.h>

static void put(struct dsn_events *events, const struct dsn_event_record *record) {
    struct dsn_event_record *place = &events->record[events->put++ % DSN_EVENTS_KEPT];
    *place = *record;
    place->number = ++events->last;
}

void dsn_events_put(struct dsn_events *events, uint64_t now, enum dsn_event_kind kind, uint64_t id, const char *data) {
    struct dsn_event_record record = {.time_ns = now, .kind = (uint16_t)kind, .table = -1, .id = id};
    snprintf(record.data, sizeof(record.data), "%s", data);
    put(events, &record);
}

void dsn_events_take(struct dsn_events *events, struct dsn_shard *shard) {
    struct dsn_event_record record;
    uint64_t missed = 0;
    /* Bounded: a worker that makes events as fast as they are taken is not waited for. */
    for (int i = 0; i < DSN_EVENTS_KEPT && dsn_shard_event(shard, &record, &missed); i++) {
        events->last += missed;
        missed = 0;
        put(events, &record);
    }
    events->last += missed;
}

struct dsn_page dsn_events_read(const struct dsn_events *events, uint64_t cursor, struct dsn_event_record *records) {
    uint64_t kept = events->put < DSN_EVENTS_KEPT ? events->put : DSN_EVENTS_KEPT;
    struct dsn_page page = {0};
    /* A cursor of an engine before this one: everything is new. */
    if (cursor > events->last)
        cursor = 0;
    for (uint64_t i = events->put - kept; i < events->put; i++) {
        const struct dsn_event_record *record = &events->record[i % DSN_EVENTS_KEPT];
        if (record->number > cursor)
            records[page.count++] = *record;
    }
    page.cursor = events->last;
    page.missed = events->last - cursor - page.count;
    return page;
}
