/* TRACE changes nothing: it runs the packet on copies. First on one with the flow that is installed for it, then on one
 * without any flow, which shows what the chain decides now. */
#include "memfd.h"
#include "replay.h"

#include <stdlib.h>

#define CONNECTIONS 64 /* that one packet could meet */
#define STEP_FLOW 4    /* the contract's StepKind.FLOW */

struct tracer {
    struct dsn_control *control;
    struct dsn_replay *source; /* NULL: the live shards */
    const struct dsn_root *root;
    struct dsn_segment segment; /* what the copies count, and nobody reads */
};

struct copy_call {
    struct dsn_shard *to;
    const struct dsn_root *root;
    struct rte_mbuf *packet;
    uint64_t now, cursor;
};

static void copy_some(struct dsn_shard *from, void *argument) {
    struct copy_call *call = argument;
    dsn_shard_copy_some(call->to, from, &call->cursor);
}

static void copy_for(struct dsn_shard *from, void *argument) {
    struct copy_call *call = argument;
    call->now = dsn_shard_copy_for(call->to, from, call->root, call->packet, call->now);
}

/* *now becomes the time of a worker that is ahead. */
static struct dsn_shard *copy(struct tracer *tracer, struct rte_mbuf *packet, uint64_t *now, uint64_t pickup_until,
                              struct dsn_failure *failure) {
    struct dsn_shard *shard = dsn_shard_for(tracer->control, &tracer->segment, CONNECTIONS, pickup_until, failure);
    struct copy_call call = {shard, tracer->root, packet, *now, 0};
    if (shard) {
        dsn_in_parts(tracer->control, tracer->source, copy_some, &call, &call.cursor);
        dsn_each_shard(tracer->control, tracer->source, copy_for, &call);
    }
    *now = call.now;
    return shard;
}

/* Runs a copy of the packet; false: memory lacked. */
static bool run(struct tracer *tracer, struct dsn_shard *shard, struct rte_mbuf *packet, uint64_t now,
                bool only_with_flow, bool *met, struct dsn_results *results) {
    static struct dsn_witness witness; /* 8 KiB; the control thread is alone here */
    struct rte_mempool *pool = tracer->control->replay_pool;
    /* DPDK copies no frame of no bytes. */
    struct rte_mbuf *mbuf = packet->pkt_len ? rte_pktmbuf_copy(packet, pool, 0, UINT32_MAX) : rte_pktmbuf_alloc(pool);
    if (mbuf)
        mbuf->port = packet->port;
    if (mbuf == NULL || !dsn_results_begin(results)) {
        rte_pktmbuf_free(mbuf);
        return false;
    }
    witness.count = 0;
    struct dsn_result verdict = dsn_path_witness(shard, tracer->root, mbuf, now, &witness);
    bool kept = dsn_results_drain(results, tracer->control, shard, &tracer->segment);
    *met = false;
    for (uint32_t i = 0; i < witness.count; i++)
        *met |= witness.step[i].kind == STEP_FLOW;
    if (only_with_flow && !*met) { /* no flow: the record says so by verdict 0, and nothing else */
        results->size = results->head;
        kept = kept && dsn_results_begin(results);
        verdict = (struct dsn_result){0};
        witness.count = 0;
    }
    return kept && dsn_results_end(results, verdict, &witness);
}

static bool trace_one(struct tracer *tracer, struct dsn_packets *packets, struct dsn_results *results,
                      struct dsn_failure *failure) {
    static const struct dsn_flows_ask all = {0};
    uint64_t now = tracer->source ? tracer->source->now : dsn_now_ns();
    now = packets->time > now ? packets->time : now;
    bool met = false, well = false;
    struct dsn_shard *with = copy(tracer, packets->mbuf, &now, 0, failure), *without = NULL;
    if (with && run(tracer, with, packets->mbuf, now, true, &met, results)) {
        /* A segment amid a connection that is there is decided as if it began one: that is the question. */
        without = copy(tracer, packets->mbuf, &now, met ? UINT64_MAX : tracer->control->pickup_until, failure);
        if (without) {
            dsn_shard_forget(without, tracer->root, &all, now);
            well = run(tracer, without, packets->mbuf, now, false, &met, results);
        }
    }
    if (!well && failure->kind == 0)
        dsn_refuse(failure, DSN_FULL, "trace", "", "memory for it", NULL);
    if (with)
        dsn_shard_destroy(with);
    if (without)
        dsn_shard_destroy(without);
    rte_pktmbuf_free(packets->mbuf);
    return well;
}

bool dsn_do_trace(struct dsn_control *control, struct dsn_exchange *exchange) {
    const struct dsn_replay_ask *ask = exchange->body;
    struct dsn_failure *failure = &exchange->failure;
    struct tracer tracer = {.control = control, .source = dsn_replay_of(control, exchange)};
    struct dsn_packets packets;
    struct dsn_results results = {0};
    if (failure->kind || !(tracer.root = dsn_staged_root(control, ask->stage, failure)) ||
        !dsn_replay_pool(control, failure) || !dsn_packets_open(&packets, control, exchange, DSN_TRACE_PACKETS))
        return false;
    bool well = dsn_segment_create(&tracer.segment, &control->tables, 1, control->engine.ports,
                                   control->engine.port_count, false, failure);
    while (well && dsn_packets_next(&packets, failure))
        well = trace_one(&tracer, &packets, &results, failure);
    well = well && failure->kind == 0 && dsn_results_answer(&results, 2ull * packets.done, exchange);
    dsn_segment_destroy(&tracer.segment);
    dsn_memfd_unmap(packets.data, packets.size);
    free(results.data);
    return well;
}
