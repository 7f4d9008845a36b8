#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const kind_names[KIND_COUNT] = {"first", "each", "reply", "ack", "run"};

struct reader {
    const char *path;
    unsigned int line;
    char *error;
    size_t error_size;
};

static int __attribute__((format(printf, 2, 3))) fail(const struct reader *reader, const char *format, ...) {
    va_list arguments;
    int used = snprintf(reader->error, reader->error_size, "%s:%u: ", reader->path, reader->line);
    if (used < 0 || (size_t)used >= reader->error_size)
        return -1;
    va_start(arguments, format);
    vsnprintf(reader->error + used, reader->error_size - (size_t)used, format, arguments);
    va_end(arguments);
    return -1;
}

static int read_number(const struct reader *reader, const char *text, uint64_t low, uint64_t high, uint64_t *number) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (end == text || *end != '\0' || errno != 0 || text[0] == '-')
        return fail(reader, "'%s' is not a number", text);
    if (value < low || value > high)
        return fail(reader, "%llu is outside %llu..%llu", value, (unsigned long long)low, (unsigned long long)high);
    *number = value;
    return 0;
}

static int read_unsigned(const struct reader *reader, const char *text, unsigned int low, unsigned int high,
                         unsigned int *number) {
    uint64_t value;
    if (read_number(reader, text, low, high, &value) != 0)
        return -1;
    *number = (unsigned int)value;
    return 0;
}

static int read_mac(const struct reader *reader, const char *text, uint8_t mac[6]) {
    unsigned int byte[6];
    char rest;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5], &rest) !=
        6)
        return fail(reader, "'%s' is not a MAC address", text);
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)byte[i];
    return 0;
}

static uint64_t read_be64(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* PREFIX/LENGTH: the bits behind the length are those in which flows differ. */
static int read_prefix(const struct reader *reader, const char *text, struct tuple_config *tuple, uint64_t *high,
                       struct field *low) {
    char address[64];
    uint8_t bytes[16] = {0};
    uint64_t length;
    bool v6 = strchr(text, ':') != NULL;
    unsigned int width = v6 ? 128 : 32;
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);

    if (size >= sizeof(address))
        return fail(reader, "'%s' is not an address", text);
    memcpy(address, text, size);
    address[size] = '\0';
    if (inet_pton(v6 ? AF_INET6 : AF_INET, address, v6 ? bytes : bytes + 12) != 1)
        return fail(reader, "'%s' is not an address", text);
    length = width;
    if (slash && read_number(reader, slash + 1, v6 ? 64 : 0, width, &length) != 0)
        return -1;
    *(v6 ? &tuple->has_v6 : &tuple->has_v4) = true;
    *high = read_be64(bytes);
    low->base = read_be64(bytes + 8);
    low->bits = width - (unsigned int)length;
    if (low->bits > 0 && (low->base & (low->bits == 64 ? UINT64_MAX : (UINT64_C(1) << low->bits) - 1)) != 0)
        return fail(reader, "'%s' has bits behind its length", text);
    return 0;
}

/* PORT or LOW-HIGH, a power of two many. */
static int read_ports(const struct reader *reader, const char *text, struct field *field) {
    char low_text[16];
    uint64_t low, high;
    const char *dash = strchr(text, '-');
    size_t size = dash ? (size_t)(dash - text) : strlen(text);

    if (size >= sizeof(low_text))
        return fail(reader, "'%s' is not a port or a range", text);
    memcpy(low_text, text, size);
    low_text[size] = '\0';
    if (read_number(reader, low_text, 0, 65535, &low) != 0)
        return -1;
    high = low;
    if (dash && read_number(reader, dash + 1, low, 65535, &high) != 0)
        return -1;
    field->base = low;
    field->bits = 0;
    while ((UINT64_C(1) << field->bits) < high - low + 1)
        field->bits++;
    if ((UINT64_C(1) << field->bits) != high - low + 1)
        return fail(reader, "'%s' holds %llu ports, not a power of two", text, (unsigned long long)(high - low + 1));
    return 0;
}

static int read_choice(const struct reader *reader, const char *text, const char *const *names, int count,
                       int *choice) {
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *choice = i;
            return 0;
        }
    }
    return fail(reader, "'%s' is not a choice here", text);
}

static int add_phase(const struct reader *reader, struct config *config, const char *name, enum kind kind,
                     uint64_t count, double rate) {
    if (config->phases == MAX_PHASES)
        return fail(reader, "more than %d phases", MAX_PHASES);
    struct phase_config *phase = &config->phase[config->phases++];
    snprintf(phase->name, sizeof(phase->name), "%s", name);
    phase->kind = kind;
    phase->count = count;
    phase->rate = rate;
    return 0;
}

