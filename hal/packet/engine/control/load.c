/* LOAD, START and STOP: everything that is fixed before the first commit. */
#include "check.h"
#include "control.h"
#include "memfd.h"
#include "path/budgets.h"
#include "path/news.h"
#include "path/verdicts.h"

#include <inttypes.h>
#include <rte_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_CAPACITY (16u << 20)
#define MOST_CONNECTIONS (64u << 20)

struct request {
    struct dsn_load head;
    const struct dsn_load_port *port;
    const struct dsn_load_owner *owner;
    const struct dsn_load_capacity *capacity;
};

static bool wrong(struct dsn_failure *failure, const char *what, const char *field, const char *limit,
                  const char *got) {
    dsn_refuse(failure, DSN_INVALID, what, field, limit, NULL);
    return dsn_got(failure, "%s", got);
}

static bool wrong_number(struct dsn_failure *failure, const char *what, const char *field, const char *limit,
                         uint64_t got) {
    dsn_refuse(failure, DSN_INVALID, what, field, limit, NULL);
    return dsn_got(failure, "%" PRIu64, got);
}

static bool parse(struct request *request, const uint8_t *data, size_t size, struct dsn_failure *failure) {
    memcpy(&request->head, data, sizeof(request->head));
    const struct dsn_load *head = &request->head;
    uint64_t need = sizeof(*head) + (uint64_t)head->ports * sizeof(*request->port) +
                    (uint64_t)head->owners * sizeof(*request->owner) +
                    (uint64_t)head->capacities * sizeof(*request->capacity);
    request->port = (const void *)(data + sizeof(*head));
    request->owner = (const void *)(request->port + head->ports);
    request->capacity = (const void *)(request->owner + head->owners);
    bool fits = need == size;
    for (uint32_t i = 0; fits && i < head->ports; i++)
        fits = dsn_check_text(request->port[i].name, sizeof(request->port[i].name)) &&
               dsn_check_text(request->port[i].device, sizeof(request->port[i].device)) &&
               request->port[i].has_fd <= 1 && request->port[i].reserved == 0;
    for (uint32_t i = 0; fits && i < head->owners; i++)
        fits = dsn_check_text(request->owner[i].owner, sizeof(request->owner[i].owner)) &&
               dsn_check_text(request->owner[i].table, sizeof(request->owner[i].table)) &&
               request->owner[i].awaited <= 1;
    for (uint32_t i = 0; fits && i < head->capacities; i++)
        fits = dsn_check_text(request->capacity[i].table, sizeof(request->capacity[i].table));
    return fits || dsn_refuse(failure, DSN_CORRUPT, "load", "",
                              "ports, owners and capacities as many as it says, with "
                              "texts padded by NUL",
                              NULL);
}

static bool ports_valid(const struct request *request, struct dsn_failure *failure) {
    if (request->head.ports > DSN_MAX_PORTS)
        return wrong_number(failure, "card", "ports", "0..256", request->head.ports);
    for (uint32_t i = 0; i < request->head.ports; i++) {
        const struct dsn_load_port *port = &request->port[i];
        char what[64];
        bool number = port->number < UINT16_MAX, name = port->name[0] != 0;
        snprintf(what, sizeof(what), "port %s", port->name);
        for (uint32_t other = 0; other < i; other++) {
            number = number && request->port[other].number != port->number;
            name = name && strcmp(request->port[other].name, port->name);
        }
        if (!number)
            return wrong_number(failure, what, "number", "0..65534, one port each", port->number);
        if (!name)
            return wrong(failure, what, "name", "a name of its own", port->name);
        if (port->mtu < 1280 || port->mtu > 9216)
            return wrong_number(failure, what, "mtu", "1280..9216", port->mtu);
    }
    return true;
}

static bool card_valid(const struct dsn_load *head, struct dsn_failure *failure) {
    if (head->workers < 1 || head->workers > DSN_MAX_WORKERS)
        return wrong_number(failure, "card", "workers", "1..64", head->workers);
    if (head->connections < 1 || head->connections > MOST_CONNECTIONS)
        return wrong_number(failure, "card", "connections", "1..67108864", head->connections);
    if (head->flow_limit < 1)
        return wrong_number(failure, "card", "flow_limit", "1 or more", head->flow_limit);
    if (head->inbound_flow_limit < 1)
        return wrong_number(failure, "card", "inbound_flow_limit", "1 or more", head->inbound_flow_limit);
    if (head->new_flow_limit < 1)
        return wrong_number(failure, "card", "new_flow_limit", "1 or more", head->new_flow_limit);
    if (head->half_open_limit < 1)
        return wrong_number(failure, "card", "half_open_limit", "1 or more", head->half_open_limit);
    if (head->icmp_limit < 1)
        return wrong_number(failure, "card", "icmp_limit", "1 or more", head->icmp_limit);
    if (head->challenge_limit < 1)
        return wrong_number(failure, "card", "challenge_limit", "1 or more", head->challenge_limit);
    return head->punt_limit >= 1 || wrong_number(failure, "card", "punt_limit", "1 or more", head->punt_limit);
}

