/* Limits: connections a vNIC, new ones a second, half-open ones, packets to the card's own programs, fragments, logs.
 *
 * A vNIC's limit is one for all workers. Where there are several, each borrows what its connections need from a budget
 * that all of them share (path/budgets.h). */
#include "path/shard.h"

#define SHARE 4 /* what part of all connections a share may have where nothing says otherwise (hal/packet/derive.py) */
#define QUIET (10 * DSN_SECOND) /* what goes on biting is told of again after this long */

/* vnic: NULL: it is the table's. */
static void tell(struct dsn_shard *shard, uint64_t *told, enum dsn_event_kind kind, const struct dsn_vnic *vnic) {
    if (*told != 0 && shard->now - (*told - 1) < QUIET)
        return;
    *told = shard->now + 1;
    dsn_event_put(shard, kind, vnic != NULL ? DSN_TABLE_VNIC : -1, vnic != NULL ? vnic->id : 0, "");
}

void dsn_limit_refused(struct dsn_shard *shard, enum dsn_limit limit, const struct dsn_vnic *vnic) {
    if (shard->config.limits != NULL)
        shard->config.limits[vnic->slot][limit].refused++;
}

/* Of which limit's telling it is: those of one event are told together. */
static unsigned slot_of(enum dsn_limit limit) {
    if (limit == DSN_LIMIT_ERRORS || limit == DSN_LIMIT_ERRORS + 1)
        return DSN_LIMIT_ICMP + (limit - DSN_LIMIT_ERRORS);
    if (limit == DSN_LIMIT_FIRSTS_TO)
        return DSN_LIMIT_FIRSTS + 1;
    return limit == DSN_LIMIT_WAITING ? DSN_LIMIT_NEIGHBOURS : limit;
}

__rte_cold void dsn_limit_refuses(struct dsn_shard *shard, enum dsn_limit limit, struct dsn_vnic_state *state,
                                  enum dsn_event_kind kind, const struct dsn_vnic *vnic) {
    dsn_limit_refused(shard, limit, vnic);
    tell(shard, &state->told[slot_of(limit)], kind, vnic);
}

uint8_t dsn_share_flag(const struct dsn_vnic *ingress, const struct dsn_vnic *egress) {
    if (ingress->role == DSN_VNIC_ROLE_VNIC)
        return DSN_SESSION_OWN;
    return egress->role == DSN_VNIC_ROLE_VNIC ? DSN_SESSION_INBOUND : 0;
}

/* An expired connection goes, as those do that count as absent: the sweep would have to take them out as well. False:
 * none of those that were looked at, DSN_LOOKS that live in a burst: a flood that is refused mustn't cost others more
 * than that. */
static bool one_less(struct dsn_shard *shard, uint64_t now) {
    uint32_t number = dsn_flows_next_expired(&shard->flows, now, &shard->looks);
    if (number == 0)
        return false;
    shard->looks++;
    dsn_connection_remove(shard, number);
    return true;
}

/* A worker's part. Each new connection asks, and of one worker nothing has to be divided. */
static inline uint64_t among(uint64_t all, uint16_t workers) {
    return likely(workers == 1) ? all : all / workers;
}

/* May the vNIC have one more here? */
static bool fits(struct dsn_shard *shard, struct dsn_vnic_state *state, unsigned share, uint32_t limit) {
    uint32_t part = dsn_even_part(shard, limit);
    struct dsn_budget *budget = state->budget;
    if (budget == NULL)
        return state->open[share] < part;
    /* Who picks tuples of one worker mustn't fill its table: he has there what would be his share of it, or a
     * quarter. */
    if (state->open[share] >= RTE_MAX(part, shard->flows.capacity / 4))
        return false;
    if (state->open[share] < state->lent[share] && dsn_budget_lent(budget, share) <= limit)
        return true;
    dsn_budget_return(budget, share, state->lent[share] - state->open[share]); /* the limit was lowered, or none */
    state->lent[share] = state->open[share];
    state->chunk[share] = dsn_budget_chunk(shard->config.budgets, limit);
    state->lent[share] += dsn_budget_borrow(budget, share, limit, state->chunk[share]);
    return state->open[share] < state->lent[share];
}

