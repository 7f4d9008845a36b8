/* The engine as a process: one a run folder, in a session of its own, with no rights that it doesn't need. */
#ifndef DSN_PROCESS_H
#define DSN_PROCESS_H

#include <stdbool.h>

enum dsn_exit { DSN_EXIT_OK = 0, DSN_EXIT_FAILED = 1, DSN_EXIT_USAGE = 64, DSN_EXIT_BUSY = 75 };

/* Makes the run folder if need be, makes it the current one, and locks it. DSN_EXIT_OK, or the exit code, said on
 * stderr: BUSY and the other's pid, or a folder that isn't ours alone. The lock goes with the process. The folder and
 * all in it stay its starter's, except an empty one for DPDK: `user` may only pass through. */
int dsn_process_hold(const char *run, const char *user);
/* Own session, no input, SIGTERM for signalfd, other requests of a terminal ignored, nothing in a core dump. */
void dsn_process_detach(void);
/* Becomes `user` (a name, or UID:GID; NULL: stays), without capabilities; those that open network devices may stay
 * until confined. Nobody of the same user can look into it. Before there are other threads. */
bool dsn_process_drop(const char *user, bool keep_network);
/* All threads. False: one of them has some still. */
bool dsn_process_confine(void);
/* Takes engine.pid away where it still may: who became another user has no rights in the folder any more. */
void dsn_process_leave(void);

#endif
