#include "path/shard.h"
#include "path/tcp.h"

/* Shares by number: 1 and 2 are of no vNIC (between uplinks or card), then two of each vNIC's state. */
static uint32_t ref_of(uint32_t state, unsigned share) {
    return state * 2 + share + 1;
}

/* What has ended is listed as what is half-open is, elsewhere. */
static inline struct dsn_half *all_of(const struct dsn_shard *shard, bool ended) {
    return ended ? &shard->flows.wheel->ended : &shard->flows.wheel->half;
}

static inline struct dsn_half_of *at(const struct dsn_shard *shard, bool ended, uint32_t ref) {
    uint32_t state = (ref - 1) / 2;
    struct dsn_half_of *of = ended ? dsn_ended_of(&shard->vnics, state) : shard->vnics.state[state].half;
    return &of[(ref - 1) % 2];
}

static uint32_t count_of(const struct dsn_half_of *of) {
    return of->count[DSN_HALF_TCP] + of->count[DSN_HALF_OTHER];
}

static unsigned share_of(const struct dsn_connection *c) {
    return c->session.flags & DSN_SESSION_INBOUND ? 1 : 0;
}

static uint32_t share_at(const struct dsn_shard *shard, uint32_t number) {
    return ref_of(shard->flows.rest[number].share, share_of(&shard->flows.connection[number]));
}

static enum dsn_half_kind half_kind(const struct dsn_connection *c) {
    return dsn_line(c, 0)->key.protocol == DSN_TCP ? DSN_HALF_TCP : DSN_HALF_OTHER;
}

/* What it is now. Closed by a RST that its receiver may not have taken it may live. What was picked up is as little
 * loss as what has ended, until both sides were heard. */
static enum dsn_half_kind kind_of(const struct dsn_shard *shard, uint32_t number) {
    const struct dsn_connection *c = &shard->flows.connection[number];
    if (half_kind(c) == DSN_HALF_OTHER) {
        if (!(c->session.flags & DSN_SESSION_REPLIED))
            return DSN_HALF_OTHER;
        return c->session.flags & DSN_SESSION_EXCHANGE ? DSN_ENDED : DSN_LIVES;
    }
    switch (c->session.tcp) {
    case DSN_TCP_SYN_SENT:
    case DSN_TCP_SYN_RECEIVED: return DSN_HALF_TCP;
    case DSN_TCP_TIME_WAIT: return DSN_ENDED;
    case DSN_TCP_CLOSED: return shard->flows.windows[number].flags & DSN_TCP_DOUBTED ? DSN_LIVES : DSN_ENDED;
    default: return dsn_tcp_is_alone(c->session.tcp, &shard->flows.windows[number]) ? DSN_ENDED : DSN_LIVES;
    }
}

/* What it is listed as. */
static enum dsn_half_kind listed_as(const struct dsn_shard *shard, uint32_t number) {
    uint32_t previous = shard->flows.wheel->half.link[number].previous;
    if (previous == 0)
        return DSN_LIVES;
    return previous & DSN_HALF_ENDED ? DSN_ENDED : half_kind(&shard->flows.connection[number]);
}

/* Of two shares, whether `a` gives first: of whom more count for; of as many, who has been given one for longest no
 * more. */
static bool gives_before(const struct dsn_half_share *a, const struct dsn_half_share *b) {
    return a->count != b->count ? a->count > b->count : a->latest < b->latest;
}

static inline void put(struct dsn_shard *shard, bool ended, uint32_t place, struct dsn_half_share one) {
    all_of(shard, ended)->heap[place] = one;
    at(shard, ended, one.ref)->place = place;
}

static void rises(struct dsn_shard *shard, bool ended, uint32_t place, struct dsn_half_share one) {
    const struct dsn_half_share *heap = all_of(shard, ended)->heap;
    for (; place > 1 && gives_before(&one, &heap[place / 2]); place /= 2)
        put(shard, ended, place, heap[place / 2]);
    put(shard, ended, place, one);
}

static void sinks(struct dsn_shard *shard, bool ended, uint32_t place, struct dsn_half_share one) {
    const struct dsn_half *half = all_of(shard, ended);
    for (uint32_t next; (next = place * 2) <= half->shares; place = next) {
        next += next < half->shares && gives_before(&half->heap[next + 1], &half->heap[next]);
        if (!gives_before(&half->heap[next], &one))
            break;
        put(shard, ended, place, half->heap[next]);
    }
    put(shard, ended, place, one);
}

static void one_more(struct dsn_shard *shard, bool ended, uint32_t ref, unsigned list) {
    struct dsn_half *half = all_of(shard, ended);
    struct dsn_half_of *of = at(shard, ended, ref);
    of->count[list]++;
    half->all++;
    uint32_t place = of->place != 0 ? of->place : ++half->shares;
    rises(shard, ended, place, (struct dsn_half_share){++half->entered, count_of(of), ref});
}

