/* The packet parser. An input is a frame. */
#include "parse_one.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 4) /* and some stay as wrong as they are */
        fuzz_frame_mend(data, size);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Memory of just this size, so that one byte too far is seen. */
    uint8_t *frame = malloc(size ? size : 1);
    struct dsn_packet p;
    uint32_t sequence = 0;
    struct dsn_flow_key quoted;
    memcpy(frame, data, size);
    enum dsn_reason_number reason = fuzz_parse(frame, (uint32_t)size, &p);
    FUZZ_CHECK(reason == DSN_PASSED || (reason < DSN_REASONS && dsn_reason_name[reason] != NULL));
    if (reason == DSN_PASSED) {
        fuzz_holds(&p);
        if (dsn_is_icmp_error(&p) && dsn_parse_quoted(&p, &quoted, &sequence))
            FUZZ_CHECK(quoted.vrf == 0 && quoted.scope == 0 && quoted.flags == 0);
    }
    fuzz_same(frame, (uint32_t)size, reason, &p);
    FUZZ_CHECK(memcmp(frame, data, size) == 0);
    free(frame);
    return 0;
}