void dsn_share_tidy(struct dsn_shard *shard, uint32_t number, unsigned share) {
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    uint32_t idle = state->lent[share] - state->open[share];
    uint32_t keep = state->open[share] > 0 && state->chunk[share] > 1 ? state->chunk[share] : 0;
    if (state->budget == NULL || idle <= 2 * keep || unlikely(shard->keeps == (number << 1 | share)))
        return;
    dsn_budget_return(state->budget, share, idle - keep);
    state->lent[share] -= idle - keep;
}

uint32_t dsn_share_state(struct dsn_shard *shard, uint64_t vnic) {
    uint32_t number = dsn_vnic_state(&shard->vnics, vnic);
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    if (number != 0 && shard->config.budgets != NULL && state->budget == NULL)
        state->budget = dsn_budget_of(shard->config.budgets, vnic);
    return number;
}

/* What is in a bucket now. */
static inline uint64_t credit_of(const struct dsn_bucket *bucket, const struct dsn_rate *r, uint64_t now) {
    uint64_t deep = among(r->rate * DSN_SECOND, r->workers), token = r->parts * DSN_SECOND;
    if (r->rate > 0 && deep < token)
        deep = token; /* one packet at least: with few a second all buckets together may send one each */
    uint64_t passed = now - bucket->credit_ns;
    uint64_t more, credit = deep;
    /* What 64 bits don't hold is more than any bucket does, shared among 64 workers as well. */
    if (bucket->used && !__builtin_mul_overflow(passed, r->rate, &more) && (more = among(more, r->workers)) < deep)
        credit = RTE_MIN(deep, bucket->credit + more);
    return credit;
}

/* A token of a bucket. */
static inline bool take_of(struct dsn_bucket *bucket, const struct dsn_rate *r, uint64_t now) {
    uint64_t credit = credit_of(bucket, r, now), token = r->parts * DSN_SECOND;
    bool enough = credit >= token;
    *bucket = (struct dsn_bucket){.used = true, .credit = enough ? credit - token : credit, .credit_ns = now};
    return enough;
}

/* One bucket, of which each worker has its part. */
static bool take(const struct dsn_shard *shard, struct dsn_bucket *bucket, uint64_t rate, uint64_t now) {
    return take_of(bucket, &(struct dsn_rate){.rate = rate, .parts = 1, .workers = shard->config.workers}, now);
}

/* It makes way, if there is one. */
static bool evict(struct dsn_shard *shard, uint32_t number) {
    if (number == 0)
        return false;
    shard->counters.engine[dsn_half_is_ended(shard, number) ? DSN_COUNT_ENDED_EVICTED : DSN_COUNT_HALF_OPEN_EVICTED]++;
    dsn_connection_remove(shard, number);
    return true;
}

/* The same for one of this share that there is room for: what that was lent isn't given back meanwhile. */
static bool evict_beside(struct dsn_shard *shard, struct dsn_vnic_state *state, unsigned share, uint32_t number) {
    state->open[share]++;
    bool gone = evict(shard, number);
    state->open[share]--;
    return gone;
}

/* Nobody of the share may go here. Is there one more in what other workers offer? It is asked for more in any
 * case. */
static bool fits_by_offer(struct dsn_shard *shard, struct dsn_vnic_state *state, unsigned share, uint32_t limit) {
    struct dsn_budget *budget = state->budget;
    if (budget == NULL)
        return false;
    /* What nobody has taken is lent all the same: where the limit was lowered it is what has to go back. */
    state->lent[share] += dsn_budget_take(budget, share);
    if (dsn_budget_lent(budget, share) > limit)
        return fits(shard, state, share, limit);
    if (state->open[share] >= RTE_MAX(dsn_even_part(shard, limit), shard->flows.capacity / 4))
        return false;
    dsn_budget_ask(budget, share, shard->config.worker);
    return state->open[share] < state->lent[share];
}

/* By `flow_limit` one of the share goes: told, if it hadn't ended. */
static void limit_pushes_out(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t number, unsigned share,
                             uint32_t gone) {
    if (!dsn_half_is_ended(shard, gone))
        dsn_limit_refuses(shard, DSN_LIMIT_FLOWS + share, &shard->vnics.state[number], DSN_EVENT_FLOW_LIMIT, vnic);
}

