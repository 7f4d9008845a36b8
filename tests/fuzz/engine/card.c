#include "card.h"

#include "control/index.h"
#include "path/tests/derived.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HOUR (UINT64_C(3600) * 1000000000)

struct dsn_control fuzz_control;
_Atomic uint64_t fuzz_now;
struct fuzz_memfd fuzz_universe[FUZZ_MEMFDS];
unsigned fuzz_memfds;

static int home = -1, folder = -1;
static char folder_name[PATH_MAX];

/* --- in the place of functions of the engine --- */

uint64_t dsn_now_ns(void) {
    return atomic_load(&fuzz_now);
}

/* Each input makes its pools anew, and has few packets. */
struct rte_mempool *dsn_pool_create(const char *name, uint32_t packets, uint16_t mtu) {
    (void)packets, (void)mtu;
    return rte_pktmbuf_pool_create(name, 127, 0, 0, RTE_PKTMBUF_HEADROOM + 9216 + 32, SOCKET_ID_ANY);
}

uint32_t dsn_pool_packets(uint16_t workers, uint16_t ports) {
    return workers + ports;
}

/* The fuzzer has to write files. */
bool dsn_process_confine(void) {
    return true;
}

/* --- once --- */

static void leave(void) {
    if (folder_name[0])
        rmdir(folder_name);
}

static void start_eal(void) {
    static char lcores[CPU_SETSIZE * 8];
    char *arguments[] = {"fuzz",
                         "--no-telemetry",
                         "--no-pci",
                         "--log-level=error",
                         "--iova-mode=va",
                         lcores,
                         "--no-huge",
                         "--no-shconf",
                         "-m",
                         "256"};
    cpu_set_t cpus;
    size_t at = (size_t)snprintf(lcores, sizeof(lcores), "--lcores=0@(");
    FUZZ_CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
    for (int cpu = 0, more = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &cpus))
            at += (size_t)snprintf(lcores + at, sizeof(lcores) - at, "%s%d", more++ ? "," : "", cpu);
    snprintf(lcores + at, sizeof(lcores) - at, ")");
    FUZZ_CHECK(rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) >= 0);
}

/* Pairs of (sections, size), both 32 bits, each followed by as many bytes padded to 8. */
static void read_universe(void) {
    char path[PATH_MAX] = "";
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 32);
    FUZZ_CHECK(length > 0);
    path[length] = 0;
    strcpy(strrchr(path, '/') + 1, "universe.bin");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0) {
        fprintf(stderr, "fuzz: no %s: python -m tests.fuzz.universe makes it\n", path);
        exit(1);
    }
    const uint8_t *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    FUZZ_CHECK(data != MAP_FAILED);
    close(fd);
    for (const uint8_t *end = data + status.st_size; data < end; fuzz_memfds++) {
        uint32_t head[2];
        FUZZ_CHECK(fuzz_memfds < FUZZ_MEMFDS);
        memcpy(head, data, sizeof(head));
        fuzz_universe[fuzz_memfds] = (struct fuzz_memfd){data + sizeof(head), head[1], head[0]};
        data += sizeof(head) + ((head[1] + 7u) & ~7u);
    }
}

void fuzz_card_begin(void) {
    static char name[PATH_MAX];
    const char *base = getenv("TMPDIR");
    snprintf(name, sizeof(name), "%s/dsn-fuzz-XXXXXX", base ? base : "/tmp");
    home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_CHECK(home >= 0 && mkdtemp(name) != NULL);
    strcpy(folder_name, name);
    folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_CHECK(folder >= 0);
    atexit(leave);
    start_eal();
    read_universe();
    FUZZ_CHECK(dsn_index_seed());
}

/* --- one engine --- */

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *fds = opendir("/proc/self/fd");
    FUZZ_CHECK(fds != NULL);
    while (readdir(fds))
        count++;
    closedir(fds);
    return count;
}

void fuzz_card_inside(bool inside) {
    FUZZ_CHECK(fchdir(inside ? folder : home) == 0);
}

static unsigned before;

void fuzz_card_open(void) {
    static const struct dsn_options options = {.run = ".", .memory_mb = 256};
    before = open_descriptors();
    memset(&fuzz_control, 0, sizeof(fuzz_control));
    atomic_store(&fuzz_now, HOUR);
    fuzz_control.options = &options;
    fuzz_control.started_ns = dsn_now_ns();
    FUZZ_CHECK(sched_getaffinity(0, sizeof(fuzz_control.engine.cpus), &fuzz_control.engine.cpus) == 0);
    FUZZ_CHECK(dsn_server_create(&fuzz_control));
    FUZZ_CHECK(dsn_server_listen(&fuzz_control));
}

static unsigned missing(const char *name) {
    struct rte_mempool *pool = rte_mempool_lookup(name);
    return pool ? rte_mempool_in_use_count(pool) : 0;
}

void fuzz_card_close(void) {
    dsn_server_destroy(&fuzz_control);
    for (unsigned owner = 0; owner < sizeof(fuzz_control.staged) / sizeof(fuzz_control.staged[0]); owner++)
        FUZZ_CHECK(!fuzz_control.staged[owner].there);
    for (unsigned place = 0; place < DSN_REPLAYS; place++)
        FUZZ_CHECK(fuzz_control.replay[place].number == 0);
    FUZZ_CHECK(missing("dsn_replay") == 0);
    if (fuzz_control.running)
        dsn_workers_stop(&fuzz_control.engine);
    fuzz_control.running = false;
    dsn_unload(&fuzz_control, false);
    FUZZ_CHECK(open_descriptors() == before);
}

