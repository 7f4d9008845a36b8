/* The packet engine's process. */
#include "build_config.h"
#include "process.h"
#include "server.h"

#include <getopt.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
    "Usage: dsn-engine --run DIR [OPTION]...\n"
    "Forwards packets; loaded, written and read through sockets in DIR (hal/packet/engine/wire.h). One a folder.\n"
    "\n"
    "  --run DIR          run folder: load.sock, read.sock, write-OWNER.sock, engine.pid, engine.lock\n"
    "  --cores LIST       CPUs to run on, such as 0,2-3 (default: those it was started on)\n"
    "  --memory MB        memory for packets and devices, taken as it is used (default 1024)\n"
    "  --huge             that memory from huge pages, as many as it comes to need\n"
    "  --user NAME        become NAME, or UID:GID, once started by root\n"
    "  --keep-network     keep the right to open network devices until loaded: for DPDK devices that do it "
    "themselves,\n"
    "                     like net_tap; Linux ports come as open descriptors\n"
    "  --file-prefix P    DPDK's prefix of files in /dev/hugepages and /run\n"
    "  --version, --help\n"
    "\n"
    "Exit codes: 0 ended on purpose, 1 failed, 64 wrong usage, 75 BUSY (another engine has DIR; its pid is said).\n";

static bool parse_cpus(const char *list, cpu_set_t *cpus) {
    CPU_ZERO(cpus);
    for (const char *at = list; *at;) {
        char *end;
        long first = strtol(at, &end, 10), last = first;
        if (end == at)
            return false;
        if (*end == '-') {
            at = end + 1;
            last = strtol(at, &end, 10);
            if (end == at)
                return false;
        }
        if (first < 0 || last < first || last >= CPU_SETSIZE || (*end && *end != ','))
            return false;
        for (long cpu = first; cpu <= last; cpu++)
            CPU_SET(cpu, cpus);
        at = *end ? end + 1 : end;
    }
    return CPU_COUNT(cpus) > 0;
}

/* One EAL lcore, this thread, free to run on all of them: workers are threads of ours, pinned by themselves. */
static void format_lcores(const cpu_set_t *cpus, char *text, size_t room) {
    size_t at = (size_t)snprintf(text, room, "--lcores=0@(");
    const char *comma = "";
    for (int cpu = 0; cpu < CPU_SETSIZE && at < room; cpu++) {
        if (!CPU_ISSET(cpu, cpus))
            continue;
        at += (size_t)snprintf(text + at, room - at, "%s%d", comma, cpu);
        comma = ",";
    }
    if (at < room)
        snprintf(text + at, room - at, ")");
}

static bool start_eal(const struct dsn_options *options) {
    static char lcores[8192], memory[16], prefix[96];
    char *arguments[16] = {"dsn-engine", "--no-telemetry", "--no-pci", "--log-level=warning", "--iova-mode=va", lcores};
    int count = 6;
    format_lcores(&options->cpus, lcores, sizeof(lcores));
    if (options->huge) {
        arguments[count++] = "--in-memory";
    } else {
        snprintf(memory, sizeof(memory), "%u", options->memory_mb);
        arguments[count++] = "--no-huge";
        arguments[count++] = "--no-shconf";
        arguments[count++] = "-m";
        arguments[count++] = memory;
    }
    if (options->prefix) {
        snprintf(prefix, sizeof(prefix), "--file-prefix=%s", options->prefix);
        arguments[count++] = prefix;
    }
    if (rte_eal_init(count, arguments) < 0) {
        fprintf(stderr, "dsn-engine: DPDK does not start: %s\n", rte_strerror(rte_errno));
        return false;
    }
    return true;
}

static int run(const struct dsn_options *options, bool keep_network) {
    static struct dsn_control control; /* large, and one of it */
    int held = dsn_process_hold(options->run, options->user);
    if (held != DSN_EXIT_OK)
        return held;
    dsn_process_detach();
    control.options = options;
    control.started_ns = dsn_now_ns();
    control.engine.cpus = options->cpus;
    bool ready = dsn_index_seed() && dsn_life_draw(&control.life);
    control.events.life = control.life;
    /* Sockets first: the folder that they lie in isn't that user's. */
    ready = ready && dsn_server_create(&control) && dsn_process_drop(options->user, keep_network);
    bool served = ready && start_eal(options);
    bool listened = served && dsn_server_listen(&control);
    if (listened)
        dsn_server_run(&control);
    dsn_server_destroy(&control);
    dsn_unload(&control, true);
    dsn_process_leave();
    if (served)
        rte_eal_cleanup();
    return listened ? DSN_EXIT_OK : DSN_EXIT_FAILED;
}

static int usage(const char *what, const char *value) {
    fprintf(stderr, "dsn-engine: %s%s\nTry dsn-engine --help.\n", what, value);
    return DSN_EXIT_USAGE;
}

int main(int count, char **arguments) {
    static const struct option known[] = {
        {"run", required_argument, NULL, 'r'},
        {"cores", required_argument, NULL, 'c'},
        {"memory", required_argument, NULL, 'm'},
        {"huge", no_argument, NULL, 'g'},
        {"user", required_argument, NULL, 'u'},
        {"keep-network", no_argument, NULL, 'k'},
        {"file-prefix", required_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct dsn_options options = {.memory_mb = 1024};
    bool keep_network = false;
    if (sched_getaffinity(0, sizeof(options.cpus), &options.cpus) < 0)
        return usage("cannot tell its CPUs", "");
    for (int letter; (letter = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'r': options.run = optarg; break;
        case 'u': options.user = optarg; break;
        case 'p': options.prefix = optarg; break;
        case 'g': options.huge = true; break;
        case 'k': keep_network = true; break;
        case 'm':
            options.memory_mb = (unsigned)strtoul(optarg, NULL, 10);
            if (options.memory_mb < 64 || options.memory_mb > 1 << 20)
                return usage("--memory is 64..1048576, not ", optarg);
            break;
        case 'c':
            if (!parse_cpus(optarg, &options.cpus))
                return usage("--cores is a list of CPUs such as 0,2-3, not ", optarg);
            break;
        case 'v': printf("dsn-engine %s (%s)\n", DSN_VERSION, DSN_BUILD); return DSN_EXIT_OK;
        case 'h': fputs(help, stdout); return DSN_EXIT_OK;
        default: return usage("unknown option", "");
        }
    }
    if (optind < count)
        return usage("no argument is expected: ", arguments[optind]);
    if (options.run == NULL)
        return usage("--run DIR is missing", "");
    return run(&options, keep_network);
}
