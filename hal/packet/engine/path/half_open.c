#include "path/shard.h"

/* Shares by number: 1 and 2 are of no vNIC (between uplinks or card), then two of each vNIC's state. */
static uint32_t ref_of(uint32_t state, unsigned share) {
    return state * 2 + share + 1;
}

static struct dsn_half_of *at(const struct dsn_shard *shard, uint32_t ref) {
    return &shard->vnics.state[(ref - 1) / 2].half[(ref - 1) % 2];
}

static uint32_t count_of(const struct dsn_half_of *of) {
    return of->count[DSN_HALF_TCP] + of->count[DSN_HALF_OTHER];
}

static unsigned share_of(const struct dsn_connection *c) {
    return c->session.flags & DSN_SESSION_INBOUND ? 1 : 0;
}

static enum dsn_half_kind kind_of(const struct dsn_connection *c) {
    return dsn_line(c, 0)->key.protocol == DSN_TCP ? DSN_HALF_TCP : DSN_HALF_OTHER;
}

static bool is_half_open(const struct dsn_connection *c) {
    if (kind_of(c) == DSN_HALF_TCP)
        return c->session.tcp == DSN_TCP_SYN_SENT || c->session.tcp == DSN_TCP_SYN_RECEIVED;
    return !(c->session.flags & DSN_SESSION_REPLIED);
}

static void ring_out(struct dsn_shard *shard, uint32_t ref) {
    struct dsn_half_of *of = at(shard, ref);
    uint32_t *head = &shard->flows.wheel->half.ring[count_of(of)];
    at(shard, of->before)->after = of->after;
    at(shard, of->after)->before = of->before;
    if (*head == ref)
        *head = of->after != ref ? of->after : 0;
}

static void ring_in(struct dsn_shard *shard, uint32_t ref) {
    struct dsn_half_of *of = at(shard, ref);
    uint32_t *head = &shard->flows.wheel->half.ring[count_of(of)];
    if (*head == 0)
        *head = of->before = of->after = ref;
    of->after = *head;
    of->before = *head == ref ? ref : at(shard, *head)->before;
    at(shard, of->before)->after = ref;
    at(shard, *head)->before = ref;
}

static void change(struct dsn_shard *shard, uint32_t ref, enum dsn_half_kind kind, int by) {
    struct dsn_half *half = &shard->flows.wheel->half;
    struct dsn_half_of *of = at(shard, ref);
    uint32_t before = count_of(of), now = before + (uint32_t)by;
    if (before > 0 && now > 0 && of->after == ref &&
        half->ring[now] == 0) { /* as mostly: alone in its ring, and then too */
        half->ring[before] = 0;
        half->ring[now] = ref;
        half->most = half->most == before || half->most < now ? now : half->most;
        of->count[kind] += (uint32_t)by;
        return;
    }
    if (before > 0)
        ring_out(shard, ref);
    of->count[kind] += (uint32_t)by;
    if (count_of(of) > 0)
        ring_in(shard, ref);
    if (count_of(of) > half->most)
        half->most = count_of(of);
    while (half->most > 0 && half->ring[half->most] == 0)
        half->most--; /* by one, since a share that had more has one less now */
}

void dsn_half_enter(struct dsn_shard *shard, uint32_t number) {
    const struct dsn_connection *c = &shard->flows.connection[number];
    if (!is_half_open(c))
        return;
    enum dsn_half_kind kind = kind_of(c);
    uint32_t ref = ref_of(shard->flows.rest[number].share, share_of(c));
    struct dsn_half_of *of = at(shard, ref);
    struct dsn_half_link *link = shard->flows.wheel->half.link;
    link[number] = (struct dsn_half_link){.previous = of->tail[kind] != 0 ? of->tail[kind] : DSN_HALF_FIRST};
    if (of->tail[kind] != 0)
        link[of->tail[kind]].next = number;
    else
        of->head[kind] = number;
    of->tail[kind] = number;
    change(shard, ref, kind, 1);
}

void dsn_half_leave(struct dsn_shard *shard, uint32_t number) {
    const struct dsn_connection *c = &shard->flows.connection[number];
    struct dsn_half_link *link = shard->flows.wheel->half.link, *one = &link[number];
    if (one->previous == 0)
        return;
    enum dsn_half_kind kind = kind_of(c);
    uint32_t ref = ref_of(shard->flows.rest[number].share, share_of(c));
    struct dsn_half_of *of = at(shard, ref);
    if (one->previous != DSN_HALF_FIRST)
        link[one->previous].next = one->next;
    else
        of->head[kind] = one->next;
    if (one->next != 0)
        link[one->next].previous = one->previous;
    else
        of->tail[kind] = one->previous != DSN_HALF_FIRST ? one->previous : 0;
    *one = (struct dsn_half_link){0};
    change(shard, ref, kind, -1);
}

void dsn_half_turn(struct dsn_shard *shard, uint32_t number) {
    if (!is_half_open(&shard->flows.connection[number]))
        dsn_half_leave(shard, number);
}

uint32_t dsn_half_oldest(const struct dsn_shard *shard, uint32_t state, unsigned share) {
    return at(shard, ref_of(state, share))->head[DSN_HALF_TCP];
}

uint32_t dsn_half_victim(const struct dsn_shard *shard, uint32_t state, unsigned share) {
    const struct dsn_half *half = &shard->flows.wheel->half;
    if (half->most <= count_of(at(shard, ref_of(state, share))))
        return 0;
    const struct dsn_half_of *of = at(shard, half->ring[half->most]);
    return of->head[DSN_HALF_TCP] != 0 ? of->head[DSN_HALF_TCP] : of->head[DSN_HALF_OTHER];
}
