/* A port without a device: its packets come by replay. Live, nothing comes and what is sent is gone. */
#include "port/kinds.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct replay_port {
    int never; /* an eventfd that nobody writes to: such a port doesn't keep the engine awake */
};

static uint16_t replay_rx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    (void)port, (void)packets, (void)count;
    return 0;
}

static uint16_t replay_tx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    (void)port;
    rte_pktmbuf_free_bulk(packets, count);
    return count;
}

static int replay_wake_fd(struct dsn_port *port) {
    return ((struct replay_port *)port->state)->never;
}

static bool replay_true(struct dsn_port *port) {
    (void)port;
    return true;
}

static void replay_close(struct dsn_port *port) {
    struct replay_port *p = port->state;
    close(p->never);
    free(p);
    port->state = NULL;
}

static const struct dsn_port_ops replay_ops = {
    .kind = "replay",
    .rx = replay_rx,
    .tx = replay_tx,
    .wake_fd = replay_wake_fd,
    .fault = replay_true,
    .link = replay_true,
    .close = replay_close,
    .tx_shared = true,
};

struct dsn_opened dsn_replay_open(struct dsn_port *port) {
    struct replay_port *p = calloc(1, sizeof(*p));
    if (p == NULL || (p->never = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        free(p);
        return (struct dsn_opened){.kind = DSN_OPEN_FULL, .number = errno, .limit = "free memory and descriptors"};
    }
    port->ops = &replay_ops;
    port->state = p;
    return (struct dsn_opened){0};
}
