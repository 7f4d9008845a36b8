/* The control sockets. An input is a sequence of what clients do: requests made of given bytes, requests of the right
 * shape whose fields are given, commits of rows that could be right, memfds that aren't what they should be,
 * connections that end or don't read. After each, the engine works until it is idle, its answers are looked at, and its
 * tables. */
#include "answers.h"
#include "card.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENTS 8
#define MOST_ACTIONS 48

static const char *const socket_of[CLIENTS] = {"load.sock",       "read.sock",        "read.sock", "write-dsnd.sock",
                                               "write-dsnd.sock", "write-agent.sock", "read.sock", "write-dsnd.sock"};
struct client {
    int fd; /* -1: not connected */
    bool deaf;
};
static struct client client[CLIENTS];
static int left_open; /* a memfd that was not sealed, and can shrink */

/* --- answers --- */

static void disconnect(struct client *c) {
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct client){.fd = -1};
}

static void read_answers(struct client *c) {
    struct {
        struct dsn_answer head;
        uint8_t body[DSN_WIRE_MAX];
    } answer;
    while (c->fd >= 0) {
        union {
            struct cmsghdr head;
            char space[CMSG_SPACE(sizeof(int) * 4)];
        } control;
        struct iovec part = {&answer, sizeof(answer)};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space)};
        ssize_t size = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == EAGAIN)
            return;
        if (size <= 0) { /* after what can't be a request */
            disconnect(c);
            return;
        }
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        int fd = -1;
        if (head) {
            FUZZ_CHECK(head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS);
            FUZZ_CHECK(head->cmsg_len == CMSG_LEN(sizeof(int)));
            memcpy(&fd, CMSG_DATA(head), sizeof(fd));
        }
        FUZZ_CHECK(!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && size >= (ssize_t)sizeof(answer.head));
        FUZZ_CHECK(answer.head.magic == DSN_WIRE_MAGIC && answer.head.length == (size_t)size - sizeof(answer.head));
        if (answer.head.kind) {
            FUZZ_CHECK(answer.head.length == sizeof(struct dsn_error) && fd < 0);
            fuzz_error_holds((const struct dsn_error *)answer.body, answer.head.kind);
        }
        if (fd >= 0) {
            fuzz_bulk_holds(fd, answer.head.verb, answer.body);
            close(fd);
        }
    }
}

static void work(void) {
    for (unsigned turn = 0; turn < 2; turn++) { /* room for an answer lets the next one come */
        fuzz_card_work();
        for (unsigned i = 0; i < CLIENTS; i++)
            if (!client[i].deaf)
                read_answers(&client[i]);
    }
}

/* --- requests --- */

static int any_memfd(struct fuzz_input *in, const void *data, size_t size) {
    uint8_t how = fuzz_u8(in);
    int pair[2];
    if (how < 192)
        return fuzz_sealed(data, size);
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    FUZZ_CHECK(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    switch (how & 7) {
    case 0: /* shrinks when the engine has it */
        if (left_open >= 0)
            close(left_open);
        left_open = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return fd;
    case 1: FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE) == 0); return fd;
    case 2: FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0); return fd;
    case 3: /* all holes */
        FUZZ_CHECK(ftruncate(fd, (off_t)1 << (20 + how % 16)) == 0);
        FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
        return fd;
    case 4:
        close(fd);
        FUZZ_CHECK(pipe2(pair, O_CLOEXEC) == 0);
        close(pair[1]);
        return pair[0];
    case 5: close(fd); return open("/dev/zero", O_RDWR | O_CLOEXEC);
    case 6: close(fd); return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    default: close(fd); return -1;
    }
}

struct message {
    struct dsn_request head;
    uint8_t body[DSN_WIRE_MAX + 64];
};

static bool connected(struct client *c) {
    if (c->fd < 0)
        c->fd = fuzz_connect(socket_of[c - client]);
    return c->fd >= 0;
}

