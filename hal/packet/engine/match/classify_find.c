/* Lookups of the classifier. */
#include "classify.h"

static inline bool matches(const struct rule *rule, const struct packet *packet, uint8_t direction) {
    uint32_t port = packet->rest >> 8, protocol = packet->rest & 0xff;
    return (rule->direction & direction) != 0 && port >= rule->port_low && port <= rule->port_high &&
           protocol >= rule->protocol_low && protocol <= rule->protocol_high &&
           covers(rule->source, rule->source_len, packet->source) &&
           covers(rule->destination, rule->destination_len, packet->destination);
}

/* The first of a tree's rules that matches, if it comes before `best` (0: none yet); else `best`. */
static uint32_t find_in_tree(const struct classifier *c, uint32_t root, const struct packet *packet, uint8_t direction,
                             uint32_t best) {
    while (root != 0) {
        const struct rule_links *links = &c->links[root];
        if (links->tree_high < packet->rest >> 8 || (best != 0 && !before(c, links->tree_first, best)))
            return best;
        const struct rule *rule = &c->rule[root];
        if (rule->port_low > packet->rest >> 8) { /* as do all to the right */
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

/* The first rule of a chain's bucket that matches, if it comes before `best`; else `best`. */
static uint32_t find_in_bucket(const struct classifier *c, uint32_t at, uint32_t hash, uint32_t group,
                               const struct packet *packet, uint8_t direction, uint32_t best) {
    while (at != 0 && (c->rule[at].hash != hash || c->rule[at].group != group))
        at = c->rule[at].chain;
    if (at == 0)
        return best;
    if (c->rule[at].tree)
        return find_in_tree(c, at, packet, direction, best);
    for (; at != 0; at = c->rule[at].next) {
        if (best != 0 && c->rule[at].priority > c->rule[best].priority)
            return best;
        if (matches(&c->rule[at], packet, direction))
            return best == 0 || before(c, at, best) ? at : best;
    }
    return best;
}

#define FIRST_LOOK 4
#define MOST_LOOKED_AT 16

/* Asks the heads of up to `look` tuples from *next on; returns how many may decide. No branch on the answer, since the
 * CPU would guess it wrong as often as not. Apart from the rest, since it takes all registers there are. */
static __attribute__((noinline)) unsigned ask_heads(const struct classifier *c, const struct packet *packet,
                                                    uint64_t sieve, unsigned list, unsigned look, uint32_t *next,
                                                    uint32_t best_priority, uint64_t candidate[MOST_LOOKED_AT]) {
    const struct head *heads = c->head;
    unsigned candidates = 0;
    uint32_t at = *next;
    for (; look != 0 && at != 0; look--) {
        const struct tuple *tuple = &c->tuple[at];
        if (tuple->best_priority > best_priority) { /* as have all behind it */
            at = 0;
            break;
        }
        at = tuple->next[list];
        uint32_t hash = tuple_hash(c, tuple, packet);
        uint64_t need = sieve | sieve_hash(hash) | sieve_addresses(tuple, packet);
        uint32_t home = dsn_heads_home(&c->heads, hash);
        candidate[candidates] = (uint64_t)hash << 32 | home;
        candidates += ((need & ~heads[home].sieve) == 0) & (heads[home].priority <= best_priority);
    }
    *next = at;
    return candidates;
}

uint32_t dsn_classify(const void *match, const struct dsn_classify_key *key) {
    const struct classifier *c = match;
    uint32_t group = find_group(c, key->policy);
    if (group == 0)
        return DSN_NO_SLOT;
    struct packet packet = {
        .source = {dsn_load_be64(key->source), dsn_load_be64(key->source + 8)},
        .destination = {dsn_load_be64(key->destination), dsn_load_be64(key->destination + 8)},
    };
    set_packet(&packet, key->port, key->protocol);
    unsigned list = (unsigned)(key->direction == DSN_FIREWALL_RULE_DIRECTION_OUT) * 2 + !is_v4(packet.source);
    uint64_t sieve = sieve_port(key->port) | sieve_protocol(key->protocol);
    uint32_t best = 0, best_priority = UINT32_MAX;
    unsigned look = FIRST_LOOK;
    for (uint32_t next = c->group[group].list[list]; next != 0; look = MOST_LOOKED_AT) {
        uint64_t candidate[MOST_LOOKED_AT]; /* hash << 32 | head */
        unsigned candidates = ask_heads(c, &packet, sieve, list, look, &next, best_priority, candidate);
        for (unsigned i = 0; i < candidates; i++)
            __builtin_prefetch(&c->rule[c->head[(uint32_t)candidate[i]].first]);
        for (unsigned i = 0; i < candidates; i++) {
            const struct head *head = &c->head[(uint32_t)candidate[i]];
            if (head->priority > best_priority)
                continue;
            best = find_in_bucket(c, head->first, (uint32_t)(candidate[i] >> 32), group, &packet, key->direction, best);
            if (best != 0)
                best_priority = c->rule[best].priority;
        }
    }
    return best - 1; /* DSN_NO_SLOT where there is none */
}
