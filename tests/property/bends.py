"""Ways to bend a good frame, each a function of two numbers: truncation, lies, odd headers, odd addresses."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.property import frames
from tests.property.frames import SYN, Ip
from tests.property.talk import Conversation, wrap
from tests.property.universe import ENDS, GATEWAY_MAC, LOCAL, End


@dataclass(frozen=True)
class Straight:
    """A good frame and what it is made of; `at` is where its IP header begins."""

    talk: Conversation
    source: End
    destination: End
    ip: Ip
    protocol: int
    payload: bytes

    @property
    def at(self) -> int:
        return 18 if self.source.vlan else 14

    def frame(self, ip: Ip | None = None, protocol: int | None = None, payload: bytes | None = None) -> bytearray:
        return bytearray(
            wrap(
                self.source,
                self.destination,
                ip or self.ip,
                self.protocol if protocol is None else protocol,
                self.payload if payload is None else payload,
            )
        )

    def to_card(self, protocol: int, payload: bytes, ip: Ip) -> bytes:
        """To the card itself, whatever the address."""
        kind = 0x86DD if ip.v6 else 0x0800
        mac = GATEWAY_MAC[self.source.subnet]
        return frames.ethernet(mac, self.source.mac, kind, ip.wrap(protocol, payload), self.source.vlan)

    @property
    def icmp(self) -> int:
        return frames.ICMP6 if self.ip.v6 else frames.ICMP

    def local(self) -> Ip:
        """Its IP packet, sent to an address of the card."""
        subnet = self.source.subnet if self.source.subnet in LOCAL else 1
        return replace(self.ip, destination=LOCAL[subnet][int(self.ip.v6)])


def straight(talk: Conversation) -> Straight:
    source, destination = talk.ends(False)
    ip = talk.ip(False)
    protocol, payload = talk.l4(ip, False, SYN, 4)
    return Straight(talk, source, destination, ip, protocol, payload)


def cut(good: Straight, where: int, _value: int) -> bytes:
    frame = good.frame()
    return bytes(frame[: where % (len(frame) + 1)])


def change_byte(good: Straight, where: int, value: int) -> bytes:
    frame = good.frame()
    frame[where % len(frame)] = value & 0xFF
    return bytes(frame)


def flip_bit(good: Straight, where: int, value: int) -> bytes:
    frame = good.frame()
    frame[(good.at + where % 40) % len(frame)] ^= 1 << value % 8
    return bytes(frame)


def version(good: Straight, _where: int, value: int) -> bytes:
    frame = good.frame()
    frame[good.at] = value % 16 << 4 | frame[good.at] & 15
    return bytes(frame)


def destination_mac(good: Straight, where: int, value: int) -> bytes:
    odd = (
        b"\xff" * 6,
        frames.mac("01:00:5e:00:00:01"),
        frames.mac("33:33:00:00:00:01"),
        frames.mac(ENDS[value % 8].mac),
        frames.mac(GATEWAY_MAC[value % 5 + 1]),
    )
    return odd[where % 5] + bytes(good.frame()[6:])


def source_mac(good: Straight, where: int, value: int) -> bytes:
    frame = good.frame()
    frame[6:12] = (bytes(6), b"\x01" + bytes(5), frames.mac(ENDS[value % 8].mac))[where % 3]
    return bytes(frame)


def tag(good: Straight, where: int, value: int) -> bytes:
    frame = good.frame()
    frame[12:12] = struct.pack("!HH", (0x8100, 0x88A8, 0x9100)[where % 3], (0, 5, 6, 7, 4095)[value % 5])
    return bytes(frame)


def ethertype(good: Straight, where: int, _value: int) -> bytes:
    frame = good.frame()
    kinds = (0x0800, 0x86DD, 0x0806, 0x05DC, 0x88CC, 0x0100)
    frame[good.at - 2 : good.at] = struct.pack("!H", kinds[where % 6])
    return bytes(frame)


def pad(good: Straight, _where: int, value: int) -> bytes:
    return bytes(good.frame()) + bytes(value % 64)


def link_control(good: Straight, where: int, value: int) -> bytes:
    frame = good.frame()
    frame[:6] = frames.mac("01:80:c2:00:00:00")
    frame[5] = value % 20
    kinds = (0x0800, 0x86DD, 0x8808, 0x88CC, 0x8809, 38)
    frame[good.at - 2 : good.at] = struct.pack("!H", kinds[where % 6])
    return bytes(frame)


def group(good: Straight, where: int, value: int) -> bytes:
    """A group in the IP header, the Ethernet header, or both."""
    groups = (("01:00:5e:00:00:fb", "224.0.0.251"), ("33:33:00:00:00:fb", "ff02::fb"))
    mac, address = groups[int(good.ip.v6)]
    frame = good.frame(replace(good.ip, destination=address) if where % 4 else None)
    if where % 4 != 1:
        frame[:6] = frames.mac(mac if value % 4 else "ff:ff:ff:ff:ff:ff")
    return bytes(frame)


OPTION_KINDS = (
    0,
    1,
    7,
    68,
    130,
    131,
    133,
    134,
    136,
    137,
    142,
    145,
    147,
    148,
    149,
    151,
    152,
    11,
    12,
    82,
    25,
    30,
    222,
    255,
)


def ipv4_options(good: Straight, where: int, value: int) -> bytes:
    kind = OPTION_KINDS[where % len(OPTION_KINDS)]
    size = value % 9
    option = bytes(value % 3) + bytes((kind, size)) + bytes(max(0, size - 2))
    if value % 5 == 0:
        option = b"\1" * (value % 4) + option
    return bytes(good.frame(replace(good.ip, options=option[:40])))


OPTION6_KINDS = (0, 1, 4, 5, 0x1E, 0x63, 0xC2, 0xC9, 0xDE, 0x05)


def ipv6_options(good: Straight, where: int, value: int) -> bytes:
    """Hop-by-hop or destination options, at times behind an atomic fragment header."""
    six = replace(good.talk, v6=True)
    size = value % 16
    data = bytes((OPTION6_KINDS[where % 10], size)) + bytes(value // 16 % 18)
    data = b"\1\0" * (where % 3) + data
    data = bytes(((len(data) + 9) // 8 - 1,)) + data + bytes(-(len(data) + 2) % 8)
    chain = ((0, data),) if value % 3 == 0 else ((60, data),) if value % 3 == 1 else ((44, bytes(7)), (60, data))
    ip = replace(six.ip(False), extensions=chain)
    return bytes(good.frame(ip, *six.l4(ip, False, SYN, 4)))


def routing_header(good: Straight, where: int, value: int) -> bytes:
    six = replace(good.talk, v6=True)
    ip = replace(
        six.ip(False), extensions=((43, bytes((2, (0, 1, 2, 3, 4, 5, 253)[where % 7], value % 2)) + bytes(20)),)
    )
    return bytes(good.frame(ip, *six.l4(ip, False, SYN, 4)))


def flags(good: Straight, where: int, value: int) -> bytes:
    """IPv4: any of the three flags, with a fragment's place or without."""
    talk = replace(good.talk, v6=False)
    ip = replace(talk.ip(False), identification=value & 0xFF)
    frame = good.frame(ip, *talk.l4(ip, False, SYN, 4))
    at = good.at
    frame[at + 6 : at + 8] = struct.pack("!H", where % 8 << 13 | (0, 0, 1, 2, 3)[value % 5])
    frame[at + 10 : at + 12] = bytes(2)
    frame[at + 10 : at + 12] = struct.pack("!H", frames.checksum(bytes(frame[at : at + 20])))
    return bytes(frame)