/* Another worker has asked: what of this share has ended here, or has had no reply, goes for it, some of it. */
static __rte_cold __rte_noinline void offer(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t number,
                                            unsigned share, uint32_t limit) {
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    unsigned gone = 0;
    for (uint32_t first; gone < DSN_HALF_AT_ONCE; gone++) {
        if ((first = dsn_half_first(shard, number, share, false)) == 0)
            break;
        limit_pushes_out(shard, vnic, number, share, first);
        (void)evict_beside(shard, state, share, first);
    }
    if (gone == 0)
        return;
    uint32_t some = RTE_MIN(gone, state->lent[share] - state->open[share] - 1); /* but for the one that is opened */
    state->lent[share] -= some;
    some += dsn_budget_borrow(state->budget, share, limit, gone - some); /* as it may have gone back already */
    dsn_budget_offer(state->budget, share, some);
}

/* One more is to fit: what has ended of the share goes for it, or what is half-open, which is told. */
static __rte_noinline bool oldest_make_way(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t number,
                                           unsigned share, uint32_t limit) {
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    bool room = false;
    for (unsigned gone = 0; !room; gone++) {
        uint32_t first = dsn_half_first(shard, number, share, true);
        if (gone == DSN_HALF_AT_ONCE || first == 0)
            break;
        limit_pushes_out(shard, vnic, number, share, first);
        (void)evict(shard, first);
        room = fits(shard, state, share, limit);
    }
    if (state->budget != NULL && dsn_half_first(shard, number, share, true) == 0)
        dsn_budget_ask(state->budget, share, shard->config.worker);
    return room;
}

uint32_t dsn_half_most(const struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t flows) {
    uint32_t limit = vnic->half_open_limit != 0 ? vnic->half_open_limit : shard->config.half_open_limit;
    return RTE_MAX(dsn_even_part(shard, RTE_MIN(limit, flows / 2)), 1u);
}

/* Room for one more handshake, if the oldest of the share's has to go for it. `flows`: how many it may have in all. */
static void make_way(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t number, unsigned share,
                     uint32_t flows, uint64_t now) {
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    uint32_t part = dsn_half_most(shard, vnic, flows);
    const uint32_t *count = &state->half[share].count[DSN_HALF_TCP];
    while (*count >= part && one_less(shard, now)) {}
    if (likely(*count < part))
        return;
    tell(shard, &state->told[DSN_LIMIT_HALF_OPEN + share], DSN_EVENT_HALF_OPEN_LIMIT, vnic);
    while (*count >= part && evict_beside(shard, state, share, dsn_half_oldest(shard, number, share)))
        dsn_limit_refused(shard, DSN_LIMIT_HALF_OPEN + share, vnic);
}

/* What a vNIC has, of what it opens or of what comes to it. */
static enum dsn_reason_number share_limits(struct dsn_shard *shard, const struct dsn_vnic *vnic, uint32_t number,
                                           unsigned share, unsigned direction, uint8_t tcp_state, uint64_t now) {
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    const struct dsn_shard_config *config = &shard->config;
    uint32_t limit = share == 0 ? vnic->flow_limit : vnic->inbound_flow_limit,
             rate = vnic->new_flow_limit != 0 ? vnic->new_flow_limit : config->new_flow_limit;
    if (number == 0)
        return DSN_REASON_FLOW_LIMIT;
    if (limit == 0)
        limit = share == 0 ? config->flow_limit : config->inbound_flow_limit;
    bool room = false;
    while (!(room = fits(shard, state, share, limit)) && one_less(shard, now)) {}
    if (unlikely(!room) && dsn_half_first(shard, number, share, true) == 0 &&
        !(room = fits_by_offer(shard, state, share, limit))) {
        dsn_limit_refuses(shard, DSN_LIMIT_FLOWS + share, state, DSN_EVENT_FLOW_LIMIT, vnic);
        return DSN_REASON_FLOW_LIMIT;
    }
    unsigned sent_by = share ^ direction; /* who is picked up backwards has sent nothing */
    if (!take(shard, &state->opened[sent_by], rate, now)) {
        dsn_limit_refuses(shard, DSN_LIMIT_NEW_FLOWS + sent_by, state, DSN_EVENT_NEW_FLOW_LIMIT, vnic);
        return DSN_REASON_NEW_FLOW_LIMIT;
    }
    if (unlikely(!room) && !oldest_make_way(shard, vnic, number, share, limit)) {
        dsn_limit_refuses(shard, DSN_LIMIT_FLOWS + share, state, DSN_EVENT_FLOW_LIMIT, vnic);
        return DSN_REASON_FLOW_LIMIT;
    }
    if (unlikely(state->budget != NULL && dsn_budget_is_asked(state->budget, share, config->worker)))
        offer(shard, vnic, number, share, limit);
    if (tcp_state == DSN_TCP_SYN_SENT) /* else it was picked up */
        make_way(shard, vnic, number, share, limit, now);
    return DSN_PASSED;
}

