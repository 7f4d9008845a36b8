/* Is there memory for what a commit is about to touch? Tables are reserved at LOAD and not there yet; Linux gives a
 * page when it is touched, and ends whoever finds none. So it is asked before anything is changed. */
#ifndef DSN_MEMORY_H
#define DSN_MEMORY_H

#include "error.h"
#include "tables.h"

#define DSN_MEMORY_SOME ((size_t)1 << 20)  /* up to this much nobody is asked */
#define DSN_MEMORY_KEPT ((size_t)16 << 20) /* stays free */

/* Bytes that can be had: of the machine, and of the memory cgroups that the process is in. */
uint64_t dsn_memory_free(void);
/* The same from these places: /proc and where cgroups are mounted. UINT64_MAX: nothing is known of a limit. */
uint64_t dsn_memory_free_in(const char *proc, const char *cgroups);
/* The pages of these bytes are there from now on. False: they can't be had. */
bool dsn_memory_take(void *begin, size_t size);
bool dsn_memory_read(const void *begin, size_t size); /* the same of a file's, to be read */

/* For so many more rows of each table, in both copies, and `more` bytes beside them. FULL names the table that needs
 * most, and nothing has changed. */
bool dsn_tables_reserve(struct dsn_tables *tables, const uint32_t wanted[DSN_TABLES], size_t more,
                        struct dsn_failure *failure);

#endif
