/* Limits by the address that something goes to: challenge ACKs, ICMP errors and RSTs that the card makes, ICMP errors
 * that pass (docs/icmp.md, *How many*, *ICMP errors that pass*). In each bucket and window chance has a part:
 * nobody reads from what he gets how many others got. */
#include "path/shard.h"

/* The seed's row: one at most. */
static const uint8_t *seed_of(const struct dsn_root *root) {
    static const uint8_t none[16];
    for (uint32_t slot = 0; slot < root->table[DSN_TABLE_SEED].capacity; slot++)
        if (dsn_row_action(root, DSN_TABLE_SEED, slot) != DSN_NO_ACTION)
            return ((const struct dsn_row_seed *)dsn_row(root, DSN_TABLE_SEED, slot))->value;
    return none;
}

/* What a bucket is for tells it from others; of its name no more counts than messages have room for. */
#define PURPOSE 12

static size_t put_purpose(uint8_t *message, const char *purpose) {
    size_t length = RTE_MIN(strlen(purpose), (size_t)PURPOSE);
    memcpy(message, purpose, length);
    return length;
}

unsigned dsn_bucket_of(const struct dsn_shard *shard, const char *purpose, uint64_t vnic, const uint8_t address[16]) {
    uint8_t message[PURPOSE + 8 + 16];
    size_t length = put_purpose(message, purpose);
    dsn_put64(message + length, vnic);
    memcpy(message + length + 8, address, 16);
    return dsn_siphash(seed_of(shard->root), message, length + 24) % DSN_CHALLENGE_BUCKETS;
}

static const char *const purposes[DSN_WINDOWS] = {
    [DSN_WINDOW_CHALLENGE] = "challenge",   [DSN_WINDOW_ICMP] = "icmp",
    [DSN_WINDOW_ICMP_TO] = "icmp to",       [DSN_WINDOW_TOO_BIG] = "too big",
    [DSN_WINDOW_TOO_BIG_TO] = "too big to",
};

/* How many a bucket has in this window: its even part at the mean, between half of that and three halves, drawn in a
 * way that nobody outside knows, so that who counts what he gets doesn't learn what others got. */
static uint32_t allowance(const struct dsn_shard *shard, const char *purpose, uint64_t vnic, unsigned bucket,
                          uint64_t window, uint32_t part) {
    uint8_t message[PURPOSE + 8 + 1 + 8 + 2], *end = message + put_purpose(message, purpose);
    dsn_put64(end, vnic);
    end[8] = (uint8_t)bucket;
    dsn_put64(end + 9, window);
    dsn_put16(end + 17, shard->config.worker);
    uint64_t drawn = dsn_siphash(seed_of(shard->root), message, (size_t)(end + 19 - message));
    return RTE_MAX(1u, part / 2 + (uint32_t)(drawn % (part + UINT64_C(1))));
}

/* One of `rate` a second that the vNIC with this state has, of the address's bucket. */
static bool take_window(struct dsn_shard *shard, uint32_t number, enum dsn_window_set set, const uint8_t address[16],
                        uint32_t rate) {
    uint64_t vnic = shard->vnics.state[number].id, second = shard->now / DSN_SECOND;
    unsigned bucket = dsn_bucket_of(shard, purposes[set], vnic, address);
    struct dsn_window *window = &dsn_challenges(&shard->vnics, number)->window[set][bucket];
    /* Each worker has all of the limit of challenges: divided among many there would be no chance in it. */
    uint32_t workers = set == DSN_WINDOW_CHALLENGE ? 1 : shard->config.workers;
    shard->vnics.state[number].challenged = true;
    if (window->second != second + 1)
        *window = (struct dsn_window){
            .second = second + 1,
            .left = allowance(shard, purposes[set], vnic, bucket, second, rate / (DSN_CHALLENGE_BUCKETS * workers)),
        };
    bool enough = window->left > 0;
    window->left -= enough;
    return enough;
}

