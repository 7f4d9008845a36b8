/* What a phase measured, and the JSON it becomes. */
#ifndef DSN_BENCH_RESULTS_H
#define DSN_BENCH_RESULTS_H

#include "frame.h"

/* Latency in TSC ticks: a power of two each, cut into 16. */
#define HISTOGRAM_CUTS 16
#define HISTOGRAM_SIZE (64 * HISTOGRAM_CUTS)

struct histogram {
    uint64_t most;
    uint64_t count[HISTOGRAM_SIZE];
};

static inline unsigned int histogram_slot(uint64_t ticks) {
    if (ticks < HISTOGRAM_CUTS)
        return (unsigned int)ticks;
    unsigned int power = 63u - (unsigned int)__builtin_clzll(ticks);
    return (power - 3) * HISTOGRAM_CUTS + (unsigned int)(ticks >> (power - 4) & (HISTOGRAM_CUTS - 1));
}

static inline void count_latency(struct histogram *histogram, uint64_t due, uint64_t now, unsigned int count) {
    uint64_t ticks = now > due ? now - due : 0;
    histogram->count[histogram_slot(ticks)] += count;
    if (ticks > histogram->most)
        histogram->most = ticks;
}

struct wrong_sample {
    const char *why;
    unsigned int size;
    uint8_t got[TEMPLATE_SIZE], want[TEMPLATE_SIZE];
};

struct measurement {
    uint64_t sent, out, wrong, control, icmp, strange_thread, probe_sent, probe_out, alloc_failed;
    uint64_t begin, end; /* TSC */
    uint64_t polls, gaps, gap_ticks;
    uint64_t flows;
    struct wrong_sample sample;
    struct histogram latency;
};

/* Writes FOLDER/NN-NAME.json by way of a temporary name, so that who sees it sees all of it. Returns 0 or errno. */
int results_write(const struct config *config, unsigned int number, const struct measurement *measured,
                  unsigned int in_size, double hz);

#endif