def extension_headers(good: Straight, where: int, _value: int) -> bytes:
    chains = (
        ((0, bytes(7)),),
        ((60, bytes(7)),),
        ((43, b"\0\0\0" + bytes(4)),),
        ((43, b"\0\2\0" + bytes(4)),),
        ((60, bytes(7)), (0, bytes(7))),
        ((60, bytes(7)),) * 9,
        ((0, b"\x1f" + bytes(254)),),
        ((51, b"\x01" + bytes(10)),),
        ((44, bytes(7)),),
        ((60, b"\xff" + bytes(6)),),
        ((60, b"\x0f" + bytes(126)), (60, b"\x0f" + bytes(126))),
        ((59, bytes(7)),),
        ((44, b"\0\0\1" + bytes(4)), (60, b"\x01" + bytes(6))),
        ((44, b"\0\0\1" + bytes(4)), (44, b"\0\0\1" + bytes(4))),
    )
    six = replace(good.talk, v6=True)
    ip = replace(six.ip(False), extensions=chains[where % 14])
    protocol, payload = six.l4(ip, False, SYN, 4)
    return bytes(good.frame(ip, protocol, payload[:4] if where % 14 == 12 else payload))


def odd_address(good: Straight, where: int, value: int) -> bytes:
    odd = ("0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255", "240.0.0.1", "::", "::1", "ff02::1",
           "::ffff:1.2.3.4", "fe80::1", "10.1.0.99", "2001:db8:1::99", "169.254.0.9")[where % 13]  # fmt: skip
    talk = replace(good.talk, v6=":" in odd)
    ip = replace(talk.ip(False), source=odd) if value % 2 == 0 else replace(talk.ip(False), destination=odd)
    return bytes(good.frame(ip, *talk.l4(ip, False, SYN, 4)))