uint32_t dsn_challenge_limit(const struct dsn_shard *shard, const struct dsn_vnic *vnic) {
    uint32_t said = vnic != NULL && vnic->challenge_limit != 0 ? vnic->challenge_limit : shard->config.challenge_limit;
    return RTE_MAX(said, DSN_CHALLENGES_LEAST);
}

bool dsn_challenge_take(struct dsn_shard *shard, uint64_t vnic, const uint8_t address[16]) {
    uint32_t number = dsn_vnic_state(&shard->vnics, vnic);
    const struct dsn_vnic *row = dsn_vnic_by_id(shard->root, vnic);
    uint32_t rate = dsn_challenge_limit(shard, row);
    if (number == 0)
        return false;
    bool enough = take_window(shard, number, DSN_WINDOW_CHALLENGE, address, rate);
    if (!enough && row != NULL)
        dsn_limit_refuses(shard, DSN_LIMIT_CHALLENGES, &shard->vnics.state[number], DSN_EVENT_CHALLENGE_LIMIT, row);
    return enough;
}

bool dsn_icmp_take(struct dsn_shard *shard, const struct dsn_packet *p, bool living) {
    struct dsn_whom whom = dsn_whom(shard->root, p);
    uint32_t number = dsn_vnic_state(&shard->vnics, whom.vnic->id),
             rate = whom.vnic->icmp_limit != 0 ? whom.vnic->icmp_limit : shard->config.icmp_limit;
    enum dsn_window_set set = (living ? DSN_WINDOW_TOO_BIG : DSN_WINDOW_ICMP) + whom.inbound;
    if (number == 0)
        return false;
    bool enough = take_window(shard, number, set, p->key.source, rate);
    shard->counters.engine[DSN_COUNT_ICMP_SUPPRESSED] += !enough;
    if (!enough)
        dsn_limit_refuses(shard, DSN_LIMIT_ICMP + whom.inbound, &shard->vnics.state[number], DSN_EVENT_ICMP_LIMIT,
                          whom.vnic);
    return enough;
}

bool dsn_error_take(struct dsn_shard *shard, const struct dsn_packet *p, const struct dsn_flow_key *key) {
    struct dsn_whom whom = dsn_whom(shard->root, p);
    const char *purpose = whom.inbound ? "error to" : "error";
    uint32_t number = dsn_vnic_state(&shard->vnics, whom.vnic->id);
    uint8_t message[PURPOSE + 8 + 1 + 32 + 4], *end = message + put_purpose(message, purpose);
    if (number == 0)
        return false;
    dsn_put64(end, whom.vnic->id);
    end[8] = key->protocol;
    memcpy(end + 9, key->source, 32); /* and destination */
    dsn_put16(end + 41, key->source_port);
    dsn_put16(end + 43, key->destination_port);
    uint64_t hash = dsn_siphash(seed_of(shard->root), message, (size_t)(end + 45 - message));
    struct dsn_window *windows = dsn_challenges(&shard->vnics, number)->error[whom.inbound];
    uint64_t second = shard->now / DSN_SECOND;
    shard->vnics.state[number].challenged = true;
    unsigned first = hash % DSN_ERROR_BUCKETS,
             other = first + 1 + (unsigned)(hash / DSN_ERROR_BUCKETS % (DSN_ERROR_BUCKETS - 1));
    for (unsigned choice = 0; choice < 2; choice++) {
        unsigned bucket = choice == 0 ? first : other % DSN_ERROR_BUCKETS;
        struct dsn_window *window = &windows[bucket];
        if (window->second != second + 1)
            *window = (struct dsn_window){
                .second = second + 1,
                .left = allowance(shard, purpose, whom.vnic->id, bucket, second, DSN_ERRORS / DSN_ERROR_BUCKETS),
            };
        if (window->left > 0) {
            window->left--;
            return true;
        }
    }
    dsn_limit_refuses(shard, DSN_LIMIT_ERRORS + whom.inbound, &shard->vnics.state[number], DSN_EVENT_ICMP_LIMIT,
                      whom.vnic);
    return false;
}
