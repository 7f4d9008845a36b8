/* A whole control thread inside a fuzzer: sockets, requests, tables and shards as in the engine, but stepped by us,
 * with a clock of ours. One at a time. */
#ifndef FUZZ_CARD_H
#define FUZZ_CARD_H

#include "control/control.h"
#include "control/server.h"
#include "frames.h"

#include <stdio.h>
#include <stdlib.h>

extern struct dsn_control fuzz_control;
extern _Atomic uint64_t fuzz_now;

/* EAL and the universe; once. */
void fuzz_card_begin(void);
/* The run folder becomes the current one, as it is for an engine; or no longer. */
void fuzz_card_inside(bool inside);
/* A fresh engine that listens in the run folder. */
void fuzz_card_open(void);
/* Every connection is gone and the engine with it; nothing may be left. */
void fuzz_card_close(void);

/* One of its sockets, non-blocking; -1: nobody listens. */
int fuzz_connect(const char *name);
/* Lets it work until there is nothing to do, then looks whether all is as it has to be. */
void fuzz_card_work(void);
/* Sends one request with descriptors (not taken). False: the socket doesn't take it now. */
bool fuzz_send(int connection, const void *message, size_t size, const int *fds, unsigned count);

/* What tests/fuzz/universe.py wrote beside the program: the memfd of a LOAD, that of the first COMMIT, then pairs of
 * one that changes what the first made and one that changes it back. */
#define FUZZ_MEMFDS 128
struct fuzz_memfd {
    const uint8_t *data;
    size_t size;
    uint32_t sections;
};
extern struct fuzz_memfd fuzz_universe[FUZZ_MEMFDS];
extern unsigned fuzz_memfds;
int fuzz_sealed(const void *data, size_t size);
/* LOADs, or COMMITs, one of these through the sockets. It has to be taken. */
void fuzz_load(void);
void fuzz_commit(unsigned which);

/* A reader of an input's bytes: what isn't there any more is 0. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};
static inline uint8_t fuzz_u8(struct fuzz_input *input) {
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}
static inline uint16_t fuzz_u16(struct fuzz_input *input) {
    uint8_t low = fuzz_u8(input);
    return (uint16_t)(fuzz_u8(input) << 8 | low);
}
static inline uint64_t fuzz_u64(struct fuzz_input *input) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)fuzz_u8(input) << 8 * i;
    return value;
}
/* Up to `most` bytes, as many as there are. */
static inline const uint8_t *fuzz_bytes(struct fuzz_input *input, size_t most, size_t *got) {
    const uint8_t *data = input->data;
    *got = most < input->size ? most : input->size;
    input->data += *got;
    input->size -= *got;
    return data;
}

#endif
