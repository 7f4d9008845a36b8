/* Holds frame.h against a slow reading of what it makes: checksums, uniqueness, and every single flipped bit seen. And
 * the answers to neighbours. */
#include "frame.h"
#include "neighbour.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: ", __FILE__, __LINE__);                                                                     \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint32_t add_words(uint32_t sum, const uint8_t *at, size_t size) {
    for (size_t i = 0; i < size; i++)
        sum += (uint32_t)at[i] << (i % 2 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void make(uint8_t *frame, const struct shape *shape, uint32_t id, uint64_t due) {
    struct batch batch = {.id = {id}, .due = {due}};
    frames_make_any(&frame, 1, &batch, shape, &shape->in, id >> 31);
}

static bool check(const uint8_t *frame, const struct shape *shape) {
    struct batch batch;
    return frames_check_any(&frame, 1, &batch, shape, (unsigned int)load(frame + shape->out.mark, 4) >> 31);
}

/* Length fields and checksums as a host would look at them. */
static void check_valid(const uint8_t *frame, const struct shape *shape) {
    const uint8_t *l3 = frame + shape->in.l3, *l4 = frame + shape->in.l4;
    uint32_t size = (uint32_t)(shape->in.size - shape->in.l4);
    uint32_t sum = size + (shape->tcp ? 6 : 17);

    if (shape->v6) {
        CHECK(l3[4] * 256u + l3[5] == size, "IPv6 payload length");
        sum = add_words(sum, l3 + 8, 32);
    } else {
        CHECK(l3[2] * 256u + l3[3] == size + 20, "IPv4 total length");
        CHECK(add_words(0, l3, 20) == 0xffff, "IPv4 checksum");
        sum = add_words(sum, l3 + 12, 8);
    }
    if (!shape->tcp)
        CHECK(l4[4] * 256u + l4[5] == size, "UDP length");
    if (shape->l4_checksum)
        CHECK(add_words(sum, l4, size) == 0xffff, "L4 checksum");
}

static void exchange(uint8_t *a, uint8_t *b, size_t size) {
    for (size_t i = 0; i < size; i++) {
        uint8_t kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

/* What the program under test does, done slowly. Returns the new length. */
static size_t transform(uint8_t *frame, size_t size, const struct shape *shape, const struct config *config, int from) {
    uint8_t *l3 = frame + shape->in.l3;

    if (config->expect == EXPECT_5TSWAP) {
        exchange(frame, frame + 6, 6);
        if (shape->v6)
            exchange(l3 + 8, l3 + 24, 16);
        else
            exchange(l3 + 12, l3 + 16, 4);
        exchange(frame + shape->in.l4, frame + shape->in.l4 + 2, 2);
    } else if (config->expect == EXPECT_FORWARD) {
        uint8_t header[18];
        size_t at = 14;
        if (shape->v6) {
            l3[7]--;
        } else {
            l3[8]--;
            l3[10] = l3[11] = 0;
            uint16_t checksum = htons((uint16_t)~add_words(0, l3, 20));
            memcpy(l3 + 10, &checksum, 2);
        }
        memcpy(header, config->host_mac[!from], 6);
        memcpy(header + 6, config->card_mac[!from], 6);
        if (config->vlan[!from]) {
            header[12] = 0x81;
            header[13] = 0;
            header[14] = (uint8_t)(config->vlan[!from] >> 8);
            header[15] = (uint8_t)config->vlan[!from];
            at = 18;
        }
        header[at - 2] = shape->v6 ? 0x86 : 0x08;
        header[at - 1] = shape->v6 ? 0xdd : 0x00;
        memmove(frame + at, l3, size - shape->in.l3);
        memcpy(frame, header, at);
        size = size - shape->in.l3 + at;
    }
    return size;
}

static void check_shape(const struct config *config, enum kind kind, int direction) {
    struct shape shape;
    shape_init(&shape, config, kind, direction);
    CHECK(shape.in.mark + MARK_SIZE <= (shape.v6 || shape.tcp ? 96 : 64), "the template is too short");
    for (uint32_t i = 0; i < 2000; i++) {
        uint8_t frame[256] = {0}, kept[256], want[TEMPLATE_SIZE];
        uint32_t id = i * 7919 % (uint32_t)config->flows;
        uint64_t due = UINT64_C(0x123456789abcdef) * (i + 1);
        if (i % 3 == 0 && config->probe_every)
            id = PROBE_ID | (i % (uint32_t)config->probe_flows);
        make(frame, &shape, id, due);
        check_valid(frame, &shape);
        size_t size = transform(frame, shape.in.size, &shape, config, direction);
        CHECK(size == shape.out.size, "length %zu instead of %u", size, shape.out.size);
        if (!check(frame, &shape)) {
            const char *why = frame_explain(&shape, frame, size, want);
            CHECK(false, "a right frame was refused: %s", why);
        }
        if (i >= 20)
            continue;
        memcpy(kept, frame, sizeof(kept));
        /* Without an L4 checksum nothing protects the due time, and a flow id is held to be one that was
		 * sent by who calls: here only its bits that make a difference in the tuple. */
        size_t bits = 8u * shape.out.mark + tuple_bits(&config->tuple);
        if (config->l4_checksum)
            bits = 8u * (shape.out.mark + MARK_SIZE);
        for (size_t bit = 0; bit < bits; bit++) {
            frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(!check(frame, &shape), "bit %zu of byte %zu was flipped and nobody saw it", bit % 8, bit / 8);
            frame_explain(&shape, frame, size, want);
            CHECK(bit / 8 >= shape.out.mark || memcmp(want, kept, shape.out.mark + MARK_SIZE) == 0,
                  "the wanted frame isn't the one that was sent");
            memcpy(frame, kept, sizeof(frame));
        }
    }
}

static int compare(const void *a, const void *b) {
    return memcmp(a, b, 40);
}

/* A batch of any length is right as a whole, and wrong as a whole when one bit of one frame is. */
static void check_batches(const struct config *config) {
    static uint8_t frames[BATCH][TEMPLATE_SIZE];
    uint8_t *at[BATCH];
    struct shape shape;
    struct batch batch = {0};

    shape_init(&shape, config, KIND_RUN, DIR_REPLY);
    for (unsigned int i = 0; i < BATCH; i++)
        at[i] = frames[i];
    for (unsigned int count = 1; count <= BATCH; count++) {
        for (unsigned int i = 0; i < count; i++) {
            batch.id[i] = i * 31 % config->flows;
            batch.due[i] = i;
        }
        frames_make_any(at, count, &batch, &shape, &shape.in, 0);
        for (unsigned int i = 0; i < count; i++)
            transform(at[i], shape.in.size, &shape, config, DIR_REPLY);
        CHECK(frames_check_any((const uint8_t *const *)at, count, &batch, &shape, 0), "a right batch was refused");
        for (unsigned int i = 0; i < count; i++) {
            CHECK(batch.id[i] == i * 31 % config->flows && batch.due[i] == i, "the marks were not read");
            frames[i][i] ^= 1;
            CHECK(!frames_check_any((const uint8_t *const *)at, count, &batch, &shape, 0),
                  "a wrong frame in a batch was not seen");
            frames[i][i] ^= 1;
        }
    }
}

/* No two flows have one 5-tuple, and all of them lie in the configured ranges. */
static void check_unique(const struct config *config, uint32_t flows) {
    struct shape shape;
    uint8_t(*tuples)[40] = calloc(flows, 40);
    CHECK(tuples != NULL, "no memory");
    shape_init(&shape, config, KIND_RUN, DIR_INITIATOR);
    for (uint32_t id = 0; id < flows; id++) {
        uint8_t frame[256];
        make(frame, &shape, id, 1);
        memcpy(tuples[id], frame + shape.in.l3 + (shape.v6 ? 8 : 12), shape.v6 ? 32 : 8);
        memcpy(tuples[id] + 32, frame + shape.in.l4, 4);
    }
    qsort(tuples, flows, 40, compare);
    for (uint32_t i = 1; i < flows; i++)
        CHECK(memcmp(tuples[i - 1], tuples[i], 40) != 0, "two flows share a tuple");
    free(tuples);
}

static void read_text(struct config *config, const char *text) {
    char path[] = "/tmp/check_frames.XXXXXX", error[256];
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    CHECK(file != NULL, "no temporary file");
    fputs(text, file);
    fclose(file);
    int status = config_read(config, path, error, sizeof(error));
    remove(path);
    CHECK(status == 0, "%s", error);
}

static void check_refused(const char *text, const char *part) {
    struct config config;
    char path[] = "/tmp/check_frames.XXXXXX", error[256] = "";
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    CHECK(file != NULL, "no temporary file");
    fputs(text, file);
    fclose(file);
    int status = config_read(&config, path, error, sizeof(error));
    remove(path);
    CHECK(status != 0, "'%s' was taken", text);
    CHECK(strstr(error, part) != NULL, "'%s' does not say '%s'", error, part);
}

/* An ARP request (RFC 826) and a neighbour solicitation (RFC 4861), with and without a tag, are answered. */
static void check_neighbours(bool tagged) {
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9}, asker[6] = {2, 0, 0, 0, 1, 1};
    uint8_t question[96] = {0}, answer[ANSWER_SIZE], *l3 = question + (tagged ? 18 : 14);
    const uint8_t *reply = answer + (tagged ? 18 : 14);
    size_t size, l3_at = (size_t)(l3 - question);

    memset(question, 0xff, 6);
    memcpy(question + 6, asker, 6);
    memcpy(question + 12, "\x81\x00\x00\x0a", 4);
    memcpy(l3 - 2, "\x08\x06", 2);
    memcpy(l3, "\x00\x01\x08\x00\x06\x04\x00\x01", 8);
    memcpy(l3 + 8, asker, 6);
    memcpy(l3 + 14, "\xc0\x00\x02\xfe", 4);
    memcpy(l3 + 24, "\xc0\x00\x02\x01", 4);
    CHECK(neighbour_look(question, 60, mac, answer, &size) == OTHER_QUESTION, "an ARP request was not seen");
    CHECK(size >= 60 && memcmp(answer, asker, 6) == 0 && memcmp(answer + 6, mac, 6) == 0, "ARP: Ethernet header");
    CHECK(memcmp(answer + 12, question + 12, l3_at - 12) == 0, "ARP: tag and type");
    CHECK(memcmp(reply, "\x00\x01\x08\x00\x06\x04\x00\x02\x02\x00\x00\x00\x00\x09\xc0\x00\x02\x01", 18) == 0,
          "ARP: who answers");
    CHECK(memcmp(reply + 18, l3 + 8, 10) == 0, "ARP: who asked");
    CHECK(neighbour_look(answer, size, mac, question, &size) == OTHER_CONTROL, "an ARP reply was answered");

    memset(question + l3_at, 0, sizeof(question) - l3_at);
    memcpy(question + 6, asker, 6);
    memcpy(l3 - 2, "\x86\xdd", 2);
    memcpy(l3, "\x60\x00\x00\x00\x00\x18\x3a\xff\x20\x01", 10);
    l3[23] = 0xfe;
    memcpy(l3 + 24, "\xff\x02", 2);
    l3[40] = 135;
    memcpy(l3 + 48, "\x20\x01\x0d\xb8", 4);
    l3[63] = 1;
    CHECK(neighbour_look(question, l3_at + 64, mac, answer, &size) == OTHER_QUESTION, "a solicitation was not seen");
    CHECK(size == l3_at + 72 && reply[4] == 0 && reply[5] == 32 && reply[7] == 255, "ND: IPv6 header");
    CHECK(memcmp(reply + 8, l3 + 48, 16) == 0 && memcmp(reply + 24, l3 + 8, 16) == 0, "ND: addresses");
    CHECK(reply[40] == 136 && reply[44] == 0x60 && memcmp(reply + 48, l3 + 48, 16) == 0, "ND: advertisement");
    CHECK(memcmp(reply + 64, "\x02\x01\x02\x00\x00\x00\x00\x09", 8) == 0, "ND: the MAC");
    CHECK(add_words(add_words(32 + 58, reply + 8, 32), reply + 40, 32) == 0xffff, "ND: checksum");
    CHECK(neighbour_look(question, l3_at + 63, mac, answer, &size) == OTHER_WRONG, "half a solicitation was answered");
    l3[40] = 3;
    CHECK(neighbour_look(question, l3_at + 64, mac, answer, &size) == OTHER_ICMP, "an ICMPv6 error passed");
    l3[6] = 17;
    CHECK(neighbour_look(question, l3_at + 64, mac, answer, &size) == OTHER_WRONG, "UDP passed");
}

int main(void) {
    static const char *const expects[] = {"5tswap", "forward", "same"};
    static const char *const addresses[] = {
        "ip = 4\nsrc = 10.1.0.0/16\ndst = 198.51.100.0/28\nprobe_src = 10.1.0.1\nprobe_dst = 192.0.2.0/24\n",
        "ip = 6\nsrc = 2001:db8:1::/112\ndst = 2001:db8:2::/124\nprobe_src = 2001:db8::1\nprobe_dst = "
        "2001:db8:3::/120\n",
    };
    static const char *const protos[] = {"udp", "tcp"};
    static const char *const tags[] = {"", "vlan0 = 10\n", "vlan1 = 4094\n", "vlan0 = 5\nvlan1 = 6\n"};
    struct config config;
    unsigned int shapes = 0;

    for (unsigned int i = 0; i < 3 * 2 * 2 * 4; i++) {
        char text[1024];
        const char *proto = protos[i / 3 % 2];
        snprintf(text, sizeof(text),
                 "flows = 1000000\nproto = %s\nexpect = %s\n%s%ssport = 32768-65535\ndport = 443\n"
                 "%sprobe_sport = 4\nprobe_dport = 5\nprobe_flows = 200\nresults = /tmp\nphase = a run 1\n",
                 proto, expects[i % 3], addresses[i / 6 % 2], tags[i / 12], i / 3 % 2 ? "" : "probe_every = 1\n");
        read_text(&config, text);
        for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
            for (int direction = 0; direction < DIR_COUNT; direction++, shapes++)
                check_shape(&config, kind, direction);
        }
        check_batches(&config);
    }
    config.l4_checksum = false;
    config.v6 = false;
    read_text(&config, "flows = 16\nl4_checksum = zero\nsrc = 10.0.0.0/28\ndst = 10.1.0.0\nsport = 1\ndport = 2\n"
                       "results = /tmp\nphase = a run 1\n");
    check_shape(&config, KIND_RUN, DIR_INITIATOR);
    check_unique(&config, 16);
    read_text(&config, "flows = 65536\nsrc = 10.0.0.0/30\ndst = 10.1.0.0/28\nsport = 1024-2047\ndport = 2\n"
                       "results = /tmp\nphase = a run 1\n");
    check_unique(&config, 65536);
    read_text(&config, "flows = 500000\nip = 6\nsrc = 2001:db8::/64\ndst = 2001:db8:1::1\n"
                       "results = /tmp\nphase = a run 1\n");
    check_unique(&config, 500000);
    check_refused("flows = 17\nsrc = 10.0.0.0/28\ndst = 10.1.0.0\nresults = /tmp\nphase = a run 1\n", "4 bits");
    check_refused("src = 10.0.0.1/28\n", "behind its length");
    check_refused("sport = 1-3\n", "power of two");
    check_refused("flows\n", "KEY = VALUE");
    check_refused("flow = 1\n", "no key");
    check_refused("flows = 1\nip = 6\nsrc = 10.0.0.0\ndst = 10.1.0.0\nresults = /tmp\nphase = a run 1\n", "IPv6");
    check_refused("phase = a jump 1\n", "not a choice");
    check_refused("burst = 0\n", "outside");
    check_neighbours(false);
    check_neighbours(true);
    printf("%u shapes\n", shapes);
    return 0;
}
