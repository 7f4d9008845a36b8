/* Sockets: who listens, who is connected, and requests from one to the other. One thread, one epoll; nobody who is slow
 * or silent is waited for. */
#ifndef DSN_SERVER_H
#define DSN_SERVER_H

#include "control.h"

/* Binds load.sock and read.sock in the current folder, which is the run folder. False: said on stderr. */
bool dsn_server_create(struct dsn_control *control);
/* From here on they can be connected to: who is there is answered. */
bool dsn_server_listen(struct dsn_control *control);
/* Waits so long (-1: for ever) for one thing to do, and does it. False: there was nothing, or it can't be told. */
bool dsn_server_step(struct dsn_control *control, int wait_ms);
/* Until `ending`, or SIGTERM. */
void dsn_server_run(struct dsn_control *control);
void dsn_server_destroy(struct dsn_control *control);

#endif
