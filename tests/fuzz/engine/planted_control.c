/* The control thread with a mistake, linked in place of one of its functions (--wrap): what is undone of a commit of
 * several rows is all but the last. Nothing crashes; the target has to see that the two copies differ. */
#include "control/transaction.h"

void __real_dsn_transaction_undo(struct dsn_transaction *transaction, struct dsn_tables *tables);
void __wrap_dsn_transaction_undo(struct dsn_transaction *transaction, struct dsn_tables *tables);

void __wrap_dsn_transaction_undo(struct dsn_transaction *transaction, struct dsn_tables *tables) {
    if (transaction->changes > 1)
        transaction->changes--;
    __real_dsn_transaction_undo(transaction, tables);
}
