/* Lookups of the classifier. */
#include "classify.h"

static inline bool matches(const struct rule *rule, const struct packet *packet, uint8_t direction) {
    return (rule->direction & direction) != 0 && packet->port >= rule->port_low && packet->port <= rule->port_high &&
           packet->protocol >= rule->protocol_low && packet->protocol <= rule->protocol_high &&
           covers(rule->source, rule->source_len, packet->source) &&
           covers(rule->destination, rule->destination_len, packet->destination);
}

/* The first of a tree's rules that matches, if it comes before `best` (0: none yet); else `best`. */
static uint32_t find_in_tree(const struct classifier *c, uint32_t root, const struct packet *packet, uint8_t direction,
                             uint32_t best) {
    while (root != 0) {
        const struct rule_links *links = &c->links[root];
        if (links->tree_high < packet->port || (best != 0 && !before(c, links->tree_first, best)))
            return best;
        const struct rule *rule = &c->rule[root];
        if (rule->port_low > packet->port) { /* as do all to the right */
            root = links->tree[0];
            continue;
        }
        if ((best == 0 || before(c, root, best)) && matches(rule, packet, direction))
            best = root;
        /* First where the first rule is: it is likely to spare the other side. */
        uint32_t left = links->tree[0], right = links->tree[1];
        if (left == 0 || right == 0) {
            root = left | right;
            continue;
        }
        bool right_first = before(c, c->links[right].tree_first, c->links[left].tree_first);
        best = find_in_tree(c, right_first ? right : left, packet, direction, best);
        root = right_first ? left : right;
    }
    return best;
}

uint32_t dsn_classify(const void *match, const struct dsn_classify_key *key) {
    const struct classifier *c = match;
    uint32_t group = find_group(c, key->policy);
    if (group == 0)
        return DSN_NO_SLOT;
    struct packet packet = {
        .source = {dsn_load_be64(key->source), dsn_load_be64(key->source + 8)},
        .destination = {dsn_load_be64(key->destination), dsn_load_be64(key->destination + 8)},
        .port = key->port,
        .protocol = key->protocol,
    };
    unsigned list = (unsigned)(key->direction == DSN_FIREWALL_RULE_DIRECTION_OUT) * 2 + !is_v4(packet.source);
    uint32_t best = 0;
    uint64_t best_priority = UINT64_MAX;
    for (uint32_t next = c->group[group].list[list]; next != 0;) {
        const struct tuple *tuple = &c->tuple[next];
        if (tuple->best_priority >= best_priority &&
            (tuple->best_priority > best_priority || before(c, best, tuple->best)))
            break;
        next = tuple->next[list];
        uint32_t hash = tuple_hash(c, tuple, &packet);
        uint32_t head = c->heads.head[dsn_heads_home(&c->heads, hash)];
        if ((head & signature(hash)) == 0)
            continue;
        uint32_t at = head & RULE_MASK;
        while (at != 0 && (c->rule[at].hash != hash || c->rule[at].group != group))
            at = c->rule[at].chain;
        if (at != 0 && c->rule[at].tree) {
            best = find_in_tree(c, at, &packet, key->direction, best);
        } else {
            for (; at != 0; at = c->rule[at].next) {
                const struct rule *rule = &c->rule[at];
                if (rule->priority > best_priority)
                    break;
                if (matches(rule, &packet, key->direction)) {
                    if (best == 0 || before(c, at, best))
                        best = at;
                    break;
                }
            }
        }
        if (best != 0)
            best_priority = c->rule[best].priority;
    }
    return best - 1; /* DSN_NO_SLOT where there is none */
}
