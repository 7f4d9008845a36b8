/* Buckets of the classifier: the rules of a tuple whose masked fields hash to the same, chained under heads. */
#include "classify.h"

#define LONGEST 16 /* list; longer, it becomes a tree */

static struct head *head_of(const struct classifier *c, uint32_t hash) {
    return &c->head[dsn_heads_home(&c->heads, hash)];
}

/* A sieve's sixteen bits for a prefix of which `known` bits are known beyond the tuple's, the first four of them
 * `next`. */
static uint64_t sieve_prefix(unsigned next, unsigned known) {
    return ((UINT64_C(1) << (16 >> (known < 4 ? known : 4))) - 1) << next;
}

/* All that packets may need which the rule could match. */
static uint64_t sieve_rule(const struct classifier *c, uint32_t at) {
    const struct rule *rule = &c->rule[at];
    const struct shape *shape = &c->tuple[c->links[at].tuple].shape;
    uint64_t sieve = sieve_hash(rule->hash);
    /* Any 64 in a row have all bits between them (golden ratio: they spread evenly). */
    for (unsigned i = 0; i < 64 && rule->port_low + i <= rule->port_high; i++)
        sieve |= sieve_port((uint16_t)(rule->port_low + i));
    for (unsigned i = 0; i < 64 && rule->protocol_low + i <= rule->protocol_high; i++)
        sieve |= sieve_protocol((uint8_t)(rule->protocol_low + i));
    if (shape->kind == KIND_ANY)
        return sieve;
    uint64_t source[2] = {rule->source[0], rule->source[1]};
    uint64_t destination[2] = {rule->destination[0], rule->destination[1]};
    unsigned source_len = rule->source_len, destination_len = rule->destination_len;
    if (shape->kind == KIND_V4) {
        source[0] = source[1] << 32;
        destination[0] = destination[1] << 32;
        source[1] = destination[1] = 0;
        source_len = v4_length(source_len);
        destination_len = v4_length(destination_len);
    }
    return sieve | sieve_prefix(next_bits(source, shape->source_len), source_len - shape->source_len) << SIEVE_SOURCE |
           sieve_prefix(next_bits(destination, shape->destination_len), destination_len - shape->destination_len)
               << SIEVE_DESTINATION;
}

/* Makes a head know of a bucket. */
static void tell_head(const struct classifier *c, struct head *head, uint32_t bucket) {
    uint32_t first = bucket;
    if (c->rule[bucket].tree) {
        head->sieve = UINT64_MAX; /* too many to ask each */
        first = c->links[bucket].tree_first;
    }
    for (uint32_t at = bucket; at != 0 && !c->rule[bucket].tree; at = c->rule[at].next)
        head->sieve |= sieve_rule(c, at);
    if (c->rule[first].priority < head->priority)
        head->priority = c->rule[first].priority;
}

/* Puts a chain of buckets under its head. */
static void set_head(struct classifier *c, struct head *head, uint32_t first) {
    *head = (struct head){.first = first, .priority = UINT32_MAX};
    for (uint32_t bucket = first; bucket != 0; bucket = c->rule[bucket].chain)
        tell_head(c, head, bucket);
}

static void grow_heads(struct classifier *c) {
    uint32_t split, fresh = dsn_heads_add(&c->heads, &split);
    uint32_t at = c->head[split].first, stays = 0, goes = 0;
    while (at != 0) {
        uint32_t next = c->rule[at].chain;
        uint32_t *to = dsn_heads_home(&c->heads, c->rule[at].hash) == split ? &stays : &goes;
        c->rule[at].chain = *to;
        *to = at;
        at = next;
    }
    set_head(c, &c->head[split], stays);
    set_head(c, &c->head[fresh], goes);
}

static uint32_t find_bucket(const struct classifier *c, uint32_t hash, uint32_t group) {
    uint32_t at = head_of(c, hash)->first;
    while (at != 0 && (c->rule[at].hash != hash || c->rule[at].group != group))
        at = c->rule[at].chain;
    return at;
}

unsigned dsn_bucket_length(const struct classifier *c, uint32_t hash, uint32_t group, unsigned most) {
    uint32_t at = find_bucket(c, hash, group);
    if (at != 0 && c->rule[at].tree)
        return most;
    unsigned length = 0;
    for (; at != 0 && length < most; at = c->rule[at].next)
        length++;
    return length;
}

/* Puts `first`, which may be the same, where the bucket of `old` stands in its chain, and tells the head anew. */
static void replace_bucket(struct classifier *c, uint32_t old, uint32_t first) {
    struct head *head = head_of(c, c->rule[old].hash);
    uint32_t start = head->first, *link = &start;
    uint32_t behind = c->rule[old].chain;
    while (*link != old)
        link = &c->rule[*link].chain;
    *link = first == 0 ? behind : first;
    if (first != 0)
        c->rule[first].chain = behind;
    else
        c->buckets--;
    set_head(c, head, start);
}

static uint32_t tree_of_list(struct classifier *c, uint32_t at) {
    uint32_t root = 0;
    while (at != 0) {
        uint32_t next = c->rule[at].next;
        root = dsn_tree_insert(c, root, at);
        at = next;
    }
    return root;
}

/* Puts a rule into a list in rule order and returns its first; *length is that of the list. */
static uint32_t insert_in_order(struct classifier *c, uint32_t first, uint32_t at, unsigned *length) {
    uint32_t *link = &first;
    *length = 1;
    for (; *link != 0 && before(c, *link, at); ++*length)
        link = &c->rule[*link].next;
    c->rule[at].next = *link;
    *link = at;
    for (uint32_t rest = c->rule[at].next; rest != 0; rest = c->rule[rest].next)
        ++*length;
    return first;
}

void dsn_bucket_add(struct classifier *c, uint32_t at) {
    struct rule *rule = &c->rule[at];
    uint32_t bucket = find_bucket(c, rule->hash, rule->group);
    if (bucket == 0) {
        if (c->buckets * 2 >= c->heads.used && c->heads.used < c->heads.limit) {
            grow_heads(c);
            grow_heads(c);
        }
        struct head *head = head_of(c, rule->hash);
        rule->chain = head->first;
        set_head(c, head, at);
        c->buckets++;
        return;
    }
    uint32_t first;
    bool tree = c->rule[bucket].tree;
    if (tree) {
        first = dsn_tree_insert(c, bucket, at);
    } else {
        unsigned length;
        first = insert_in_order(c, bucket, at, &length);
        tree = length > LONGEST;
        if (tree)
            first = tree_of_list(c, first);
    }
    c->rule[bucket].tree = 0;
    c->rule[first].tree = tree;
    replace_bucket(c, bucket, first);
}

void dsn_bucket_take(struct classifier *c, uint32_t at) {
    struct rule *rule = &c->rule[at];
    uint32_t bucket = find_bucket(c, rule->hash, rule->group), first = bucket;
    bool tree = c->rule[bucket].tree;
    if (tree) {
        first = dsn_tree_remove(c, bucket, at);
    } else {
        uint32_t *link = &first;
        while (*link != at)
            link = &c->rule[*link].next;
        *link = rule->next;
    }
    c->rule[bucket].tree = 0;
    if (first != 0)
        c->rule[first].tree = tree;
    replace_bucket(c, bucket, first);
}