static int known_table(const char *name, struct dsn_failure *failure) {
    int table = dsn_table_number(name);
    if (table < 0) {
        char what[64];
        snprintf(what, sizeof(what), "table %s", name);
        dsn_refuse(failure, DSN_INVALID, what, "", "a table of the engine's schema", NULL);
    }
    return table;
}

static bool capacities(const struct request *request, uint32_t *capacity, struct dsn_failure *failure) {
    for (int table = 0; table < DSN_TABLES; table++)
        capacity[table] = dsn_table_desc[table].capacity;
    for (uint32_t i = 0; i < request->head.capacities; i++) {
        const struct dsn_load_capacity *wanted = &request->capacity[i];
        int table = known_table(wanted->table, failure);
        if (table < 0)
            return false;
        if (wanted->entries < 1 || wanted->entries > MOST_CAPACITY) {
            dsn_refuse_row(failure, DSN_INVALID, table, -1, DSN_NONE_ID, "capacity", "1..16777216", NULL);
            return dsn_got(failure, "%" PRIu64, wanted->entries);
        }
        capacity[table] = (uint32_t)wanted->entries;
    }
    return true;
}

/* It becomes part of a file's name. */
static bool owner_name_valid(const char *name) {
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return length > 0 && name[length] == 0 && name[0] != '.';
}

static int owner_number(struct dsn_tables *tables, const char *name) {
    for (unsigned i = 0; i < tables->owners; i++)
        if (strcmp(tables->owner[i].name, name) == 0)
            return (int)i;
    struct dsn_owner *owner = &tables->owner[tables->owners];
    owner->outcomes = dsn_outcomes_create();
    if (owner->outcomes == NULL)
        return -1;
    snprintf(owner->name, sizeof(owner->name), "%s", name);
    return (int)tables->owners++;
}

/* Tables that nobody is named for belong to dsnd, who is there in any case. */
static bool owners(const struct request *request, struct dsn_tables *tables, struct dsn_failure *failure) {
    bool memory = owner_number(tables, "dsnd") >= 0;
    for (uint32_t i = 0; memory && i < request->head.owners; i++) {
        const struct dsn_load_owner *named = &request->owner[i];
        int table = known_table(named->table, failure);
        if (table < 0)
            return false;
        if (!owner_name_valid(named->owner))
            return wrong(failure, "owner", "name", "1..31 letters, digits, _ - and ., the first one no .",
                         named->owner);
        uint8_t before = tables->store[table].owner;
        if (before != DSN_NO_OWNER && strcmp(tables->owner[before].name, named->owner)) {
            dsn_refuse_row(failure, DSN_INVALID, table, -1, DSN_NONE_ID, "owner", "one owner", NULL);
            return dsn_got(failure, "%s and %s", tables->owner[before].name, named->owner);
        }
        int number = owner_number(tables, named->owner);
        memory = number >= 0;
        if (memory)
            tables->store[table].owner = (uint8_t)number;
        if (memory && named->awaited)
            tables->owner[number].awaited = true;
    }
    for (int table = 0; memory && table < DSN_TABLES; table++) {
        struct dsn_store *store = &tables->store[table];
        store->owner = store->owner == DSN_NO_OWNER ? 0 : store->owner;
        tables->owner[store->owner].tables |= UINT64_C(1) << table;
    }
    return memory || dsn_refuse(failure, DSN_FULL, "owners", "", "memory for their outcomes", NULL);
}

