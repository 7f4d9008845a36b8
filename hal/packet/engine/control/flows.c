/* Verbs about what shards hold: flows, neighbours, counters, events. Live shards are asked in their workers' own
 * threads. */
#include "control.h"
#include "memfd.h"

#include <inttypes.h>
#include <stdlib.h>

#define PAGE 4096       /* connections or neighbours in one answer */
#define CALLS 256       /* looks into shards for one answer: an answer is bounded in time, whatever the filter */
#define WORDS 65536     /* bytes of op lists */
#define GIVEN_ID 4u     /* bit of `id` in dsn_flows_ask.given */
#define WORKER_SHIFT 56 /* of the cursor: which worker, above where in it */

struct page_call {
    const struct dsn_root *root;
    const struct dsn_flows_ask *ask;
    uint64_t now, cursor;
    void *records;
    uint32_t room, found;
};

/* Puts a page of what a shard holds into call->records. */
typedef void page_fn(struct dsn_shard *shard, void *call);

static void take_flows(struct dsn_shard *shard, void *argument) {
    struct page_call *call = argument;
    call->found = dsn_shard_flows(shard, call->root, call->ask, call->now, call->records, call->room, &call->cursor);
}

static void take_neighbours(struct dsn_shard *shard, void *argument) {
    struct page_call *call = argument;
    call->found = dsn_shard_neighbours(shard, call->records, call->room, &call->cursor);
}

void dsn_each_shard(struct dsn_control *control, struct dsn_replay *replay,
                    void (*fn)(struct dsn_shard *shard, void *argument), void *argument) {
    if (replay) {
        fn(replay->shard, argument);
        return;
    }
    for (uint16_t worker = 0; worker < control->engine.workers; worker++)
        if (control->engine.shard[worker])
            dsn_worker_call(&control->engine, worker, fn, argument);
}

static void call_one(struct dsn_control *control, struct dsn_replay *replay, uint16_t worker,
                     void (*fn)(struct dsn_shard *shard, void *argument), void *argument) {
    if (replay)
        fn(replay->shard, argument);
    else
        dsn_worker_call(&control->engine, worker, fn, argument);
}

static uint16_t shards_of(const struct dsn_control *control, const struct dsn_replay *replay) {
    if (replay)
        return 1;
    return control->running ? control->engine.workers : 0;
}

/* Fills a page of records of this size from *cursor on; *cursor is 0 at the end. */
static uint32_t collect(struct dsn_control *control, struct dsn_replay *replay, page_fn *take,
                        const struct dsn_flows_ask *ask, uint64_t *cursor, void *records, size_t size, uint32_t room) {
    uint16_t worker = (uint16_t)(*cursor >> WORKER_SHIFT), workers = shards_of(control, replay);
    uint32_t found = 0;
    struct page_call call = {.root = control->tables.live,
                             .ask = ask,
                             .now = replay ? replay->now : dsn_now_ns(),
                             .cursor = *cursor & ((UINT64_C(1) << WORKER_SHIFT) - 1)};
    for (int calls = 0; worker < workers && found < room && calls < CALLS; calls++) {
        call.records = (char *)records + found * size;
        call.room = room - found;
        call_one(control, replay, worker, take, &call);
        found += call.found;
        worker += call.cursor == 0;
    }
    *cursor = worker < workers ? (uint64_t)worker << WORKER_SHIFT | call.cursor : 0;
    return found;
}

static bool no_memory(struct dsn_exchange *exchange, const char *what) {
    return dsn_refuse(&exchange->failure, DSN_FULL, what, "", "memory for it", NULL);
}

static bool answer_page(struct dsn_control *control, struct dsn_exchange *exchange, const char *what, page_fn *take,
                        const struct dsn_flows_ask *ask, uint64_t cursor, size_t size) {
    struct dsn_replay *replay = dsn_replay_of(control, exchange);
    if (exchange->failure.kind)
        return false;
    void *records = malloc(PAGE * size);
    if (records == NULL)
        return no_memory(exchange, what);
    struct dsn_page page = {.cursor = cursor};
    page.count = collect(control, replay, take, ask, &page.cursor, records, size, PAGE);
    exchange->answer_fd = dsn_bulk_copy(what, records, page.count * size, &exchange->failure);
    free(records);
    if (exchange->answer_fd >= 0)
        dsn_say(exchange, &page, sizeof(page));
    return exchange->answer_fd >= 0;
}

bool dsn_do_flows(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_flows_ask *ask = exchange->body;
    return answer_page(control, exchange, "flows", take_flows, ask, ask->cursor, sizeof(struct dsn_flow_record));
}

bool dsn_do_neighbours(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_number *ask = exchange->body;
    return answer_page(control, exchange, "neighbours", take_neighbours, NULL, ask->number,
                       sizeof(struct dsn_neighbour_record));
}

struct words_call {
    const struct dsn_root *root;
    uint64_t id, now;
    char *text;
    size_t size;
};

