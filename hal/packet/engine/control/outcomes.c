#include "outcomes.h"

#include <stdlib.h>

struct dsn_outcomes {
    uint64_t count;                          /* of all ever */
    uint64_t transaction[DSN_OUTCOMES_KEPT]; /* by themselves: each commit looks through all */
    struct dsn_outcome outcome[DSN_OUTCOMES_KEPT];
};

struct dsn_outcomes *dsn_outcomes_create(void) {
    return calloc(1, sizeof(struct dsn_outcomes));
}

void dsn_outcomes_put(struct dsn_outcomes *outcomes, uint64_t transaction, uint64_t generation,
                      const struct dsn_failure *failure) {
    unsigned at = outcomes->count++ % DSN_OUTCOMES_KEPT;
    struct dsn_outcome *outcome = &outcomes->outcome[at];
    outcomes->transaction[at] = transaction;
    *outcome = (struct dsn_outcome){.kind = failure ? DSN_REFUSED : DSN_COMMITTED, .generation = generation};
    if (failure) {
        outcome->error_kind = failure->kind;
        outcome->error = failure->error;
    }
}

static const struct dsn_outcome *find(const struct dsn_outcomes *outcomes, uint64_t transaction) {
    uint64_t kept = outcomes->count < DSN_OUTCOMES_KEPT ? outcomes->count : DSN_OUTCOMES_KEPT;
    for (uint64_t i = 0; i < kept; i++)
        if (outcomes->transaction[i] == transaction)
            return &outcomes->outcome[i];
    return NULL;
}

bool dsn_outcomes_have(const struct dsn_outcomes *outcomes, uint64_t transaction) {
    return find(outcomes, transaction) != NULL;
}

struct dsn_outcome dsn_outcomes_get(const struct dsn_outcomes *outcomes, uint64_t transaction) {
    const struct dsn_outcome *outcome = find(outcomes, transaction);
    return outcome ? *outcome : (struct dsn_outcome){.kind = DSN_UNKNOWN};
}
