#include "requests.h"

#include <stdio.h>

#define ANYONE (DSN_LOADER | DSN_WRITER | DSN_READER)

enum descriptors { NO_MEMFD, MEMFD, MEMFD_AND_DEVICES };

static const struct verb {
    uint8_t number, authority, descriptors;
    bool loaded;   /* only once the card is */
    bool shard;    /* may speak of one */
    uint16_t size; /* of the body */
    dsn_verb_fn *run;
} verbs[] = {
    {DSN_VERB_HELLO, ANYONE, NO_MEMFD, false, false, 0, dsn_do_hello},
    {DSN_VERB_LOAD, DSN_LOADER, MEMFD_AND_DEVICES, false, false, 0, dsn_do_load},
    {DSN_VERB_START, DSN_LOADER, NO_MEMFD, true, false, 0, dsn_do_start},
    {DSN_VERB_STOP, DSN_LOADER, NO_MEMFD, false, false, 0, dsn_do_stop},
    {DSN_VERB_TAKE_UP, DSN_LOADER, MEMFD, true, false, sizeof(struct dsn_take_up), dsn_do_take_up},
    {DSN_VERB_COMMIT, DSN_WRITER, MEMFD, true, false, sizeof(struct dsn_commit), dsn_do_commit},
    {DSN_VERB_OUTCOME, DSN_WRITER, NO_MEMFD, true, false, sizeof(struct dsn_outcome_ask), dsn_do_outcome},
    {DSN_VERB_STAGE, DSN_WRITER, MEMFD, true, false, sizeof(struct dsn_commit), dsn_do_stage},
    {DSN_VERB_MAKE, DSN_WRITER, NO_MEMFD, true, false, sizeof(struct dsn_number), dsn_do_make},
    {DSN_VERB_UNSTAGE, DSN_WRITER, NO_MEMFD, true, false, sizeof(struct dsn_number), dsn_do_unstage},
    {DSN_VERB_FORGET, DSN_WRITER, NO_MEMFD, true, false, sizeof(struct dsn_flows_ask), dsn_do_forget},
    {DSN_VERB_SNAPSHOT, DSN_READER, NO_MEMFD, true, false, sizeof(struct dsn_snapshot_ask), dsn_do_snapshot},
    {DSN_VERB_FLOWS, DSN_READER, NO_MEMFD, true, true, sizeof(struct dsn_flows_ask), dsn_do_flows},
    {DSN_VERB_FLOW, DSN_READER, NO_MEMFD, true, true, sizeof(struct dsn_flows_ask), dsn_do_flow},
    {DSN_VERB_SETTLE, DSN_READER, NO_MEMFD, true, true, 0, dsn_do_settle},
    {DSN_VERB_COUNTERS, DSN_READER, NO_MEMFD, true, true, 0, dsn_do_counters},
    {DSN_VERB_EVENTS, DSN_READER, NO_MEMFD, false, true, sizeof(struct dsn_cursor), dsn_do_events},
    {DSN_VERB_NEIGHBOURS, DSN_READER, NO_MEMFD, true, true, sizeof(struct dsn_number), dsn_do_neighbours},
    {DSN_VERB_CAPABILITIES, DSN_READER, NO_MEMFD, false, false, 0, dsn_do_capabilities},
    {DSN_VERB_SHARD, DSN_READER, NO_MEMFD, true, false, sizeof(struct dsn_shard_ask), dsn_do_shard},
    {DSN_VERB_REPLAY, DSN_READER, MEMFD, true, true, sizeof(struct dsn_replay_ask), dsn_do_replay},
    {DSN_VERB_SHARD_CLOSE, DSN_READER, NO_MEMFD, true, false, sizeof(struct dsn_number), dsn_do_shard_close},
    {DSN_VERB_TRACE, DSN_READER, MEMFD, true, true, sizeof(struct dsn_replay_ask), dsn_do_trace},
};

static const struct verb *find(uint16_t number) {
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (verbs[i].number == number)
            return &verbs[i];
    return NULL;
}

static bool corrupt(struct dsn_exchange *exchange, const char *field, const char *limit, uint64_t got) {
    dsn_refuse(&exchange->failure, DSN_CORRUPT, "request", field, limit, NULL);
    return dsn_got(&exchange->failure, "%llu", (unsigned long long)got);
}

static bool whole(const struct verb *verb, const struct dsn_request *request, struct dsn_exchange *exchange) {
    unsigned memfds = exchange->memfd >= 0;
    if (request->length != verb->size)
        return corrupt(exchange, "length", "that of the verb's body", request->length);
    if (request->shard && !verb->shard)
        return corrupt(exchange, "shard", "0 for this verb", request->shard);
    if (memfds + exchange->devices > (verb->descriptors == NO_MEMFD ? 0 : verb->descriptors == MEMFD ? 1 : UINT16_MAX))
        return corrupt(exchange, "descriptors", "as many as the verb takes", memfds + exchange->devices);
    return true;
}

static void dispatch(struct dsn_control *control, enum dsn_authority authority, const struct verb *verb,
                     struct dsn_exchange *exchange) {
    char what[64];
    snprintf(what, sizeof(what), "verb %u", exchange->verb);
    if (verb == NULL)
        dsn_refuse(&exchange->failure, DSN_UNSUPPORTED, what, "", "a verb of this engine", NULL);
    else if (!(verb->authority & authority))
        dsn_refuse(&exchange->failure, DSN_DENIED, what, "",
                   verb->authority == DSN_LOADER   ? "load.sock"
                   : verb->authority == DSN_WRITER ? "write-OWNER.sock"
                                                   : "read.sock",
                   "Ask it of that socket.");
    else if (verb->loaded && !control->loaded)
        dsn_refuse(&exchange->failure, DSN_INVALID, "engine", "", "a loaded card", "Load it first.");
    else if (!verb->run(control, exchange) && exchange->failure.kind == 0)
        dsn_refuse(&exchange->failure, DSN_FULL, what, "", "memory for the answer", NULL);
}

bool dsn_request_answer(struct dsn_control *control, enum dsn_authority authority, const struct dsn_request *request,
                        size_t size, struct dsn_exchange *exchange) {
    if (size < sizeof(*request))
        return corrupt(exchange, "", "24 bytes or more", size);
    if (request->magic != DSN_WIRE_MAGIC)
        return corrupt(exchange, "magic", "0x314e5344", request->magic);
    /* A greeting is understood in any version: its answer says ours. */
    if (request->version != DSN_WIRE_VERSION && request->verb != DSN_VERB_HELLO)
        return corrupt(exchange, "version", "2", request->version);
    if (request->length != size - sizeof(*request))
        return corrupt(exchange, "length", "that of the message", request->length);
    const struct verb *verb = find(request->verb);
    if (verb && !whole(verb, request, exchange))
        return false;
    exchange->body = request + 1;
    exchange->shard = request->shard;
    exchange->verb = request->verb;
    dispatch(control, authority, verb, exchange);
    return exchange->failure.kind != DSN_CORRUPT;
}
