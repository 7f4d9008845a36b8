/* The same parser with a mistake: it takes TCP's header length on trust and reads the options it promises. A test sees
 * that the corpus of `packet` finds it, so that a fuzzer that has gone blind is seen. */
#include "parse_one.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *frame = malloc(size ? size : 1);
    struct dsn_packet p;
    memcpy(frame, data, size);
    enum dsn_reason_number reason = fuzz_parse(frame, (uint32_t)size, &p);
    bool whole = reason == DSN_PASSED || reason == DSN_REASON_L4_TRUNCATED;
    if (whole && p.key.protocol == DSN_TCP && !dsn_is_later(&p) && p.transport + 20 <= p.end) {
        volatile uint8_t last = frame[p.transport + (frame[p.transport + 12] >> 4) * 4 - 1];
        (void)last;
    }
    free(frame);
    return 0;
}
