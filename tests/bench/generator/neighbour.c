#include "neighbour.h"

#include <string.h>

static uint16_t get16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t add_words(uint32_t sum, const uint8_t *at, size_t size) {
    for (size_t i = 0; i < size; i += 2)
        sum += get16(at + i);
    return sum;
}

/* RFC 826: the asked address is answered with our MAC, whatever address it is; announcements are not questions. */
static enum other look_arp(const uint8_t *frame, size_t size, size_t l3, const uint8_t mac[6], uint8_t *answer,
                           size_t *answer_size) {
    const uint8_t *arp = frame + l3;
    if (size < l3 + 28)
        return OTHER_WRONG;
    if (get16(arp + 6) != 1 || memcmp(arp + 14, arp + 24, 4) == 0)
        return OTHER_CONTROL;
    memset(answer, 0, ANSWER_SIZE);
    memcpy(answer, frame, l3 + 8);
    memcpy(answer, frame + 6, 6);
    memcpy(answer + 6, mac, 6);
    uint8_t *reply = answer + l3;
    put16(reply + 6, 2);
    memcpy(reply + 8, mac, 6);
    memcpy(reply + 14, arp + 24, 4);
    memcpy(reply + 18, arp + 8, 10);
    *answer_size = 60 > l3 + 28 ? 60 : l3 + 28;
    return OTHER_QUESTION;
}

/* RFC 4861 4.3, 4.4. */
static enum other look_solicitation(const uint8_t *frame, size_t size, size_t l3, const uint8_t mac[6], uint8_t *answer,
                                    size_t *answer_size) {
    static const uint8_t unspecified[16];
    const uint8_t *ip = frame + l3, *icmp = ip + 40;
    if (size < l3 + 64)
        return OTHER_WRONG;
    if (memcmp(ip + 8, unspecified, 16) == 0)
        return OTHER_CONTROL; /* duplicate address detection */
    memset(answer, 0, ANSWER_SIZE);
    memcpy(answer, frame, l3 + 40);
    memcpy(answer, frame + 6, 6);
    memcpy(answer + 6, mac, 6);
    uint8_t *ip_out = answer + l3, *icmp_out = ip_out + 40;
    put16(ip_out + 4, 32);
    ip_out[7] = 255;
    memcpy(ip_out + 8, icmp + 8, 16);
    memcpy(ip_out + 24, ip + 8, 16);
    icmp_out[0] = 136;
    icmp_out[4] = 0x60; /* solicited, override */
    memcpy(icmp_out + 8, icmp + 8, 16);
    icmp_out[24] = 2;
    icmp_out[25] = 1;
    memcpy(icmp_out + 26, mac, 6);
    uint32_t sum = add_words(add_words(32 + 58, ip_out + 8, 32), icmp_out, 32);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(icmp_out + 2, ~sum & 0xffff);
    *answer_size = l3 + 72;
    return OTHER_QUESTION;
}

enum other neighbour_look(const uint8_t *frame, size_t size, const uint8_t mac[6], uint8_t answer[ANSWER_SIZE],
                          size_t *answer_size) {
    size_t l3 = 14;
    if (size < l3 + 4)
        return OTHER_WRONG;
    uint16_t type = get16(frame + 12);
    if (type == 0x8100) {
        l3 = 18;
        type = get16(frame + 16);
    }
    if (type == 0x0806)
        return look_arp(frame, size, l3, mac, answer, answer_size);
    if (type == 0x0800 && size >= l3 + 20)
        return frame[l3 + 9] == 1 ? OTHER_ICMP : OTHER_WRONG;
    if (type != 0x86dd || size < l3 + 48)
        return OTHER_WRONG;
    if (frame[l3 + 6] == 0)
        return OTHER_CONTROL; /* a hop-by-hop header: a multicast listener report */
    if (frame[l3 + 6] != 58)
        return OTHER_WRONG;
    if (frame[l3 + 40] == 135)
        return look_solicitation(frame, size, l3, mac, answer, answer_size);
    return frame[l3 + 40] >= 130 ? OTHER_CONTROL : OTHER_ICMP;
}
