/* What makes bytes likely to be a packet: a mutator that libFuzzer's own bytes pass through. */
#ifndef FUZZ_FRAMES_H
#define FUZZ_FRAMES_H

#include "path/bytes.h"

#include <stddef.h>

/* Lengths and IPv4's checksum as the frame's size wants them; a mutated byte would else be all that is seen. */
static inline void fuzz_frame_mend(uint8_t *frame, size_t size) {
    size_t ip = 14;
    if (size >= 18 && frame[12] == 0x81 && frame[13] == 0)
        ip = 18;
    if (size < ip + 20 || size > 9000)
        return;
    uint16_t type = dsn_be16(frame + ip - 2);
    if (type == 0x0800) {
        unsigned header = (frame[ip] & 15) * 4u;
        dsn_put16(frame + ip + 2, (uint16_t)(size - ip));
        if (header < 20 || header > size - ip)
            return;
        dsn_put16(frame + ip + 10, 0);
        dsn_put16(frame + ip + 10, (uint16_t)~dsn_sum_fold(dsn_sum(frame + ip, header, 0)));
    } else if (type == 0x86dd && size >= ip + 40) {
        dsn_put16(frame + ip + 4, (uint16_t)(size - ip - 40));
    }
}

/* libFuzzer's */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "fuzz: %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
