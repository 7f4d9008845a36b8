/* What holds of any answer on a control socket: an error is whole, bulk data is sealed and as long as it says. */
#ifndef FUZZ_ANSWERS_H
#define FUZZ_ANSWERS_H

#include "card.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static inline void fuzz_text_holds(const char *text, size_t size) {
    FUZZ_CHECK(memchr(text, 0, size) != NULL);
}

static inline void fuzz_error_holds(const struct dsn_error *error, int kind) {
    FUZZ_CHECK(kind >= DSN_INVALID && kind <= DSN_UNSUPPORTED);
    fuzz_text_holds(error->what, sizeof(error->what));
    fuzz_text_holds(error->field, sizeof(error->field));
    fuzz_text_holds(error->limit, sizeof(error->limit));
    fuzz_text_holds(error->got, sizeof(error->got));
    fuzz_text_holds(error->fix, sizeof(error->fix));
    FUZZ_CHECK(error->what[0] || error->table >= 0);
    FUZZ_CHECK(error->table >= -1 && error->table < DSN_TABLES && error->row >= -1);
}

static inline void fuzz_sections_hold(const uint8_t *data, size_t size, uint64_t count) {
    FUZZ_CHECK(count * sizeof(struct dsn_section) <= size);
    for (uint64_t i = 0; i < count; i++) {
        struct dsn_section section;
        memcpy(&section, data + i * sizeof(section), sizeof(section));
        FUZZ_CHECK(section.table < DSN_TABLES && section.offset % 8 == 0);
        FUZZ_CHECK(section.offset <= size && (uint64_t)section.count * section.stride <= size - section.offset);
    }
}

static inline void fuzz_results_hold(const uint8_t *data, size_t size, uint64_t count) {
    size_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct dsn_packet_out out;
        FUZZ_CHECK(size - at >= sizeof(out));
        memcpy(&out, data + at, sizeof(out));
        FUZZ_CHECK(out.size >= sizeof(out) && out.size <= size - at && out.verdict <= DSN_HANDOVER);
        FUZZ_CHECK(out.verdict != DSN_DROP || out.reason < DSN_REASONS);
        size_t inside = sizeof(out) + out.steps * sizeof(struct dsn_step);
        for (uint32_t frame = 0; frame < out.outputs; frame++) {
            struct dsn_packet_in head;
            FUZZ_CHECK(out.size - inside >= sizeof(head));
            memcpy(&head, data + at + inside, sizeof(head));
            inside += sizeof(head) + ((head.length + 7) & ~7u);
            FUZZ_CHECK(inside <= out.size);
        }
        FUZZ_CHECK(inside == out.size);
        at += out.size;
    }
    FUZZ_CHECK(at == size);
}

static inline void fuzz_bulk_holds(int fd, uint16_t verb, const void *body) {
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    FUZZ_CHECK(fstat(fd, &status) == 0 && seals >= 0 && (seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW));
    size_t size = (size_t)status.st_size;
    uint8_t *data = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    FUZZ_CHECK(data != MAP_FAILED);
    const struct dsn_page *page = body;
    switch (verb) {
    case DSN_VERB_SNAPSHOT: fuzz_sections_hold(data, size, ((const struct dsn_committed *)body)->number); break;
    case DSN_VERB_REPLAY:
    case DSN_VERB_TRACE: fuzz_results_hold(data, size, page->count); break;
    case DSN_VERB_FLOWS: FUZZ_CHECK(size == page->count * sizeof(struct dsn_flow_record)); break;
    case DSN_VERB_NEIGHBOURS: FUZZ_CHECK(size == page->count * sizeof(struct dsn_neighbour_record)); break;
    case DSN_VERB_EVENTS: FUZZ_CHECK(size == page->count * sizeof(struct dsn_event_record)); break;
    default: break;
    }
    if (data)
        munmap(data, size);
}

#endif
