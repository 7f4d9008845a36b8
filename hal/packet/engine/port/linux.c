/* A Linux interface: an AF_PACKET socket that dsnd opened and bound, a ring to receive (TPACKET_V2: a frame is there
 * when it has come, not when a block is full), sendmmsg to send (docs/adr/0030). What the ring's slots are too short
 * for, 64 kB segments of hosts on veth above all, comes whole through the socket's queue (PACKET_COPY_THRESH; 0031). */
#include "port/kinds.h"
#include "port/offload.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* In front of a frame in its slot: struct tpacket2_hdr, the sender's address, the offload header, alignment. */
#define SLOT_OVERHEAD 96
#define SLOT_LEAST 2048
#define SLOTS_LEAST 1024 /* room for what comes while the machine takes the CPU away for some milliseconds */
#define RING_LEAST (4u << 20)
#define BLOCK_BYTES (64u << 10)
#define LARGE_BYTES (65535 + DSN_FRAME_EXTRA)

struct linux_port {
    int fd;
    int index; /* of the interface */
    uint8_t *ring;
    size_t ring_bytes;
    uint32_t slot_bytes, slots_a_block, slots, head;
    uint32_t room; /* of an mbuf */
    struct rte_mempool *pool;
    struct dsn_segmenter segments; /* of the frame in `large` */
    uint8_t *large;
};

static struct tpacket2_hdr *slot_at(const struct linux_port *p, uint32_t n) {
    return (void *)(p->ring + (size_t)(n / p->slots_a_block) * BLOCK_BYTES +
                    (size_t)(n % p->slots_a_block) * p->slot_bytes);
}

/* The kernel takes the tag out of the frame: it goes back behind the addresses. Returns the bytes it adds. */
static uint32_t tag_of(const struct tpacket2_hdr *slot, uint8_t tag[4]) {
    if (!(slot->tp_status & TP_STATUS_VLAN_VALID))
        return 0;
    uint16_t tpid = slot->tp_status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid : ETH_P_8021Q;
    tag[0] = (uint8_t)(tpid >> 8);
    tag[1] = (uint8_t)tpid;
    tag[2] = (uint8_t)(slot->tp_vlan_tci >> 8);
    tag[3] = (uint8_t)slot->tp_vlan_tci;
    return 4;
}

static void copy_tagged(uint8_t *to, const uint8_t *from, uint32_t length, const uint8_t tag[4], uint32_t extra) {
    if (extra == 0 || length < 2 * ETH_ALEN) {
        memcpy(to, from, length);
        return;
    }
    memcpy(to, from, 2 * ETH_ALEN);
    memcpy(to + 2 * ETH_ALEN, tag, 4);
    memcpy(to + 2 * ETH_ALEN + 4, from + 2 * ETH_ALEN, length - 2 * ETH_ALEN);
}

/* A frame that its slot cut off waits whole in the socket's queue, in the ring's order. Returns its length with the
 * tag, 0 where it can't be had. */
static uint32_t fetch_large(struct linux_port *p, struct virtio_net_hdr *header, const uint8_t tag[4], uint32_t extra) {
    /* Read to where the tag leaves the rest in place; only the addresses have to move. */
    struct iovec parts[2] = {
        {.iov_base = header, .iov_len = sizeof(*header)},
        {.iov_base = p->large + extra, .iov_len = LARGE_BYTES - extra},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t got = recvmsg(p->fd, &message, MSG_DONTWAIT);
    if (got < 0) /* a link that went down is reported in place of a frame, once */
        got = recvmsg(p->fd, &message, MSG_DONTWAIT);
    if (got <= (ssize_t)(sizeof(*header) + 2 * ETH_ALEN) || (message.msg_flags & MSG_TRUNC))
        return 0;
    if (extra > 0) {
        memmove(p->large, p->large + extra, 2 * ETH_ALEN);
        memcpy(p->large + 2 * ETH_ALEN, tag, 4);
    }
    return (uint32_t)got - sizeof(*header) + extra;
}

static struct rte_mbuf *one_packet(struct linux_port *p, const uint8_t *frame, uint32_t length, const uint8_t tag[4],
                                   uint32_t extra, const struct virtio_net_hdr *header) {
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(p->pool);
    if (mbuf == NULL)
        return NULL;
    copy_tagged(rte_pktmbuf_mtod(mbuf, uint8_t *), frame, length, tag, extra);
    mbuf->data_len = (uint16_t)(length + extra);
    mbuf->pkt_len = mbuf->data_len;
    if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
        (uint32_t)header->csum_start + header->csum_offset + 2 <= mbuf->data_len)
        dsn_mbuf_csum_set(mbuf, header->csum_start, header->csum_offset);
    return mbuf;
}

enum taken { TAKEN, WAITING, NOTHING, NO_BUFFER };

/* Takes what a slot holds: a packet, or nothing but segments that wait now, or nothing at all (counted). */
static enum taken take(struct dsn_port *port, const struct tpacket2_hdr *slot, struct rte_mbuf **packet) {
    struct linux_port *p = port->state;
    const uint8_t *frame = (const uint8_t *)slot + slot->tp_mac;
    uint32_t length = slot->tp_snaplen;
    uint8_t tag[4] = {0};
    uint32_t extra = tag_of(slot, tag);
    struct virtio_net_hdr header;

