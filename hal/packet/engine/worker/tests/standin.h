/* A path for tests of ports and workers: port 0 <-> 1, 2 <-> 3 and so on, and nothing else. */
#ifndef DSN_STANDIN_H
#define DSN_STANDIN_H

#include "worker.h"

/* Who owns a packet, by whatever both its directions have in common; `workers` is at least 1. */
typedef uint16_t (*standin_owner)(const struct rte_mbuf *packet, uint16_t workers);

/* NULL: whoever receives a packet owns it. */
struct dsn_shard *standin_shard(uint16_t worker, uint16_t workers, standin_owner owner);
/* By IP protocol and addresses: symmetric. */
uint16_t standin_by_address(const struct rte_mbuf *packet, uint16_t workers);
/* An engine with pool and readers, without ports; NULL: told on stderr. */
struct dsn_engine *standin_engine(uint16_t workers, uint16_t mtu, standin_owner owner);
/* With its ports; their devices were closed, or are the test's own. */
void standin_free(struct dsn_engine *engine);
/* EAL as the engine starts it, and the CPUs of the process as they were before. */
int standin_eal(cpu_set_t *cpus);
/* Packets and bytes that were sent to whom a port has: each of STANDIN_VNICS gets some packets in a row, in turn. */
#define STANDIN_VNICS 4
void standin_sent(const struct dsn_engine *engine, uint16_t port, uint64_t sent[2]);
uint64_t standin_drops(const struct dsn_engine *engine, enum dsn_reason_number reason);

#endif
