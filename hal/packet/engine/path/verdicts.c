#include "path/verdicts.h"

#include <stdatomic.h>
#include <stdlib.h>

#define ROUNDS 2047u /* that a place is told apart in, from 1 on */
#define SAID UINT64_C(3)
#define WORKERS 64u /* at most */
#define PLACES (WORKERS * DSN_VERDICT_PLACES)
_Static_assert((ROUNDS + UINT64_C(1)) * PLACES <= UINT64_C(1) << DSN_TICKET_BITS, "a ticket has bits for all rounds");

/* A place is one word, so that it is always of one ticket: that above, and below what was said and the low bits of the
 * connection's id, which within a datagram's 30 seconds are of one connection alone. */
struct dsn_verdicts {
    uint16_t workers;
    _Atomic uint64_t place[];
};

static uint64_t word(uint32_t ticket, enum dsn_said said, uint64_t connection) {
    return (uint64_t)ticket << 32 | (uint32_t)(connection << 2) | said;
}

/* ticket: round, worker, place */
static uint32_t at(uint32_t ticket) {
    return ticket % PLACES;
}

struct dsn_verdicts *dsn_verdicts_create(uint16_t workers) {
    struct dsn_verdicts *verdicts = NULL;
    if (workers <= WORKERS)
        verdicts = calloc(1, sizeof(*verdicts) + (size_t)workers * DSN_VERDICT_PLACES * sizeof(verdicts->place[0]));
    if (verdicts != NULL)
        verdicts->workers = workers;
    return verdicts;
}

void dsn_verdicts_destroy(struct dsn_verdicts *verdicts) {
    free(verdicts);
}

uint32_t dsn_verdict_ask(struct dsn_verdicts *verdicts, uint16_t worker, uint32_t place) {
    uint32_t lies = worker * DSN_VERDICT_PLACES + place;
    _Atomic uint64_t *where = &verdicts->place[at(lies)];
    uint32_t round = (uint32_t)(atomic_load_explicit(where, memory_order_relaxed) >> 32) / PLACES;
    uint32_t ticket = (round % ROUNDS + 1) * PLACES + lies;
    atomic_store_explicit(where, word(ticket, DSN_SAID_NOTHING, 0), memory_order_relaxed);
    return ticket;
}

void dsn_verdict_say(struct dsn_verdicts *verdicts, uint32_t ticket, uint64_t connection) {
    uint64_t nothing = word(ticket, DSN_SAID_NOTHING, 0);
    if (ticket != 0)
        atomic_compare_exchange_strong_explicit(&verdicts->place[at(ticket)], &nothing,
                                                word(ticket, connection != 0 ? DSN_SAID_GO : DSN_SAID_NO, connection),
                                                memory_order_relaxed, memory_order_relaxed);
}

enum dsn_said dsn_verdict_of(const struct dsn_verdicts *verdicts, uint32_t ticket) {
    uint64_t found = atomic_load_explicit(&verdicts->place[at(ticket)], memory_order_relaxed);
    return found >> 32 == ticket ? (enum dsn_said)(found & SAID) : DSN_SAID_LONG_AGO;
}

bool dsn_verdict_is_go(const struct dsn_verdicts *verdicts, uint32_t ticket, uint64_t connection) {
    return atomic_load_explicit(&verdicts->place[at(ticket)], memory_order_relaxed) ==
           word(ticket, DSN_SAID_GO, connection);
}
