#include "events.h"

#include <stdio.h>
#include <sys/random.h>

bool dsn_life_draw(uint64_t *life) {
    bool drawn = getrandom(life, sizeof(*life), 0) == (ssize_t)sizeof(*life);
    *life |= *life == 0;
    return drawn;
}

static void put(struct dsn_events *events, const struct dsn_event_record *record) {
    struct dsn_event_ring *ring = record->kind == DSN_EVENT_RULE_LOG ? &events->logs : &events->others;
    struct dsn_event_record *place = &ring->record[ring->put++ % DSN_EVENTS_KEPT];
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

/* The one that is `place` on from the oldest; NULL behind the latest. */
static const struct dsn_event_record *from_oldest(const struct dsn_event_ring *ring, uint64_t place) {
    uint64_t kept = ring->put < DSN_EVENTS_KEPT ? ring->put : DSN_EVENTS_KEPT;
    return place < kept ? &ring->record[(ring->put - kept + place) % DSN_EVENTS_KEPT] : NULL;
}

bool dsn_events_read(const struct dsn_events *events, const struct dsn_cursor *cursor, struct dsn_event_record *records,
                     struct dsn_page *page) {
    const struct dsn_event_record *other, *log;
    uint64_t others = 0, logs = 0;
    bool lost = cursor->life != 0 && cursor->life != events->life;
    uint64_t seen = lost ? 0 : cursor->number;
    if (seen > events->last)
        return false;
    *page = (struct dsn_page){.cursor = events->last, .life = events->life, .lost = lost};
    for (;;) { /* by number */
        other = from_oldest(&events->others, others);
        log = from_oldest(&events->logs, logs);
        if (other == NULL && log == NULL)
            break;
        bool is_log = other == NULL || (log != NULL && log->number < other->number);
        const struct dsn_event_record *next = is_log ? log : other;
        logs += is_log;
        others += !is_log;
        if (next->number > seen)
            records[page->count++] = *next;
    }
    page->missed = events->last - seen - page->count;
    return true;
}
