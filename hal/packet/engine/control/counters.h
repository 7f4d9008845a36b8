/* The counter segment: one memfd that describes itself, mapped read-only by whoever reads (F_SEAL_FUTURE_WRITE), and
 * the form in which a shard's counters are copied out. Header, directory, then arrays. Readers go by the directory.
 *
 *   name          element                     one for
 *   "drops"       uint64_t                    a reason number, a worker
 *   "engine"      uint64_t                    enum dsn_engine_counter, a worker
 *   "vnic"        struct dsn_vnic_counters    a slot of table vnic, a worker
 *   "limits"      struct dsn_limit_counters   a slot of table vnic, a worker: of each of enum dsn_limit
 *   "row.TABLE"   struct dsn_row_counters     a slot of TABLE, a worker (tables declared with `counts`)
 *   "ids.TABLE"   uint64_t                    a slot: the id of the row there, DSN_NONE_ID where none (worker 0xffff)
 *   "port"        struct dsn_port_counters    a port (worker 0xffff)
 */
#ifndef DSN_COUNTERS_H
#define DSN_COUNTERS_H

#include <stdint.h>

#define DSN_COUNTERS_MAGIC 0x434e5344u /* "DSNC" */
#define DSN_COUNTERS_VERSION 1
#define DSN_COUNTERS_SHARED 0xffff

struct dsn_counter_header {
    uint32_t magic, version;
    uint64_t size;
    uint32_t entries;    /* of the directory, right behind this header */
    uint32_t entry_size; /* sizeof struct dsn_counter_entry */
    uint64_t generation; /* live: the current one, kept up to date */
};

struct dsn_counter_entry {
    char name[40];
    uint64_t offset;
    uint32_t count, stride;
    uint16_t worker;
    uint16_t reserved[3];
};

struct dsn_port_counters {
    uint64_t number;
    uint64_t rx_packets, rx_bytes, rx_errors, tx_packets, tx_bytes, tx_full;
};

#endif