/* NAME KIND [COUNT [RATE]]; a count of 0 stands for the number of flows. */
static int read_phase(const struct reader *reader, struct config *config, const char *text) {
    char name[32], kind[32];
    unsigned long long count = 0;
    double rate = 0;
    int choice = 0;
    int words = sscanf(text, "%31s %31s %llu %lf", name, kind, &count, &rate);

    if (words < 2 || rate < 0)
        return fail(reader, "a phase is NAME KIND [COUNT [RATE]], not '%s'", text);
    if (strpbrk(name, "/\"\\") != NULL)
        return fail(reader, "'%s' is no name for a file", name);
    if (read_choice(reader, kind, kind_names, KIND_COUNT, &choice) != 0)
        return -1;
    if (count == 0 && (choice == KIND_FIRST || choice == KIND_RUN))
        return fail(reader, "phase '%s' needs a count", name);
    return add_phase(reader, config, name, (enum kind)choice, count, rate);
}

static int read_key(const struct reader *reader, struct config *config, const char *key, const char *value) {
    static const char *const protos[] = {"udp", "tcp"};
    static const char *const versions[] = {"4", "6"};
    static const char *const expects[] = {"5tswap", "forward", "same"};
    static const char *const checksums[] = {"zero", "valid"};
    static const struct {
        const char *name;
        size_t offset;
        uint64_t low, high;
    } numbers[] = {
        {"flows", offsetof(struct config, flows), 1, INT32_MAX},
        {"seed", offsetof(struct config, seed), 0, UINT64_MAX},
        {"gap_ns", offsetof(struct config, gap_ns), 1000, UINT64_C(10000000000)},
        {"probe_every", offsetof(struct config, probe_every), 0, UINT32_MAX},
        {"probe_flows", offsetof(struct config, probe_flows), 1, INT32_MAX},
    };
    struct tuple_config *tuple = &config->tuple;
    const char *field = key;
    int choice = 0;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(key, numbers[i].name) == 0)
            return read_number(reader, value, numbers[i].low, numbers[i].high,
                               (uint64_t *)((char *)config + numbers[i].offset));
    }
    if (strncmp(key, "probe_", 6) == 0) {
        tuple = &config->probe;
        field = key + 6;
    }
    if (strcmp(field, "src") == 0)
        return read_prefix(reader, value, tuple, &tuple->src_high, &tuple->src);
    if (strcmp(field, "dst") == 0)
        return read_prefix(reader, value, tuple, &tuple->dst_high, &tuple->dst);
    if (strcmp(field, "sport") == 0)
        return read_ports(reader, value, &tuple->sport);
    if (strcmp(field, "dport") == 0)
        return read_ports(reader, value, &tuple->dport);

    if (strcmp(key, "proto") == 0) {
        if (read_choice(reader, value, protos, 2, &choice) != 0)
            return -1;
        config->proto = (enum proto)choice;
    } else if (strcmp(key, "ip") == 0) {
        if (read_choice(reader, value, versions, 2, &choice) != 0)
            return -1;
        config->v6 = choice == 1;
    } else if (strcmp(key, "expect") == 0) {
        if (read_choice(reader, value, expects, 3, &choice) != 0)
            return -1;
        config->expect = (enum expect)choice;
    } else if (strcmp(key, "l4_checksum") == 0) {
        if (read_choice(reader, value, checksums, 2, &choice) != 0)
            return -1;
        config->l4_checksum = choice == 1;
    } else if (strcmp(key, "frame") == 0) {
        return read_unsigned(reader, value, 60, 9216, &config->frame);
    } else if (strcmp(key, "burst") == 0) {
        return read_unsigned(reader, value, 1, 512, &config->burst);
    } else if (strcmp(key, "ttl") == 0) {
        return read_unsigned(reader, value, 2, 255, &config->ttl);
    } else if (strcmp(key, "vlan0") == 0 || strcmp(key, "vlan1") == 0) {
        return read_unsigned(reader, value, 0, 4094, &config->vlan[key[4] - '0']);
    } else if (strcmp(key, "host_mac0") == 0 || strcmp(key, "host_mac1") == 0) {
        return read_mac(reader, value, config->host_mac[key[8] - '0']);
    } else if (strcmp(key, "card_mac0") == 0 || strcmp(key, "card_mac1") == 0) {
        return read_mac(reader, value, config->card_mac[key[8] - '0']);
    } else if (strcmp(key, "port0") == 0 || strcmp(key, "port1") == 0) {
        snprintf(config->port[key[4] - '0'], sizeof(config->port[0]), "%s", value);
    } else if (strcmp(key, "results") == 0) {
        snprintf(config->results, sizeof(config->results), "%s", value);
    } else if (strcmp(key, "control") == 0) {
        snprintf(config->control, sizeof(config->control), "%s", value);
    } else if (strcmp(key, "phase") == 0) {
        return read_phase(reader, config, value);
    } else {
        return fail(reader, "no key is called '%s'", key);
    }
    return 0;
}

