#ifndef DSN_PATH_WORDS_H
#define DSN_PATH_WORDS_H

#include "path/shard.h"

/* Both op lists, NUL behind each entry and one more behind each list. Returns bytes; 0: they don't fit. */
size_t dsn_words_of(const struct dsn_shard *shard, const struct dsn_connection *connection, char *words, size_t size);

#endif
