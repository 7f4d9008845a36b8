/* The counter segment (counters.h): of the live workers, and one for each private shard. */
#ifndef DSN_SEGMENT_H
#define DSN_SEGMENT_H

#include "path.h"
#include "tables.h"

struct dsn_change;

struct dsn_segment {
    int fd; /* what readers get; -1: there is none */
    uint8_t *data;
    size_t size;
    uint16_t workers;
    struct dsn_counter_block *block;                  /* one a worker */
    struct dsn_limit_counters (**limits)[DSN_LIMITS]; /* likewise, by slot of table vnic */
    uint64_t *ids[DSN_TABLES];                        /* NULL: rows of it count nothing */
    struct dsn_port_counters *port;
};

/* `reserve`: memory for all of it now. */
bool dsn_segment_create(struct dsn_segment *segment, const struct dsn_tables *tables, uint16_t workers,
                        struct dsn_port *const *ports, uint16_t port_count, bool reserve, struct dsn_failure *failure);
void dsn_segment_destroy(struct dsn_segment *segment);

/* A row came into a slot: what others counted there before is over. */
void dsn_segment_clear(struct dsn_segment *segment, int table, uint32_t slot);
/* Whose counters are in which slot, of rows that a commit changed, and of all. */
void dsn_segment_follow(struct dsn_segment *segment, const struct dsn_root *root, const struct dsn_change *change,
                        uint32_t changes);
void dsn_segment_ids(struct dsn_segment *segment, const struct dsn_tables *tables);
int dsn_segment_share(const struct dsn_segment *segment, struct dsn_failure *failure);

#endif
