/* CAPABILITIES and HELLO: what this engine is, can do and holds, asked before and never found out by failing. */
#include "build_config.h"
#include "control.h"
#include "memfd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STAGE_NUMBER(name) #name,
static const char *const built_stages[] = {DSN_BUILT_STAGES(STAGE_NUMBER) NULL};

static void text(FILE *out, const char *words) {
    putc('"', out);
    for (; *words; words++) {
        unsigned char letter = (unsigned char)*words;
        if (letter == '"' || letter == '\\')
            fprintf(out, "\\%c", letter);
        else if (letter < 0x20 || letter == 0x7f)
            fprintf(out, "\\u%04x", letter);
        else
            putc(letter, out);
    }
    putc('"', out);
}

static bool is_built(const char *stage) {
    for (const char *const *built = built_stages; *built; built++)
        if (strcmp(*built, stage) == 0)
            return true;
    return false;
}

static void stages(FILE *out, bool built) {
    const char *comma = "";
    for (int number = 1; number < DSN_STAGES; number++) { /* 0 is the frame */
        if (is_built(dsn_stage_name[number]) != built)
            continue;
        fputs(comma, out);
        text(out, dsn_stage_name[number]);
        comma = ",";
    }
}

static void ports(FILE *out, const struct dsn_control *control) {
    for (uint16_t i = 0; i < control->engine.port_count; i++) {
        struct dsn_port *port = control->engine.ports[i];
        const uint8_t *mac = control->port[i].mac;
        fprintf(out, "%s{\"number\":%u,\"name\":", i ? "," : "", port->number);
        text(out, control->port[i].name);
        fputs(",\"device\":", out);
        text(out, control->port[i].device);
        fprintf(out, ",\"mtu\":%u", control->port[i].mtu);
        if (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5])
            fprintf(out, ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        bool wakes = port->ops->wake_fd(port) >= 0;
        fprintf(out, ",\"link\":%s,\"wakes\":%s}", atomic_load(&port->up) ? "true" : "false", wakes ? "true" : "false");
    }
}

static void per_table(FILE *out, const char *name, const struct dsn_control *control,
                      uint64_t (*value)(const struct dsn_table *)) {
    fprintf(out, ",\"%s\":{", name);
    for (int number = 0; number < DSN_TABLES; number++)
        fprintf(out, "%s\"%s\":%" PRIu64, number ? "," : "", dsn_table_desc[number].name,
                control->loaded ? value(&control->tables.live->table[number]) : 0);
    putc('}', out);
}

/* Nobody's before LOAD. */
static void owners(FILE *out, const struct dsn_control *control) {
    const char *comma = "";
    fputs(",\"owners\":{", out);
    for (int number = 0; control->loaded && number < DSN_TABLES; number++) {
        uint8_t owner = control->tables.store[number].owner;
        if (owner == DSN_NO_OWNER)
            continue;
        fprintf(out, "%s\"%s\":", comma, dsn_table_desc[number].name);
        text(out, control->tables.owner[owner].name);
        comma = ",";
    }
    putc('}', out);
}

/* Who has to commit before anything is forwarded, and hasn't. */
static void awaited(FILE *out, const struct dsn_control *control) {
    const char *comma = "";
    fputs(",\"awaited\":[", out);
    for (unsigned owner = 0; control->loaded && owner < control->tables.owners; owner++) {
        if (!control->tables.owner[owner].awaited || control->tables.owner[owner].committed)
            continue;
        fputs(comma, out);
        text(out, control->tables.owner[owner].name);
        comma = ",";
    }
    putc(']', out);
}

static uint64_t capacity(const struct dsn_table *table) {
    return table->capacity;
}

static uint64_t occupancy(const struct dsn_table *table) {
    return table->used;
}

static uint64_t match_bytes(const struct dsn_table *table) {
    const struct dsn_match_ops *match = dsn_match_of(table->desc);
    return match ? match->bytes(table->match) : 0;
}

bool dsn_do_capabilities(struct dsn_control *control, struct dsn_exchange *exchange) {
    char *words = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&words, &size);
    if (out) {
        fprintf(out, "{\"backend\":\"engine\",\"version\":\"" DSN_VERSION "\",\"build\":\"" DSN_BUILD
                     "\",\"level\":\"stateful\",\"absent\":[");
        stages(out, false);
        fputs("],\"stages\":[", out);
        stages(out, true);
        fprintf(out, "],\"workers\":%u,\"connections\":%u,\"ports\":[", control->load.workers,
                control->load.connections);
        ports(out, control);
        putc(']', out);
        per_table(out, "capacities", control, capacity);
        per_table(out, "occupancy", control, occupancy);
        owners(out, control);
        awaited(out, control);
        per_table(out, "match_bytes", control, match_bytes);
        putc('}', out);
    }
    bool written = out && fclose(out) == 0;
    if (written)
        exchange->answer_fd = dsn_bulk_copy("dsn-capabilities", words, size, &exchange->failure);
    else
        dsn_refuse(&exchange->failure, DSN_FULL, "capabilities", "", "memory for them", NULL);
    free(words);
    return written && exchange->answer_fd >= 0;
}

bool dsn_do_hello(struct dsn_control *control, struct dsn_exchange *exchange) {
    struct dsn_hello hello = {
        .version = DSN_WIRE_VERSION,
        .pid = (uint32_t)getpid(),
        .started_ns = control->started_ns,
        .generation = control->loaded ? control->tables.live->generation : 0,
        .loaded = control->loaded,
        .running = control->running,
        .life = control->life,
    };
    if (exchange->owner >= 0)
        memcpy(hello.owner, control->tables.owner[exchange->owner].name, sizeof(hello.owner));
    memcpy(hello.tag, control->tables.tag, sizeof(hello.tag));
    snprintf(hello.build, sizeof(hello.build), "%s, %s", DSN_VERSION, DSN_BUILD);
    exchange->answer_fd = dsn_bulk_copy("dsn-schema", dsn_schema_json, dsn_schema_json_size, &exchange->failure);
    dsn_say(exchange, &hello, sizeof(hello));
    return exchange->answer_fd >= 0;
}
