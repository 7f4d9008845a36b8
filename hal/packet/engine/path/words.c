/* Op lists in words, as docs/forwarding.md spells them. */
#include "path/words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct text {
    char *at;
    size_t left;
    bool cut;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    int length = vsnprintf(text->at, text->left, form, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length + 1 > text->left) {
        text->cut = true;
        text->left = 0;
        return;
    }
    text->at += length + 1;
    text->left -= (size_t)length + 1;
}

static void put_rewrite(struct text *text, const struct dsn_shard *shard, const struct dsn_ops *ops) {
    char address[48];
    if (!(ops->ops & DSN_OP_NEIGHBOUR)) {
        put(text, "rewrite macs vnic %" PRIu64, ops->egress_id);
        return;
    }
    dsn_text_address(address, sizeof(address), shard->neighbours.neighbour[ops->neighbour].address);
    put(text, "rewrite macs neighbour %s on vnic %" PRIu64, address, ops->egress_id);
}

static void put_list(struct text *text, const struct dsn_shard *shard, const struct dsn_ops *ops) {
    char mac[24];
    if (ops->ops & DSN_OP_CHECK_SOURCE_MAC)
        put(text, "check source-mac");
    if (ops->ops & DSN_OP_CHECK_DESTINATION_MAC) {
        dsn_text_mac(mac, sizeof(mac), ops->check_mac);
        put(text, "check destination-mac %s", mac);
    }
    if (ops->ops & DSN_OP_DROP) {
        put(text, "drop %s", dsn_reason_name[ops->reason]);
        return;
    }
    if (ops->ops & DSN_OP_TRACK)
        put(text, "track tcp");
    if (ops->ops & DSN_OP_METER)
        put(text, "meter punt");
    if (ops->ops & DSN_OP_COUNT)
        put(text, "count");
    if (ops->ops & DSN_OP_REWRITE_TTL)
        put(text, "rewrite ttl");
    if (ops->ops & DSN_OP_REWRITE_MACS)
        put_rewrite(text, shard, ops);
    if (ops->ops & DSN_OP_POP)
        put(text, "pop vlan %u", ops->pop);
    if (ops->ops & DSN_OP_PUSH)
        put(text, "push vlan %u", ops->push);
    if (ops->ops & DSN_OP_PUNT)
        put(text, "punt vrf %" PRIu64, ops->vrf);
    else
        put(text, "send vnic %" PRIu64, ops->egress_id);
}

size_t dsn_words_of(const struct dsn_shard *shard, const struct dsn_connection *c, char *words, size_t size) {
    struct text text = {.at = words, .left = size};
    for (unsigned direction = 0; direction < 2; direction++) {
        put_list(&text, shard, dsn_ops_at(&shard->ops, dsn_line(c, direction)->ops));
        put(&text, "%s", "");
    }
    return text.cut ? 0 : (size_t)(text.at - words);
}
