/* A ticket is answered once, by whoever has it, as long as its place is its own. */
#include "path/verdicts.h"

#include "path/tests/check.h"

int main(void) {
    const uint64_t first = UINT64_C(3) << 48 | 7, second = UINT64_C(3) << 48 | 8;
    struct dsn_verdicts *v = dsn_verdicts_create(64);
    CHECK(v != NULL);
    uint32_t one = dsn_verdict_ask(v, 0, 0), last = dsn_verdict_ask(v, 63, DSN_VERDICT_PLACES - 1);
    CHECK(one != 0 && last != 0 && one != last && last >> DSN_TICKET_BITS == 0);
    CHECK(dsn_verdict_place(last) == DSN_VERDICT_PLACES - 1);
    CHECK(dsn_verdict_of(v, one) == DSN_SAID_NOTHING && !dsn_verdict_is_go(v, one, first));

    dsn_verdict_say(v, one, first);
    CHECK(dsn_verdict_of(v, one) == DSN_SAID_GO);
    CHECK(dsn_verdict_is_go(v, one, first) && !dsn_verdict_is_go(v, one, second));
    dsn_verdict_say(v, one, 0); /* it was said */
    CHECK(dsn_verdict_is_go(v, one, first));
    CHECK(dsn_verdict_of(v, last) == DSN_SAID_NOTHING);
    dsn_verdict_say(v, last, 0);
    CHECK(dsn_verdict_of(v, last) == DSN_SAID_NO);

    uint32_t next = dsn_verdict_ask(v, 0, 0);
    CHECK(next != one && next != 0);
    dsn_verdict_say(v, one, first); /* too late */
    CHECK(dsn_verdict_of(v, one) == DSN_SAID_LONG_AGO && !dsn_verdict_is_go(v, one, first));
    CHECK(dsn_verdict_of(v, next) == DSN_SAID_NOTHING);
    dsn_verdict_say(v, 0, first); /* nobody has asked */
    CHECK(dsn_verdict_of(v, next) == DSN_SAID_NOTHING);
    for (unsigned round = 0; round < 5000; round++) { /* rounds begin anew, and none of them is 0 */
        uint32_t ticket = dsn_verdict_ask(v, 0, 0);
        CHECK(ticket != 0 && ticket != next && ticket >> DSN_TICKET_BITS == 0);
        next = ticket;
    }
    dsn_verdicts_destroy(v);
    return 0;
}
