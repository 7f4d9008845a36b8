/* COMMIT, STAGE and what follows from them: the swap that makes a generation, and outcomes. */
#include "control.h"

#include <inttypes.h>
#include <rte_pause.h>
#include <stdio.h>
#include <time.h>

#define LONGEST_LEASE_NS 60000000000u
#define ASKED_BUSY 1000 /* times that the workers are asked before the CPU is given away */

/* The staged commit that stands on the idle copy leaves it, not the world: it is built anew when somebody looks at
 * it. */
static void step_aside(struct dsn_control *control) {
    for (unsigned owner = 0; owner < control->tables.owners; owner++) {
        struct dsn_staged *staged = &control->staged[owner];
        if (staged->built)
            dsn_transaction_undo(&staged->transaction, &control->tables);
        staged->built = false;
    }
}

void dsn_staged_drop(struct dsn_control *control, struct dsn_staged *staged) {
    if (!staged->there)
        return;
    if (staged->built)
        step_aside(control);
    dsn_transaction_close(&staged->transaction);
    staged->there = false;
}

void dsn_staged_drop_all(struct dsn_control *control) {
    for (unsigned owner = 0; owner < control->tables.owners; owner++)
        dsn_staged_drop(control, &control->staged[owner]);
}

void dsn_staged_sweep(struct dsn_control *control, const void *holder) {
    uint64_t now = dsn_now_ns();
    for (unsigned owner = 0; owner < control->tables.owners; owner++) {
        struct dsn_staged *staged = &control->staged[owner];
        if (staged->there && (now >= staged->ends_ns || (holder && staged->holder == holder)))
            dsn_staged_drop(control, staged);
    }
}

static bool over(struct dsn_failure *failure) {
    return dsn_refuse(failure, DSN_STALE, "staged commit", "", "its lease", "Stage it again.");
}

void dsn_commit_follow(struct dsn_control *control) {
    if (!control->has_behind)
        return;
    dsn_transaction_follow(&control->behind, &control->tables);
    dsn_transaction_close(&control->behind);
    control->has_behind = false;
}

/* Slots that hold another row than before must not show what that one counted. */
static void clear_counters(struct dsn_control *control, const struct dsn_transaction *transaction) {
    for (uint32_t i = 0; i < transaction->changes; i++) {
        const struct dsn_change *change = &transaction->change[i];
        bool counts = change->table == DSN_TABLE_VNIC || dsn_table_counts(change->table);
        if (!counts || !(change->done & DSN_ID_IN))
            continue;
        dsn_segment_clear(&control->segment, change->table, change->slot);
        for (int place = 0; place < DSN_REPLAYS; place++)
            if (control->replay[place].number)
                dsn_segment_clear(&control->replay[place].segment, change->table, change->slot);
    }
}

/* Until every worker has ended the burst it is in, or sleeps: some microseconds. Where a worker has to share its CPU,
 * it may be milliseconds, and a CPU is better given to others then: perhaps to the worker. */
static void wait_for_workers(struct rte_rcu_qsbr *readers) {
    const struct timespec later = {.tv_nsec = 50000};
    uint64_t token = rte_rcu_qsbr_start(readers);
    for (unsigned asked = 0; rte_rcu_qsbr_check(readers, token, false) != 1; asked++) {
        if (asked < ASKED_BUSY)
            rte_pause();
        else
            (void)nanosleep(&later, NULL);
    }
}

/* What was built becomes what packets see. Nothing can fail from here on. */
static void make(struct dsn_control *control, struct dsn_transaction *transaction, struct dsn_exchange *exchange) {
    struct dsn_tables *tables = &control->tables;
    struct dsn_root *made = tables->idle;
    clear_counters(control, transaction);
    atomic_store_explicit(&control->engine.root, made, memory_order_release);
    /* From then on all packets see it and none the old copy. */
    wait_for_workers(control->engine.readers);
    tables->idle = tables->live;
    tables->live = made;
    dsn_transaction_made(transaction, tables);
    dsn_segment_follow(&control->segment, made, transaction->change, transaction->changes);
    dsn_events_put(&control->events, dsn_now_ns(), DSN_EVENT_COMMIT, made->generation, tables->tag);
    dsn_outcomes_put(tables->owner[transaction->owner].outcomes, transaction->head.transaction, made->generation, NULL);
    control->behind = *transaction;
    control->has_behind = true;
    *transaction = (struct dsn_transaction){0};

    struct dsn_committed answer = {.generation = made->generation};
    memcpy(answer.tag, tables->tag, sizeof(answer.tag));
    dsn_say(exchange, &answer, sizeof(answer));
}

static bool is_new(const struct dsn_outcomes *outcomes, uint64_t transaction, struct dsn_failure *failure) {
    if (!dsn_outcomes_have(outcomes, transaction))
        return true;
    dsn_refuse(failure, DSN_INVALID, "commit", "transaction",
               "a 64-bit number that this owner's last 1,024 commits didn't have",
               "Ask for its outcome, or choose another number.");
    return dsn_got(failure, "%" PRIu64, transaction);
}

/* Generations count from 1 in each life: another one's says nothing about these tables. */
static bool of_this_life(const struct dsn_control *control, const struct dsn_commit *head,
                         struct dsn_failure *failure) {
    if (head->base == UINT64_MAX || head->life == control->life)
        return true;
    dsn_refuse(failure, DSN_STALE, "commit", "base", "a generation of this life of the card",
               "Read the tables again and compute the commit from them.");
    return dsn_got(failure, "generation %" PRIu64 " of another", head->base);
}

