"""Packets that the card makes, byte by byte, and the few bytes it changes in those that pass."""

from __future__ import annotations

from hal.packet.model.parse import (
    ACK,
    ARP_TYPE,
    BROADCAST,
    ECHO_REPLY,
    FIN,
    IPV4_TYPE,
    IPV6_TYPE,
    RST,
    SYN,
    VLAN_TYPE,
    ZERO_MAC,
    Ask,
    Packet,
    checksum,
    word,
)
from hal.packet.model.stage import ICMP, ICMP6, TCP
from hal.packet.schema.rows import MAPPED

TTL = 64
ND_HOP_LIMIT = 255
IPV4_ERROR_BYTES = 576
IPV6_ERROR_BYTES = 1280
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
ROUTER, SOLICITED, OVERRIDE = 0x80, 0x40, 0x20
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_NODES_MAC = bytes.fromhex("333300000001")


def pack(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def ethernet(destination: bytes, source: bytes, vlan: int, ethertype: int, payload: bytes) -> bytes:
    """A frame; VLAN 0 is untagged. Nothing is padded."""
    tag = pack(VLAN_TYPE, 2) + pack(vlan, 2) if vlan else b""
    return destination + source + tag + pack(ethertype, 2) + payload


def ethertype_of(ip: bytes) -> int:
    return IPV4_TYPE if ip[0] >> 4 == 4 else IPV6_TYPE


def make_ip(source: bytes, destination: bytes, protocol: int, payload: bytes, ttl: int = TTL) -> bytes:
    """An IP packet between two addresses of one family: TOS or class 0, id 0 and DF, no options."""
    if not source.startswith(MAPPED):
        return b"\x60\0\0\0" + pack(len(payload), 2) + bytes([protocol, ttl]) + source + destination + payload
    header = b"\x45\0" + pack(20 + len(payload), 2) + b"\0\0\x40\0" + bytes([ttl, protocol])
    ends = source[12:] + destination[12:]
    return header + pack(checksum(header + ends), 2) + ends + payload


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What a transport checksum covers besides the transport (RFC 9293 3.1, RFC 8200 8.1)."""
    if source.startswith(MAPPED):
        return source[12:] + destination[12:] + b"\0" + pack(protocol, 1) + pack(length, 2)
    return source + destination + pack(length, 4) + b"\0\0\0" + pack(protocol, 1)


def with_checksum(source: bytes, destination: bytes, protocol: int, payload: bytes, place: int) -> bytes:
    """The payload with its checksum (zero so far) put in. ICMP for IPv4 covers no pseudo header."""
    cover = b"" if protocol == ICMP else pseudo_header(source, destination, protocol, len(payload))
    return payload[:place] + pack(checksum(cover + payload), 2) + payload[place + 2 :]


def checksum_is_right(packet: Packet) -> bool:
    """Of an ICMP message."""
    cover = b""
    if packet.protocol != ICMP:
        cover = pseudo_header(packet.source, packet.destination, packet.protocol, len(packet.payload))
    return checksum(cover + packet.payload) == 0


def decrement_ttl(ip: bytes) -> bytes:
    """TTL or hop limit less one, the IPv4 checksum by RFC 1624 (eqn. 3)."""
    if ip[0] >> 4 == 6:
        return ip[:7] + bytes([ip[7] - 1]) + ip[8:]
    old, new = word(ip, 8), word(ip, 8) - 0x100
    total = (word(ip, 10) ^ 0xFFFF) + (old ^ 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ip[:8] + pack(new, 2) + pack(total ^ 0xFFFF, 2) + ip[12:]


def echo_reply(packet: Packet) -> bytes:
    """To an echo request: same identifier, sequence and data."""
    message = bytes([ECHO_REPLY[packet.protocol], 0, 0, 0]) + packet.payload[4:]
    source, destination = packet.destination, packet.source
    message = with_checksum(source, destination, packet.protocol, message, 2)
    return make_ip(source, destination, packet.protocol, message)


def icmp_error(packet: Packet, source: bytes, kind: int, code: int, value: int = 0) -> bytes:
    """About a packet, quoting it as it came (RFC 1812 4.3.2.3, RFC 4443 2.4). `value`: an MTU."""
    protocol, header, limit = (ICMP, 20, IPV4_ERROR_BYTES) if packet.version == 4 else (ICMP6, 40, IPV6_ERROR_BYTES)
    message = bytes([kind, code, 0, 0]) + pack(value, 4) + packet.ip[: limit - header - 8]
    message = with_checksum(source, packet.source, protocol, message, 2)
    return make_ip(source, packet.source, protocol, message)


def reset(packet: Packet) -> bytes:
    """The RST that answers a TCP segment (RFC 9293 3.10.7.1)."""
    segment = packet.payload
    if packet.flags & ACK:
        sequence, acknowledgement, flags = word(segment, 8, 4), 0, RST
    else:
        length = len(segment) - (segment[12] >> 4) * 4 + bool(packet.flags & SYN) + bool(packet.flags & FIN)
        sequence, acknowledgement, flags = 0, (word(segment, 4, 4) + length) & 0xFFFFFFFF, RST | ACK
    answer = segment[2:4] + segment[0:2] + pack(sequence, 4) + pack(acknowledgement, 4)
    answer += bytes([5 << 4, flags]) + bytes(6)
    answer = with_checksum(packet.destination, packet.source, TCP, answer, 16)
    return make_ip(packet.destination, packet.source, TCP, answer)


def challenge(packet: Packet, ask: Ask) -> bytes:
    """The ACK that asks a TCP segment's sender whether it was meant (RFC 5961 3.2, 4.2), in the receiver's name."""
    segment = packet.payload
    answer = segment[2:4] + segment[0:2] + pack(ask.sequence, 4) + pack(ask.acknowledgement, 4)
    answer += bytes([5 << 4, ACK]) + pack(ask.window, 2) + bytes(4)
    answer = with_checksum(packet.destination, packet.source, TCP, answer, 16)
    return make_ip(packet.destination, packet.source, TCP, answer)


def arp(operation: int, sender_mac: bytes, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    """An ARP message (RFC 826); addresses are 16 bytes, IPv4 mapped."""
    fixed = b"\0\x01\x08\0\x06\x04" + pack(operation, 2)
    return fixed + sender_mac + sender[12:] + target_mac + target[12:]


def arp_request(mac: bytes, sender: bytes, target: bytes, vlan: int) -> bytes:
    return ethernet(BROADCAST, mac, vlan, ARP_TYPE, arp(1, mac, sender, ZERO_MAC, target))


def neighbour_solicitation(mac: bytes, sender: bytes, target: bytes, vlan: int) -> bytes:
    """To the target's solicited-node group (RFC 4861 4.3)."""
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    message = bytes([NEIGHBOUR_SOLICITATION]) + bytes(7) + target + b"\x01\x01" + mac
    message = with_checksum(sender, group, ICMP6, message, 2)
    ip = make_ip(sender, group, ICMP6, message, ND_HOP_LIMIT)
    return ethernet(b"\x33\x33" + group[12:], mac, vlan, IPV6_TYPE, ip)


def neighbour_advertisement(target: bytes, mac: bytes, asker: bytes | None, router: bool) -> bytes:
    """The IP packet that answers a solicitation (RFC 4861 4.4), or tells all nodes: `asker` None (7.2.4, 7.2.6)."""
    flags = OVERRIDE | (SOLICITED if asker else 0) | (ROUTER if router else 0)
    to = asker or ALL_NODES
    message = bytes([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]) + target + b"\x02\x01" + mac
    message = with_checksum(target, to, ICMP6, message, 2)
    return make_ip(target, to, ICMP6, message, ND_HOP_LIMIT)