unsigned int tuple_bits(const struct tuple_config *tuple) {
    return tuple->src.bits + tuple->dst.bits + tuple->sport.bits + tuple->dport.bits;
}

uint64_t phase_quota(const struct phase_config *phase, int direction) {
    if (phase->kind == KIND_RUN)
        return (phase->count + (direction == DIR_INITIATOR)) / 2;
    return (phase->kind == KIND_REPLY) == (direction == DIR_REPLY) ? phase->count : 0;
}

static int check_tuple(const struct reader *reader, const char *what, const struct tuple_config *tuple, bool v6,
                       uint64_t flows) {
    unsigned int bits = tuple_bits(tuple);
    if (v6 ? !tuple->has_v6 || tuple->has_v4 : !tuple->has_v4 || tuple->has_v6)
        return fail(reader, "%s need src and dst, both IPv%c as 'ip' says", what, v6 ? '6' : '4');
    if (bits > 64)
        return fail(reader, "%s differ in %u bits, the limit is 64", what, bits);
    if (bits < 64 && flows > UINT64_C(1) << bits)
        return fail(reader, "%llu %s do not fit the %u bits that src, dst, sport and dport leave free",
                    (unsigned long long)flows, what, bits);
    return 0;
}

static int check(struct reader *reader, struct config *config) {
    uint64_t most = config->flows;
    uint64_t fresh = config->flows;

    for (unsigned int i = 0; i < config->phases; i++) {
        if (config->phase[i].count == 0)
            config->phase[i].count = config->flows;
        if (config->phase[i].kind == KIND_FIRST)
            fresh += config->phase[i].count;
    }
    most = fresh > most ? fresh : most;
    if (most > INT32_MAX)
        return fail(reader, "%llu flows in all, the limit is %d", (unsigned long long)most, INT32_MAX);
    if (check_tuple(reader, "flows", &config->tuple, config->v6, most) != 0)
        return -1;
    if (config->probe_every > 0 &&
        check_tuple(reader, "probe flows", &config->probe, config->v6, config->probe_flows) != 0)
        return -1;
    if (config->probe_every > 0 && config->proto == PROTO_TCP)
        return fail(reader, "probes are UDP");
    if (config->phases == 0)
        return fail(reader, "no phase");
    if (config->results[0] == '\0')
        return fail(reader, "no folder for results");
    if (!config->l4_checksum && (config->v6 || config->proto == PROTO_TCP))
        return fail(reader, "only UDP over IPv4 may go without a checksum");
    return 0;
}

static char *trim(char *text) {
    while (*text == ' ' || *text == '\t')
        text++;
    for (size_t size = strlen(text); size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL; size--)
        text[size - 1] = '\0';
    return text;
}

static void set_defaults(struct config *config) {
    static const uint8_t host[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
    static const uint8_t card[2][6] = {{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}};

    memset(config, 0, sizeof(*config));
    config->flows = 1000;
    config->frame = 64;
    config->burst = 32;
    config->ttl = 64;
    config->l4_checksum = true;
    config->seed = 1;
    config->gap_ns = 20000;
    config->probe_flows = 1;
    memcpy(config->host_mac, host, sizeof(host));
    memcpy(config->card_mac, card, sizeof(card));
    snprintf(config->port[0], sizeof(config->port[0]), "net_null0");
    snprintf(config->port[1], sizeof(config->port[1]), "net_null1");
}

int config_read(struct config *config, const char *path, char *error, size_t error_size) {
    struct reader reader = {.path = path, .error = error, .error_size = error_size};
    char line[1024];
    int status = 0;
    FILE *file = fopen(path, "re");

    set_defaults(config);
    if (file == NULL)
        return fail(&reader, "%s", strerror(errno));
    while (status == 0 && fgets(line, sizeof(line), file) != NULL) {
        reader.line++;
        char *key = trim(line);
        if (*key == '\0' || *key == '#')
            continue;
        char *equals = strchr(key, '=');
        if (equals == NULL) {
            status = fail(&reader, "'%s' is not KEY = VALUE", key);
            break;
        }
        *equals = '\0';
        status = read_key(&reader, config, trim(key), trim(equals + 1));
    }
    fclose(file);
    return status != 0 ? status : check(&reader, config);
}
