#include "path/conflicts.h"

#include "path/answers.h"
#include "path/shard.h"
#include "path/whom.h"

/* Whether it may be told of now; then it was. Those of the last ten seconds are remembered, so many at most. */
static bool may_tell(struct dsn_conflict *some, uint64_t id, uint64_t now) {
    struct dsn_conflict *room = NULL;
    for (unsigned n = 0; n < DSN_CONFLICTS; n++) {
        if (some[n].until_ns <= now)
            room = &some[n];
        else if (some[n].id == id)
            return false;
    }
    if (room != NULL)
        *room = (struct dsn_conflict){.id = id, .until_ns = now + DSN_DEFEND_INTERVAL};
    return room != NULL;
}

bool dsn_conflict(struct dsn_shard *shard, const struct dsn_vnic *uplink, const uint8_t address[16],
                  const uint8_t mac[6]) {
    if (uplink->role != DSN_VNIC_ROLE_UPLINK || dsn_mac(mac) == uplink->own_mac)
        return false;
    enum dsn_table_number table;
    uint32_t slot = dsn_own_address(shard->root, uplink, address, &table);
    if (slot == DSN_NO_SLOT)
        return false;
    bool own = table == DSN_TABLE_LOCAL_ADDRESS;
    uint64_t id = dsn_id_at(shard->root, table, slot);
    if (!may_tell(own ? shard->conflicts.own : shard->conflicts.vnics, id, shard->now))
        return true;
    char text[80];
    size_t size = dsn_text_address(text, sizeof(text), address);
    size += (size_t)snprintf(text + size, sizeof(text) - size, " is-at ");
    dsn_text_mac(text + size, sizeof(text) - size, mac);
    dsn_event_put(shard, DSN_EVENT_ADDRESS_CONFLICT, (int16_t)table, id, text);
    if (own && ((const struct dsn_row_local_address *)dsn_row(shard->root, table, slot))->subnet == uplink->subnet)
        dsn_announce(shard, uplink, address);
    return true;
}
