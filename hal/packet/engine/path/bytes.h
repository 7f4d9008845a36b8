/* Bytes of packets: loads and stores in network order, MACs as numbers, Internet checksums. */
#ifndef DSN_PATH_BYTES_H
#define DSN_PATH_BYTES_H

#include <rte_byteorder.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t dsn_be16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, 2);
    return rte_be_to_cpu_16(value);
}

static inline uint32_t dsn_be32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return rte_be_to_cpu_32(value);
}

static inline uint64_t dsn_be64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return rte_be_to_cpu_64(value);
}

static inline void dsn_put16(uint8_t *bytes, uint16_t value) {
    value = rte_cpu_to_be_16(value);
    memcpy(bytes, &value, 2);
}

static inline void dsn_put64(uint8_t *bytes, uint64_t value) {
    value = __builtin_bswap64(value);
    memcpy(bytes, &value, 8);
}

static inline void dsn_put32(uint8_t *bytes, uint32_t value) {
    value = rte_cpu_to_be_32(value);
    memcpy(bytes, &value, 4);
}

_Static_assert(RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN, "a MAC as a number begins with its bytes");

/* Six bytes as a number, to compare and to keep; memcpy(mac, &number, 6) gives them back. By two loads: through memory
 * a CPU waits for what was stored in pieces and is read as one. */
static inline uint64_t dsn_mac(const uint8_t mac[6]) {
    uint32_t low;
    uint16_t high;
    memcpy(&low, mac, 4);
    memcpy(&high, mac + 4, 2);
    return (uint64_t)high << 32 | low;
}

#define DSN_NO_MAC UINT64_MAX /* no frame has this one */

static inline bool dsn_is_v4(const uint8_t address[16]) {
    uint64_t high;
    uint32_t middle;
    memcpy(&high, address, 8);
    memcpy(&middle, address + 8, 4);
    return high == 0 && middle == RTE_BE32(0xffff);
}

static inline void dsn_map_v4(uint8_t address[16], const uint8_t four[4]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(address, mapped, 12);
    memcpy(address + 12, four, 4);
}

/* fe80::/10 (RFC 4291 2.5.6), 169.254/16 (RFC 3927) */
static inline bool dsn_is_link_local(const uint8_t address[16]) {
    return (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) ||
           (address[12] == 169 && address[13] == 254 && dsn_is_v4(address));
}

/* One's complement sum of 16-bit words in network order, not folded (RFC 1071). */
static inline uint64_t dsn_sum(const uint8_t *bytes, uint32_t length, uint64_t sum) {
    for (; length >= 2; bytes += 2, length -= 2)
        sum += dsn_be16(bytes);
    return length ? sum + ((uint64_t)bytes[0] << 8) : sum;
}

static inline uint16_t dsn_sum_fold(uint64_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Sum of the pseudo header of a transport checksum (RFC 9293 3.1, RFC 8200 8.1); addresses mapped for IPv4. */
static inline uint64_t dsn_sum_pseudo(const uint8_t source[16], const uint8_t destination[16], uint8_t protocol,
                                      uint32_t length) {
    unsigned skip = dsn_is_v4(source) ? 12 : 0;
    uint64_t sum = dsn_sum(source + skip, 16 - skip, 0);
    return dsn_sum(destination + skip, 16 - skip, sum) + protocol + (length >> 16) + (length & 0xffff);
}

#endif
