/* An engine with a mistake, linked in place of one of its functions (--wrap): a commit's tables become visible one by
 * one, with a pause between, before the whole root does. Nothing else differs. tests/netns/test_mixture.py has to see
 * it. */
#include "control/control.h"

#include <stddef.h>
#include <time.h>

#define PAUSE_NS 4000000

bool __real_dsn_transaction_build(struct dsn_transaction *transaction, struct dsn_tables *tables,
                                  struct dsn_failure *failure);
bool __wrap_dsn_transaction_build(struct dsn_transaction *transaction, struct dsn_tables *tables,
                                  struct dsn_failure *failure);

bool __wrap_dsn_transaction_build(struct dsn_transaction *transaction, struct dsn_tables *tables,
                                  struct dsn_failure *failure) {
    static struct dsn_root torn[DSN_TABLES];
    static const struct timespec pause = {.tv_nsec = PAUSE_NS};
    struct dsn_control *control = (void *)((char *)tables - offsetof(struct dsn_control, tables));
    if (!__real_dsn_transaction_build(transaction, tables, failure))
        return false;
    struct dsn_root mixed = *tables->live;
    mixed.generation = tables->idle->generation;
    mixed.stamps = tables->idle->stamps;
    for (int table = 0; table < DSN_TABLES; table++) {
        mixed.table[table] = tables->idle->table[table];
        if (!(transaction->touched >> table & 1))
            continue;
        torn[table] = mixed; /* whoever reads the one before goes on reading it */
        atomic_store_explicit(&control->engine.root, &torn[table], memory_order_release);
        nanosleep(&pause, NULL);
    }
    return true;
}
