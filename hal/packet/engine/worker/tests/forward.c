/* Live workers over real ports, with the stand-in path: tests/netns/test_ports.py drives it.
 *
 * forward [--workers N] [--mtu N] [--hand-over] DEVICE[@DESCRIPTOR]...
 *
 * Prints "ready", then answers each line of its input by a line: "counters", "links", "call N" (microseconds that N
 * calls of each worker took). Ends with its input. */
#include "worker/tests/standin.h"

#include <getopt.h>
#include <poll.h>
#include <rte_eal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct dsn_engine *engine;

static int open_port(const char *device, uint16_t mtu) {
    struct dsn_load_port config = {.number = 100u + engine->port_count, .mtu = mtu};
    struct dsn_error error;
    uint16_t kind;
    const char *at = strrchr(device, '@');
    int fd = at != NULL ? atoi(at + 1) : -1;
    size_t length = at != NULL ? (size_t)(at - device) : strlen(device);
    if (length >= sizeof(config.device)) {
        fprintf(stderr, "too long: %s\n", device);
        return -1;
    }
    memcpy(config.device, device, length);
    snprintf(config.name, sizeof(config.name), "p%u", engine->port_count);
    struct dsn_port *port = dsn_port_open(&config, fd, engine->pool, &error, &kind);
    if (port == NULL) {
        fprintf(stderr, "kind %u: %s, field %s: got %s, limit %s. %s\n", kind, error.what, error.field, error.got,
                error.limit, error.fix);
        return -1;
    }
    port->index = engine->port_count;
    engine->ports[engine->port_count++] = port;
    return 0;
}

static void refresh_links(void) {
    for (uint16_t i = 0; i < engine->port_count; i++)
        atomic_store(&engine->ports[i]->up, engine->ports[i]->ops->link(engine->ports[i]));
}

static void print_counters(void) {
    printf("{\"port_full\": %ju, \"port_down\": %ju, \"ports\": [", standin_drops(engine, DSN_REASON_PORT_FULL),
           standin_drops(engine, DSN_REASON_PORT_DOWN));
    for (uint16_t i = 0; i < engine->port_count; i++) {
        const struct dsn_port_counters *c = engine->ports[i]->counters;
        uint64_t sent[2];
        standin_sent(engine, i, sent);
        printf("%s{\"rx_packets\": %ju, \"rx_bytes\": %ju, \"rx_errors\": %ju, \"tx_packets\": %ju, \"tx_bytes\": %ju, "
               "\"tx_full\": %ju, \"sent\": [%ju, %ju]}",
               i > 0 ? ", " : "", c->rx_packets, c->rx_bytes, c->rx_errors, c->tx_packets, c->tx_bytes, c->tx_full,
               sent[0], sent[1]);
    }
    printf("]}\n");
}

static void nothing(struct dsn_shard *shard, void *argument) {
    (void)shard, ++*(unsigned *)argument;
}

static void answer(const char *line) {
    if (strncmp(line, "counters", 8) == 0) {
        print_counters();
    } else if (strncmp(line, "links", 5) == 0) {
        for (uint16_t i = 0; i < engine->port_count; i++)
            printf("%d%s", atomic_load(&engine->ports[i]->up), i + 1 < engine->port_count ? " " : "\n");
    } else if (strncmp(line, "call", 4) == 0) {
        unsigned done = 0, times = (unsigned)atoi(line + 4);
        uint64_t began = dsn_now_ns();
        for (unsigned i = 0; i < times; i++)
            for (uint16_t worker = 0; worker < engine->workers; worker++)
                dsn_worker_call(engine, worker, nothing, &done);
        printf("%u %ju\n", done, (dsn_now_ns() - began) / 1000);
    }
    fflush(stdout);
}

static void serve(void) {
    char line[64];
    struct pollfd wait[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = dsn_link_watch(), .events = POLLIN}};
    setvbuf(stdin, NULL, _IONBF, 0);
    while (poll(wait, 2, 500) >= 0) {
        if (wait[1].revents != 0)
            dsn_link_watched(wait[1].fd);
        refresh_links();
        if (wait[0].revents == 0)
            continue;
        if (fgets(line, sizeof(line), stdin) == NULL)
            break;
        answer(line);
    }
    close(wait[1].fd);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"workers", required_argument, NULL, 'w'},
                                            {"mtu", required_argument, NULL, 'm'},
                                            {"hand-over", no_argument, NULL, 'h'},
                                            {0}};
    uint16_t workers = 1, mtu = 1500;
    standin_owner owner = NULL;
    cpu_set_t cpus;
    int option, failed;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'w')
            workers = (uint16_t)atoi(optarg);
        else if (option == 'm')
            mtu = (uint16_t)atoi(optarg);
        else if (option == 'h')
            owner = standin_by_address;
        else
            return 2;
    }
    if (standin_eal(&cpus) < 0 || (engine = standin_engine(workers, mtu, owner)) == NULL)
        return 1;
    engine->cpus = cpus;
    for (; optind < argc; optind++)
        if (open_port(argv[optind], mtu) != 0)
            return 1;
    failed = dsn_workers_start(engine);
    if (failed != 0) {
        fprintf(stderr, "workers: %s\n", strerror(failed));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    serve();
    dsn_workers_stop(engine);
    print_counters();
    for (uint16_t i = 0; i < engine->port_count; i++)
        dsn_port_close(engine->ports[i]);
    printf("%u\n", rte_mempool_in_use_count(engine->pool)); /* 0: no buffer was lost */
    standin_free(engine);
    rte_eal_cleanup();
    return 0;
}
