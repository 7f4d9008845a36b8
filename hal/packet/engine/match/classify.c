/* The rule classifier: what changes it. */
#include "classify.h"

#include <stdlib.h>

/* What a tuple costs every lookup of its group is weighed against what fuller buckets cost those that reach them
 * (measured: docs/adr/0041-*.md). */
#define SHARED 4     /* rules in a bucket up to which others than its tuple's own are taken in; */
#define CROWDED 12   /* the same, once the group has */
#define MANY 32      /* tuples */
#define SPARE 24     /* bits of its masks that a rule may lose in a tuple, while its group has fewer than MANY */
#define WORTH 256    /* and more rules than this a tuple: small groups are best served by few */
#define LOOKED_AT 64 /* buckets that an insert looks into before it takes the last way out */

uint64_t dsn_prefix_mask[129][2];

__attribute__((constructor)) static void fill_masks(void) {
    for (unsigned length = 0; length <= 128; length++) {
        dsn_prefix_mask[length][0] = length == 0 ? 0 : length >= 64 ? UINT64_MAX : UINT64_MAX << (64 - length);
        dsn_prefix_mask[length][1] = length <= 64 ? 0 : UINT64_MAX << (128 - length);
    }
}

/* --- groups -------------------------------------------------------------------------------------------------- */

static void grow_groups(struct classifier *c) {
    uint32_t split, fresh = dsn_heads_add(&c->group_heads, &split);
    uint32_t at = c->group_heads.head[split];
    c->group_heads.head[split] = 0;
    while (at != 0) {
        struct group *group = &c->group[at];
        uint32_t next = group->next;
        bool stays = dsn_heads_home(&c->group_heads, group_hash(c, group->id)) == split;
        uint32_t *head = &c->group_heads.head[stays ? split : fresh];
        group->next = *head;
        *head = at;
        at = next;
    }
}

static uint32_t hold_group(struct classifier *c, uint64_t id) {
    uint32_t at = find_group(c, id);
    if (at == 0) {
        if (c->groups * 2 >= c->group_heads.used && c->group_heads.used < c->group_heads.limit) {
            grow_groups(c);
            grow_groups(c);
        }
        at = c->free_group;
        if (at == 0)
            at = ++c->group_top;
        else
            c->free_group = c->group[at].next;
        uint32_t *head = &c->group_heads.head[dsn_heads_home(&c->group_heads, group_hash(c, id))];
        c->group[at] = (struct group){.id = id, .next = *head};
        *head = at;
        c->groups++;
    }
    c->group[at].rules++;
    return at;
}

static void drop_group(struct classifier *c, uint32_t at) {
    struct group *group = &c->group[at];
    if (--group->rules != 0)
        return;
    uint32_t *link = &c->group_heads.head[dsn_heads_home(&c->group_heads, group_hash(c, group->id))];
    while (*link != at)
        link = &c->group[*link].next;
    *link = group->next;
    group->next = c->free_group;
    c->free_group = at;
    c->groups--;
}

/* --- tuples -------------------------------------------------------------------------------------------------- */

