/* What became of an owner's last commits: a writer that lost its connection asks instead of guessing. */
#ifndef DSN_OUTCOMES_H
#define DSN_OUTCOMES_H

#include "error.h"

#define DSN_OUTCOMES_KEPT 1024

enum dsn_outcome_kind { DSN_COMMITTED = 1, DSN_REFUSED, DSN_UNKNOWN };

struct dsn_outcomes;

struct dsn_outcomes *dsn_outcomes_create(void); /* NULL: no memory */
/* failure NULL: committed as `generation`. */
void dsn_outcomes_put(struct dsn_outcomes *outcomes, uint64_t transaction, uint64_t generation,
                      const struct dsn_failure *failure);
bool dsn_outcomes_have(const struct dsn_outcomes *outcomes, uint64_t transaction);
struct dsn_outcome dsn_outcomes_get(const struct dsn_outcomes *outcomes, uint64_t transaction);

#endif
