/* A page that whoever runs the bench shares with the generator, as a mapped file. Layout: generator.py reads it too. */
#ifndef DSN_BENCH_CONTROL_H
#define DSN_BENCH_CONTROL_H

#include <stdint.h>

#define CONTROL_MAGIC UINT64_C(0x31306e65674e5344) /* "DSNgen01" in memory */
#define CONTROL_SIZE 4096

struct control {
    uint64_t magic;  /* generator: written last, when the page can be read */
    uint64_t tsc_hz; /* generator */
    uint64_t tsc;    /* generator: the same moment on both clocks, taken anew at each phase's begin */
    uint64_t monotonic_ns;
    uint64_t go;        /* other side: how many phases may begin */
    uint64_t stop;      /* other side: not 0 ends the phase that runs */
    uint64_t probe_arm; /* other side: a new number forgets probe_first_out */
    uint64_t reserved0;

    uint64_t begun; /* generator: phases begun and ended, and the running one's counts so far */
    uint64_t ended;
    uint64_t sent;
    uint64_t out;
    uint64_t wrong;
    uint64_t reserved1[3];

    uint64_t probe_armed; /* generator: the last probe_arm it has seen */
    uint64_t probe_sent;
    uint64_t probe_out;
    uint64_t probe_first_out;     /* TSC when the first probe left since it was armed, 0: none yet */
    uint64_t probe_last_out;      /* TSC when the latest one left */
    uint64_t probe_first_out_due; /* and when these two had come in */
    uint64_t probe_last_out_due;
    uint64_t reserved2;
};

#endif