static bool open_ports(struct dsn_control *control, const struct request *request, struct dsn_exchange *exchange) {
    struct dsn_engine *engine = &control->engine;
    struct dsn_failure *failure = &exchange->failure;
    uint16_t longest = 1500;
    unsigned next = 0;
    for (uint32_t i = 0; i < request->head.ports; i++)
        longest = request->port[i].mtu > longest ? request->port[i].mtu : longest;
    engine->pool = dsn_pool_create(
        "dsn_live", dsn_pool_packets((uint16_t)request->head.workers, (uint16_t)request->head.ports), longest);
    if (engine->pool == NULL) {
        dsn_refuse(failure, DSN_FULL, "card", "", "memory for packets",
                   "Give it more (memory_mb in card.toml), or fewer ports and workers, or a smaller mtu.");
        return dsn_got(failure, "%s", rte_strerror(rte_errno));
    }
    for (uint32_t i = 0; i < request->head.ports; i++) {
        const struct dsn_load_port *config = &request->port[i];
        int fd = -1;
        if (config->has_fd) {
            fd = exchange->device[next];
            exchange->device[next++] = -1;
        }
        dsn_refuse(failure, DSN_INVALID, "port", "device", "one that can be opened", NULL);
        struct dsn_port *port = dsn_port_open(config, fd, engine->pool, &failure->error, &failure->kind);
        if (port == NULL)
            return false;
        failure->kind = 0;
        control->port[i] = *config;
        memcpy(port->name, config->name, sizeof(port->name));
        port->number = config->number;
        port->index = (uint16_t)i;
        atomic_store(&port->up, port->ops->link(port));
        engine->ports[engine->port_count++] = port;
    }
    return true;
}

static bool load(struct dsn_control *control, const struct request *request, struct dsn_exchange *exchange) {
    struct dsn_failure *failure = &exchange->failure;
    struct dsn_engine *engine = &control->engine;
    uint32_t capacity[DSN_TABLES];
    unsigned descriptors = 0;
    for (uint32_t i = 0; i < request->head.ports; i++)
        descriptors += request->port[i].has_fd;
    if (!ports_valid(request, failure) || !card_valid(&request->head, failure) ||
        !capacities(request, capacity, failure))
        return false;
    control->load = request->head;
    if (!dsn_tables_create(&control->tables, capacity, failure) || !owners(request, &control->tables, failure))
        return false;
    if (exchange->devices != descriptors && exchange->devices != descriptors + control->tables.owners)
        return dsn_refuse(failure, DSN_CORRUPT, "load", "descriptors",
                          "one a port that has one, in their order; then none or one an owner, dsnd's first", NULL);
    int *sockets = exchange->devices > descriptors ? exchange->device + descriptors : NULL;
    if (!open_ports(control, request, exchange))
        return false;
    engine->workers = (uint16_t)request->head.workers;
    engine->readers = aligned_alloc(RTE_CACHE_LINE_SIZE,
                                    RTE_ALIGN_CEIL(rte_rcu_qsbr_get_memsize(engine->workers), RTE_CACHE_LINE_SIZE));
    if (engine->readers == NULL || rte_rcu_qsbr_init(engine->readers, engine->workers))
        return dsn_refuse(failure, DSN_FULL, "card", "workers", "memory for them", NULL);
    if (!dsn_segment_create(&control->segment, &control->tables, engine->workers, engine->ports, engine->port_count,
                            true, failure))
        return false;
    dsn_segment_ids(&control->segment, &control->tables);
    for (uint16_t i = 0; i < engine->port_count; i++)
        engine->ports[i]->counters = &control->segment.port[i];
    atomic_store(&engine->root, control->tables.live);
    if (!dsn_process_confine())
        return dsn_refuse(failure, DSN_UNSUPPORTED, "engine", "capabilities", "threads that give them up",
                          "Leave out the device whose driver made one that doesn't.");
    return dsn_server_owners(control, sockets, failure);
}

bool dsn_do_load(struct dsn_control *control, struct dsn_exchange *exchange) {
    const uint8_t *data;
    size_t size;
    struct request request;
    if (control->loaded)
        return dsn_refuse(&exchange->failure, DSN_BUSY, "engine", "", "loaded once",
                          "Stop it and start another to load anew.");
    int memfd = exchange->memfd;
    exchange->memfd = -1;
    if (memfd < 0)
        return dsn_refuse(&exchange->failure, DSN_CORRUPT, "load", "", "a memfd", NULL);
    if (!dsn_memfd_map(memfd, sizeof(struct dsn_load), 1 << 20, &data, &size, &exchange->failure))
        return false;
    control->loaded = parse(&request, data, size, &exchange->failure) && load(control, &request, exchange);
    if (!control->loaded)
        dsn_unload(control, false);
    dsn_memfd_unmap(data, size);
    return control->loaded;
}

static void drop_shared(struct dsn_engine *engine) {
    dsn_budgets_destroy(engine->budgets);
    dsn_news_destroy(engine->news);
    dsn_verdicts_destroy(engine->verdicts);
    engine->budgets = NULL;
    engine->news = NULL;
    engine->verdicts = NULL;
}