    if (slot->tp_status & TP_STATUS_COPY) {
        length = fetch_large(p, &header, tag, extra);
        if (length == 0)
            goto lost;
        frame = p->large;
        header.csum_start = (uint16_t)(header.csum_start + extra);
        extra = 0;
    } else if (slot->tp_len != slot->tp_snaplen) {
        goto lost; /* the queue of what is too long for slots is full */
    } else {
        memcpy(&header, frame - sizeof(header), sizeof(header));
        header.csum_start = (uint16_t)(header.csum_start + extra);
    }
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        if (frame != p->large)
            copy_tagged(p->large, frame, length, tag, extra);
        if (!dsn_segment_begin(&p->segments, p->large, length + extra, &header, p->room))
            goto lost;
        return WAITING;
    }
    if (length + extra > p->room)
        goto lost;
    *packet = one_packet(p, frame, length, tag, extra, &header);
    if (*packet != NULL)
        return TAKEN;
    /* What was fetched from the queue can't be put back; a slot may wait until there is a buffer. */
    if (frame != p->large)
        return NO_BUFFER;
lost:
    dsn_port_add(&port->counters->rx_errors, 1);
    return NOTHING;
}

static uint16_t linux_rx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    struct linux_port *p = port->state;
    uint16_t taken = 0, start;
    bool losing = false;

    /* Slots without a packet end a call too: a burst has a bounded cost whatever comes. */
    for (unsigned slots = 0; taken < count && slots < 2 * DSN_BURST; slots++) {
        if (dsn_segments_wait(&p->segments)) {
            taken += dsn_segment_take(&p->segments, p->pool, packets + taken, count - taken);
            if (dsn_segments_wait(&p->segments))
                break;
            continue;
        }
        struct tpacket2_hdr *slot = slot_at(p, p->head);
        uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        start = taken;
        enum taken what = take(port, slot, &packets[taken]);
        if (what == NO_BUFFER)
            break;
        taken = start + (what == TAKEN);
        losing |= (status & TP_STATUS_LOSING) != 0;
        __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        if (++p->head == p->slots)
            p->head = 0;
        rte_prefetch0(slot_at(p, p->head));
    }
    if (losing) { /* reading them begins a new count */
        struct tpacket_stats stats;
        socklen_t size = sizeof(stats);
        if (getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
            dsn_port_add(&port->counters->rx_errors, stats.tp_drops);
    }
    return taken;
}

/* Errors of one packet, behind which others may go; behind all else none would. */
static bool is_its_own(int error) {
    return error == EMSGSIZE || error == EINVAL || error == EFAULT;
}

_Static_assert(DSN_BURST <= 64, "a bit each in settle()");

/* Frees what went. Refused packets (a bit each) come to lie in front of those not tried, as not taken. */
static uint16_t settle(struct rte_mbuf **packets, uint16_t tried, uint64_t refused) {
    uint16_t put = tried;
    for (uint16_t i = tried; i-- > 0;) {
        if (refused & UINT64_C(1) << i)
            packets[--put] = packets[i];
        else
            rte_pktmbuf_free(packets[i]);
    }
    return put;
}

static uint16_t linux_tx(struct dsn_port *port, struct rte_mbuf **packets, uint16_t count) {
    struct linux_port *p = port->state;
    struct mmsghdr messages[DSN_BURST];
    struct iovec parts[DSN_BURST][2];
    struct virtio_net_hdr headers[DSN_BURST];
    uint64_t refused = 0;
    uint16_t tried = 0;

    count = RTE_MIN(count, (uint16_t)DSN_BURST);
    for (uint16_t i = 0; i < count; i++) {
        uint16_t start, field;
        headers[i] = (struct virtio_net_hdr){0};
        if (dsn_mbuf_csum_get(packets[i], &start, &field)) {
            headers[i].flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
            headers[i].csum_start = start;
            headers[i].csum_offset = (uint16_t)(field - start);
        }
        parts[i][0] = (struct iovec){&headers[i], sizeof(headers[i])};
        parts[i][1] = (struct iovec){rte_pktmbuf_mtod(packets[i], void *), packets[i]->data_len};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = parts[i], .msg_iovlen = 2}};
    }
    while (tried < count) {
        int sent = sendmmsg(p->fd, messages + tried, count - tried, MSG_DONTWAIT);
        if (sent > 0)
            tried += (uint16_t)sent;
        else if (is_its_own(errno))
            refused |= UINT64_C(1) << tried++;
        else if (errno != EINTR)
            break;
    }
    return settle(packets, tried, refused);
}

static int linux_wake_fd(struct dsn_port *port) {
    return ((struct linux_port *)port->state)->fd;
}

static int interface_of(int fd) {
    struct sockaddr_ll address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 || address.sll_family != AF_PACKET)
        return -1;
    return address.sll_ifindex;
}

