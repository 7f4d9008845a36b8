"""Frames as bytes, for checks that send some. Short on purpose: the kit needs no packet library."""

from __future__ import annotations

from dataclasses import dataclass

from hal.packet.schema.rows import MAPPED, pack_address, pack_mac

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
ICMP, TCP, UDP, FRAGMENT, ICMP6, DESTINATION_OPTIONS = 1, 6, 17, 44, 58, 60
FIN, SYN, RST, ACK = 1, 2, 4, 16
FLAGS = {"F": FIN, "S": SYN, "R": RST, "A": ACK}


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes(data[place : place + 2].ljust(2, b"\0"), "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(destination: str, source: str, ethertype: int, payload: bytes, vlan: int = 0) -> bytes:
    tag = b"\x81\x00" + vlan.to_bytes(2, "big") if vlan else b""
    return pack_mac(destination) + pack_mac(source) + tag + ethertype.to_bytes(2, "big") + payload


def _address(text: str) -> bytes:
    packed = pack_address(text)
    return packed[12:] if packed.startswith(MAPPED) else packed


def ip(source: str, destination: str, protocol: int, payload: bytes, ttl: int = 64) -> bytes:
    a, b = _address(source), _address(destination)
    if len(a) == 16:
        return b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((protocol, ttl)) + a + b + payload
    head = b"\x45\0" + (20 + len(payload)).to_bytes(2, "big") + b"\0\0\x40\0" + bytes((ttl, protocol))
    return head + checksum(head + b"\0\0" + a + b).to_bytes(2, "big") + a + b + payload


def _with_checksum(source: str, destination: str, protocol: int, segment: bytes, place: int) -> bytes:
    pseudo = _address(source) + _address(destination) + len(segment).to_bytes(4, "big") + protocol.to_bytes(4, "big")
    value = checksum(pseudo + segment)
    return segment[:place] + value.to_bytes(2, "big") + segment[place + 2 :]


def udp(source: str, destination: str, sport: int = 4000, dport: int = 53, data: bytes = b"x", ttl: int = 64) -> bytes:
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big") + b"\0\0"
    return ip(source, destination, UDP, _with_checksum(source, destination, UDP, head + data, 6), ttl)


ISS = 1000
"""Everybody's initial sequence number."""


def tcp(
    source: str, destination: str, sport: int, dport: int, flags: str, seq: int | None = None, ack: int | None = None
) -> bytes:
    """A segment; numbers that are not given are those right behind the handshake, or in it."""
    seq = ISS + ("S" not in flags) if seq is None else seq
    ack = (ISS + 1) * ("A" in flags) if ack is None else ack
    bits = sum(FLAGS[one] for one in flags)
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + seq.to_bytes(4, "big") + ack.to_bytes(4, "big")
    head += bytes((0x50, bits)) + b"\xff\xff\0\0\0\0"
    return ip(source, destination, TCP, _with_checksum(source, destination, TCP, head, 16))


def echo(source: str, destination: str, identifier: int = 7, reply: bool = False, ttl: int = 64) -> bytes:
    """An echo request or its reply, of the addresses' family."""
    kind = (129 if reply else 128) if ":" in source else (0 if reply else 8)
    return icmp(source, destination, kind, 0, identifier.to_bytes(2, "big") + b"\0\x01ping", ttl)


def unreachable(source: str, destination: str, quoted: bytes) -> bytes:
    """An ICMP error that says of a packet that its port was unreachable."""
    return icmp(source, destination, *((1, 4) if ":" in source else (3, 3)), bytes(4) + quoted)


def icmp(source: str, destination: str, kind: int, code: int, rest: bytes, ttl: int = 64) -> bytes:
    """ICMP or ICMPv6, as the addresses say; `rest` is what follows its checksum."""
    six = ":" in source
    message = bytes((kind, code, 0, 0)) + rest
    if six:
        message = _with_checksum(source, destination, ICMP6, message, 2)
    else:
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    return ip(source, destination, ICMP6 if six else ICMP, message, ttl)


def fragment(source: str, destination: str, offset: int, more: bool, data: bytes, following: int = UDP) -> bytes:
    """A fragment of datagram 7: `data` stands `offset` bytes behind its IPv4 or IPv6 fragment header."""
    if ":" in source:
        head = bytes((following, 0)) + (offset | more).to_bytes(2, "big") + (7).to_bytes(4, "big")
        return ip(source, destination, FRAGMENT, head + data)
    whole = ip(source, destination, following, data)
    place = (0x2000 * more | offset // 8).to_bytes(2, "big")
    head = whole[:4] + (7).to_bytes(2, "big") + place + whole[8:10] + b"\0\0" + whole[12:20]
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + data


def arp(operation: int, mac: str, address: str, target_mac: str, target: str) -> bytes:
    head = b"\0\x01\x08\0\x06\x04" + operation.to_bytes(2, "big")
    return head + pack_mac(mac) + _address(address) + pack_mac(target_mac) + _address(target)


def solicitation(source: str, mac: str, target: str) -> bytes:
    """A neighbour solicitation to the target's solicited-node group (RFC 4861 4.3)."""
    group = "ff02::1:ff" + _address(target)[13:14].hex() + ":" + _address(target)[14:].hex()
    message = b"\x87\0\0\0\0\0\0\0" + _address(target) + b"\x01\x01" + pack_mac(mac)
    return ip(source, group, ICMP6, _with_checksum(source, group, ICMP6, message, 2), ttl=255)


@dataclass(frozen=True)
class Seen:
    """What of a frame a check looks at."""

    destination: str
    source: str
    vlan: int
    ethertype: int
    payload: bytes

    @property
    def ttl(self) -> int:
        """TTL or hop limit."""
        return self.payload[8] if self.ethertype == IPV4 else self.payload[7]


def dissect(frame: bytes) -> Seen:
    vlan, at = 0, 12
    if frame[12:14] == b"\x81\x00":
        vlan, at = int.from_bytes(frame[14:16], "big") & 0xFFF, 16
    return Seen(
        frame[:6].hex(":"), frame[6:12].hex(":"), vlan, int.from_bytes(frame[at : at + 2], "big"), frame[at + 2 :]
    )
