/* The engine as a process: one a run folder, in a session of its own, with no rights that it doesn't need. */
#ifndef DSN_PROCESS_H
#define DSN_PROCESS_H

#include <stdbool.h>

enum dsn_exit { DSN_EXIT_OK = 0, DSN_EXIT_FAILED = 1, DSN_EXIT_USAGE = 64, DSN_EXIT_BUSY = 75 };

/* Makes the run folder if need be, makes it the current one, and locks it. DSN_EXIT_OK, or the exit code, said on
 * stderr: BUSY and the other's pid. The lock goes with the process. */
int dsn_process_hold(const char *run, const char *user);
/* Own session, no input, SIGTERM for signalfd, other requests of a terminal ignored, nothing in a core dump. */
void dsn_process_detach(void);
/* Becomes `user` (NULL: stays), without capabilities; those that open network devices may stay until confined. */
bool dsn_process_drop(const char *user, bool keep_network);
bool dsn_process_confine(void);
void dsn_process_leave(void);

#endif
