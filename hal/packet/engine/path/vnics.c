#include "path/vnics.h"

#include "path/hash.h"
#include "path/reserve.h"

#include <sys/mman.h>
#include <sys/random.h>

#define HEADS (UINT32_C(1) << 16)
#define LOOKS 64 /* at states, for one that can be given away */

#define STATES_SIZE                                                                                                    \
    ((DSN_VNIC_STATES + 1) *                                                                                           \
     (sizeof(struct dsn_vnic_state) + sizeof(struct dsn_challenges) + 2 * sizeof(struct dsn_half_of)))

bool dsn_vnic_states_create(struct dsn_vnic_states *v) {
    *v = (struct dsn_vnic_states){.state = dsn_reserve(STATES_SIZE), .head = dsn_reserve(HEADS * sizeof(*v->head))};
    if (v->state != NULL && v->head != NULL && getrandom(&v->seed, sizeof(v->seed), 0) == (ssize_t)sizeof(v->seed))
        return true;
    dsn_vnic_states_destroy(v);
    return false;
}

void dsn_vnic_states_destroy(struct dsn_vnic_states *v) {
    if (v->state != NULL)
        munmap(v->state, STATES_SIZE);
    if (v->head != NULL)
        munmap(v->head, HEADS * sizeof(*v->head));
    *v = (struct dsn_vnic_states){0};
}

static uint32_t *head_of(const struct dsn_vnic_states *v, uint64_t id) {
    return &v->head[dsn_fold64(id ^ v->seed, UINT64_C(0x9e3779b97f4a7c15)) % HEADS];
}

/* One of which nothing is open and nothing waits, taken out of its chain. Of its bucket no more is lost than a second
 * brings. */
static uint32_t give_away(struct dsn_vnic_states *v) {
    for (unsigned looks = 0; looks < LOOKS; looks++) {
        uint32_t number = v->hand = v->hand % v->high + 1;
        struct dsn_vnic_state *one = &v->state[number];
        if (one->open[0] > 0 || one->open[1] > 0 || one->lent[0] > 0 || one->lent[1] > 0 || one->waiting > 0 ||
            one->firsts[0].count > 0 || one->firsts[1].count > 0 || one->fragments[0] > 0 || one->fragments[1] > 0 ||
            one->neighbours > 0)
            continue;
        uint32_t *link = head_of(v, one->id);
        while (*link != number)
            link = &v->state[*link].next;
        *link = one->next;
        return number;
    }
    return 0;
}

uint32_t dsn_vnic_state_find(const struct dsn_vnic_states *v, uint64_t id) {
    uint32_t number = *head_of(v, id);
    while (number != 0 && v->state[number].id != id)
        number = v->state[number].next;
    return number;
}

uint32_t dsn_vnic_state(struct dsn_vnic_states *v, uint64_t id) {
    if (v->latest != 0 && v->state[v->latest].id == id)
        return v->latest;
    uint32_t *head = head_of(v, id), number = *head;
    while (number != 0 && v->state[number].id != id)
        number = v->state[number].next;
    if (number == 0) {
        number = v->high < DSN_VNIC_STATES ? ++v->high : give_away(v);
        if (number == 0)
            return 0;
        if (v->state[number].challenged)
            *dsn_challenges(v, number) = (struct dsn_challenges){0};
        v->state[number] = (struct dsn_vnic_state){.id = id, .next = *head};
        *head = number;
    }
    v->latest = number;
    return number;
}

void dsn_vnic_state_copy(struct dsn_vnic_states *to, const struct dsn_vnic_states *from, uint32_t number) {
    const struct dsn_vnic_state *one = &from->state[number];
    uint32_t copy = dsn_vnic_state(to, one->id);
    if (copy == 0)
        return;
    uint32_t next = to->state[copy].next;
    to->state[copy] = *one;
    if (one->challenged)
        *dsn_challenges(to, copy) = *dsn_challenges(from, number);
    to->state[copy].next = next;
    for (unsigned share = 0; share < 2; share++) { /* as many would make way for one */
        to->state[copy].lent[share] = 0;
        const uint32_t *half = one->half[share].count;
        if (one->open[share] > 0)
            to->state[copy].open[share] -=
                RTE_MIN(dsn_ended_of(from, number)[share].count[0] + half[DSN_HALF_OTHER] + half[DSN_HALF_TCP],
                        DSN_HALF_AT_ONCE);
    }
    to->state[copy].budget = NULL;
    memset(to->state[copy].firsts, 0, sizeof(to->state[copy].firsts)); /* packets aren't copied */
    to->state[copy].oldest = to->state[copy].newest = 0;
    to->state[copy].fragments[0] = to->state[copy].fragments[1] = 0;
    to->state[copy].neighbours = 0;                                /* each is counted as it is copied */
    memset(to->state[copy].half, 0, sizeof(to->state[copy].half)); /* nor are connections, but for one or two */
}