static bool open_and_build(struct dsn_control *control, struct dsn_exchange *exchange,
                           struct dsn_transaction *transaction) {
    int memfd = exchange->memfd;
    exchange->memfd = -1;
    dsn_commit_follow(control);
    if (!dsn_transaction_open(transaction, &control->tables, (unsigned)exchange->owner, exchange->body, memfd,
                              &exchange->failure))
        return false;
    bool built = of_this_life(control, &transaction->head, &exchange->failure);
    if (built) {
        step_aside(control);
        built = dsn_transaction_build(transaction, &control->tables, &exchange->failure);
    }
    if (!built)
        dsn_transaction_close(transaction);
    return built;
}

bool dsn_do_commit(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_commit *head = exchange->body;
    struct dsn_outcomes *outcomes = control->tables.owner[exchange->owner].outcomes;
    struct dsn_transaction transaction;
    if (!is_new(outcomes, head->transaction, &exchange->failure))
        return false;
    if (!open_and_build(control, exchange, &transaction)) {
        dsn_outcomes_put(outcomes, head->transaction, 0, &exchange->failure);
        return false;
    }
    make(control, &transaction, exchange);
    return true;
}

bool dsn_do_outcome(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_outcome_ask *ask = exchange->body;
    struct dsn_outcome outcome = dsn_outcomes_get(control->tables.owner[exchange->owner].outcomes, ask->transaction);
    dsn_say(exchange, &outcome, sizeof(outcome));
    return true;
}

static bool busy(const struct dsn_control *control, unsigned owner, struct dsn_failure *failure) {
    uint64_t tenths = (control->staged[owner].ends_ns - dsn_now_ns() + 99999999) / 100000000;
    dsn_refuse(failure, DSN_BUSY, "staged commit", "", "one an owner at a time",
               "Make or drop the one that is staged, or wait for its end.");
    return dsn_got(failure, "another while %s holds one for %" PRIu64 ".%" PRIu64 " s more",
                   control->tables.owner[owner].name, tenths / 10, tenths % 10);
}

bool dsn_do_stage(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_commit *head = exchange->body;
    unsigned owner = (unsigned)exchange->owner;
    struct dsn_staged *staged = &control->staged[owner];
    struct dsn_transaction transaction;
    if (head->lease_ns > LONGEST_LEASE_NS) {
        dsn_refuse(&exchange->failure, DSN_INVALID, "staged commit", "lease_ns", "0..60000000000",
                   "Stage it again when it ends.");
        return dsn_got(&exchange->failure, "%" PRIu64, head->lease_ns);
    }
    dsn_staged_sweep(control, NULL);
    if (staged->there)
        return busy(control, owner, &exchange->failure);
    if (!is_new(control->tables.owner[owner].outcomes, head->transaction, &exchange->failure) ||
        !open_and_build(control, exchange, &transaction))
        return false;
    *staged = (struct dsn_staged){
        .there = true,
        .built = true,
        .number = ++control->stages_made,
        .since = control->tables.live->generation,
        .ends_ns = dsn_now_ns() + head->lease_ns,
        .holder = exchange->from,
        .transaction = transaction,
    };
    struct dsn_committed answer = {.generation = control->tables.live->generation, .number = staged->number};
    memcpy(answer.tag, control->tables.tag, sizeof(answer.tag));
    dsn_say(exchange, &answer, sizeof(answer));
    return true;
}

/* On top of what others committed since; its own owner's commits since make it STALE. */
static bool build_again(struct dsn_control *control, struct dsn_staged *staged, struct dsn_failure *failure) {
    if (staged->built)
        return true;
    step_aside(control);
    dsn_commit_follow(control);
    staged->transaction.head.base = staged->since;
    staged->built = dsn_transaction_build(&staged->transaction, &control->tables, failure);
    return staged->built;
}

/* A shard that looked at this stage before has flows of the generation to come, which has become another one. */
static void decide_anew(struct dsn_root *root) {
    static const struct dsn_row_vrf any = {0};
    dsn_stamp_row(root, DSN_TABLE_VRF, 0, &any, DSN_NO_SLOT, root->generation);
}

/* NULL: it was made or dropped, or its lease is over. */
static struct dsn_staged *staged_of(struct dsn_control *control, uint64_t number) {
    dsn_staged_sweep(control, NULL);
    for (unsigned owner = 0; owner < control->tables.owners; owner++)
        if (control->staged[owner].there && control->staged[owner].number == number)
            return &control->staged[owner];
    return NULL;
}

const struct dsn_root *dsn_staged_root(struct dsn_control *control, uint64_t number, struct dsn_failure *failure) {
    if (number == 0)
        return control->tables.live;
    struct dsn_staged *staged = staged_of(control, number);
    if (staged == NULL) {
        over(failure);
        return NULL;
    }
    if (!staged->built && build_again(control, staged, failure))
        decide_anew(control->tables.idle);
    return staged->built ? control->tables.idle : NULL;
}

/* The staged commit of this number, where it is this owner's. */
static struct dsn_staged *mine(struct dsn_control *control, const struct dsn_exchange *exchange) {
    const struct dsn_number *ask = exchange->body;
    struct dsn_staged *staged = staged_of(control, ask->number);
    return staged && staged->transaction.owner == (unsigned)exchange->owner ? staged : NULL;
}

bool dsn_do_make(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct dsn_staged *staged = mine(control, exchange);
    if (staged == NULL)
        return over(&exchange->failure);
    if (!build_again(control, staged, &exchange->failure)) {
        dsn_outcomes_put(control->tables.owner[exchange->owner].outcomes, staged->transaction.head.transaction, 0,
                         &exchange->failure);
        dsn_staged_drop(control, staged);
        return false;
    }
    staged->there = staged->built = false;
    make(control, &staged->transaction, exchange);
    return true;
}

bool dsn_do_unstage(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct dsn_staged *staged = mine(control, exchange);
    if (staged)
        dsn_staged_drop(control, staged);
    return true;
}
