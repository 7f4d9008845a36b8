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

/* The checksum of ICMP in either IP, which the card verifies where it answers itself; no options, no extension
 * headers. */
static inline void fuzz_icmp_mend(uint8_t *frame, size_t size) {
    size_t ip = size >= 18 && frame[12] == 0x81 ? 18 : 14, head = 0;
    uint64_t sum = 0;
    if (size >= ip + 28 && dsn_be16(frame + ip - 2) == 0x0800 && frame[ip] == 0x45 && frame[ip + 9] == 1)
        head = 20;
    if (size >= ip + 48 && dsn_be16(frame + ip - 2) == 0x86dd && frame[ip + 6] == 58)
        head = 40;
    if (head == 0)
        return;
    uint8_t *icmp = frame + ip + head;
    size_t length = size - ip - head;
    if (head == 40)
        sum = dsn_sum(frame + ip + 8, 32, length + 58);
    dsn_put16(icmp + 2, 0);
    dsn_put16(icmp + 2, (uint16_t)~dsn_sum_fold(dsn_sum(icmp, length, sum)));
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