static void one_less(struct dsn_shard *shard, bool ended, uint32_t ref, unsigned list) {
    struct dsn_half *half = all_of(shard, ended);
    struct dsn_half_of *of = at(shard, ended, ref);
    struct dsn_half_share one = half->heap[of->place];
    of->count[list]--;
    half->all--;
    if (--one.count > 0) {
        sinks(shard, ended, of->place, one);
        return;
    }
    uint32_t place = of->place;
    struct dsn_half_share last = half->heap[half->shares--];
    of->place = 0;
    if (last.ref == ref)
        return;
    rises(shard, ended, place, last);
    if (half->heap[place].ref == last.ref)
        sinks(shard, ended, place, last);
}

static inline void enter(struct dsn_shard *shard, uint32_t number, bool ended, unsigned list) {
    uint32_t ref = share_at(shard, number), mark = ended ? DSN_HALF_ENDED : 0;
    struct dsn_half_of *of = at(shard, ended, ref);
    struct dsn_half_link *link = shard->flows.wheel->half.link;
    link[number] = (struct dsn_half_link){.previous = (of->tail[list] != 0 ? of->tail[list] : DSN_HALF_FIRST) | mark};
    if (of->tail[list] != 0)
        link[of->tail[list]].next = number;
    else
        of->head[list] = number;
    of->tail[list] = number;
    one_more(shard, ended, ref, list);
}

static inline void leave(struct dsn_shard *shard, uint32_t number, bool ended, unsigned list) {
    uint32_t ref = share_at(shard, number);
    struct dsn_half_of *of = at(shard, ended, ref);
    struct dsn_half_link *link = shard->flows.wheel->half.link, *one = &link[number];
    uint32_t previous = one->previous & ~DSN_HALF_ENDED;
    if (previous != DSN_HALF_FIRST)
        link[previous].next = one->next;
    else
        of->head[list] = one->next;
    if (one->next != 0)
        link[one->next].previous = one->previous;
    else
        of->tail[list] = previous != DSN_HALF_FIRST ? previous : 0;
    *one = (struct dsn_half_link){0};
    one_less(shard, ended, ref, list);
}

static __rte_noinline void enter_ended(struct dsn_shard *shard, uint32_t number) {
    enter(shard, number, true, 0);
}

static __rte_noinline void leave_ended(struct dsn_shard *shard, uint32_t number) {
    leave(shard, number, true, 0);
}

void dsn_half_enter(struct dsn_shard *shard, uint32_t number) {
    enum dsn_half_kind kind = kind_of(shard, number);
    if (likely(kind < DSN_HALF_KINDS))
        enter(shard, number, false, kind);
    else if (kind == DSN_ENDED)
        enter_ended(shard, number);
}

void dsn_half_leave(struct dsn_shard *shard, uint32_t number) {
    enum dsn_half_kind kind = listed_as(shard, number);
    if (kind < DSN_HALF_KINDS)
        leave(shard, number, false, kind);
    else if (kind == DSN_ENDED)
        leave_ended(shard, number);
}

void dsn_half_turn(struct dsn_shard *shard, uint32_t number) {
    if (kind_of(shard, number) == listed_as(shard, number))
        return;
    dsn_half_leave(shard, number);
    dsn_half_enter(shard, number);
}

uint32_t dsn_half_oldest(const struct dsn_shard *shard, uint32_t state, unsigned share) {
    return at(shard, false, ref_of(state, share))->head[DSN_HALF_TCP];
}

uint32_t dsn_half_first(const struct dsn_shard *shard, uint32_t state, unsigned share, bool handshakes) {
    const struct dsn_half_of *half = at(shard, false, ref_of(state, share));
    uint32_t first = dsn_half_ended(shard, state, share);
    if (first == 0)
        first = half->head[DSN_HALF_OTHER];
    return first != 0 || !handshakes ? first : half->head[DSN_HALF_TCP];
}

uint32_t dsn_half_ended(const struct dsn_shard *shard, uint32_t state, unsigned share) {
    return at(shard, true, ref_of(state, share))->head[0];
}

uint32_t dsn_half_ended_count(const struct dsn_shard *shard, uint32_t state, unsigned share) {
    return at(shard, true, ref_of(state, share))->count[0];
}

bool dsn_half_is_ended(const struct dsn_shard *shard, uint32_t number) {
    return listed_as(shard, number) == DSN_ENDED;
}

uint32_t dsn_half_of_others(const struct dsn_shard *shard, uint32_t state, unsigned share) {
    uint32_t ref = ref_of(state, share), own = count_of(at(shard, false, ref)) + count_of(at(shard, true, ref));
    return all_of(shard, false)->all + all_of(shard, true)->all - own;
}

uint32_t dsn_half_victim(const struct dsn_shard *shard, uint32_t state, unsigned share, bool others) {
    const struct dsn_half *half = all_of(shard, false), *ended = all_of(shard, true);
    uint32_t own = dsn_half_ended(shard, state, share);
    if (own != 0 || !others)
        return own;
    if (ended->shares > 0)
        return at(shard, true, ended->heap[1].ref)->head[0];
    if (half->shares == 0 || half->heap[1].count <= count_of(at(shard, false, ref_of(state, share))))
        return 0;
    const struct dsn_half_of *of = at(shard, false, half->heap[1].ref);
    return of->head[DSN_HALF_TCP] != 0 ? of->head[DSN_HALF_TCP] : of->head[DSN_HALF_OTHER];
}