static bool same_shape(const struct shape *a, const struct shape *b) {
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Whether a rule with masks `fine` may lie in a tuple with masks `coarse`: all packets that it matches find it
 * there. */
static bool takes(const struct shape *coarse, const struct shape *fine) {
    return (coarse->kind == fine->kind || coarse->kind == KIND_ANY) && (fine->lists & ~coarse->lists) == 0 &&
           coarse->source_len <= fine->source_len && coarse->destination_len <= fine->destination_len &&
           coarse->port_len <= fine->port_len && coarse->protocol <= fine->protocol;
}

static void unlist(struct classifier *c, uint32_t at) {
    struct tuple *tuple = &c->tuple[at];
    for (unsigned list = 0; list < LISTS; list++) {
        if (!(tuple->shape.lists & 1u << list))
            continue;
        uint32_t *link = &c->group[tuple->group].list[list];
        while (*link != at)
            link = &c->tuple[*link].next[list];
        *link = tuple->next[list];
    }
}

static void enlist(struct classifier *c, uint32_t at) {
    struct tuple *tuple = &c->tuple[at];
    for (unsigned list = 0; list < LISTS; list++) {
        if (!(tuple->shape.lists & 1u << list))
            continue;
        uint32_t *link = &c->group[tuple->group].list[list];
        while (*link != 0 && before(c, c->tuple[*link].best, tuple->best))
            link = &c->tuple[*link].next[list];
        tuple->next[list] = *link;
        *link = at;
    }
}

static uint32_t make_tuple(struct classifier *c, uint32_t group, const struct shape *shape) {
    uint32_t at = c->free_tuple;
    if (at == 0)
        at = ++c->tuple_top;
    else
        c->free_tuple = c->tuple[at].group;
    uint64_t mask = 0;
    if (shape->kind == KIND_V4) {
        mask = shape->source_len == 0 ? 0 : UINT64_MAX << (64 - shape->source_len);
        mask |= shape->destination_len == 0 ? 0 : UINT32_MAX & UINT64_MAX << (32 - shape->destination_len);
    }
    c->tuple[at] = (struct tuple){
        .seed = dsn_fold(c->seed[6] + at, c->seed[7]),
        .v4_mask = mask,
        .shape = *shape,
        .sieve_mask = shape->kind == KIND_ANY ? 0 : UINT64_MAX,
        .rest_mask = (0xffff0000u >> shape->port_len & 0xffff) << 8 | (shape->protocol ? 0xff : 0),
        .group = group,
    };
    c->tuples++;
    c->group[group].tuples++;
    return at;
}

/* The rule's own masks. False: no packet can match it, since its ends are of two IP versions. */
static bool own_shape(const struct rule *rule, struct shape *shape) {
    static const uint64_t mapped[2] = {0, UINT64_C(0xffff00000000)};
    bool v4 = covers(mapped, rule->source_len < 96 ? rule->source_len : 96, rule->source) &&
              covers(mapped, rule->destination_len < 96 ? rule->destination_len : 96, rule->destination);
    bool v6 =
        !(rule->source_len >= 96 && is_v4(rule->source)) && !(rule->destination_len >= 96 && is_v4(rule->destination));
    unsigned versions = v4 | v6 << 1;
    uint16_t differ = rule->port_low ^ rule->port_high;
    *shape = (struct shape){
        .kind = !v6                                             ? KIND_V4
                : rule->source_len + rule->destination_len == 0 ? KIND_ANY
                                                                : KIND_WIDE,
        .lists = (uint8_t)((rule->direction & 1 ? versions : 0) | (rule->direction & 2 ? versions << 2 : 0)),
        .source_len = rule->source_len,
        .destination_len = rule->destination_len,
        .port_len = (uint8_t)(differ == 0 ? 16 : __builtin_clz(differ) - 16),
        .protocol = rule->protocol_low == rule->protocol_high,
    };
    if (shape->kind == KIND_V4) {
        shape->source_len = v4_length(rule->source_len);
        shape->destination_len = v4_length(rule->destination_len);
    }
    return versions != 0;
}

#define STEPS 4

/* From the coarsest masks that a new tuple for such a rule may have to its own: coarse ones keep tuples few, finer ones
 * are for rules whose bucket there is full. */
static void steps_of(const struct shape *own, struct shape step[STEPS]) {
    unsigned grain = own->kind == KIND_WIDE ? 16 : 8;
    for (unsigned i = 0; i < STEPS; i++)
        step[i] = *own;
    for (unsigned i = 0; i < 2; i++) {
        step[i].source_len &= (uint8_t)~(grain - 1);
        step[i].destination_len &= (uint8_t)~(grain - 1);
        step[i].port_len = own->port_len == 16 ? 16 : own->port_len & ~7;
    }
    step[2].source_len &= (uint8_t)~(grain / 2 - 1);
    step[2].destination_len &= (uint8_t)~(grain / 2 - 1);
    if (step[0].source_len + step[0].destination_len >= 2 * grain) {
        step[0].port_len = 0;
        step[0].protocol = 0;
    }
}

static unsigned bits_lost(const struct shape *own, const struct shape *tuple) {
    return (unsigned)(own->source_len - tuple->source_len + own->destination_len - tuple->destination_len +
                      own->port_len - tuple->port_len) +
           4u * (own->protocol - tuple->protocol);
}

static uint32_t choose_tuple(struct classifier *c, uint32_t group, const struct shape *own,
                             const struct packet *fields) {
    struct shape step[STEPS];
    steps_of(own, step);
    uint32_t known[STEPS] = {0}, best = 0;
    unsigned best_length = 0, best_lost = 0, looked = 0;
    uint32_t tuples = c->group[group].tuples;
    unsigned shared = tuples < MANY ? SHARED : CROWDED;
    unsigned list = (unsigned)__builtin_ctz(own->lists);
    for (uint32_t at = c->group[group].list[list]; at != 0; at = c->tuple[at].next[list]) {
        const struct tuple *tuple = &c->tuple[at];
        for (unsigned i = 0; i < STEPS; i++) {
            if (same_shape(&tuple->shape, &step[i]))
                known[i] = at;
        }
        if (looked >= LOOKED_AT || !takes(&tuple->shape, own))
            continue;
        looked++;
        unsigned length = dsn_bucket_length(c, tuple_hash(c, tuple, fields), group, shared);
        unsigned lost = bits_lost(own, &tuple->shape);
        if (length < shared && (best == 0 || lost < best_lost || (lost == best_lost && length < best_length))) {
            best = at;
            best_length = length;
            best_lost = lost;
        }
    }
    bool spare = best_lost > SPARE && known[0] == 0 && tuples < MANY && tuples * WORTH < c->group[group].rules;
    if (best != 0 && !spare)
        return best;
    for (unsigned i = 0; i < STEPS; i++) {
        if (known[i] == 0)
            return make_tuple(c, group, &step[i]);
    }
    return known[STEPS - 1]; /* its own masks: nothing tells its bucket's rules apart but ranges */
}

/* --- the table's side ---------------------------------------------------------------------------------------- */

static void priority_insert(void *match, const void *bytes, uint32_t slot) {
    struct classifier *c = match;
    const struct dsn_row_firewall_rule *row = bytes;
    uint32_t at = slot + 1;
    uint32_t group = hold_group(c, row->policy);
    c->rule[at] = (struct rule){
        .source = {dsn_load_be64(row->source), dsn_load_be64(row->source + 8)},
        .destination = {dsn_load_be64(row->destination), dsn_load_be64(row->destination + 8)},
        .source_len = row->source_len,
        .destination_len = row->destination_len,
        .direction = row->direction,
        .protocol_low = row->protocol_low,
        .protocol_high = row->protocol_high,
        .port_low = row->port_low,
        .port_high = row->port_high,
        .priority = row->priority,
        .group = group,
    };
    c->links[at] = (struct rule_links){.id = row->id};
    c->rules++;
    struct rule *rule = &c->rule[at];
    struct shape own;
    if (!own_shape(rule, &own) || rule->port_low > rule->port_high || rule->protocol_low > rule->protocol_high)
        return;
    struct packet fields = {
        .source = {rule->source[0], rule->source[1]},
        .destination = {rule->destination[0], rule->destination[1]},
    };
    set_packet(&fields, rule->port_low, rule->protocol_low);
    uint32_t chosen = choose_tuple(c, group, &own, &fields);
    struct tuple *tuple = &c->tuple[chosen];
    c->links[at].tuple = chosen;
    rule->hash = tuple_hash(c, tuple, &fields);
    dsn_bucket_add(c, at);
    uint32_t best = dsn_heap_insert(c, tuple->best, at);
    if (best != tuple->best) {
        if (tuple->best != 0)
            unlist(c, chosen);
        tuple->best = best;
        tuple->best_priority = c->rule[best].priority;
        enlist(c, chosen);
    }
}

static void priority_remove(void *match, const void *bytes, uint32_t slot) {
    (void)bytes;
    struct classifier *c = match;
    uint32_t at = slot + 1, chosen = c->links[at].tuple;
    if (chosen != 0) {
        struct tuple *tuple = &c->tuple[chosen];
        dsn_bucket_take(c, at);
        uint32_t best = dsn_heap_remove(c, tuple->best, at);
        if (best != tuple->best) {
            unlist(c, chosen);
            tuple->best = best;
            if (best != 0) {
                tuple->best_priority = c->rule[best].priority;
                enlist(c, chosen);
            }
        }
        if (best == 0) {
            c->group[tuple->group].tuples--;
            tuple->group = c->free_tuple;
            c->free_tuple = chosen;
            c->tuples--;
        }
    }
    drop_group(c, c->rule[at].group);
    c->rules--;
}

static void priority_destroy(void *match) {
    struct classifier *c = match;
    if (c == NULL)
        return;
    dsn_arena_destroy(&c->arena);
    free(c);
}

/* A table by priority has the key of a firewall rule. */
static bool same_key(const struct dsn_table_desc *desc) {
    const struct dsn_table_desc *known = &dsn_table_desc[DSN_TABLE_FIREWALL_RULE];
    if (desc->key_end != known->key_end)
        return false;
    for (uint16_t i = 0; i < known->action[0].fields && known->action[0].field[i].offset < known->key_end; i++) {
        const struct dsn_field_desc *a = &desc->action[0].field[i], *b = &known->action[0].field[i];
        if (i >= desc->action[0].fields || strcmp(a->name, b->name) != 0 || a->offset != b->offset ||
            a->type != b->type)
            return false;
    }
    return true;
}

static void *priority_create(const struct dsn_table_desc *desc, uint32_t capacity) {
    if (capacity > DSN_MATCH_MAX_CAPACITY - 2 || !same_key(desc))
        return NULL;
    struct classifier *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    uint32_t heads = dsn_heads_limit(capacity);
    size_t entries = (size_t)capacity + 1;
    size_t sizes[] = {
        heads * sizeof(struct head),         heads * sizeof(uint32_t),       entries * sizeof(struct rule),
        entries * sizeof(struct rule_links), entries * sizeof(struct tuple), entries * sizeof(struct group),
    };
    size_t total = 0;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        total += dsn_arena_size(sizes[i]);
    if (!dsn_arena_create(&c->arena, total)) {
        free(c);
        return NULL;
    }
    dsn_match_seed(c->seed);
    c->capacity = capacity;
    dsn_heads_init(&c->heads, NULL, heads);
    c->head = dsn_arena_take(&c->arena, sizes[0]);
    dsn_heads_init(&c->group_heads, dsn_arena_take(&c->arena, sizes[1]), heads);
    c->rule = dsn_arena_take(&c->arena, sizes[2]);
    c->links = dsn_arena_take(&c->arena, sizes[3]);
    c->tuple = dsn_arena_take(&c->arena, sizes[4]);
    c->group = dsn_arena_take(&c->arena, sizes[5]);
    return c;
}

static size_t priority_bytes(const void *match) {
    const struct classifier *c = match;
    return sizeof(*c) + c->heads.used * sizeof(struct head) + c->group_heads.used * sizeof(uint32_t) +
           c->rules * (sizeof(struct rule) + sizeof(struct rule_links)) + c->tuple_top * sizeof(struct tuple) +
           c->group_top * sizeof(struct group);
}

/* Heads are at most twice as many as buckets and groups, these as rules and policies. */
static unsigned priority_extents(const void *match, struct dsn_extent *extent) {
    const enum dsn_extent_kind sure = DSN_EXTENT_SURE, worst = DSN_EXTENT_AT_WORST, scope = DSN_EXTENT_A_SCOPE;
    const struct classifier *c = match;
    size_t entries = (size_t)c->capacity + 1, heads = c->heads.limit, word = sizeof(uint32_t);
    struct dsn_extent all[] = {
        {c->head, heads * sizeof(struct head), 2 * sizeof(struct head), 0, worst},
        {c->group_heads.head, heads * word, 2 * word, 0, scope},
        {c->rule, entries * sizeof(struct rule), sizeof(struct rule), 0, sure},
        {c->links, entries * sizeof(struct rule_links), sizeof(struct rule_links), 0, sure},
        {c->tuple, entries * sizeof(struct tuple), sizeof(struct tuple), 0, worst},
        {c->group, entries * sizeof(struct group), sizeof(struct group), 0, scope},
    };
    memcpy(extent, all, sizeof(all));
    return sizeof(all) / sizeof(*all);
}

const struct dsn_match_ops dsn_priority_ops = {priority_create, priority_destroy, priority_insert,
                                               priority_remove, priority_bytes,   priority_extents};
