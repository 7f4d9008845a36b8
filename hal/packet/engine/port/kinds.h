/* The kinds of port, for port.c to open by name. */
#ifndef DSN_PORT_KINDS_H
#define DSN_PORT_KINDS_H

#include "port.h"

/* Error kinds of the contract (wire.h) that an open ends with. */
enum dsn_open_kind { DSN_OPEN_INVALID = 1, DSN_OPEN_FULL = 3, DSN_OPEN_UNSUPPORTED = 9 };

/* What became of an open: kind 0, or words for the error's fields. `number` is an errno that explains it, 0 for
 * none. */
struct dsn_opened {
    uint16_t kind;
    int number;
    const char *field, *limit, *fix;
};

/* Each fills port->ops and state. `fd` is theirs from the call on, whatever comes of it. */
struct dsn_opened dsn_linux_open(struct dsn_port *port, int fd, struct rte_mempool *pool);
struct dsn_opened dsn_tap_open(struct dsn_port *port, int fd, struct rte_mempool *pool);
struct dsn_opened dsn_dpdk_open(struct dsn_port *port, const char *devargs, struct rte_mempool *pool);
struct dsn_opened dsn_replay_open(struct dsn_port *port);

/* Is the interface up with a carrier? Asked in the socket's network namespace; false where there is none. */
bool dsn_link_of(int socket, int interface);

#define DSN_FRAME_EXTRA 22 /* Ethernet header and two tags around an IP packet of MTU bytes */

#endif
