/* What Linux leaves to hardware and we finish in software: L4 checksums and large segments. */
#ifndef DSN_PORT_OFFLOAD_H
#define DSN_PORT_OFFLOAD_H

#include "port.h"

#include <linux/virtio_net.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* kernel headers before 6.2 */
#    define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* Completes an unfinished L4 checksum in place; without one nothing happens. */
void dsn_csum_finish(struct rte_mbuf *mbuf);

/* A TCP or UDP packet longer than its path takes, as Linux hosts hand them over (TSO, USO), waiting to be cut into
 * the segments that a wire would have carried. */
struct dsn_segmenter {
    const uint8_t *frame; /* from the Ethernet header on, in one piece */
    uint32_t length;
    uint32_t next; /* where in the frame the next segment's payload begins; == length: nothing waits */
    uint32_t count;
    uint16_t l3, l4, payload; /* offsets */
    uint16_t size;            /* payload of a segment */
    uint8_t version;          /* of IP */
    bool tcp;
};

/* The frame has to stay until the last segment was taken; `room` is an mbuf's. False: it isn't what `header` says, or
 * a segment has no room. */
bool dsn_segment_begin(struct dsn_segmenter *segmenter, const uint8_t *frame, uint32_t length,
                       const struct virtio_net_hdr *header, uint32_t room);
/* Takes up to `count` segments; fewer where the pool is empty. Their checksums are left unfinished, as the large
 * packet's was. */
uint16_t dsn_segment_take(struct dsn_segmenter *segmenter, struct rte_mempool *pool, struct rte_mbuf **packets,
                          uint16_t count);

static inline bool dsn_segments_wait(const struct dsn_segmenter *segmenter) {
    return segmenter->next < segmenter->length;
}

#endif