/* Does no number of the vNIC's own say how many may count for it? Then what is free says it as well. NULL: of no
 * vNIC. */
static bool is_fair(const struct dsn_shard *shard, const struct dsn_vnic *vnic, unsigned share) {
    const struct dsn_shard_config *config = &shard->config;
    if (vnic == NULL)
        return true;
    uint32_t card = share == 0 ? config->flow_limit : config->inbound_flow_limit;
    return (share == 0 ? vnic->flow_limit : vnic->inbound_flow_limit) == 0 &&
           SHARE * (uint64_t)card <= (uint64_t)config->connections * config->workers;
}

static inline uint32_t free_of(const struct dsn_shard *shard) {
    return shard->flows.used < shard->flows.capacity ? shard->flows.capacity - shard->flows.used : 0;
}

/* Of whom `fair` is asked fewer than half as many may be here as places are free: who floods leaves places to
 * others. */
static inline bool has_room(const struct dsn_shard *shard, const struct dsn_vnic_state *state, unsigned share,
                            bool fair) {
    uint32_t room = free_of(shard);
    return room > 0 && !(fair && 2 * (uint64_t)state->open[share] >= room);
}

/* May what others have that is half-open or has ended go for one more of his? Where it is much, as if it were free. */
static __rte_noinline bool may_take_of_others(const struct dsn_shard *shard, uint32_t number, unsigned share,
                                              bool fair) {
    uint64_t room = free_of(shard), theirs = dsn_half_of_others(shard, number, share);
    return !fair || (2 * theirs >= room && 2 * (uint64_t)shard->vnics.state[number].open[share] < room + theirs);
}

enum dsn_reason_number dsn_limits(struct dsn_shard *shard, const struct dsn_vnic *ingress,
                                  const struct dsn_vnic *egress, unsigned direction, uint8_t tcp_state, uint64_t now) {
    uint8_t flag = dsn_share_flag(ingress, egress);
    const struct dsn_vnic *vnic = flag == DSN_SESSION_INBOUND ? egress : ingress;
    uint32_t number = flag != 0 ? dsn_share_state(shard, vnic->id) : 0;
    unsigned share = flag == DSN_SESSION_INBOUND;
    enum dsn_reason_number reason = DSN_PASSED;
    if (flag != 0)
        reason = share_limits(shard, vnic, number, share, direction, tcp_state, now);
    if (reason != DSN_PASSED) {
        dsn_limits_undo(shard, ingress, egress);
        return reason;
    }
    const struct dsn_vnic_state *state = &shard->vnics.state[number];
    bool room, fair = is_fair(shard, flag != 0 ? vnic : NULL, share);
    while (!(room = has_room(shard, state, share, fair)) && one_less(shard, now)) {}
    if (likely(room))
        return DSN_PASSED;
    uint32_t victim = dsn_half_victim(shard, number, share, may_take_of_others(shard, number, share, fair));
    if (victim == 0 || !dsn_half_is_ended(shard, victim))
        tell(shard, &shard->full_told, DSN_EVENT_FLOW_TABLE_FULL, NULL);
    if (evict_beside(shard, &shard->vnics.state[number], share, victim))
        return DSN_PASSED;
    dsn_limits_undo(shard, ingress, egress);
    return DSN_REASON_FLOW_TABLE_FULL;
}

void dsn_limits_undo(struct dsn_shard *shard, const struct dsn_vnic *ingress, const struct dsn_vnic *egress) {
    uint8_t flag = dsn_share_flag(ingress, egress);
    if (flag == 0 || shard->config.budgets == NULL)
        return;
    uint32_t number = dsn_vnic_state(&shard->vnics, flag == DSN_SESSION_OWN ? ingress->id : egress->id);
    if (number != 0)
        dsn_share_tidy(shard, number, flag == DSN_SESSION_OWN ? 0 : 1);
}

/* Strangers by an uplink share a limit, apart by address; whom the card speaks with have each a bucket that no stranger
 * takes from: what it has asked for, and TCP that is established. */
