#include "results.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static double slot_low(unsigned int slot) {
    if (slot < HISTOGRAM_CUTS)
        return slot;
    unsigned int power = slot / HISTOGRAM_CUTS + 3;
    return (double)((uint64_t)(HISTOGRAM_CUTS + slot % HISTOGRAM_CUTS) << (power - 4));
}

/* The upper end of the slot that holds the given share: latency is never said to be less than it was. */
static double quantile(const struct histogram *histogram, double share, double ns_per_tick) {
    uint64_t total = 0, below = 0;
    for (unsigned int i = 0; i < HISTOGRAM_SIZE; i++)
        total += histogram->count[i];
    for (unsigned int i = 0; i + 1 < HISTOGRAM_SIZE; i++) {
        below += histogram->count[i];
        if (total > 0 && (double)below >= share * (double)total) {
            double ticks = slot_low(i + 1);
            return (ticks < (double)histogram->most ? ticks : (double)histogram->most) * ns_per_tick;
        }
    }
    return 0;
}

static void write_hex(FILE *file, const char *name, const uint8_t *bytes, size_t size) {
    fprintf(file, ", \"%s\": \"", name);
    for (size_t i = 0; i < size; i++)
        fprintf(file, "%02x", bytes[i]);
    fputc('"', file);
}

static void write_latency(FILE *file, const struct histogram *histogram, double ns_per_tick) {
    const char *separator = "";
    fprintf(file, "  \"latency_ns\": {\"p50\": %.0f, \"p90\": %.0f, \"p99\": %.0f, \"p999\": %.0f, \"max\": %.0f,\n",
            quantile(histogram, 0.5, ns_per_tick), quantile(histogram, 0.9, ns_per_tick),
            quantile(histogram, 0.99, ns_per_tick), quantile(histogram, 0.999, ns_per_tick),
            (double)histogram->most * ns_per_tick);
    fprintf(file, "    \"histogram\": [");
    for (unsigned int i = 0; i < HISTOGRAM_SIZE; i++) {
        if (histogram->count[i] == 0)
            continue;
        fprintf(file, "%s[%.1f, %" PRIu64 "]", separator, slot_low(i) * ns_per_tick, histogram->count[i]);
        separator = ", ";
    }
    fprintf(file, "]}");
}

static void write_json(FILE *file, const struct config *config, const struct phase_config *phase,
                       const struct measurement *measured, unsigned int in_size, double hz) {
    double ns_per_tick = 1e9 / hz;
    double all = (double)(measured->end > measured->begin ? measured->end - measured->begin : 0);
    double calm = (double)(measured->polls > measured->gaps ? measured->polls - measured->gaps : 1);
    /* A gap holds a poll's own work too, so what an average poll takes stays in. */
    double work = all - (double)measured->gap_ticks;
    work += work / calm * (double)measured->gaps;
    double packets = measured->out > 0 ? (double)measured->out : HUGE_VAL; /* none: 0 ns */
    int64_t lost = (int64_t)measured->sent - (int64_t)measured->out - (int64_t)measured->wrong;

    fprintf(file, "{\n  \"phase\": \"%s\", \"kind\": \"%s\", \"flows\": %" PRIu64 ", \"frame\": %u,\n", phase->name,
            kind_names[phase->kind], measured->flows, in_size);
    fprintf(file, "  \"packets\": %" PRIu64 ", \"out\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"lost\": %" PRId64 ",\n",
            measured->sent, measured->out, measured->wrong, lost);
    fprintf(file,
            "  \"control\": %" PRIu64 ", \"icmp\": %" PRIu64 ", \"strange_thread\": %" PRIu64
            ", \"alloc_failed\": %" PRIu64 ", \"probe_sent\": %" PRIu64 ", \"probe_out\": %" PRIu64 ",\n",
            measured->control, measured->icmp, measured->strange_thread, measured->alloc_failed, measured->probe_sent,
            measured->probe_out);
    fprintf(file, "  \"ns_per_packet\": %.4f, \"ns_per_packet_with_gaps\": %.4f, \"seconds\": %.6f,\n",
            work * ns_per_tick / packets, all * ns_per_tick / packets, all / hz);
    fprintf(file, "  \"rate\": %.1f, \"polls\": %" PRIu64 ",\n", phase->rate, measured->polls);
    fprintf(file, "  \"gap_ns\": %" PRIu64 ", \"gaps\": %" PRIu64 ", \"gap_seconds\": %.6f,\n", config->gap_ns,
            measured->gaps, (double)measured->gap_ticks / hz);
    write_latency(file, &measured->latency, ns_per_tick);
    if (measured->sample.why != NULL) {
        size_t size = measured->sample.size < TEMPLATE_SIZE ? measured->sample.size : TEMPLATE_SIZE;
        fprintf(file, ",\n  \"first_wrong\": {\"why\": \"%s\", \"size\": %u", measured->sample.why,
                measured->sample.size);
        write_hex(file, "got", measured->sample.got, size);
        write_hex(file, "want", measured->sample.want, size);
        fputc('}', file);
    }
    fprintf(file, "\n}\n");
}

int results_write(const struct config *config, unsigned int number, const struct measurement *measured,
                  unsigned int in_size, double hz) {
    const struct phase_config *phase = &config->phase[number];
    char path[600], temporary[610];
    int status = 0;

    snprintf(path, sizeof(path), "%s/%02u-%s.json", config->results, number, phase->name);
    snprintf(temporary, sizeof(temporary), "%s.part", path);
    FILE *file = fopen(temporary, "we");
    if (file == NULL)
        return errno;
    write_json(file, config, phase, measured, in_size, hz);
    if (ferror(file))
        status = EIO;
    if (fclose(file) != 0 && status == 0)
        status = errno;
    if (status == 0 && rename(temporary, path) != 0)
        status = errno;
    return status;
}
