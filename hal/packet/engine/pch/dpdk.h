/* What nearly every file reads, compiled once a build (meson's `c_pch`): parsing it was more than half of a build's
 * time, and what is compiled is the same to the byte. Each file includes what it uses all the same; `.ci/engine
 * engine-clang` builds without this header (`-Db_pch=false`), and so finds one that doesn't. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