static void stranger_or_known(struct dsn_shard *shard, const struct dsn_packet *p, const struct dsn_session *session,
                              unsigned direction, uint32_t number, struct dsn_meter *meter) {
    bool known =
        session != NULL && (direction == 1 || (session->tcp == DSN_TCP_ESTABLISHED && session->packets[1] > 0));
    unsigned bucket = dsn_bucket_of(shard, known ? "punt known" : "punt", p->vnic->id, p->key.source);
    shard->vnics.state[number].challenged = true;
    meter->bucket = &dsn_challenges(&shard->vnics, number)->punt[known][bucket];
    meter->rate.parts = known ? 1 : DSN_CHALLENGE_BUCKETS;
    meter->rate.workers = known ? 1 : shard->config.workers;
}

bool dsn_meter_may(struct dsn_shard *shard, const struct dsn_packet *p, const struct dsn_session *session,
                   unsigned direction, struct dsn_meter *meter) {
    const struct dsn_vnic *vnic = p->vnic;
    uint32_t number = dsn_share_state(shard, vnic->id);
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    *meter = (struct dsn_meter){
        .bucket = &state->punt,
        .rate = {.rate = vnic->punt_limit != 0 ? vnic->punt_limit : shard->config.punt_limit,
                 .parts = 1,
                 .workers = shard->config.workers},
    };
    if (number == 0)
        return false;
    if (vnic->role == DSN_VNIC_ROLE_UPLINK)
        stranger_or_known(shard, p, session, direction, number, meter);
    else
        meter->budget = state->budget;
    bool may = meter->budget != NULL
                   ? dsn_budget_has_punt(meter->budget, (uint32_t)meter->rate.rate, shard->now)
                   : credit_of(meter->bucket, &meter->rate, shard->now) >= meter->rate.parts * DSN_SECOND;
    if (!may)
        dsn_limit_refuses(shard, DSN_LIMIT_PUNTS, state, DSN_EVENT_PUNT_LIMIT, vnic);
    return may;
}

/* Where another worker was faster there is none left: one more is sent then, at most, by each. */
void dsn_meter_take(const struct dsn_shard *shard, const struct dsn_meter *meter) {
    if (meter->budget != NULL)
        (void)dsn_budget_punt(meter->budget, (uint32_t)meter->rate.rate, shard->now);
    else
        (void)take_of(meter->bucket, &meter->rate, shard->now);
}

void dsn_firsts_are_limited(struct dsn_shard *shard, struct dsn_whom whom) {
    enum dsn_limit limit = whom.inbound ? DSN_LIMIT_FIRSTS_TO : DSN_LIMIT_FIRSTS;
    uint32_t number = dsn_vnic_state(&shard->vnics, whom.vnic->id);
    if (number != 0)
        dsn_limit_refuses(shard, limit, &shard->vnics.state[number], DSN_EVENT_FIRST_PACKET_LIMIT, whom.vnic);
    else
        dsn_limit_refused(shard, limit, whom.vnic);
}

void dsn_neighbours_are_limited(struct dsn_shard *shard, enum dsn_limit limit, uint32_t number,
                                const struct dsn_vnic *vnic) {
    dsn_limit_refuses(shard, limit, &shard->vnics.state[number], DSN_EVENT_NEIGHBOUR_LIMIT, vnic);
}

bool dsn_fragment_may(struct dsn_shard *shard, struct dsn_whom whom) {
    const struct dsn_vnic *vnic = whom.vnic;
    uint32_t number = dsn_vnic_state(&shard->vnics, vnic->id),
             limit = vnic->fragment_limit != 0 ? vnic->fragment_limit : shard->config.fragment_limit;
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    uint32_t used = state->fragments[whom.inbound];
    bool may = number != 0 && used < dsn_fragments_most(&shard->fragments, whom, used, limit);
    if (!may && number != 0)
        dsn_limit_refuses(shard, DSN_LIMIT_FRAGMENTS + whom.inbound, state, DSN_EVENT_FRAGMENT_LIMIT, vnic);
    return may;
}

bool dsn_log_take(struct dsn_shard *shard, const struct dsn_vnic *ingress, const struct dsn_vnic *egress,
                  uint64_t now) {
    bool inbound = egress != NULL && dsn_share_flag(ingress, egress) == DSN_SESSION_INBOUND;
    uint32_t number = dsn_vnic_state(&shard->vnics, inbound ? egress->id : ingress->id);
    return number != 0 && take(shard, &shard->vnics.state[number].log[inbound], DSN_LOGS_PER_SECOND, now);
}
