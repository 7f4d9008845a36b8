/* Puts the generator on the ports of the program it is preloaded into.
 *
 * rte_eth_rx_queue_setup and rte_eth_dev_start are interposed to learn a port's memory pool and the moment from
 * which it takes callbacks. From then on the rx callback makes packets and the tx callback checks them, both on the
 * core under test: what they cost is in the floor and in every figure alike. */
#include "traffic.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <rte_cycles.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void map_control(void) {
    generator.control = &generator.own_control;
    if (generator.config.control[0] == '\0') {
        generator.control->go = UINT64_MAX;
    } else {
        int fd = open(generator.config.control, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            die("cannot open %s: %s", generator.config.control, strerror(errno));
        generator.control = mmap(NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (generator.control == MAP_FAILED)
            die("cannot map %s: %s", generator.config.control, strerror(errno));
        close(fd);
    }
    generator.control->tsc_hz = rte_get_tsc_hz();
    set_clocks(generator.control);
    __atomic_store_n(&generator.control->magic, CONTROL_MAGIC, __ATOMIC_RELEASE);
}

static bool configured(void) {
    static bool tried, found;
    char error[512];
    const char *path = getenv("DSN_BENCH_GENERATOR");

    if (tried)
        return found;
    tried = true;
    if (path == NULL)
        return false;
    if (config_read(&generator.config, path, error, sizeof(error)) != 0)
        die("%s", error);
    generator.hz = (double)rte_get_tsc_hz();
    generator.gap_ticks = (uint64_t)((double)generator.config.gap_ns * 1e-9 * generator.hz);
    generator.id_limit = generator.config.flows;
    generator.fresh_id = generator.config.flows;
    for (int direction = 0; direction < DIR_COUNT; direction++) {
        generator.side[direction].random = generator.config.seed << 41 | (uint64_t)direction << 40;
        shape_init(&generator.shape[direction], &generator.config, generator.config.phase[0].kind, direction);
    }
    map_control();
    found = true;
    return true;
}

static struct side *side_of(uint16_t port) {
    char name[RTE_ETH_NAME_MAX_LEN];
    if (!configured() || rte_eth_dev_get_name_by_port(port, name) != 0)
        return NULL;
    for (int direction = 0; direction < DIR_COUNT; direction++) {
        if (strcmp(name, generator.config.port[direction]) == 0)
            return &generator.side[direction];
    }
    return NULL;
}

static void *next_symbol(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (symbol == NULL)
        die("%s is not there to be called", name);
    return symbol;
}

static void attach(struct side *side, uint16_t port) {
    struct rte_eth_dev_info info;
    if (side->attached)
        return;
    if (side->pool == NULL)
        die("port %u started and its queue 0 has no memory pool", port);
    if (rte_pktmbuf_data_room_size(side->pool) < RTE_PKTMBUF_HEADROOM + TEMPLATE_SIZE ||
        rte_pktmbuf_data_room_size(side->pool) < RTE_PKTMBUF_HEADROOM + generator.config.frame)
        die("the packet buffers of port %u are too short for these frames", port);
    if (rte_eth_dev_info_get(port, &info) != 0)
        die("port %u does not say what it is", port);
    side->port = port;
    side->attached = true;
    if (rte_eth_add_rx_callback(port, 0, on_rx, side) == NULL)
        die("port %u takes no rx callback", port);
    for (uint16_t queue = 0; queue < info.nb_tx_queues; queue++) {
        if (rte_eth_add_tx_callback(port, queue, on_tx, side) == NULL)
            die("port %u takes no tx callback", port);
    }
}

int rte_eth_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, unsigned int socket,
                           const struct rte_eth_rxconf *conf, struct rte_mempool *pool) {
    int (*real)(uint16_t, uint16_t, uint16_t, unsigned int, const struct rte_eth_rxconf *, struct rte_mempool *) =
        (int (*)(uint16_t, uint16_t, uint16_t, unsigned int, const struct rte_eth_rxconf *,
                 struct rte_mempool *))next_symbol("rte_eth_rx_queue_setup");
    int status = real(port, queue, descriptors, socket, conf, pool);
    struct side *side = status == 0 && queue == 0 ? side_of(port) : NULL;
    if (side != NULL)
        side->pool = pool;
    return status;
}

int rte_eth_dev_start(uint16_t port) {
    int (*real)(uint16_t) = (int (*)(uint16_t))next_symbol("rte_eth_dev_start");
    int status = real(port);
    struct side *side = status == 0 ? side_of(port) : NULL;
    if (side != NULL)
        attach(side, port);
    return status;
}
