"""Frames for property tests, built by hand and fast; nothing here is shared with the twin's or the engine's code."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IHBB", length, 0, 0, protocol)


def ethernet(destination: str, source: str, kind: int, payload: bytes, vlan: int = 0) -> bytes:
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return mac(destination) + mac(source) + tag + struct.pack("!H", kind) + payload


@dataclass(frozen=True)
class Ip:
    """An IP packet to be: fields that tests bend. `offset` in bytes."""

    source: str
    destination: str
    ttl: int = 64
    identification: int = 1
    offset: int = 0
    more: bool = False
    options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """v6: (next header number of this extension, its bytes without the first)."""
    dont_fragment: bool = True

    @property
    def v6(self) -> bool:
        return ":" in self.source

    def wrap(self, protocol: int, payload: bytes) -> bytes:
        if self.v6:
            return self._wrap6(protocol, payload)
        options = self.options + bytes(-len(self.options) % 4)
        flags = (0x4000 if self.dont_fragment and not (self.offset or self.more) else 0) | (0x2000 if self.more else 0)
        head = struct.pack(
            "!BBHHHBBH4s4s",
            0x45 + len(options) // 4,
            0,
            20 + len(options) + len(payload),
            self.identification & 0xFFFF,
            flags | self.offset // 8,
            self.ttl,
            protocol,
            0,
            packed(self.source),
            packed(self.destination),
        )
        head += options
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

    def _wrap6(self, protocol: int, payload: bytes) -> bytes:
        chain = list(self.extensions)
        if self.offset or self.more:
            chain.append((44, struct.pack("!BHI", 0, self.offset & 0xFFF8 | int(self.more), self.identification)))
        numbers = [number for number, _ in chain] + [protocol]
        body = b"".join(bytes([after]) + data for (_, data), after in zip(chain, numbers[1:], strict=True)) + payload
        head = struct.pack("!IHBB", 6 << 28, len(body), numbers[0], self.ttl)
        return head + packed(self.source) + packed(self.destination) + body


def tcp(
    ip: Ip,
    sport: int,
    dport: int,
    flags: int,
    seq: int = 1,
    ack: int = 1,
    data: bytes = b"",
    window: int = 65535,
    options: bytes = b"",
) -> bytes:
    """A segment; `options` are padded with zeros."""
    options += bytes(-len(options) % 4)
    offset = 5 + len(options) // 4 << 4
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, offset, flags, window, 0, 0)
    head += options
    source, destination = packed(ip.source), packed(ip.destination)
    total = checksum(pseudo(source, destination, TCP, len(head) + len(data)) + head + data)
    return head[:16] + struct.pack("!H", total) + head[18:] + data


def udp(ip: Ip, sport: int, dport: int, data: bytes = b"") -> bytes:
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    total = checksum(pseudo(packed(ip.source), packed(ip.destination), UDP, 8 + len(data)) + head + data)
    return head[:6] + struct.pack("!H", total or 0xFFFF) + data


def icmp(ip: Ip, kind: int, code: int, rest: bytes, data: bytes = b"") -> bytes:
    """ICMP or ICMPv6, whichever fits the addresses; `rest` is the four bytes behind the checksum."""
    head = struct.pack("!BBH", kind, code, 0) + rest
    prefix = pseudo(packed(ip.source), packed(ip.destination), ICMP6, len(head) + len(data)) if ip.v6 else b""
    return head[:2] + struct.pack("!H", checksum(prefix + head + data)) + head[4:] + data


def arp(operation: int, sender_mac: str, sender: str, target_mac: str, target: str) -> bytes:
    return (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        + mac(sender_mac)
        + packed(sender)
        + mac(target_mac)
        + packed(target)
    )


def neighbour(ip: Ip, kind: int, target: str, link: str = "", flags: int = 0) -> bytes:
    """NS (135) or NA (136), with its link-layer option where `link` is given."""
    option = struct.pack("!BB", 1 if kind == 135 else 2, 1) + mac(link) if link else b""
    return icmp(ip, kind, 0, struct.pack("!I", flags << 24), packed(target) + option)


def solicited_node(address: str) -> str:
    """RFC 4291 2.7.1."""
    return socket.inet_ntop(socket.AF_INET6, packed("ff02::1:ff00:0")[:13] + packed(address)[13:])


def multicast_mac(address: str) -> str:
    """RFC 2464 7."""
    return "33:33:" + packed(address)[12:].hex(":")