void dsn_unload(struct dsn_control *control, bool last) {
    struct dsn_engine *engine = &control->engine;
    if (control->running)
        dsn_workers_stop(engine);
    control->running = control->loaded = false;
    dsn_commit_follow(control);
    dsn_staged_drop_all(control);
    for (int place = 0; place < DSN_REPLAYS; place++)
        if (control->replay[place].number)
            dsn_replay_end(control, &control->replay[place]);
    for (uint16_t i = 0; i < DSN_MAX_WORKERS; i++)
        if (engine->shard[i])
            dsn_shard_destroy(engine->shard[i]);
    memset(engine->shard, 0, sizeof(engine->shard));
    drop_shared(engine);
    for (uint16_t i = 0; i < engine->port_count; i++)
        dsn_port_close(engine->ports[i]);
    engine->port_count = engine->workers = 0;
    if (!last) { /* DPDK writes zeros over what is freed, page by page; at the end all of it goes with the process */
        rte_mempool_free(engine->pool);
        rte_mempool_free(control->replay_pool);
    }
    engine->pool = control->replay_pool = NULL;
    free(engine->readers);
    engine->readers = NULL;
    atomic_store(&engine->root, NULL);
    dsn_segment_destroy(&control->segment);
    for (unsigned i = 0; i < control->tables.owners; i++)
        free(control->tables.owner[i].outcomes);
    dsn_tables_destroy(&control->tables);
}

static bool make_shards(struct dsn_control *control, struct dsn_failure *failure) {
    struct dsn_engine *engine = &control->engine;
    uint64_t now = dsn_now_ns();
    control->pickup_until = control->load.pickup_ns < UINT64_MAX - now ? now + control->load.pickup_ns : UINT64_MAX;
    drop_shared(engine);
    if (engine->workers > 1) {
        engine->budgets = dsn_budgets_create(engine->workers);
        engine->news = dsn_news_create();
        engine->verdicts = dsn_verdicts_create(engine->workers);
    }
    if (engine->workers > 1 && (!engine->budgets || !engine->news || !engine->verdicts))
        return dsn_refuse(failure, DSN_FULL, "card", "workers", "memory for what they share", NULL);
    for (uint16_t worker = 0; worker < engine->workers; worker++) {
        struct dsn_shard_config config = {
            .counters = control->segment.block[worker],
            .limits = control->segment.limits[worker],
            .connections = control->load.connections,
            .worker = worker,
            .workers = engine->workers,
            .flow_limit = control->load.flow_limit,
            .inbound_flow_limit = control->load.inbound_flow_limit,
            .punt_limit = control->load.punt_limit,
            .new_flow_limit = control->load.new_flow_limit,
            .half_open_limit = control->load.half_open_limit,
            .fragment_limit = control->load.fragment_limit,
            .icmp_limit = control->load.icmp_limit,
            .challenge_limit = control->load.challenge_limit,
            .budgets = engine->budgets,
            .news = engine->news,
            .verdicts = engine->verdicts,
            .pickup_until_ns = control->pickup_until,
            .ports = engine->ports,
            .port_count = engine->port_count,
            .pool = engine->pool,
            .warm = true,
        };
        engine->shard[worker] = dsn_shard_create(&config);
        if (engine->shard[worker])
            continue;
        for (uint16_t i = 0; i < worker; i++)
            dsn_shard_destroy(engine->shard[i]);
        memset(engine->shard, 0, sizeof(engine->shard));
        return dsn_refuse(failure, DSN_FULL, "card", "connections", "memory for them",
                          "Load with fewer connections or workers (card.toml).");
    }
    return true;
}

bool dsn_do_start(struct dsn_control *control, struct dsn_exchange *exchange) {
    if (control->running)
        return true;
    if (!make_shards(control, &exchange->failure))
        return false;
    int failed = dsn_workers_start(&control->engine);
    if (failed) {
        for (uint16_t i = 0; i < control->engine.workers; i++)
            dsn_shard_destroy(control->engine.shard[i]);
        memset(control->engine.shard, 0, sizeof(control->engine.shard));
        dsn_refuse(&exchange->failure, DSN_FULL, "workers", "", "threads and memory for them", NULL);
        return dsn_got(&exchange->failure, "%s", strerror(failed));
    }
    control->running = true;
    return true;
}

bool dsn_do_stop(struct dsn_control *control, struct dsn_exchange *exchange) {
    (void)exchange;
    control->ending = true; /* once this is answered */
    return true;
}