int fuzz_connect(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

bool fuzz_send(int connection, const void *message, size_t size, const int *fds, unsigned count) {
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int) * 8)];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)message, size};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    if (count) {
        head.msg_control = &control;
        head.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * count);
    }
    return sendmsg(connection, &head, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

int fuzz_sealed(const void *data, size_t size) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    FUZZ_CHECK(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
    return fd;
}

/* --- what has to hold --- */

static uint64_t digest(const struct dsn_root *root, const struct dsn_tables *tables) {
    uint64_t sum = root->generation;
    for (int number = 0; number < DSN_TABLES; number++) {
        const struct dsn_table *table = &root->table[number];
        uint32_t used = 0;
        for (uint32_t slot = 0; slot < tables->store[number].fresh; slot++) {
            uint8_t action = table->action[slot];
            if (action == DSN_NO_ACTION)
                continue;
            used++;
            const uint8_t *row = dsn_row(root, (enum dsn_table_number)number, slot);
            size_t size = table->desc->action[action].size;
            sum = (sum ^ action ^ (uint64_t)number << 8 ^ (uint64_t)slot << 16) * UINT64_C(0x9e3779b97f4a7c15);
            for (size_t at = 0; at < size; at += 8) {
                uint64_t word;
                memcpy(&word, row + at, 8);
                sum = (sum ^ word) * UINT64_C(0xd6e8feb86659fd93) + (sum >> 32);
            }
        }
        FUZZ_CHECK(used == table->used);
    }
    return sum;
}

/* What the path has derived is what the rows say: a root that begins with nothing and gets them one by one has the
 * same. */
static void derived_holds(const struct dsn_root *root, const struct dsn_tables *tables) {
    static struct bytes kept, anew;
    struct dsn_root fresh = *root;
    kept.size = anew.size = 0;
    FUZZ_CHECK(dsn_root_extras_create(&fresh));
    for (unsigned table = 0; table < DSN_TABLES; table++)
        for (uint32_t slot = 0; slot < tables->store[table].fresh; slot++)
            if (in_use(&fresh, table, slot))
                dsn_derive_in(&fresh, table, slot);
    add_kept(&kept, root);
    add_kept(&anew, &fresh);
    dsn_root_extras_destroy(&fresh);
    FUZZ_CHECK(kept.size == anew.size && memcmp(kept.data, anew.data, kept.size) == 0);
}

/* Whether a staged commit stands on the idle copy. */
static bool is_staged(void) {
    unsigned built = 0;
    for (unsigned owner = 0; owner < sizeof(fuzz_control.staged) / sizeof(fuzz_control.staged[0]); owner++)
        built += fuzz_control.staged[owner].there && fuzz_control.staged[owner].built;
    FUZZ_CHECK(built <= 1);
    return built > 0;
}

/* A generation's rows never change; between commits both copies are the same. */
static void tables_hold(void) {
    static uint64_t generation, sum;
    static uint32_t attempt;
    static bool was_staged;
    const struct dsn_tables *tables = &fuzz_control.tables;
    if (!fuzz_control.loaded) {
        generation = UINT64_MAX;
        return;
    }
    uint64_t live = digest(tables->live, tables);
    FUZZ_CHECK(generation != tables->live->generation || live == sum);
    bool staged = is_staged(), anew = generation != tables->live->generation;
    if (anew)
        derived_holds(tables->live, tables);
    if (anew || attempt != tables->attempt || was_staged != staged)
        derived_holds(tables->idle, tables);
    attempt = tables->attempt;
    was_staged = staged;
    generation = tables->live->generation;
    sum = live;
    FUZZ_CHECK(!fuzz_control.has_behind);
    if (!staged) {
        struct dsn_root idle = *tables->idle;
        idle.generation = generation;
        FUZZ_CHECK(digest(&idle, tables) == live);
    }
}

void fuzz_card_work(void) {
    for (unsigned steps = 0; dsn_server_step(&fuzz_control, 0); steps++)
        FUZZ_CHECK(steps < 4096);
    tables_hold();
}

/* --- the universe --- */

static void ask(const char *name, uint16_t verb, const void *body, uint32_t size, const struct fuzz_memfd *memfd) {
    struct {
        struct dsn_request head;
        uint8_t body[512];
    } message = {.head = {DSN_WIRE_MAGIC, verb, DSN_WIRE_VERSION, 1, size, 0}};
    struct {
        struct dsn_answer head;
        uint8_t body[DSN_WIRE_MAX];
    } answer;
    int connection = fuzz_connect(name), fd = fuzz_sealed(memfd->data, memfd->size);
    FUZZ_CHECK(connection >= 0);
    memcpy(message.body, body, size);
    FUZZ_CHECK(fuzz_send(connection, &message, sizeof(message.head) + size, &fd, 1));
    fuzz_card_work();
    FUZZ_CHECK(recv(connection, &answer, sizeof(answer), 0) >= (ssize_t)sizeof(answer.head));
    if (answer.head.kind)
        fprintf(stderr, "fuzz: the universe is refused: %s\n", ((struct dsn_error *)answer.body)->what);
    FUZZ_CHECK(answer.head.kind == 0);
    close(fd);
    close(connection);
    fuzz_card_work();
}

void fuzz_load(void) {
    ask("load.sock", DSN_VERB_LOAD, "", 0, &fuzz_universe[0]);
}

void fuzz_commit(unsigned which) {
    static uint64_t transaction = UINT64_C(1) << 62;
    struct dsn_commit head = {
        .transaction = transaction++, .base = UINT64_MAX, .sections = fuzz_universe[which].sections, .tag = "universe"};
    ask("write-dsnd.sock", DSN_VERB_COMMIT, &head, sizeof(head), &fuzz_universe[which]);
}
