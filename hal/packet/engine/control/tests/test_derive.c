/* What the path derives follows each commit, and each one undone, byte for byte as it would come from the rows alone;
 * and a commit of one row costs the same in an empty table as in one that is full. */
#include "control/tests/commits.h"
#include "path.h"
#include "path/tests/plainly.h"

static uint64_t state = 1;

static uint32_t draw(uint32_t below) {
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static struct dsn_tables tables;

static const enum dsn_table_number derived_from[] = {
    DSN_TABLE_VRF,           DSN_TABLE_PROFILE,  DSN_TABLE_PROFILE_STAGE,  DSN_TABLE_SUBNET,         DSN_TABLE_VNIC,
    DSN_TABLE_LOCAL_ADDRESS, DSN_TABLE_NEXT_HOP, DSN_TABLE_NEXT_HOP_GROUP, DSN_TABLE_NEXT_HOP_MEMBER};
#define DERIVED_FROM (sizeof(derived_from) / sizeof(derived_from[0]))

static void create(uint32_t capacity) {
    uint32_t capacities[DSN_TABLES];
    struct dsn_failure failure;
    for (int table = 0; table < DSN_TABLES; table++)
        capacities[table] = capacity;
    CHECK(dsn_tables_create(&tables, capacities, &failure));
}

/* --- drawn commits --- */

#define IDS 24

static void put_address(uint8_t address[16], uint32_t which) {
    static const uint8_t begin[4][16] = {
        {[10] = 255, 255, 10}, {0xfe, 0x80}, {0x20, 1, 0x0d, 0xb8}, {[10] = 255, 255, 169, 254}};
    memcpy(address, begin[which % 4], 16);
    dsn_put16(address + 14, (uint16_t)(which / 4));
}

static void draw_row(enum dsn_table_number table, void *at, uint64_t id) {
    memcpy(at, &id, 8);
    switch (table) {
    case DSN_TABLE_VRF: ((struct dsn_row_vrf *)at)->punt_port = draw(5); break;
    case DSN_TABLE_PROFILE: ((struct dsn_row_profile *)at)->tracking = DSN_NONE_ID; break;
    case DSN_TABLE_PROFILE_STAGE: {
        struct dsn_row_profile_stage *row = at;
        row->profile = draw(4);
        row->direction = (uint8_t)(1 + draw(2));
        row->position = (uint8_t)(draw(2) ? draw(4) : 255 - draw(2));
        strncpy(row->stage, dsn_stage_name[1 + draw(DSN_STAGES - 1)], sizeof(row->stage) - 1);
        break;
    }
    case DSN_TABLE_VNIC: {
        struct dsn_row_vnic *row = at;
        row->port = draw(5);
        row->vlan = (uint16_t)draw(2);
        row->match_mac[5] = (uint8_t)draw(3);
        row->role = (uint8_t)(1 + draw(3));
        row->mtu = 1500;
        row->mac[5] = (uint8_t)draw(255);
        row->vrf = draw(3);
        row->profile = draw(4);
        row->subnet = draw(4) ? draw(4) : DSN_NONE_ID;
        row->flow_limit = draw(9);
        break;
    }
    case DSN_TABLE_SUBNET: {
        struct dsn_row_subnet *row = at;
        row->vrf = draw(3);
        row->mac[5] = (uint8_t)draw(255);
        break;
    }
    case DSN_TABLE_LOCAL_ADDRESS: {
        struct dsn_row_local_address *row = at;
        row->vrf = draw(3);
        put_address(row->address, draw(12));
        row->subnet = draw(4);
        break;
    }
    case DSN_TABLE_NEXT_HOP: {
        struct dsn_row_next_hop *row = at;
        row->port = draw(2);
        row->vlan = (uint16_t)draw(2);
        put_address(row->address, draw(3));
        break;
    }
    case DSN_TABLE_NEXT_HOP_MEMBER: {
        struct dsn_row_next_hop_member *row = at;
        row->group = draw(4);
        row->position = (uint16_t)draw(10);
        row->next_hop = draw(IDS);
        row->weight = (uint16_t)(1 + draw(256));
        break;
    }
    default: break;
    }
}

static uint64_t some_id(enum dsn_table_number table) {
    bool many = table == DSN_TABLE_VNIC || table == DSN_TABLE_PROFILE_STAGE || table == DSN_TABLE_LOCAL_ADDRESS ||
                table == DSN_TABLE_NEXT_HOP || table == DSN_TABLE_NEXT_HOP_MEMBER;
    return draw(many ? IDS : 4);
}

static void draw_commit(void) {
    begin();
    for (unsigned n = 1 + draw(draw(3) ? 4 : 24); n > 0; n--) {
        enum dsn_table_number table = derived_from[draw(DERIVED_FROM)];
        uint64_t id = some_id(table);
        bool there = dsn_slot_of(&tables, table, id) != DSN_NO_SLOT;
        if (there && draw(4) == 0)
            memcpy(section(DSN_DELETE, table, 1), &id, 8);
        else
            draw_row(table, section(there ? DSN_MODIFY : DSN_INSERT, table, 1), id);
    }
}

static void is_as_the_rows_say(const struct dsn_root *root) {
    static struct bytes kept, anew, plain;
    struct dsn_root fresh = *root;
    kept.size = anew.size = plain.size = 0;
    CHECK(dsn_root_extras_create(&fresh));
    for (unsigned table = 0; table < DSN_TABLES; table++)
        for (uint32_t slot = fresh.table[table].capacity; slot-- > 0;)
            if (in_use(&fresh, table, slot))
                dsn_derive_in(&fresh, table, slot);
    add_kept(&kept, root);
    add_kept(&anew, &fresh);
    add_plain(&plain, root);
    dsn_root_extras_destroy(&fresh);
    CHECK(kept.size == anew.size && memcmp(kept.data, anew.data, kept.size) == 0);
    CHECK(kept.size == plain.size && memcmp(kept.data, plain.data, kept.size) == 0);
}

static void follows_every_commit(unsigned commits) {
    unsigned made = 0, undone = 0;
    struct dsn_failure failure;
    create(IDS + 8);
    for (unsigned n = 0; n < commits; n++) {
        draw_commit();
        bool built = build(&tables, &failure);
        is_as_the_rows_say(tables.idle);
        if (built && draw(3) == 0) {
            dsn_transaction_undo(&transaction, &tables);
            is_as_the_rows_say(tables.idle);
            undone++;
        } else if (built) {
            make(&tables, false);
            is_as_the_rows_say(tables.live);
            dsn_transaction_follow(&transaction, &tables);
            is_as_the_rows_say(tables.idle);
            made++;
        }
        end();
    }
    printf("%u commits drawn: %u made, %u undone when they were built\n", commits, made, undone);
    CHECK(made > commits / 8 && undone > commits / 20);
    for (unsigned i = 0; i < DERIVED_FROM; i++)
        CHECK(tables.store[derived_from[i]].fresh > 3);
    dsn_tables_destroy(&tables);
}

/* --- what a commit of one row costs --- */

#define FULL 16384 /* rows of a table */

static uint32_t there; /* rows of each table, with the ids from 0 on */

/* What it refers to is its own, or the same for all. */
static void put_row(enum dsn_table_number table, void *at, uint64_t id, uint32_t which, bool together) {
    uint32_t own = together ? 0 : which % there;
    memcpy(at, &id, 8);
    switch (table) {
    case DSN_TABLE_VRF: ((struct dsn_row_vrf *)at)->punt_port = own; break;
    case DSN_TABLE_PROFILE: ((struct dsn_row_profile *)at)->tracking = DSN_NONE_ID; break;
    case DSN_TABLE_PROFILE_STAGE: {
        struct dsn_row_profile_stage *row = at;
        row->profile = which / 256 % 64;
        row->direction = 1 + (which / 16384) % 2;
        row->position = (uint8_t)which;
        strcpy(row->stage, "firewall");
        break;
    }
    case DSN_TABLE_VNIC: {
        struct dsn_row_vnic *row = at;
        row->port = own;
        row->vlan = (uint16_t)(which % 4095);
        row->match_mac[0] = 2;
        row->match_mac[4] = (uint8_t)(which / 4095);
        row->role = (uint8_t)(1 + which % 3);
        row->mtu = 1500;
        row->mac[5] = (uint8_t)which;
        row->vrf = row->profile = row->subnet = own;
        break;
    }
    case DSN_TABLE_SUBNET: ((struct dsn_row_subnet *)at)->mac[5] = (uint8_t)which; break;
    case DSN_TABLE_LOCAL_ADDRESS: {
        struct dsn_row_local_address *row = at;
        put_address(row->address, which);
        row->subnet = own;
        break;
    }
    case DSN_TABLE_NEXT_HOP: {
        struct dsn_row_next_hop *row = at;
        row->port = own;
        put_address(row->address, 0);
        break;
    }
    case DSN_TABLE_NEXT_HOP_MEMBER: {
        struct dsn_row_next_hop_member *row = at;
        row->group = own;
        row->position = (uint16_t)which;
        row->next_hop = own;
        row->weight = 1;
        break;
    }
    default: break;
    }
}

static void put_rows(uint32_t first, uint32_t count, bool together) {
    there = first + count;
    for (unsigned i = 0; i < DERIVED_FROM; i++) {
        enum dsn_table_number table = derived_from[i];
        begin();
        uint8_t *at = section(DSN_INSERT, table, count);
        for (uint32_t n = 0; n < count; n++, at += dsn_table_desc[table].action[0].size)
            put_row(table, at, first + n, first + n, together);
        commit(&tables);
    }
}

/* Records of both copies that one more row, its change and its end cost; the most of the three. */
static uint64_t cost_of(enum dsn_table_number table, uint32_t which, bool together) {
    uint64_t most = 0, id = UINT64_C(1) << 40;
    for (unsigned kind = DSN_INSERT; kind <= DSN_DELETE; kind++) {
        uint64_t before = dsn_derive_looked(tables.live) + dsn_derive_looked(tables.idle);
        begin();
        if (kind == DSN_DELETE)
            memcpy(section(kind, table, 1), &id, 8);
        else
            put_row(table, section(kind, table, 1), id, which + (kind == DSN_MODIFY), together);
        commit(&tables);
        uint64_t cost = dsn_derive_looked(tables.live) + dsn_derive_looked(tables.idle) - before;
        most = cost > most ? cost : most;
    }
    return most;
}

/* What one row costs at most, where nothing hangs on it. */
#define EMPTY 60
#define AT_FULL 800 /* four searches, and more, of 14 steps if they were even, in each copy */

static void costs_what_it_changes(bool together) {
    uint64_t cost[DERIVED_FROM][2];
    create(FULL + 8);
    put_rows(0, 2, false);
    for (unsigned i = 0; i < DERIVED_FROM; i++)
        cost[i][0] = cost_of(derived_from[i], 2, together);
    put_rows(2, FULL - 2, together);
    for (unsigned i = 0; i < DERIVED_FROM; i++) {
        CHECK(tables.live->table[derived_from[i]].used == FULL);
        cost[i][1] = cost_of(derived_from[i], FULL, together);
        printf("%-16s %3lu records of an empty table, %3lu of %u rows%s\n", dsn_table_desc[derived_from[i]].name,
               cost[i][0], cost[i][1], FULL, together ? " that hang on one" : "");
    }
    for (unsigned i = 0; i < DERIVED_FROM; i++)
        CHECK(cost[i][0] <= EMPTY && cost[i][1] <= AT_FULL);
    dsn_tables_destroy(&tables);
}

/* A subnet's MAC is that of all its vNICs: these it costs, and no others. */
static void costs_what_hangs_on_it(void) {
    create(FULL + 8);
    put_rows(0, 2, false);
    put_rows(2, FULL - 2, true);
    uint64_t before = dsn_derive_looked(tables.live);
    begin();
    struct dsn_row_subnet *row = section(DSN_MODIFY, DSN_TABLE_SUBNET, 1);
    row->mac[0] = 2;
    commit(&tables);
    uint64_t cost = dsn_derive_looked(tables.idle) - before;
    printf("%lu records, %u vNICs have the subnet's MAC\n", cost, FULL);
    CHECK(cost > FULL / 2);
    dsn_tables_destroy(&tables);
}

int main(void) {
    CHECK(dsn_index_seed());
    follows_every_commit(1500);
    costs_what_it_changes(false);
    costs_what_it_changes(true);
    costs_what_hangs_on_it();
    return 0;
}