def icmp_type(good: Straight, where: int, value: int) -> bytes:
    kinds = (1, 2, 3, 4, 100, 130, 137, 129, 133) if good.ip.v6 else (3, 4, 5, 9, 10, 11, 12, 13, 0)
    body = frames.icmp(good.ip, kinds[where % 9], 0, bytes(4), bytes(value % 48))
    return bytes(good.frame(protocol=good.icmp, payload=body))


def ping_card(good: Straight, where: int, value: int) -> bytes:
    ip = good.local()
    body = frames.icmp(ip, 128 if ip.v6 else 8, 0, struct.pack("!HH", value & 0xFFFF, 7), bytes(where % 600))
    if value % 5 == 0:
        body = body[:2] + b"\x12\x34" + body[4:]
    return good.to_card(good.icmp, body, ip)


def ping_card_in_fragments(good: Straight, _where: int, value: int) -> bytes:
    ip = replace(good.local(), more=True)
    body = frames.icmp(ip, 128 if ip.v6 else 8, 0, struct.pack("!HH", value & 0xFFFF, 7), bytes(64))
    return good.to_card(good.icmp, body, ip)


def speak_to_card(good: Straight, _where: int, _value: int) -> bytes:
    ip = good.local()
    return good.to_card(*good.talk.l4(ip, False, SYN, 4), ip)


def cut_transport(good: Straight, where: int, value: int) -> bytes:
    number = (frames.TCP, frames.UDP, frames.ICMP, frames.ICMP6)[where % 4]
    return bytes(good.frame(protocol=number, payload=good.payload[: value % 24]))


def data_offset(good: Straight, _where: int, value: int) -> bytes:
    body = bytearray(good.payload + bytes(16))
    body[12] = value % 16 << 4
    return bytes(good.frame(protocol=frames.TCP, payload=bytes(body)))


def udp_length(good: Straight, where: int, value: int) -> bytes:
    body = struct.pack("!HHHH", 1, where % 2, value % 64, 0) + bytes(8)
    return bytes(good.frame(protocol=frames.UDP, payload=body))


def lying_length(good: Straight, where: int, value: int) -> bytes:
    frame = good.frame()
    at = good.at
    frame[at + 2 : at + 6] = struct.pack("!HH", where % 80, value % 80)
    if not good.ip.v6:
        frame[at + 10 : at + 12] = bytes(2)
        frame[at + 10 : at + 12] = struct.pack("!H", frames.checksum(bytes(frame[at : at + 20])))
    return bytes(frame)


def noise(_good: Straight, where: int, value: int) -> bytes:
    return bytes([value & 0xFF]) * (where % 70)


Bend = Callable[[Straight, int, int], bytes]

BENDS: tuple[Bend, ...] = (
    cut, change_byte, flip_bit, version, destination_mac, destination_mac, source_mac, tag, ethertype, ethertype, pad,
    link_control, group, group, flags, ipv4_options, ipv4_options, ipv4_options, ipv4_options, ipv6_options,
    ipv6_options, routing_header, extension_headers, extension_headers, odd_address, icmp_type, ping_card, ping_card,
    ping_card, ping_card_in_fragments, speak_to_card, speak_to_card, cut_transport, data_offset, udp_length,
    lying_length, lying_length, noise,
)  # fmt: skip
"""Those whose reasons are rare have more than one place."""
