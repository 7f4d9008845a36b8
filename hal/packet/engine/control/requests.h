/* A message as it came, and the verb it asks for. */
#ifndef DSN_REQUESTS_H
#define DSN_REQUESTS_H

#include "control.h"

enum dsn_authority { DSN_LOADER = 1, DSN_WRITER = 2, DSN_READER = 4 };

/* Answers what can be understood of a message of `size` bytes. False: it can't be a request (the failure is CORRUPT):
 * the connection is closed behind the answer. */
bool dsn_request_answer(struct dsn_control *control, enum dsn_authority authority, const struct dsn_request *request,
                        size_t size, struct dsn_exchange *exchange);

#endif
