/* Connections as a whole: index, wheel, shares and op lists together. */
#include "path/shard.h"

uint32_t dsn_ops_hold(struct dsn_shard *shard, const struct dsn_ops *ops) {
    bool fresh;
    uint32_t number = dsn_ops_intern(&shard->ops, ops, &fresh);
    if (number != 0 && fresh && ops->neighbour != 0)
        dsn_neighbour_hold(&shard->neighbours, ops->neighbour);
    return number;
}

void dsn_ops_let_go(struct dsn_shard *shard, uint32_t number) {
    if (number == 0)
        return;
    uint32_t neighbour = dsn_ops_at(&shard->ops, number)->neighbour;
    if (dsn_ops_release(&shard->ops, number) && neighbour != 0)
        dsn_neighbour_let_go(&shard->neighbours, neighbour);
}

static unsigned share_of(const struct dsn_connection *c) {
    return c->session.flags & DSN_SESSION_INBOUND ? 1 : 0;
}

void dsn_share_keep(struct dsn_shard *shard, const struct dsn_connection *c) {
    shard->keeps = dsn_rest(&shard->flows, c)->share << 1 | share_of(c);
}

void dsn_share_kept(struct dsn_shard *shard) {
    uint32_t share = shard->keeps;
    shard->keeps = 0;
    dsn_share_tidy(shard, share >> 1, share & 1);
}

void dsn_share_enter(struct dsn_shard *shard, const struct dsn_connection *c) {
    uint32_t number = dsn_rest(&shard->flows, c)->share;
    struct dsn_vnic_state *state = &shard->vnics.state[number];
    unsigned share = share_of(c);
    state->open[share]++;
    if (state->budget != NULL && state->open[share] > state->lent[share]) { /* decided again: nobody asked for room */
        dsn_budget_force(state->budget, share);
        state->lent[share]++;
    }
}

void dsn_share_leave(struct dsn_shard *shard, const struct dsn_connection *c) {
    uint32_t number = dsn_rest(&shard->flows, c)->share;
    shard->vnics.state[number].open[share_of(c)]--;
    dsn_share_tidy(shard, number, share_of(c));
}

void dsn_connection_enter_by(struct dsn_shard *shard, uint32_t number, const uint64_t hash[2]) {
    struct dsn_flows *flows = &shard->flows;
    struct dsn_connection *c = &flows->connection[number];
    bool same = dsn_key_equal(&dsn_line(c, 0)->key, &dsn_line(c, 1)->key);
    c->session.flags = (uint8_t)((c->session.flags & ~DSN_SESSION_SAME_KEY) | (same ? DSN_SESSION_SAME_KEY : 0));
    for (unsigned direction = same; direction < 2; direction++)
        dsn_flows_enter(flows, dsn_ref(number, direction), hash[direction]);
}

void dsn_connection_enter(struct dsn_shard *shard, uint32_t number) {
    const struct dsn_connection *c = &shard->flows.connection[number];
    const uint64_t hash[2] = {
        dsn_flows_hash(&shard->flows, &dsn_line(c, 0)->key),
        dsn_flows_hash(&shard->flows, &dsn_line(c, 1)->key),
    };
    dsn_connection_enter_by(shard, number, hash);
}

void dsn_connection_leave(struct dsn_shard *shard, uint32_t number) {
    struct dsn_connection *c = &shard->flows.connection[number];
    for (unsigned direction = (c->session.flags & DSN_SESSION_SAME_KEY) != 0; direction < 2; direction++)
        dsn_flows_leave(&shard->flows, dsn_ref(number, direction));
}

static void settle_row(struct dsn_shard *shard, const struct dsn_connection *c, unsigned side, uint64_t packets,
                       uint64_t bytes) {
    const struct dsn_session *session = &c->session;
    uint32_t slot = session->row[side];
    uint8_t table = session->row_table[side];
    if (slot == DSN_NO_SLOT || shard->counters.row[table] == NULL ||
        dsn_row_action(shard->root, table, slot) == DSN_NO_ACTION ||
        dsn_id_at(shard->root, table, slot) != dsn_rest(&shard->flows, c)->row_id[side])
        return; /* the row is gone, and what it counted with it */
    shard->counters.row[table][slot].packets += packets;
    shard->counters.row[table][slot].bytes += bytes;
}

void dsn_connection_settle(struct dsn_shard *shard, uint32_t number) {
    const struct dsn_connection *c = &shard->flows.connection[number];
    const struct dsn_session *session = &c->session;
    struct dsn_settled *settled = &shard->flows.settled[number];
    uint64_t packets = session->packets[0] + session->packets[1] - settled->packets;
    uint64_t bytes = session->bytes[0] + session->bytes[1] - settled->bytes;
    if (packets == 0)
        return;
    settle_row(shard, c, 0, packets, bytes);
    if (session->row[0] != session->row[1] || session->row_table[0] != session->row_table[1])
        settle_row(shard, c, 1, packets, bytes);
    settled->packets += packets;
    settled->bytes += bytes;
}

void dsn_connection_remove(struct dsn_shard *shard, uint32_t number) {
    struct dsn_connection *c = &shard->flows.connection[number];
    dsn_connection_settle(shard, number);
    dsn_connection_leave(shard, number);
    dsn_flows_disarm(&shard->flows, number);
    dsn_half_leave(shard, number);
    dsn_share_leave(shard, c);
    dsn_ops_let_go(shard, dsn_line(c, 0)->ops);
    dsn_ops_let_go(shard, dsn_line(c, 1)->ops);
    dsn_flows_give(&shard->flows, number);
    shard->counters.engine[DSN_COUNT_FLOWS_NOW]--;
}

/* Its first answer. */
static void replied(struct dsn_shard *shard, uint32_t number) {
    struct dsn_connection *c = &shard->flows.connection[number];
    uint8_t protocol = dsn_line(c, 0)->key.protocol;
    bool exchange = protocol == DSN_UDP || protocol == DSN_ICMP || protocol == DSN_ICMP6;
    c->session.flags |= (uint8_t)(DSN_SESSION_REPLIED | (exchange ? DSN_SESSION_EXCHANGE : 0));
    dsn_half_turn(shard, number);
    if (shard->root->table[DSN_TABLE_TRACKING].used > 0 && protocol == DSN_UDP)
        dsn_flows_arm(&shard->flows, number); /* the time-out may be a shorter one */
}

void dsn_connection_turns(struct dsn_shard *shard, uint32_t ref) {
    struct dsn_connection *c = dsn_ref_connection(&shard->flows, ref);
    if (ref & 1) {
        replied(shard, ref >> 1);
    } else if (dsn_line(c, 0)->key.protocol == DSN_UDP) { /* the next echo is another exchange */
        c->session.flags &= (uint8_t)~DSN_SESSION_EXCHANGE;
        dsn_half_turn(shard, ref >> 1);
    }
}

bool dsn_connections_sweep(struct dsn_shard *shard, uint64_t now, uint32_t budget) {
    uint32_t number;
    while (budget > 0 && (number = dsn_flows_next_expired(&shard->flows, now, &budget)) != 0)
        dsn_connection_remove(shard, number);
    return budget > 0;
}

uint32_t dsn_connection_find(struct dsn_shard *shard, const struct dsn_flow_key *key, uint64_t hash, uint64_t now) {
    uint32_t ref = dsn_flows_find(&shard->flows, key, hash);
    if (ref != 0 && unlikely(dsn_expired(&shard->flows, dsn_ref_connection(&shard->flows, ref), now))) {
        dsn_connection_remove(shard, ref >> 1);
        return 0;
    }
    return ref;
}
