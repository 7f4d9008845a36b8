/* What became of first fragments that another worker has judged: whoever received one remembers where its datagram
 * goes, whoever has its connection says whether it went on. Until then nobody knows, and what was refused leaves
 * nothing. */
#ifndef DSN_PATH_VERDICTS_H
#define DSN_PATH_VERDICTS_H

#include <stdbool.h>
#include <stdint.h>

#define DSN_VERDICT_PLACES 8192u /* of each worker; asked about again in turn */
#define DSN_TICKET_BITS 30       /* 0: none */

enum dsn_said {
    DSN_SAID_NOTHING, /* yet; or it was lost on its way */
    DSN_SAID_GO,
    DSN_SAID_NO,
    DSN_SAID_LONG_AGO, /* its place is another's */
};

struct dsn_verdicts;

/* Shared by all workers, each of which asks in places of its own. NULL: no memory. */
struct dsn_verdicts *dsn_verdicts_create(uint16_t workers);
void dsn_verdicts_destroy(struct dsn_verdicts *verdicts);

/* A ticket by which `worker` asks, in one of its places. */
uint32_t dsn_verdict_ask(struct dsn_verdicts *verdicts, uint16_t worker, uint32_t place);
/* connection: id of whose it was; 0: it was dropped. Said once; who comes too late is not heard. */
void dsn_verdict_say(struct dsn_verdicts *verdicts, uint32_t ticket, uint64_t connection);
enum dsn_said dsn_verdict_of(const struct dsn_verdicts *verdicts, uint32_t ticket);
/* It went on, in the connection with this id. */
bool dsn_verdict_is_go(const struct dsn_verdicts *verdicts, uint32_t ticket, uint64_t connection);
static inline uint32_t dsn_verdict_place(uint32_t ticket) {
    return ticket % DSN_VERDICT_PLACES;
}

#endif
