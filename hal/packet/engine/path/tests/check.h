/* What these tests say when something isn't so. */
#ifndef DSN_PATH_TESTS_CHECK_H
#define DSN_PATH_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
