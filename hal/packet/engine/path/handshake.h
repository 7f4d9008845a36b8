/* How a TCP connection begins, from the first SYN until both are acknowledged: the states SYN_SENT and SYN_RECEIVED. */
#ifndef DSN_PATH_HANDSHAKE_H
#define DSN_PATH_HANDSHAKE_H

#include "path/tcp.h"

/* Each follows a segment as dsn_tcp_follow() says. SYN_SENT, A's: */
enum dsn_reason_number dsn_tcp_initiator_again(struct dsn_session *session, struct dsn_windows *windows,
                                               const struct dsn_tcp_segment *segment, bool strict);
/* SYN_SENT, B's (RFC 9293 3.10.7.3). */
enum dsn_reason_number dsn_tcp_first_answer(struct dsn_session *session, struct dsn_windows *windows,
                                            const struct dsn_tcp_segment *segment, bool strict);
/* SYN_RECEIVED, a SYN; */
enum dsn_reason_number dsn_tcp_syn_again(struct dsn_session *session, struct dsn_windows *windows,
                                         const struct dsn_tcp_segment *segment);
/* neither SYN nor RST. */
enum dsn_reason_number dsn_tcp_half_way(struct dsn_session *session, struct dsn_windows *windows,
                                        const struct dsn_tcp_segment *segment, bool strict);

/* SYN_RECEIVED, two answers of B stand: they are as if the newest were the only one. The number of the earlier one. */
uint32_t dsn_tcp_settle(struct dsn_windows *windows);
/* This segment says which of them A has taken; behind it that one is the only one. */
bool dsn_tcp_chooses(struct dsn_windows *windows, const struct dsn_tcp_segment *segment, uint32_t earlier);

/* Is this a call from anew whose receiver has to ask, and may he? */
bool dsn_tcp_is_asked_by_who_gets_it(const struct dsn_windows *windows, const struct dsn_tcp_segment *segment);
enum dsn_reason_number dsn_tcp_let_ask(struct dsn_windows *windows, const struct dsn_tcp_segment *segment);

#endif