/* Down: the kernel says so once and takes up again when the device does. Deleted: the socket is bound to nothing. */
static bool linux_fault(struct dsn_port *port) {
    struct linux_port *p = port->state;
    int error;
    socklen_t size = sizeof(error);
    (void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return interface_of(p->fd) > 0;
}

static bool linux_link(struct dsn_port *port) {
    struct linux_port *p = port->state;
    return dsn_link_of(p->fd, p->index);
}

/* Frames for the vNICs' MACs, not only the device's own, and only now: the ring holds them from the first one on. */
static bool receive(struct linux_port *p) {
    struct packet_mreq all = {.mr_ifindex = p->index, .mr_type = PACKET_MR_PROMISC};
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = rte_cpu_to_be_16(ETH_P_ALL), .sll_ifindex = p->index};
    return setsockopt(p->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) == 0 &&
           bind(p->fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* The socket, its ring and what waits in it stay: only what it is bound to is another. Whoever asks has seen to it that
 * the interface is the card's (docs/adr/0062). */
static int linux_take_up(struct dsn_port *port, int interface, uint64_t namespace) {
    struct linux_port *p = port->state;
    uint64_t ours = 0;
    socklen_t size = sizeof(ours);
    int before = p->index;
    if (interface_of(p->fd) > 0)
        return EBUSY;
    if (getsockopt(p->fd, SOL_SOCKET, SO_NETNS_COOKIE, &ours, &size) != 0)
        return errno;
    if (ours != namespace)
        return EXDEV;
    p->index = interface;
    if (receive(p))
        return 0;
    int failed = errno;
    p->index = before;
    return failed;
}

static void linux_close(struct dsn_port *port) {
    struct linux_port *p = port->state;
    if (p->ring != NULL)
        munmap(p->ring, p->ring_bytes);
    if (p->fd >= 0)
        close(p->fd);
    free(p->large);
    free(p);
    port->state = NULL;
}

static const struct dsn_port_ops linux_ops = {
    .kind = "linux",
    .rx = linux_rx,
    .tx = linux_tx,
    .wake_fd = linux_wake_fd,
    .fault = linux_fault,
    .link = linux_link,
    .close = linux_close,
    .take_up = linux_take_up,
    .tx_shared = true,
};

static bool set(int fd, int option, int value) {
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) == 0;
}

static bool ring_open(struct linux_port *p, uint16_t mtu) {
    uint32_t slot = RTE_MAX(RTE_ALIGN_CEIL(mtu + DSN_FRAME_EXTRA + SLOT_OVERHEAD, TPACKET_ALIGNMENT), SLOT_LEAST);
    uint32_t a_block = BLOCK_BYTES / slot;
    uint32_t blocks = RTE_MAX(RING_LEAST / BLOCK_BYTES, (SLOTS_LEAST + a_block - 1) / a_block);
    size_t bytes = (size_t)blocks * BLOCK_BYTES;
    struct tpacket_req request = {
        .tp_block_size = BLOCK_BYTES,
        .tp_block_nr = blocks,
        .tp_frame_size = slot,
        .tp_frame_nr = blocks * a_block,
    };
    p->slot_bytes = slot;
    p->slots_a_block = a_block;
    p->slots = request.tp_frame_nr;
    if (!set(p->fd, PACKET_VERSION, TPACKET_V2) || !set(p->fd, PACKET_VNET_HDR, 1) ||
        !set(p->fd, PACKET_IGNORE_OUTGOING, 1) || !set(p->fd, PACKET_COPY_THRESH, 1) ||
        setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) != 0)
        return false;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (map == MAP_FAILED)
        return false;
    p->ring = map;
    p->ring_bytes = bytes;
    return true;
}

struct dsn_opened dsn_linux_open(struct dsn_port *port, int fd, struct rte_mempool *pool) {
    int type = 0;
    socklen_t size = sizeof(type);
    struct linux_port *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        close(fd);
        return (struct dsn_opened){.kind = DSN_OPEN_FULL, .number = ENOMEM, .limit = "free memory"};
    }
    port->ops = &linux_ops;
    port->state = p;
    p->fd = fd;
    p->pool = pool;
    p->room = (uint32_t)rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
    p->index = interface_of(fd);
    if (p->index <= 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_RAW) {
        linux_close(port);
        return (struct dsn_opened){.kind = DSN_OPEN_INVALID,
                                   .field = "descriptor",
                                   .limit = "a raw AF_PACKET socket that is bound to an interface",
                                   .fix = "Make it by hal.packet.dpdk.linux_port.open_packet_socket."};
    }
    p->large = malloc(LARGE_BYTES);
    if (p->large == NULL || !ring_open(p, port->mtu) || !receive(p)) {
        int number = errno;
        linux_close(port);
        return (struct dsn_opened){
            .kind = number == ENOMEM ? DSN_OPEN_FULL : DSN_OPEN_INVALID,
            .number = number,
            .field = "device",
            .limit = "an interface that packets can be received from",
            .fix = "See that it is there and that the kernel has memory for its ring (4 MiB, jumbo frames 10 MiB)."};
    }
    return (struct dsn_opened){0};
}
