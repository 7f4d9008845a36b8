/* Answers to what a router asks before it forwards: ARP requests and neighbour solicitations. */
#ifndef DSN_BENCH_NEIGHBOUR_H
#define DSN_BENCH_NEIGHBOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum other { OTHER_WRONG, OTHER_CONTROL, OTHER_QUESTION, OTHER_ICMP };

#define ANSWER_SIZE 96

/* What a frame without our mark is. A question leaves its answer, from a host with this MAC, in `answer`. */
enum other neighbour_look(const uint8_t *frame, size_t size, const uint8_t mac[6], uint8_t answer[ANSWER_SIZE],
                          size_t *answer_size);

#endif
