/* Orders among the rules of the classifier: heaps that know a tuple's best rule, and trees by port for big buckets.
 * Both are linked through the rules, so they need no memory of their own; both cost O(log n) a change. */
#include "classify.h"

/* --- leftist heaps (Crane 1972): the shorter way down is always the right one ----------------------------------- */

static uint32_t rank_of(const struct classifier *c, uint32_t at) {
    return at == 0 ? 0 : c->links[at].heap_rank;
}

/* Restores a node's rank and the order of its children. False: nothing changed. */
static bool settle(struct classifier *c, uint32_t at) {
    struct rule_links *links = &c->links[at];
    if (rank_of(c, links->heap[0]) < rank_of(c, links->heap[1])) {
        uint32_t left = links->heap[0];
        links->heap[0] = links->heap[1];
        links->heap[1] = left;
    }
    uint16_t rank = (uint16_t)(rank_of(c, links->heap[1]) + 1);
    bool changed = rank != links->heap_rank;
    links->heap_rank = rank;
    return changed;
}

/* Recursion is as deep as two right spines: 2 * log2(rules). */
static uint32_t meld(struct classifier *c, uint32_t a, uint32_t b) {
    if (a == 0 || b == 0)
        return a | b;
    if (before(c, b, a)) {
        uint32_t first = b;
        b = a;
        a = first;
    }
    uint32_t right = meld(c, c->links[a].heap[1], b);
    c->links[a].heap[1] = right;
    c->links[right].heap_up = a;
    settle(c, a);
    return a;
}

uint32_t dsn_heap_insert(struct classifier *c, uint32_t root, uint32_t at) {
    c->links[at].heap[0] = c->links[at].heap[1] = 0;
    c->links[at].heap_rank = 1;
    root = meld(c, root, at);
    c->links[root].heap_up = 0;
    return root;
}

uint32_t dsn_heap_remove(struct classifier *c, uint32_t root, uint32_t at) {
    uint32_t up = c->links[at].heap_up;
    uint32_t below = meld(c, c->links[at].heap[0], c->links[at].heap[1]);
    if (below != 0)
        c->links[below].heap_up = up;
    if (up == 0)
        return below;
    c->links[up].heap[c->links[up].heap[1] == at] = below;
    while (up != 0 && settle(c, up))
        up = c->links[up].heap_up;
    return root;
}

/* --- treaps by (port_low, rule order) --------------------------------------------------------------------------- */

static uint64_t weight(const struct classifier *c, uint32_t at) {
    return dsn_fold(at ^ c->seed[7], 0x9e3779b97f4a7c15u);
}

static bool left_of(const struct classifier *c, uint32_t a, uint32_t b) {
    if (c->rule[a].port_low != c->rule[b].port_low)
        return c->rule[a].port_low < c->rule[b].port_low;
    return before(c, a, b);
}

static void sum_up(struct classifier *c, uint32_t at) {
    struct rule_links *links = &c->links[at];
    links->tree_first = at;
    links->tree_high = c->rule[at].port_high;
    for (unsigned side = 0; side < 2; side++) {
        uint32_t below = links->tree[side];
        if (below == 0)
            continue;
        if (c->links[below].tree_high > links->tree_high)
            links->tree_high = c->links[below].tree_high;
        if (before(c, c->links[below].tree_first, links->tree_first))
            links->tree_first = c->links[below].tree_first;
    }
}

/* Parts a tree into what lies left of a rule and what right. Recursion here and below is as deep as the tree, whose
 * shape comes from secret random weights: some 2.5 * log2(rules). */
static void part(struct classifier *c, uint32_t root, uint32_t at, uint32_t *left, uint32_t *right) {
    if (root == 0) {
        *left = *right = 0;
        return;
    }
    if (left_of(c, root, at)) {
        *left = root;
        part(c, c->links[root].tree[1], at, &c->links[root].tree[1], right);
    } else {
        *right = root;
        part(c, c->links[root].tree[0], at, left, &c->links[root].tree[0]);
    }
    sum_up(c, root);
}

static uint32_t join(struct classifier *c, uint32_t left, uint32_t right) {
    if (left == 0 || right == 0)
        return left | right;
    uint32_t root = weight(c, left) > weight(c, right) ? left : right;
    if (root == left)
        c->links[root].tree[1] = join(c, c->links[root].tree[1], right);
    else
        c->links[root].tree[0] = join(c, left, c->links[root].tree[0]);
    sum_up(c, root);
    return root;
}

uint32_t dsn_tree_insert(struct classifier *c, uint32_t root, uint32_t at) {
    if (root != 0 && weight(c, root) >= weight(c, at)) {
        unsigned side = left_of(c, root, at);
        c->links[root].tree[side] = dsn_tree_insert(c, c->links[root].tree[side], at);
        sum_up(c, root);
        return root;
    }
    part(c, root, at, &c->links[at].tree[0], &c->links[at].tree[1]);
    sum_up(c, at);
    return at;
}

uint32_t dsn_tree_remove(struct classifier *c, uint32_t root, uint32_t at) {
    if (root == at)
        return join(c, c->links[at].tree[0], c->links[at].tree[1]);
    unsigned side = left_of(c, root, at);
    c->links[root].tree[side] = dsn_tree_remove(c, c->links[root].tree[side], at);
    sum_up(c, root);
    return root;
}