static void send_to(struct client *c, const void *message, size_t size, const int *fds, unsigned count) {
    if (connected(c))
        fuzz_send(c->fd, message, size, fds, count);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static void send_one(struct client *c, uint16_t verb, uint32_t shard, const void *body, size_t size, int memfd) {
    struct message message = {.head = {DSN_WIRE_MAGIC, verb, DSN_WIRE_VERSION, 7, (uint32_t)size, shard}};
    memcpy(message.body, body, size);
    send_to(c, &message, sizeof(message.head) + size, &memfd, memfd >= 0);
}

static void raw(struct fuzz_input *in, struct client *c) {
    size_t size, bulk;
    uint8_t memfds = fuzz_u8(in) % 4;
    const uint8_t *bytes = fuzz_bytes(in, fuzz_u16(in) % (DSN_WIRE_MAX + 32), &size);
    int fds[4];
    for (unsigned i = 0; i < memfds; i++) {
        const uint8_t *data = fuzz_bytes(in, fuzz_u8(in), &bulk);
        fds[i] = any_memfd(in, data, bulk);
        if (fds[i] < 0)
            memfds = (uint8_t)i;
    }
    send_to(c, bytes, size, fds, memfds);
}

static const struct {
    uint16_t verb, size;
} shape[] = {
    {DSN_VERB_HELLO, 0},
    {DSN_VERB_START, 0},
    {DSN_VERB_STOP, 0},
    {DSN_VERB_OUTCOME, sizeof(struct dsn_outcome_ask)},
    {DSN_VERB_MAKE, sizeof(struct dsn_number)},
    {DSN_VERB_UNSTAGE, sizeof(struct dsn_number)},
    {DSN_VERB_FORGET, sizeof(struct dsn_flows_ask)},
    {DSN_VERB_SNAPSHOT, sizeof(struct dsn_snapshot_ask)},
    {DSN_VERB_FLOWS, sizeof(struct dsn_flows_ask)},
    {DSN_VERB_FLOW, sizeof(struct dsn_flows_ask)},
    {DSN_VERB_SETTLE, 0},
    {DSN_VERB_COUNTERS, 0},
    {DSN_VERB_EVENTS, sizeof(struct dsn_cursor)},
    {DSN_VERB_CAPABILITIES, 0},
    {DSN_VERB_SHARD, sizeof(struct dsn_shard_ask)},
    {DSN_VERB_SHARD_CLOSE, sizeof(struct dsn_number)},
    {DSN_VERB_COMMIT, sizeof(struct dsn_commit)},
    {DSN_VERB_STAGE, sizeof(struct dsn_commit)},
    {DSN_VERB_REPLAY, sizeof(struct dsn_replay_ask)},
    {DSN_VERB_TRACE, sizeof(struct dsn_replay_ask)},
    {DSN_VERB_LOAD, 0},
    {99, 0},
};

/* A body of the verb's size: some bytes of it given, the rest 0. */
static void shaped(struct fuzz_input *in, struct client *c) {
    uint8_t which = fuzz_u8(in) % (sizeof(shape) / sizeof(shape[0])), patches = fuzz_u8(in) % 16;
    uint32_t shard = fuzz_u8(in) % 8;
    uint8_t body[512] = {0};
    size_t size = shape[which].size;
    for (unsigned i = 0; i < patches; i++) {
        uint8_t at = fuzz_u8(in), value = fuzz_u8(in);
        if (size)
            body[at % size] = value;
    }
    send_one(c, shape[which].verb, shard, body, size, -1);
}

/* --- commits of rows that could be right --- */

static const uint8_t places[][16] = {
    {[10] = 255, 255, 10, 1, 0, 10},   {[10] = 255, 255, 10, 1, 0, 1}, {0x20, 1, 0x0d, 0xb8, 0, 1, [15] = 10}, {0},
    {[10] = 255, 255, 203, 0, 113, 9},
};

static uint8_t some_length(const uint8_t *address, uint8_t how) {
    static const uint8_t lengths[] = {128, 120, 96, 64, 0, 112, 127, 48};
    uint8_t length = lengths[how % 8];
    return address[10] == 255 && length < 96 ? 96 : length;
}

static void cut_prefix(uint8_t *prefix) {
    for (unsigned bit = prefix[16]; bit < 128; bit++)
        prefix[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
}

static void fill_field(struct fuzz_input *in, const struct dsn_field_desc *field, uint8_t *row) {
    uint8_t how = fuzz_u8(in), *at = row + field->offset;
    if (how == 255) { /* whatever it is */
        size_t got;
        const uint8_t *bytes = fuzz_bytes(in, field->size, &got);
        memcpy(at, bytes, got);
        return;
    }
    uint64_t value = field->low + (field->high - field->low == UINT64_MAX ? how : how % (field->high - field->low + 1));
    switch (field->type) {
    case DSN_ID: value = field->optional && how == 254 ? DSN_NONE_ID : how % 16; /* fall through */
    case DSN_U8:
    case DSN_U16:
    case DSN_U32:
    case DSN_U64: memcpy(at, &value, field->size); break;
    case DSN_MAC:
        at[0] = 2;
        at[5] = how;
        break;
    case DSN_ADDRESS: memcpy(at, places[how % 5], 16); break;
    case DSN_PREFIX:
        memcpy(at, places[how % 5], 16);
        at[16] = some_length(at, how / 5);
        cut_prefix(at);
        break;
    case DSN_NAME: strncpy((char *)at, dsn_stage_name[how % DSN_STAGES], field->size - 1u); break;
    default: memset(at, how, field->size); break;
    }
}

static uint8_t bulk[1 << 16];

/* Sections of rows into `bulk`; their number, and the bytes used in *size. */
static uint32_t fill_sections(struct fuzz_input *in, size_t *size) {
    uint32_t sections = fuzz_u8(in) % 12;
    size_t at = sections * sizeof(struct dsn_section);
    for (uint32_t i = 0; i < sections; i++) {
        uint8_t bent = fuzz_u8(in);
        struct dsn_section s = {
            .kind = (uint16_t)(1 + fuzz_u8(in) % 5), .table = fuzz_u8(in) % DSN_TABLES, .offset = at};
        const struct dsn_table_desc *table = &dsn_table_desc[s.table];
        bool rows = s.kind == DSN_INSERT || s.kind == DSN_MODIFY;
        s.action = rows ? fuzz_u8(in) % table->actions : 0;
        s.count = fuzz_u8(in) % 6;
        const struct dsn_action_desc *action = &table->action[s.action];
        s.stride = rows ? action->size : s.kind == DSN_NAMES ? sizeof(struct dsn_name) : 8;
        for (uint32_t n = 0; n < s.count; n++, at += s.stride) {
            FUZZ_CHECK(at + s.stride <= sizeof(bulk));
            uint64_t id = fuzz_u8(in) % 16;
            memset(bulk + at, 0, s.stride);
            memcpy(bulk + at, &id, 8);
            for (unsigned f = 0; rows && f < action->fields; f++)
                fill_field(in, &action->field[f], bulk + at);
            if (s.kind == DSN_NAMES) {
                size_t got;
                const uint8_t *name = fuzz_bytes(in, fuzz_u8(in) % 65, &got);
                memcpy(bulk + at + offsetof(struct dsn_name, text), name, got);
            }
        }
        if (bent == 255) /* and then a field of the section itself */
            ((uint8_t *)&s)[fuzz_u8(in) % sizeof(s)] = fuzz_u8(in);
        memcpy(bulk + i * sizeof(s), &s, sizeof(s));
    }
    *size = at;
    return sections;
}

static void commit(struct fuzz_input *in, struct client *c, uint16_t verb) {
    struct dsn_commit head = {.transaction = fuzz_u8(in), .base = fuzz_u8(in), .lease_ns = (uint64_t)fuzz_u8(in) << 30};
    size_t size;
    uint8_t bent = fuzz_u8(in);
    head.base = head.base > 31 ? UINT64_MAX : head.base;
    head.tag[0] = 'f';
    head.tag[1 + bent % 120] = (char)(bent > 250 ? 'x' : 0);
    head.sections = fill_sections(in, &size);
    if (bent == 250)
        head.sections++;
    send_one(c, verb, 0, &head, sizeof(head), any_memfd(in, bulk, size));
}

static void universe(struct fuzz_input *in, struct client *c, uint16_t verb) {
    const struct fuzz_memfd *some = &fuzz_universe[1 + fuzz_u8(in) % (fuzz_memfds - 1)];
    struct dsn_commit head = {
        .transaction = fuzz_u8(in), .base = UINT64_MAX, .lease_ns = UINT64_MAX, .sections = some->sections};
    send_one(c, verb, 0, &head, sizeof(head), fuzz_sealed(some->data, some->size));
}

static void replay(struct fuzz_input *in, struct client *c, uint16_t verb) {
    static const uint8_t port_of[] = {0, 1, 2, 3, 4, 9, 77};
    struct dsn_replay_ask ask = {.stage = fuzz_u8(in) % 4, .count = fuzz_u8(in) % 5};
    uint32_t shard = fuzz_u8(in) % 4;
    uint8_t bent = fuzz_u8(in);
    size_t at = 0;
    uint64_t time = 0;
    ask.witness = bent & 1;
    for (uint32_t i = 0; i < ask.count; i++) {
        size_t length;
        time += (uint64_t)fuzz_u8(in) << 26;
        struct dsn_packet_in head = {.time_ns = time, .port = port_of[fuzz_u8(in) % sizeof(port_of)]};
        const uint8_t *frame = fuzz_bytes(in, fuzz_u16(in) % 2048, &length);
        head.length = (uint32_t)(bent == 255 ? length * 9 : length);
        memcpy(bulk + at, &head, sizeof(head));
        memset(bulk + at + sizeof(head), 0, (length + 7) & ~(size_t)7);
        memcpy(bulk + at + sizeof(head), frame, length);
        at += sizeof(head) + ((length + 7) & ~(size_t)7);
    }
    if (bent == 254)
        ask.count = UINT32_MAX;
    send_one(c, verb, shard, &ask, sizeof(ask), any_memfd(in, bulk, at));
}

/* LOAD of whatever the bytes say; devices that make DPDK do something lasting are left to other tests. */
static void load(struct fuzz_input *in, struct client *c) {
    static const char *const device[] = {"replay", "replay", "linux:eth0", "tap:t", "", "replay:x", "nothing:at-all"};
    static const char *const owner[] = {"agent", "dsnd", "a/b", "", ".x", "agent-2"};
    struct dsn_load head = {.ports = fuzz_u8(in) % 4,
                            .owners = fuzz_u8(in) % 4,
                            .capacities = fuzz_u8(in) % 4,
                            .workers = fuzz_u8(in) % 4,
                            .connections = fuzz_u8(in),
                            .flow_limit = fuzz_u8(in),
                            .inbound_flow_limit = fuzz_u8(in),
                            .punt_limit = fuzz_u8(in),
                            .new_flow_limit = 16,
                            .half_open_limit = 2,
                            .fragment_limit = 2,
                            .icmp_limit = 32,
                            .challenge_limit = 32};
    uint8_t bent = fuzz_u8(in);
    size_t at = sizeof(head);
    int fds[4];
    unsigned count = 1;
    memcpy(bulk, &head, sizeof(head));
    for (unsigned i = 0; i < head.ports; i++, at += sizeof(struct dsn_load_port)) {
        struct dsn_load_port port = {.number = fuzz_u8(in), .mtu = (uint16_t)(1270 + fuzz_u8(in) * 40), .name = "p"};
        port.name[1] = (char)('0' + fuzz_u8(in) % 4);
        strcpy(port.device, device[fuzz_u8(in) % 7]);
        port.has_fd = port.device[0] == 'l' || port.device[0] == 't';
        if (port.has_fd)
            fds[count++] = any_memfd(in, "x", 1);
        if (port.has_fd && fds[count - 1] < 0)
            count--;
        memcpy(bulk + at, &port, sizeof(port));
    }
    for (unsigned i = 0; i < head.owners; i++, at += sizeof(struct dsn_load_owner)) {
        struct dsn_load_owner one = {0};
        strcpy(one.owner, owner[fuzz_u8(in) % 6]);
        strcpy(one.table, dsn_table_desc[fuzz_u8(in) % DSN_TABLES].name);
        memcpy(bulk + at, &one, sizeof(one));
    }
    for (unsigned i = 0; i < head.capacities; i++, at += sizeof(struct dsn_load_capacity)) {
        struct dsn_load_capacity one = {.entries = fuzz_u8(in)};
        strcpy(one.table, dsn_table_desc[fuzz_u8(in) % DSN_TABLES].name);
        one.entries = one.entries == 255 ? UINT64_MAX : one.entries;
        memcpy(bulk + at, &one, sizeof(one));
    }
    if (bent == 255)
        bulk[fuzz_u8(in)] = fuzz_u8(in);
    fds[0] = any_memfd(in, bulk, at);
    struct dsn_request request = {DSN_WIRE_MAGIC, DSN_VERB_LOAD, DSN_WIRE_VERSION, 9, 0, 0};
    if (fds[0] < 0)
        send_to(c, &request, sizeof(request), fds + 1, count - 1);
    else
        send_to(c, &request, sizeof(request), fds, count);
}

static void act(struct fuzz_input *in) {
    uint8_t first = fuzz_u8(in);
    struct client *c = &client[first % CLIENTS];
    switch (first / CLIENTS) {
    case 0:
    case 1: raw(in, c); break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 7: shaped(in, c); break;
    case 8:
    case 9:
    case 10:
    case 11: commit(in, c, DSN_VERB_COMMIT); break;
    case 12:
    case 13: commit(in, c, DSN_VERB_STAGE); break;
    case 14: universe(in, c, DSN_VERB_COMMIT); break;
    case 15: universe(in, c, DSN_VERB_STAGE); break;
    case 16:
    case 17:
    case 18: replay(in, c, DSN_VERB_REPLAY); break;
    case 19:
    case 20: replay(in, c, DSN_VERB_TRACE); break;
    case 21:
    case 22: load(in, c); break;
    case 23: disconnect(c); break;
    case 24: c->deaf = !c->deaf; break;
    case 25: atomic_fetch_add(&fuzz_now, (uint64_t)fuzz_u8(in) << 30); break;
    case 26: dsn_tick(&fuzz_control); break;
    case 27:
        if (left_open >= 0)
            FUZZ_CHECK(ftruncate(left_open, fuzz_u8(in)) == 0);
        break;
    case 28: /* many at once, from one who may not listen */
        for (unsigned i = 0; i < 64; i++)
            send_one(c, DSN_VERB_HELLO, 0, "", 0, -1);
        break;
    default: shaped(in, c); break;
    }
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    fuzz_card_begin();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {data, size};
    uint8_t how = fuzz_u8(&in);
    for (unsigned i = 0; i < CLIENTS; i++)
        client[i] = (struct client){.fd = -1};
    left_open = -1;
    fuzz_card_inside(true);
    fuzz_card_open();
    if (how & 3) /* three of four are loaded, half of those have tables */
        fuzz_load();
    if ((how & 3) > 1)
        fuzz_commit(1);
    for (unsigned i = 0; i < MOST_ACTIONS && in.size > 0 && !fuzz_control.ending; i++) {
        act(&in);
        work();
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        disconnect(&client[i]);
    fuzz_card_work();
    if (left_open >= 0)
        close(left_open);
    fuzz_card_close();
    fuzz_card_inside(false);
    return 0;
}
