/* Which neighbours other workers know, for whoever hears of one: each worker keeps its own (ADR 0025), and an answer
 * comes to one of them. What nobody else knows isn't told to anybody, and the same again at most once a second.
 *
 * Neighbours whose hashes are the same count as one: then it is told too often, never too seldom. */
#ifndef DSN_PATH_NEWS_H
#define DSN_PATH_NEWS_H

#include <stdbool.h>
#include <stdint.h>

struct dsn_news;

struct dsn_news *dsn_news_create(void);
void dsn_news_destroy(struct dsn_news *news);

/* A worker knows a neighbour from now on or no more (+1, -1), and wants to hear from it or doesn't (+1, -1). */
void dsn_news_count(struct dsn_news *news, uint64_t uplink, const uint8_t address[16], int known, int asking);
/* A neighbour has been heard of with this MAC by a worker which knows it itself or doesn't. *known: some other one
 * does; true: they are to be told. */
bool dsn_news_tell(struct dsn_news *news, uint64_t uplink, const uint8_t address[16], const uint8_t mac[6],
                   uint64_t now, bool here, bool *known);

#endif