static void take_words(struct dsn_shard *shard, void *argument) {
    struct words_call *call = argument;
    call->size = dsn_shard_flow_words(shard, call->root, call->id, call->now, call->text, WORDS);
}

/* Its record and both op lists. */
bool dsn_do_flow(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct dsn_flows_ask ask = *(const struct dsn_flows_ask *)exchange->body;
    struct dsn_replay *replay = dsn_replay_of(control, exchange);
    if (exchange->failure.kind)
        return false;
    uint32_t found = 0;
    ask.given &= GIVEN_ID;
    ask.cursor = 0;
    struct {
        struct dsn_flow_record record;
        char text[WORDS];
    } *whole = malloc(sizeof(*whole));
    if (whole == NULL)
        return no_memory(exchange, "flow");
    do {
        if (ask.given)
            found = collect(control, replay, take_flows, &ask, &ask.cursor, &whole->record, sizeof(whole->record), 1);
    } while (found == 0 && ask.cursor != 0);
    struct words_call call = {control->tables.live, ask.id, replay ? replay->now : dsn_now_ns(), whole->text, 0};
    if (found)
        call_one(control, replay, replay ? 0 : whole->record.worker, take_words, &call);
    if (call.size)
        exchange->answer_fd = dsn_bulk_copy("dsn-flow", whole, sizeof(whole->record) + call.size, &exchange->failure);
    else
        dsn_refuse(&exchange->failure, DSN_INVALID, "flow", "id", "the id of a connection that is there", NULL);
    free(whole);
    return exchange->answer_fd >= 0;
}

struct part_call {
    const struct dsn_root *root;
    const struct dsn_flows_ask *ask;
    uint64_t now, cursor, forgotten;
};

void dsn_in_parts(struct dsn_control *control, struct dsn_replay *replay,
                  void (*fn)(struct dsn_shard *shard, void *argument), void *argument, const uint64_t *cursor) {
    for (uint16_t worker = 0; worker < (replay ? 1 : control->engine.workers); worker++) {
        if (!replay && control->engine.shard[worker] == NULL)
            continue;
        do
            call_one(control, replay, worker, fn, argument);
        while (*cursor != 0);
    }
}

static void forget(struct dsn_shard *shard, void *argument) {
    struct part_call *call = argument;
    call->forgotten += dsn_shard_forget_some(shard, call->root, call->ask, call->now, &call->cursor);
}

bool dsn_do_forget(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct part_call call = {.root = control->tables.live, .ask = exchange->body, .now = dsn_now_ns()};
    dsn_in_parts(control, NULL, forget, &call, &call.cursor);
    struct dsn_number answer = {call.forgotten};
    dsn_say(exchange, &answer, sizeof(answer));
    return true;
}

static void settle(struct dsn_shard *shard, void *argument) {
    struct part_call *call = argument;
    dsn_shard_settle_some(shard, call->root, &call->cursor);
}

bool dsn_do_settle(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct dsn_replay *replay = dsn_replay_of(control, exchange);
    struct part_call call = {.root = control->tables.live};
    if (exchange->failure.kind)
        return false;
    dsn_in_parts(control, replay, settle, &call, &call.cursor);
    return true;
}

bool dsn_do_counters(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct dsn_replay *replay = dsn_replay_of(control, exchange);
    if (exchange->failure.kind)
        return false;
    if (replay)
        dsn_segment_ids(&replay->segment, &control->tables);
    exchange->answer_fd = dsn_segment_share(replay ? &replay->segment : &control->segment, &exchange->failure);
    return exchange->answer_fd >= 0;
}

bool dsn_do_events(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_cursor *ask = exchange->body;
    struct dsn_replay *replay = dsn_replay_of(control, exchange);
    if (exchange->failure.kind)
        return false;
    struct dsn_events *events = replay ? replay->events : &control->events;
    if (replay)
        dsn_events_take(events, replay->shard);
    for (uint16_t worker = 0; !replay && worker < shards_of(control, NULL); worker++)
        dsn_events_take(events, control->engine.shard[worker]);
    struct dsn_event_record *records = malloc(2 * DSN_EVENTS_KEPT * sizeof(*records));
    if (records == NULL)
        return no_memory(exchange, "events");
    struct dsn_page page;
    if (dsn_events_read(events, ask, records, &page)) {
        exchange->answer_fd = dsn_bulk_copy("dsn-events", records, page.count * sizeof(*records), &exchange->failure);
    } else {
        dsn_refuse(&exchange->failure, DSN_INVALID, "events", "cursor", NULL,
                   "Give the cursor of what was read before.");
        dsn_limit(&exchange->failure, "0..%" PRIu64, events->last);
        dsn_got(&exchange->failure, "%" PRIu64, ask->number);
    }
    free(records);
    if (exchange->answer_fd >= 0)
        dsn_say(exchange, &page, sizeof(page));
    return exchange->answer_fd >= 0;
}
