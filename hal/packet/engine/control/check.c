#include "check.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#define MAX_WORDS 128
#define MAX_FIELDS 64

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* What has to be looked at in each row of an action: padding, and the fields that may hold a wrong value. */
struct plan {
    uint32_t words;
    uint64_t padding[MAX_WORDS]; /* bits that must be 0 */
    uint32_t fields;
    const struct dsn_field_desc *field[MAX_FIELDS];
};

static uint64_t integer(const struct dsn_field_desc *field, const uint8_t *row) {
    const uint8_t *at = row + field->offset;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (field->size) {
    case 1: return *at;
    case 2: memcpy(&two, at, 2); return two;
    case 4: memcpy(&four, at, 4); return four;
    default: memcpy(&eight, at, 8); return eight;
    }
}

static bool is_integer(const struct dsn_field_desc *field) {
    return field->type <= DSN_ID;
}

static bool any_value(const struct dsn_field_desc *field) {
    if (is_integer(field))
        return field->low == 0 && field->high == UINT64_MAX >> (64 - 8 * field->size);
    return field->type != DSN_PREFIX && field->type != DSN_NAME;
}

static uint16_t field_end(const struct dsn_field_desc *field) {
    return field->offset + field->size + (field->type == DSN_PREFIX);
}

static bool plan_make(struct plan *plan, const struct dsn_action_desc *action) {
    plan->words = action->size / 8;
    plan->fields = 0;
    if (plan->words > MAX_WORDS || action->fields > MAX_FIELDS)
        return false;
    uint8_t *bytes = (uint8_t *)plan->padding;
    memset(bytes, 0xff, action->size);
    memset(bytes, 0, 8); /* the id */
    for (unsigned i = 0; i < action->fields; i++) {
        const struct dsn_field_desc *field = &action->field[i];
        memset(bytes + field->offset, 0, field_end(field) - field->offset);
        if (!any_value(field))
            plan->field[plan->fields++] = field;
    }
    return true;
}

static bool prefix_exact(const uint8_t *address, uint8_t length) {
    uint64_t high, low;
    memcpy(&high, address, 8);
    memcpy(&low, address + 8, 8);
    high = be64toh(high);
    low = be64toh(low);
    if (length == 0)
        return (high | low) == 0;
    if (length <= 64)
        return low == 0 && (length == 64 || high << length == 0);
    return length == 128 || low << (length - 64) == 0;
}

/* The limit is the wire form's own: 1 to 23 printable ASCII characters, padded with NUL. */
static bool name_valid(const char *name, size_t size) {
    size_t length = strnlen(name, size);
    if (length == 0 || length == size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (i < length ? name[i] < 0x20 || name[i] > 0x7e : name[i] != 0)
            return false;
    return true;
}

static bool field_valid(const struct dsn_field_desc *field, const uint8_t *row) {
    const uint8_t *at = row + field->offset;
    if (is_integer(field)) {
        uint64_t value = integer(field, row);
        return value >= field->low && value <= field->high;
    }
    if (field->type == DSN_PREFIX)
        return at[16] <= 128 && prefix_exact(at, at[16]);
    return field->type != DSN_NAME || name_valid((const char *)at, field->size);
}

static void show_bytes(struct dsn_failure *failure, const uint8_t *bytes, size_t size) {
    char text[96];
    size = size > 47 ? 47 : size;
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    dsn_got(failure, "%s", text);
}

static void show_prefix(struct dsn_failure *failure, const uint8_t *address, uint8_t length) {
    char text[INET6_ADDRSTRLEN];
    bool four = memcmp(address, mapped, 12) == 0 && length >= 96;
    inet_ntop(four ? AF_INET : AF_INET6, four ? address + 12 : address, text, sizeof(text));
    dsn_got(failure, "%s/%u", text, four ? length - 96u : length);
}

/* The first wrong place of a row that is known to be wrong, in wire order. */
static bool tell(int table, unsigned action_number, const uint8_t *row, uint32_t index, struct dsn_failure *failure) {
    const struct dsn_action_desc *action = &dsn_table_desc[table].action[action_number];
    uint64_t id;
    char name[48];
    unsigned pads = 0;
    memcpy(&id, row, 8);
    if (id == DSN_NONE_ID) {
        dsn_refuse_row(failure, DSN_INVALID, table, index, id, "id", "0..18446744073709551614", NULL);
        return dsn_got(failure, "%llu", (unsigned long long)id);
    }
    uint16_t at = 8;
    for (unsigned i = 0; i <= action->fields; i++) {
        const struct dsn_field_desc *field = &action->field[i];
        uint16_t next = i < action->fields ? field->offset : action->size;
        if (next > at) {
            snprintf(name, sizeof(name), "_pad%u", pads++);
            for (uint16_t byte = at; byte < next; byte++)
                if (row[byte]) {
                    dsn_refuse_row(failure, DSN_INVALID, table, index, id, name, "0 (padding)", NULL);
                    show_bytes(failure, row + at, next - at);
                    return false;
                }
        }
        if (i == action->fields)
            break;
        at = field_end(field);
        if (field_valid(field, row))
            continue;
        const uint8_t *value = row + field->offset;
        dsn_refuse_row(failure, DSN_INVALID, table, index, id, field->name, NULL, NULL);
        if (is_integer(field)) {
            dsn_limit(failure, "%llu..%llu", (unsigned long long)field->low, (unsigned long long)field->high);
            dsn_got(failure, "%llu", (unsigned long long)integer(field, row));
        } else if (field->type == DSN_NAME) {
            dsn_limit(failure, "1 to %u printable ASCII characters, padded with NUL", field->size - 1u);
            show_bytes(failure, value, field->size);
        } else if (value[16] > 128) {
            snprintf(failure->error.field, sizeof(failure->error.field), "%s_len", field->name);
            dsn_limit(failure, "0..128");
            dsn_got(failure, "%u", value[16]);
        } else {
            dsn_limit(failure, "bits beyond the length 0 (IPv4 lengths are 96 more)");
            show_prefix(failure, value, value[16]);
        }
        return false;
    }
    return dsn_refuse_row(failure, DSN_INVALID, table, index, id, NULL, "a row of this table", NULL);
}

bool dsn_check_rows(int table, unsigned action, const uint8_t *rows, uint32_t count, struct dsn_failure *failure) {
    struct plan plan;
    if (!plan_make(&plan, &dsn_table_desc[table].action[action]))
        return dsn_refuse_row(failure, DSN_UNSUPPORTED, table, -1, DSN_NONE_ID, NULL, "1024 bytes and 64 fields a row",
                              "Declare fewer fields.");
    for (uint32_t index = 0; index < count; index++) {
        const uint8_t *row = rows + (size_t)index * plan.words * 8;
        uint64_t wrong = 0, word;
        memcpy(&word, row, 8);
        bool valid = word != DSN_NONE_ID;
        for (uint32_t i = 1; i < plan.words; i++) {
            memcpy(&word, row + i * 8, 8);
            wrong |= word & plan.padding[i];
        }
        for (uint32_t i = 0; i < plan.fields; i++)
            valid &= field_valid(plan.field[i], row);
        if (wrong || !valid)
            return tell(table, action, row, index, failure);
    }
    return true;
}

bool dsn_check_text(const char *text, size_t size) {
    size_t length = strnlen(text, size);
    if (length == size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (i < length ? (unsigned char)text[i] < 0x20 || text[i] == 0x7f : text[i] != 0)
            return false;
    return true;
}
