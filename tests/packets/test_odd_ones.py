"""*Odd ones* of docs/forwarding.md: each line of its table, met by packets of that kind."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hal.packet.contract import Verdict
from tests.packets.card import Card, Sent
from tests.packets.world import GATEWAY_MACS, HOSTS, SHOP
from tests.property import frames
from tests.property.frames import Ip
from tests.tools.provoked import PROVOKED
from tests.tools.tree import ROOT

CLIENT, WEB, DB = (HOSTS[name] for name in ("client", "web", "db"))
ROUTER = GATEWAY_MACS[SHOP]
FOUR = Ip("10.1.0.20", "10.2.0.5", identification=7)
SIX = Ip("2001:db8:1::14", "2001:db8:2::5", identification=7)
UDP4, UDP6 = (frames.udp(ip, 4000, 53, b"payload!") for ip in (FOUR, SIX))
PADS = {size: bytes((1, size - 2)) + bytes(size - 2) for size in range(2, 64)}
"""PadN options (RFC 8200 4.2)."""


ALERT = bytes((148, 4, 0, 0))
"""IPv4's router alert (RFC 2113)."""
QUERY, REPORT = b"\x11\x64\xee\x9b\0\0\0\0", b"\x22\0\xdd\xff\0\0\0\0"
"""IGMP: a general query of version 2, and a report of version 3 without groups."""


def eth(packet: bytes, destination: str = ROUTER, kind: int | None = None, tag: bytes = b"") -> bytes:
    """A frame of client's."""
    kind = kind if kind is not None else 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return frames.mac(destination) + frames.mac(CLIENT.mac) + tag + struct.pack("!H", kind) + packet


def v4(options: bytes = b"", protocol: int = frames.UDP, payload: bytes = UDP4, ttl: int = 64, flags: int = 0) -> bytes:
    """The packet of a frame to db. `flags`: byte 6."""
    packet = bytearray(replace(FOUR, options=options, ttl=ttl, dont_fragment=False).wrap(protocol, payload))
    packet[6] |= flags
    return resummed(bytes(packet))


def resummed(packet: bytes) -> bytes:
    size = (packet[0] & 15) * 4
    head = packet[:10] + bytes(2) + packet[12:size]
    return head[:10] + struct.pack("!H", frames.checksum(head)) + head[12:] + packet[size:]


def v6(*extensions: tuple[int, bytes], protocol: int = frames.UDP, payload: bytes = UDP6) -> bytes:
    """The same of IPv6: extension headers as (number, what follows its next header field)."""
    return replace(SIX, extensions=extensions).wrap(protocol, payload)


