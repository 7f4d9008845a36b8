/* The control thread: everything that isn't a packet. It alone touches what is declared here; what it shares with
 * workers stands in worker.h. */
#ifndef DSN_CONTROL_H
#define DSN_CONTROL_H

#include "events.h"
#include "outcomes.h"
#include "segment.h"
#include "transaction.h"
#include "worker.h"

#define DSN_REPLAYS 16

struct dsn_options {
    const char *run, *user, *prefix;
    unsigned memory_mb;
    bool huge;
    cpu_set_t cpus; /* the process's, or those of --cores */
};

/* A commit that is checked and built but not made, one an owner. One of them stands on the idle copy (`built`); where
 * another commit or stage comes next, it is taken off and built anew when somebody looks at it. */
struct dsn_staged {
    bool there, built;
    uint64_t number; /* no two of an engine have the same */
    uint64_t since;  /* generation that it was staged on */
    uint64_t ends_ns;
    const void *holder; /* connection it ends with */
    struct dsn_transaction transaction;
};

struct dsn_replay {       /* a private shard */
    uint32_t number;      /* 0: this place is free */
    bool guest;           /* made by another user than who started the engine */
    uint32_t connections; /* that fit into it */
    const void *holder;
    struct dsn_shard *shard;
    struct dsn_segment segment;
    struct dsn_events *events;
    uint64_t now;
    uint64_t stage; /* the staged commit that it looks at, 0 for the live tables: for good */
};

struct dsn_control {
    const struct dsn_options *options;
    int run; /* the run folder */
    uint64_t started_ns;
    uint64_t life; /* drawn at the start */
    struct dsn_engine engine;
    struct dsn_tables tables;
    struct dsn_staged staged[DSN_TABLES + 1]; /* by owner */
    uint64_t stages_made;
    struct dsn_transaction behind; /* made, and yet to be followed by the idle copy */
    bool has_behind;
    struct dsn_segment segment;
    struct dsn_events events;
    struct dsn_load load;
    struct dsn_load_port port[DSN_MAX_PORTS];
    int kept[DSN_MAX_PORTS]; /* descriptors that came with the ports' latest interfaces; 0: none */
    struct rte_mempool *replay_pool;
    struct dsn_replay replay[DSN_REPLAYS];
    struct dsn_port *replay_port[DSN_MAX_PORTS + 1]; /* those that are loaded, then `nowhere` */
    struct dsn_port nowhere; /* stands for a port that isn't loaded, where a replayed packet claims to come from one */
    uint32_t replays_made;
    uint64_t pickup_until; /* of the live shards */
    struct dsn_server *server;
    bool loaded, running, ending;
};

/* One request and its answer. */
struct dsn_exchange {
    const void *from; /* the connection, as a name for it: what it began ends with it */
    int owner;        /* whose write socket it is; -1: none's */
    bool guest;       /* asked by another user than who started the engine */
    uint16_t verb;
    uint32_t shard;
    const void *body; /* of the verb's size */
    int memfd;        /* -1: none; who takes it sets it to -1 */
    int *device;      /* LOAD's further descriptors, taken likewise */
    unsigned devices;

    uint8_t answer[DSN_WIRE_MAX - sizeof(struct dsn_answer)];
    uint32_t size;
    int answer_fd;
    struct dsn_failure failure;
};

static inline void dsn_say(struct dsn_exchange *exchange, const void *answer, size_t size) {
    memcpy(exchange->answer, answer, size);
    exchange->size = (uint32_t)size;
}

/* Verbs. False: `failure` says why, and nothing has changed. */
typedef bool dsn_verb_fn(struct dsn_control *control, struct dsn_exchange *exchange);
dsn_verb_fn dsn_do_load, dsn_do_start, dsn_do_stop, dsn_do_take_up;
dsn_verb_fn dsn_do_commit, dsn_do_outcome, dsn_do_stage, dsn_do_make, dsn_do_unstage, dsn_do_forget;
dsn_verb_fn dsn_do_snapshot, dsn_do_flows, dsn_do_flow, dsn_do_neighbours, dsn_do_settle, dsn_do_counters;
dsn_verb_fn dsn_do_events, dsn_do_capabilities, dsn_do_hello;
dsn_verb_fn dsn_do_shard, dsn_do_replay, dsn_do_shard_close, dsn_do_trace;

/* commit.c: the second copy follows, behind the answer and before the next commit. */
void dsn_commit_follow(struct dsn_control *control);
/* The tables that a stage's number means; 0: the live ones. NULL: it is over, or can't be made any more. */
const struct dsn_root *dsn_staged_root(struct dsn_control *control, uint64_t number, struct dsn_failure *failure);
void dsn_staged_drop(struct dsn_control *control, struct dsn_staged *staged);
/* Those whose lease is over, and with `holder` those that it holds. */
void dsn_staged_sweep(struct dsn_control *control, const void *holder);
void dsn_staged_drop_all(struct dsn_control *control);

/* replay.c. NULL for 0 (live) and, with an INVALID failure, for a number that isn't there. */
struct dsn_replay *dsn_replay_of(struct dsn_control *control, struct dsn_exchange *exchange);
void dsn_replay_end(struct dsn_control *control, struct dsn_replay *replay);

/* Runs fn on the shard of each worker in turn, or on that of a replay. */
void dsn_each_shard(struct dsn_control *control, struct dsn_replay *replay,
                    void (*fn)(struct dsn_shard *shard, void *argument), void *argument);
/* The same, of each shard until *cursor is 0: part by part, so that packets go on between two of them. */
void dsn_in_parts(struct dsn_control *control, struct dsn_replay *replay,
                  void (*fn)(struct dsn_shard *shard, void *argument), void *argument, const uint64_t *cursor);

/* load.c: the reverse of LOAD and START. `last`: the process ends, and with it the memory of packets. */
void dsn_unload(struct dsn_control *control, bool last);
/* server.c: the write sockets of owners that LOAD named: those that came with it, one an owner (they are taken), or,
 * with NULL, our own. */
bool dsn_server_owners(struct dsn_control *control, int *given, struct dsn_failure *failure);
/* process.c: what is still allowed to any thread once no device will be opened any more: nothing. */
bool dsn_process_confine(void);
/* live.c: links, leases, events of workers: now and then, and when a link is heard to have changed. */
void dsn_tick(struct dsn_control *control);
/* The connection is gone, and what it began with it. */
void dsn_holder_gone(struct dsn_control *control, const void *holder);

#endif
