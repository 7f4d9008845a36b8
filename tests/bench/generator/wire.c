/* The same packets on Linux interfaces: sends a configuration's phases out of two veths and takes back what a router
 * between them forwards. `port0` and `port1` name the interfaces. For peers that have no DPDK ports.
 *
 * What comes back is checked bit by bit (`check`), or only counted by the interface (`count`), because a socket that
 * receives costs the core under test more than a forwarding kernel may take. A figure is measured with `count`, after
 * the same flows were seen to be right with `check`. */
#include "results.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <rte_cycles.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_MS 100

struct side {
    const char *name;
    int tx, rx; /* rx: -1 where frames are only counted */
    uint64_t sent, quota, next_id, random, counted;
    struct shape shape;
};

static struct config config;
static struct measurement measured;
static struct side sides[DIR_COUNT];
static uint8_t buffers[BATCH][9216];
static uint8_t *frames[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("wire: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static int open_socket(const char *name, bool receive) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = receive ? 0x0300 : 0};
    int on = 1, size = 64 << 20;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("no packet socket: %s", strerror(errno));
    address.sll_ifindex = (int)if_nametoindex(name);
    if (address.sll_ifindex == 0)
        die("no interface is called %s", name);
    if (receive && (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0))
        die("%s: cannot receive: %s", name, strerror(errno));
    if (!receive && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0)
        die("%s: cannot bypass the queue: %s", name, strerror(errno));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("cannot bind to %s: %s", name, strerror(errno));
    return fd;
}

static uint64_t received_by(const char *name) {
    char path[256];
    unsigned long long count;
    snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/rx_packets", name);
    FILE *file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%llu", &count) != 1)
        die("cannot read %s", path);
    fclose(file);
    return count;
}

static void prepare(size_t size) {
    for (unsigned int i = 0; i < BATCH; i++) {
        frames[i] = buffers[i];
        vectors[i] = (struct iovec){.iov_base = buffers[i], .iov_len = size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
}

static void send_batch(struct side *side, unsigned int count, bool random, uint64_t now) {
    struct batch batch;
    uint64_t *number = random ? &side->random : &side->next_id;

    for (unsigned int i = 0; i < BATCH; i++) {
        batch.id[i] = random ? random_flow(*number + i, config.flows) : *number + i;
        batch.due[i] = now;
    }
    *number += count;
    prepare(side->shape.in.size);
    frames_make_any(frames, count, &batch, &side->shape, &side->shape.in, 0);
    for (unsigned int done = 0; done < count;) {
        int sent = sendmmsg(side->tx, messages + done, count - done, 0);
        if (sent > 0)
            done += (unsigned int)sent;
        else if (errno == ENOBUFS || errno == EAGAIN)
            done++; /* lost, and counted as that since it never comes out */
        else if (errno != EINTR)
            die("cannot send on %s: %s", side->name, strerror(errno));
    }
    side->sent += count;
    measured.sent += count;
}

/* Takes what is there. What comes in here was sent on the other side. */
static void receive(struct side *side, const struct shape *shape) {
    int count;
    if (side->rx < 0)
        return;
    do {
        struct batch batch;
        prepare(sizeof(buffers[0]));
        count = recvmmsg(side->rx, messages, BATCH, MSG_DONTWAIT, NULL);
        uint64_t now = rte_rdtsc();
        for (int i = 0; i < count; i++) {
            const uint8_t *frame = frames[i];
            if (messages[i].msg_len == shape->out.size && frames_check_any(&frame, 1, &batch, shape, 0) &&
                batch.id[0] < config.flows && batch.due[0] >= measured.begin) {
                count_latency(&measured.latency, batch.due[0], now, 1);
                measured.out++;
            } else if (frame[12] == 0x08 && frame[13] == 0x06) {
                measured.control++; /* a router asks; the interface answers, if it has an address */
            } else if (measured.wrong++ == 0) {
                measured.sample.size = messages[i].msg_len;
                memcpy(measured.sample.got, frame, TEMPLATE_SIZE);
                measured.sample.why = frame_explain(shape, frame, messages[i].msg_len, measured.sample.want);
            }
        }
        if (count > 0)
            measured.end = now;
    } while (count == BATCH);
}

static void begin_phase(const struct phase_config *phase) {
    memset(&measured, 0, sizeof(measured));
    measured.flows = config.flows;
    for (int direction = 0; direction < DIR_COUNT; direction++) {
        struct side *side = &sides[direction];
        shape_init(&side->shape, &config, phase->kind, direction);
        side->sent = side->next_id = 0;
        side->quota = phase_quota(phase, direction);
        side->counted = received_by(side->name);
    }
}

/* Waits for what is still under way. Without a socket the interfaces' counters say what came out. */
static void drain(double hz) {
    uint64_t quiet = rte_rdtsc(), last = measured.out;
    do {
        if (sides[0].rx >= 0) {
            receive(&sides[0], &sides[1].shape);
            receive(&sides[1], &sides[0].shape);
        } else {
            usleep(1000);
            measured.out =
                received_by(sides[0].name) - sides[0].counted + received_by(sides[1].name) - sides[1].counted;
        }
        if (measured.out != last)
            quiet = rte_rdtsc();
        last = measured.out;
    } while (measured.out + measured.wrong < measured.sent && (double)(rte_rdtsc() - quiet) < DRAIN_MS * 1e-3 * hz);
}

static void run_phase(const struct phase_config *phase, double hz) {
    uint64_t gap_ticks = (uint64_t)((double)config.gap_ns * 1e-9 * hz), last;
    bool random = phase->kind == KIND_RUN;

    begin_phase(phase);
    last = measured.begin = measured.end = rte_rdtsc();
    while (sides[0].sent < sides[0].quota || sides[1].sent < sides[1].quota) {
        for (int direction = 0; direction < DIR_COUNT; direction++) {
            struct side *side = &sides[direction];
            uint64_t left = side->quota - side->sent, now = rte_rdtsc();
            unsigned int most = config.burst < BATCH ? config.burst : BATCH;
            if (left == 0)
                continue;
            measured.polls++;
            if (now - last > gap_ticks) {
                measured.gaps++;
                measured.gap_ticks += now - last;
            }
            last = now;
            send_batch(side, left < most ? (unsigned int)left : most, random, now);
            receive(&sides[!direction], &side->shape);
        }
    }
    measured.end = rte_rdtsc();
    drain(hz);
}

int main(int count, char **arguments) {
    char error[512];
    if (count != 3 || (strcmp(arguments[2], "check") != 0 && strcmp(arguments[2], "count") != 0))
        die("usage: dsn_wire CONFIG check|count");
    if (config_read(&config, arguments[1], error, sizeof(error)) != 0)
        die("%s", error);
    /* The EAL isn't started, so nobody has measured the TSC yet. */
    struct timespec begin_time, end_time;
    clock_gettime(CLOCK_MONOTONIC, &begin_time);
    uint64_t begin = rte_rdtsc();
    usleep(100000);
    clock_gettime(CLOCK_MONOTONIC, &end_time);
    double hz = (double)(rte_rdtsc() - begin) / ((double)(end_time.tv_sec - begin_time.tv_sec) +
                                                 (double)(end_time.tv_nsec - begin_time.tv_nsec) * 1e-9);
    for (int direction = 0; direction < DIR_COUNT; direction++) {
        sides[direction].name = config.port[direction];
        sides[direction].tx = open_socket(config.port[direction], false);
        sides[direction].rx = arguments[2][1] == 'h' ? open_socket(config.port[direction], true) : -1;
        sides[direction].random = config.seed << 41 | (uint64_t)direction << 40;
    }
    for (unsigned int phase = 0; phase < config.phases; phase++) {
        if (config.phase[phase].kind == KIND_FIRST || config.phase[phase].rate > 0)
            die("phase %s: here are no rates and no flows beyond the first", config.phase[phase].name);
        run_phase(&config.phase[phase], hz);
        int status = results_write(&config, phase, &measured, sides[0].shape.in.size, hz);
        if (status != 0)
            die("cannot write results to %s: %s", config.results, strerror(status));
    }
    return 0;
}
