/* Token buckets, full at first, in whole numbers: a token is a second's worth of nanoseconds. */
#ifndef DSN_PATH_METER_H
#define DSN_PATH_METER_H

#include <stdbool.h>
#include <stdint.h>

struct dsn_meter { /* zeroed: full */
    uint64_t credit, last_ns;
    bool begun;
};

/* A token of the bucket that gets `rate` of them a second and is `rate` deep; false if there is none. */
static inline bool dsn_meter_take(struct dsn_meter *meter, uint32_t rate, uint64_t now) {
    const uint64_t token = UINT64_C(1000000000), full = rate * token;
    unsigned __int128 credit = full;
    if (meter->begun)
        credit = meter->credit + (unsigned __int128)(now - meter->last_ns) * rate;
    if (credit > full)
        credit = full;
    bool enough = credit >= token;
    meter->credit = (uint64_t)(enough ? credit - token : credit);
    meter->last_ns = now;
    meter->begun = true;
    return enough;
}

#endif