def options(data: bytes) -> bytes:
    """Behind the next header field: a length, and these options, padded."""
    return bytes(((len(data) + 2 + 7) // 8 - 1,)) + data + bytes(-(len(data) + 2) % 8)


def routing(kind: int, left: int = 0) -> bytes:
    """A routing header with one address."""
    return bytes((2, kind, left)) + bytes(4) + frames.packed("2001:db8:2::28")


def piece(begin: int, end: int, more: bool, protocol: int = frames.UDP) -> bytes:
    """Of a datagram to db, as IPv4."""
    return eth(replace(FOUR, offset=begin, more=more).wrap(protocol, WHOLE[begin:end]))


def piece6(begin: int, end: int, more: bool) -> bytes:
    return eth(replace(SIX, offset=begin, more=more).wrap(frames.UDP, WHOLE[begin:end]))


WHOLE = frames.udp(FOUR, 4000, 53, bytes(192))
TCP_SYN = frames.tcp(FOUR, 4000, 80, frames.SYN)
ATOMIC = eth(v6((44, b"\0\0\0" + struct.pack("!I", 7))))
OBSOLETE = (11, 12, 82, 136, 142, 145, 147, 149, 151, 152)

Story = Sequence[bytes]
"""Frames of client's: the last one is what the line is about, those before it pass."""

CASES: dict[str, list[Story]] = {
    "a runt below 14 bytes": [[eth(v4())[:size]] for size in (0, 1, 13)],
    "padding behind the packet": [[eth(v4()) + bytes(18)], [eth(v4()) + b"secret" * 200], [eth(v6()) + b"\xff"]],
    "LLC, SNAP": [
        [eth(b"\x42\x42\x03" + bytes(40), kind=43)],
        [eth(b"\xaa\xaa\x03\0\0\0\x08\0" + v4(), kind=8 + len(v4()))],
    ],
    "a tag in a tag (802.1ad, QinQ)": [
        [eth(v4(), tag=struct.pack("!HHHH", 0x8100, 7, 0x8100, 7))],
        [eth(v4(), tag=struct.pack("!HHHH", 0x88A8, 7, 0x8100, 7))],
        [eth(v4(), tag=struct.pack("!HH", 0x88A8, 0))],
        [eth(v4(), tag=struct.pack("!HH", 0x9100, 0))],
    ],
    "a priority tag (VLAN ID 0)": [[eth(v4(), tag=struct.pack("!HH", 0x8100, 0xE000))]],
    "VLAN ID 4095": [[eth(v4(), tag=struct.pack("!HH", 0x8100, 4095))]],
    "PAUSE and PFC": [[eth(struct.pack("!H", op) + bytes(44), "01:80:c2:00:00:01", 0x8808)] for op in (1, 0x0101)],
    "LLDP, LACP, STP, 802.1X": [
        [eth(bytes(46), "01:80:c2:00:00:0e", 0x88CC)],
        [eth(bytes(46), "01:80:c2:00:00:02", 0x8809)],
        [eth(b"\x42\x42\x03" + bytes(43), "01:80:c2:00:00:00", 38)],
        [eth(bytes(46), "01:80:c2:00:00:03", 0x888E)],
        [eth(v4(), "01:80:c2:00:00:0f")],
    ],
    "MPLS, PPPoE, any other EtherType": [
        [eth(bytes(4) + v4(), kind=kind)] for kind in (0x8847, 0x8848, 0x8863, 0x8864, 0x88CC, 0x88F7, 0x0600, 0xFFFF)
    ],
    "a broadcast that is not ARP": [
        [eth(v4(), "ff:ff:ff:ff:ff:ff")],
        [eth(replace(FOUR, destination="255.255.255.255").wrap(frames.UDP, UDP4), "ff:ff:ff:ff:ff:ff")],
    ],
    "multicast but neighbour discovery": [
        [eth(replace(FOUR, destination="224.0.0.251").wrap(frames.UDP, UDP4), "01:00:5e:00:00:fb")],
        [eth(replace(SIX, destination="ff02::fb").wrap(frames.UDP, UDP6), "33:33:00:00:00:fb")],
    ],
    "a unicast address to a group MAC": [
        [eth(v4(), "01:00:5e:02:00:05")],
        [eth(v6(), "33:33:00:00:00:05")],
        [eth(v4(), "03:00:00:00:00:01")],
    ],
    "a multicast address to a unicast MAC": [
        [eth(replace(FOUR, destination="224.0.0.251").wrap(frames.UDP, UDP4))],
        [eth(replace(SIX, destination="ff02::fb").wrap(frames.UDP, UDP6))],
    ],
    "IPv4: TTL 0, routed": [[eth(v4(ttl=0))], [eth(v4(ttl=1))]],
    "IPv4: TTL 0, bridged": [[eth(replace(FOUR, destination="10.1.0.10", ttl=0).wrap(frames.UDP, UDP4), WEB.mac)]],
    "IPv4: the reserved flag": [[eth(v4(flags=0x80))], [eth(v4(flags=0xC0))]],
    "IPv4: DF and more fragments": [
        [eth(v4(flags=0x60, payload=WHOLE[:80]))],
        [eth(v4(flags=0x60, payload=WHOLE[:80])), piece(80, 200, False)],
    ],
    "IPv4: no option, end of options, padding behind it": [
        [eth(v4(options=data))] for data in (b"\1\1\1\1", b"\0\0\0\0", b"\1\0\x83\xff", b"\1" * 40)
    ],
    "IPv4: router alert": [[eth(v4(options=b"\x94\4\0\0"))]],
    "IPv4: security labels, quick-start, unknown options": [
        [eth(v4(options=bytes((kind, 4, 0, 0))))] for kind in (130, 133, 134, 25, 30, 94, 158, 222, 2, 255)
    ],
    "IPv4: loose or strict source route": [
        [eth(v4(options=bytes((kind, 7, 4)) + bytes(4) + b"\0"))] for kind in (131, 137)
    ],
    "IPv4: record route, timestamp": [
        [eth(v4(options=b"\7\7\4" + bytes(5)))],
        [eth(v4(options=b"\x44\x08\5\0" + bytes(4)))],
        [eth(v4(options=b"\1\1\1\7\7\4" + bytes(4)))],
    ],
    "IPv4: stream ID, MTU probe and reply, traceroute, other obsolete options": [
        [eth(v4(options=bytes((kind, 4, 0, 0))))] for kind in OBSOLETE
    ],
    "IPv4: an option's length below 2 or beyond the header": [
        [eth(v4(options=data))] for data in (b"\7\0\0\0", b"\x94\1\0\0", b"\x94\5\0\0", b"\1\1\1\x94", b"\x83\x28\0\0")
    ],
    "IPv4: total length beyond the frame": [[eth(v4())[:-1]], [eth(v4(options=b"\1" * 40)[:40])]],
    "IPv4 protocol 0, 255, IP in IP, IPv6 in IPv4, GRE, ESP, AH, SCTP": [
        [eth(v4(protocol=number, payload=bytes(24)))] for number in (0, 255, 4, 41, 47, 50, 51, 132)
    ],
    "IGMP to a group": [
        [eth(replace(FOUR, destination=group, ttl=1).wrap(2, query), "01:00:5e:00:00:" + last)]
        for group, last, query in (("224.0.0.1", "01", QUERY), ("224.0.0.22", "16", REPORT))
    ],
    "IGMP to a unicast address": [
        [eth(v4(options=ALERT, protocol=2, payload=message, ttl=2))] for message in (QUERY, REPORT)
    ],
    "IGMP to a unicast address, routed with the TTL that it is sent with": [
        [eth(v4(options=ALERT, protocol=2, payload=message, ttl=1))] for message in (QUERY, REPORT)
    ],
    "IPv6: hop-by-hop options first": [
        [eth(v6((0, options(PADS[6])))), eth(v6((0, options(b"")), (60, options(b""))))]
    ],
    "IPv6: hop-by-hop options elsewhere": [
        [eth(v6((60, options(b"")), (0, options(b""))))],
        [eth(v6((0, options(b"")), (0, options(b""))))],
    ],
    "IPv6: router alert": [[eth(v6((0, options(b"\5\2\0\0"))))]],
    "IPv6: options nobody knows": [
        [eth(v6((number, options(bytes((kind, 4)) + bytes(4)))))]
        for number in (0, 60)
        for kind in (0x1E, 0x5E, 0x9E, 0xDE)
    ],
    "IPv6: options that end behind their header": [
        [eth(v6((number, options(data))))]
        for number in (0, 60)
        for data in (b"\1\5" + bytes(4), bytes(5) + b"\1", b"\x1e\xff" + bytes(4))
    ],
    "IPv6: a jumbogram": [[eth((jumbo := v6((0, options(b"\xc2\4\0\1\0\0"))))[:4] + bytes(2) + jumbo[6:])]],
    "IPv6: a jumbo payload option beside a length": [[eth(v6((0, options(b"\xc2\4\0\1\0\0"))))]],
    "IPv6: a home address option": [
        [eth(v6((60, options(PADS[2] + b"\xc9\x10" + frames.packed("2001:db8:1::a")))))],
        [eth(v6((44, b"\0\0\0" + bytes(4)), (60, options(PADS[2] + b"\xc9\x10" + bytes(16)))))],
    ],
    "IPv6: other extension headers in any order and number": [
        [eth(v6((60, options(b"")), (43, routing(4)), (60, options(PADS[14])), (51, b"\1" + bytes(10))))],
        [eth(v6((51, b"\0" + bytes(6)), (60, options(b"")), (60, options(b"")), (60, options(b""))))],
        [eth(v6(*[(60, options(b""))] * 8))],
    ],
    "IPv6: a ninth extension header, or more than 256 bytes of them": [
        [eth(v6(*[(60, options(b""))] * 9))],
        [eth(v6(*[(60, options(PADS[62]))] * 4, (60, options(b""))))],
    ],
    "IPv6: two fragment headers": [[eth(v6((44, b"\0\0\0" + bytes(4)), (44, b"\0\0\0" + bytes(4))))]],
    "IPv6: routing headers of type 0, 1, 3": [
        [eth(v6((43, routing(kind, left))))] for kind in (0, 1, 3) for left in (0, 1)
    ],
    "IPv6: routing headers of type 2, 4 and any other": [
        [eth(v6((43, routing(kind, left))))] for kind in (2, 4, 5, 253, 255) for left in (0, 1)
    ],
    "IPv6: AH": [[eth(v6((51, b"\4" + bytes(22))))]],
    "IPv6: ESP, mobility, HIP, shim6, no next header, unknown next headers": [
        [eth(v6(protocol=number, payload=bytes(24)))] for number in (50, 135, 139, 140, 59, 143, 252, 253, 255)
    ],
    "fragments: the first, later ones in any order behind it": [
        [make(0, 80, True), make(160, 200, False), make(80, 160, True)] for make in (piece, piece6)
    ],
    "fragments: a later one before its first": [[make(80, 200, False)] for make in (piece, piece6)],
    "fragments: an atomic one, also while a datagram has its identification": [[ATOMIC], [piece6(0, 80, True), ATOMIC]],
    "fragments: a first one without all headers": [
        [eth(replace(FOUR, more=True).wrap(frames.TCP, TCP_SYN[:16]))],
        [eth(replace(SIX, more=True).wrap(60, b"\x11\1" + bytes(6)))],
    ],
    "fragments: a later one inside the TCP header": [
        [eth(replace(FOUR, offset=8).wrap(frames.TCP, bytes(12)))],
        [eth(replace(FOUR, more=True).wrap(frames.TCP, TCP_SYN + bytes(4))), piece(16, 32, True, frames.TCP)],
    ],
    "fragments: an exact duplicate": [
        [make(0, 80, True), make(80, 160, True), make(begin, begin + 80, True)]
        for make in (piece, piece6)
        for begin in (0, 80)
    ],
    "fragments: an overlap, and all behind it": [
        [make(0, 80, True), make(begin, 88, True)] for make in (piece, piece6) for begin in (0, 72)
    ],
    "fragments: empty, not on eight, past 65,535, a second end": [
        [piece(0, 80, True), piece(80, 80, False)],
        [piece(0, 80, True), piece(80, 87, True)],
        [piece6(0, 80, True), eth(replace(SIX, offset=65528).wrap(frames.UDP, bytes(8)))],
        [piece(0, 80, True), piece(160, 168, False), piece(168, 200, False)],
    ],
}


def policies(section: str = "Odd ones", page: str = "forwarding") -> dict[str, str]:
    """The lines of a section's table: what, and the policy."""
    text = (ROOT / "docs" / f"{page}.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    return {cells[0]: cells[1].strip("`") for cells in lines}


def as_forwarded(frame: bytes) -> bytes:
    """What must arrive of it: its IP packet with nothing behind, and one hop older where it was routed."""
    packet = frame[18:] if frame[12:14] == b"\x81\0" else frame[14:]
    six = packet[0] >> 4 == 6
    packet = packet[: 40 + int.from_bytes(packet[4:6], "big") if six else int.from_bytes(packet[2:4], "big")]
    if frame[:6] != frames.mac(ROUTER):
        return frames.mac(WEB.mac) + frame[6:14] + packet
    place = 7 if six else 8
    packet = packet[:place] + bytes((packet[place] - 1,)) + packet[place + 1 :]
    head = frames.mac(DB.mac) + frames.mac(GATEWAY_MACS[DB.subnet]) + struct.pack("!HH", 0x8100, DB.vlan)
    return head + (b"\x86\xdd" + packet if six else b"\x08\0" + resummed(packet))


def passes(sent: Sent) -> None:
    assert sent.result.verdict == Verdict.FORWARD, sent.result
    (output,) = sent.outputs()
    assert output.data == as_forwarded(sent.data)
    assert output.port == (DB.port if sent.data[:6] == frames.mac(ROUTER) else WEB.port)


def test_each_line_has_its_packets() -> None:
    assert policies().keys() == CASES.keys()


@pytest.mark.parametrize("what", CASES)
def test_policy(card: Card, what: str) -> None:
    policy = policies()[what]
    for story in CASES[what]:
        fresh = card.anew()
        *before, odd = [fresh.receives(frame, CLIENT) for frame in story]
        for sent in before:
            passes(sent)
        if policy == "passes":
            passes(odd)
            continue
        assert (odd.result.verdict, odd.result.reason) == (Verdict.DROP, policy), odd.data.hex()
        assert fresh.shard.counters().drops[policy] == 1
        PROVOKED.add(policy)
        told = policy == "ttl_exceeded"
        assert len(odd.outputs()) == int(told)
