"""Inputs to begin with: what ordinary hosts send, and what the property tests bend."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterable, Iterator

from hal.conformance.frames import UDP, arp, udp
from hal.packet.contract import PacketIn
from hal.packet.model.keys import flow_hash, worker_of
from hal.packet.schema.rows import pack_address, pack_mac
from sdk.cli import capture
from tests.fuzz import same
from tests.fuzz.targets import Target
from tests.property.commands import STARTS, WEIGHTED, Kind, Story
from tests.property.games import GAMES
from tests.property.stories import random_story
from tests.property.universe import ENDS, GATEWAY_MAC, LOCAL, PORTS, UPLINK0
from tests.tools.tree import ROOT

STORIES = 400


def frames() -> Iterator[bytes]:
    """Frames of drawn stories, and of other protocols' real traffic as scapy makes it."""
    yield from (packet.data for packet in _packets())
    yield from scapy_frames()


def _packets() -> Iterator[PacketIn]:
    for number in range(STORIES):
        story = Story(STARTS[number % len(STARTS)])
        for first, *rest in random_story(random.Random(number)):
            kind = WEIGHTED[first % len(WEIGHTED)]
            numbers = (rest[0], rest[1], rest[2], rest[3])
            story.reshape(*numbers)
            yield from story.packets(kind, numbers)


def scapy_frames() -> Iterator[bytes]:
    """A third party's idea of packets: options, extension headers, discovery, errors that quote."""
    from scapy.all import (
        AH,
        ARP,
        BOOTP,
        DHCP,
        DNS,
        DNSQR,
        GRE,
        ICMP,
        IP,
        TCP,
        UDP,
        VXLAN,
        Dot1Q,
        Ether,
        ICMPv6DestUnreach,
        ICMPv6EchoReply,
        ICMPv6EchoRequest,
        ICMPv6ND_NA,
        ICMPv6ND_NS,
        ICMPv6ND_RA,
        ICMPv6PacketTooBig,
        IPOption_LSRR,
        IPOption_NOP,
        IPOption_RR,
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrRouting,
    )

    ether = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:01")
    four, six = IP(src="10.1.0.10", dst="203.0.113.9"), IPv6(src="2001:db8:1::a", dst="2001:db8:f::9")
    tcp = TCP(sport=40000, dport=443, flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)])
    query = UDP(sport=5353, dport=53) / DNS(qd=DNSQR(qname="example.com"))
    packets = [
        ether / ARP(op=1, psrc="10.1.0.10", pdst="10.1.0.1"),
        *(ether / ip / tcp for ip in (four, six)),
        *(ether / four / TCP(flags="S", options=[one]) for one in ((3, b"\x0e"), (3, b"\x07\x07"), (34, bytes(8)))),
        *(ether / four / TCP(flags="S", dataofs=6) / one for one in (b"\x02\x09\0\0", b"\x03\0\0\0", b"\1\1\1\3")),
        *(ether / Dot1Q(vlan=5) / ip / query for ip in (four, six)),
        *(ether / ip / UDP(sport=9, dport=4789) / VXLAN(vni=7) / ether / four / ICMP() for ip in (four, six)),
        ether / four / ICMP() / b"ping",
        ether / four / ICMP(type=0) / b"pong",
        ether / four / GRE() / four / UDP(),
        *(ether / four / ICMP(type=kind, code=0) / four / one for kind in (3, 11, 12) for one in (UDP(), tcp, ICMP())),
        ether / IP(src="10.1.0.10", dst="203.0.113.9", options=[IPOption_RR(), IPOption_NOP()]) / UDP(),
        ether / IP(src="10.1.0.10", dst="203.0.113.9", options=[IPOption_LSRR(routers=["192.0.2.1"])]) / UDP(),
        ether / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP() / DHCP(),
        ether / four / AH(nh=17) / UDP(),
        *(ether / six / one / b"ping" for one in (ICMPv6EchoRequest(id=7), ICMPv6EchoReply(id=7))),
        *(ether / six / one for one in (ICMPv6ND_NS(tgt="fe80::1"), ICMPv6ND_NA(tgt="fe80::1"), ICMPv6ND_RA())),
        *(ether / six / ICMPv6DestUnreach() / six / inner for inner in (UDP(), tcp)),
        *(ether / six / ICMPv6PacketTooBig() / six / inner for inner in (UDP(), tcp)),
        ether / six / ICMPv6PacketTooBig() / six / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / tcp,
        ether / six / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / UDP(),
        ether / six / IPv6ExtHdrFragment(m=1, offset=0, id=3) / UDP() / bytes(64),
        ether / six / IPv6ExtHdrFragment(m=0, offset=9, id=3) / bytes(64),
        ether / six / IPv6ExtHdrFragment(m=0, offset=0, id=3) / UDP() / b"atomic",
        ether / six / AH(nh=6, payloadlen=4) / tcp,
    ]  # fmt: skip
    yield from (bytes(packet) for packet in packets)


LOAD, READ, WRITE = 0, 1, 3
"""Clients of engine/control.c."""
RAW, SHAPED, COMMIT, STAGE, UNIVERSE, UNIVERSE_STAGED, REPLAY, TRACE, LOADED = 0, 2, 8, 12, 14, 15, 16, 19, 21
"""Its actions."""
VERBS = (
    *("hello", "start", "stop", "outcome", "make", "unstage", "forget", "snapshot", "flows", "flow", "settle"),
    *("counters", "events", "capabilities", "shard", "shard_close", "commit", "stage", "replay", "trace", "load"),
)


def _act(client: int, action: int, *rest: int) -> bytes:
    return bytes([client + 8 * action, *rest])


def _ask(client: int, verb: str, *patches: tuple[int, int], shard: int = 0) -> bytes:
    """A request whose body is 0 but for some bytes."""
    return _act(client, SHAPED, VERBS.index(verb), len(patches), shard, *(byte for patch in patches for byte in patch))


def _replay(action: int, some: Iterable[PacketIn], stage: int, shard: int) -> bytes:
    places = {port: place for place, port in enumerate((*PORTS[:5], PORTS[5]))}
    packets = list(some)
    parts = [
        struct.pack("<BBH", number % 3 * 16, places[packet.port], len(packet.data)) + packet.data
        for number, packet in enumerate(packets)
    ]
    return _act(READ, action, stage, len(packets), shard, 1) + b"".join(parts) + b"\0"


def conversations() -> Iterator[bytes]:
    """What clients of the control sockets do, in any order, so that most of it means something."""
    source = random.Random(20)
    traffic = [packet for packet in _packets() if len(packet.data) < 400]
    for _ in range(STORIES * 2):
        parts = [bytes([source.choice((1, 2, 3, 3, 3))]), _ask(READ, "shard", (0, 16))]
        for _ in range(source.randint(3, 14)):
            number, some = source.randrange(4), source.randrange(256)
            start = source.randrange(len(traffic) - 4)
            parts.append(
                source.choice(
                    (
                        _act(WRITE, source.choice((COMMIT, STAGE))) + source.randbytes(source.randrange(200)),
                        _act(WRITE, source.choice((COMMIT, STAGE)), some, 99, 9, 0, 3)
                        + bytes(source.choice((0, 1, 1, 1, 2, 3, 5, 14, some)) for _ in range(200)),
                        _act(WRITE, source.choice((UNIVERSE, UNIVERSE_STAGED)), some, some),
                        _replay(source.choice((REPLAY, TRACE)), traffic[start : start + 4], number % 2, number),
                        _replay(REPLAY, traffic[start : start + 4], 0, 1),
                        _act(LOAD, LOADED) + bytes(source.choice((1, 2, 3, some)) for _ in range(60)),
                        _ask(READ, "flow", (0, 4), (32, number), shard=1),
                        _ask(READ, "flows", (source.randrange(80), some), shard=number),
                        _ask(WRITE, source.choice(VERBS), (source.randrange(64), some), shard=number % 2),
                        _ask(WRITE, source.choice(("make", "unstage", "outcome")), (0, number)),
                        _ask(READ, source.choice(VERBS), (source.randrange(24), some), shard=number % 2),
                        _ask(READ, source.choice(VERBS), shard=number),
                        _ask(LOAD, "start"),
                        _act(source.randrange(8), source.choice((23, 24, 25, 26, 27, 28)), some),
                        _act(READ, RAW, 0, 40, 0)
                        + struct.pack("<IHHQII", 0x314E5344, some % 40, 1, 5, 16, 0)
                        + bytes(16),
                    )
                )
            )
        yield b"".join(parts)


def loads() -> Iterator[bytes]:
    """LOADs of an engine that has none yet, most of them wrong in something, and commits of rows with bytes given."""
    source = random.Random(40)
    for _ in range(STORIES):
        some = [source.randrange(4), source.randrange(4), source.randrange(4), source.choice((0, 1, 1, 1, 2, 3))]
        some += [
            source.choice((0, 9, 9, 9)),
            *(source.choice((0, 9, 9, 9)) for _ in range(3)),
            source.choice((0, 0, 255)),
        ]
        some += [source.choice((0, 1, 2, 3, 5, 6, source.randrange(256))) for _ in range(60)]
        start = _ask(LOAD, "start")
        yield bytes([0]) + _act(LOAD, LOADED, *some) + start + _ask(WRITE, "hello") + _act(LOAD, LOADED, *some)
        rows = bytes(source.choice((0, 1, 1, 2, 3, 255)) for _ in range(source.randrange(400)))
        yield bytes([1]) + _act(WRITE, COMMIT, 1, 99, 9, 0, 3) + rows + start + _ask(READ, "settle")


def stories() -> Iterator[bytes]:
    """The property tests' stories as engine/path.c reads them, with its own events between."""
    source = random.Random(30)
    places = {port: place for place, port in enumerate(PORTS)}
    pauses = (0, 0, 0, 1, 10**6, 5 * 10**8, 10**9, 3 * 10**9, 10**10, 31 * 10**9)
    for number in range(STORIES * 2):
        story = Story(STARTS[0])
        parts = [bytes([number % 8 // 2])]
        if number < len(GAMES) * 2:  # each of what TCP goes through, on its own
            parts += [
                struct.pack("<BBBH", 0, places[packet.port], 0, len(packet.data)) + packet.data
                for packet in story.packets(
                    Kind.GAME, (0, number, number // len(GAMES) * 97, number // len(GAMES) * 33)
                )
            ]
            yield b"".join(parts)[:4096]
            continue
        for first, *rest in random_story(source):
            kind = WEIGHTED[first % len(WEIGHTED)]
            numbers = (rest[0], rest[1], rest[2], rest[3])
            if kind == Kind.RESHAPE:
                story.reshape(*numbers)
            some = source.randrange(256)
            for packet in story.packets(kind, numbers):
                pause = source.randrange(len(pauses)) if source.random() < 0.1 else 0
                parts.append(struct.pack("<BBBH", 0, places[packet.port], pause, len(packet.data)) + packet.data)
                if source.random() < 0.3:
                    parts.append(bytes([8 | 0xC0, source.choice((0x12, 0x10, 0x11, 0x18, 0x04, some)), 0]))
            if kind in (Kind.COMMIT, Kind.WAIT, Kind.LOOK, Kind.REFUSED):
                parts.append(
                    source.choice((bytes([12, some]), bytes([11, some % 16]), bytes([14, 0]), bytes([15, some]),
                                   bytes([4 | 0xC0, some, 0, 1, some, some]), bytes([13, some % 6])))
                )  # fmt: skip
        yield b"".join(parts)[:4096]


def news_within_a_train() -> bytes:
    """A story for two workers: one gets from the other, in one burst, packets to a neighbour and amid them the answer
    of another one by the same uplink, for whom a packet waits."""
    host, wait = ENDS[0], bytes([11, 3])

    def arrives(port: int, frame: bytes) -> bytes:
        # Frames of odd length at the first port, and of even length at the uplink, come to the second worker.
        return struct.pack("<BBBH", 0, PORTS.index(port), 0, len(frame)) + frame

    def to(address: str) -> bytes:
        ends = (pack_address(host.v4), pack_address(address))
        mine = (port for port in range(4000, 5000) if not worker_of(flow_hash(0, UDP, *ends, port, 80), 2))
        packet = udp(host.v4, address, next(mine), 80)
        return arrives(host.port, pack_mac(GATEWAY_MAC[host.subnet]) + pack_mac(host.mac) + b"\x08\0" + packet)

    def answers(address: str) -> bytes:
        mac = f"02:00:00:00:01:{address[-1:]:0>2}"
        head = pack_mac(GATEWAY_MAC[3]) + pack_mac(mac) + b"\x08\x06"
        return arrives(UPLINK0, head + arp(2, mac, address, GATEWAY_MAC[3], LOCAL[3][0]))

    one, other = "198.51.100.5", "198.51.100.6"
    burst = to(one) * 3 + answers(other) + to(one) * 2
    return b"\1" + wait.join([to(one), answers(one), to(one), to(other), burst, to(one) + to(other)])


def comparisons() -> Iterator[bytes]:
    """Stories of the property tests, and their packets as frames of any bytes."""
    source = random.Random(50)
    for number in range(STORIES):
        commands = random_story(source)
        yield same.story_bytes(commands)
        story = Story(STARTS[number % len(STARTS)])
        packets: list[tuple[int, int, bytes]] = []
        for first, *rest in commands:
            story.reshape(rest[0], rest[1], rest[2], rest[3])
            kind = WEIGHTED[first % len(WEIGHTED)]
            sent = story.packets(kind, (rest[0], rest[1], rest[2], rest[3]))
            packets += [(PORTS.index(packet.port), source.choice((0, 0, 0, 0, source.randrange(256))), packet.data)
                        for packet in sent]  # fmt: skip
        yield same.frames_bytes(number % len(STARTS), packets)[:4096]


def files() -> Iterator[bytes]:
    """Intents: the examples, those in the tests, and the documents' own."""
    for path in [*ROOT.glob("docs/examples/*.yaml"), *ROOT.glob("tests/**/*.yaml")]:
        yield path.read_bytes()
    for path in [*ROOT.glob("tests/unit/test_*.py"), *ROOT.glob("services/*/README.md"), ROOT / "README.md"]:
        text = path.read_text()
        yield from (
            found.encode() for found in re.findall(r"^kind: .*?(?=^```|^\"\"\")", text, re.MULTILINE | re.DOTALL)
        )


def questions() -> Iterator[bytes]:
    """Captures of all three kinds, and packets in words."""
    some = [capture.Frame(frame, number * 10**8) for number, frame in enumerate(list(scapy_frames())[:8])]
    classic = capture.write(some)
    yield b"c" + classic
    yield b"c" + struct.pack(">IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1, 7, 8, 4, 4) + b"abcd"
    body = struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH4sHHB3xHH", 2, 4, b"eth0", 9, 1, 9, 0, 0)
    blocks = [(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), (1, body), (5, bytes(12)),
              (6, struct.pack("<IIIII", 0, 1, 2, 4, 4) + b"abcd"), (3, struct.pack("<I", 4) + b"abcd")]  # fmt: skip
    for order in "<>":
        yield b"c" + b"".join(
            struct.pack(order + "II", kind, len(data) + 12) + data + struct.pack(order + "I", len(data) + 12)
            for kind, data in blocks
        )
    for text in ("tcp 10.1.0.20:40000 > 10.1.0.10:443 syn ack", "icmp 2001:db8::b > 2001:db8::a type echo-request id 3",
                 "udp [2001:db8::b]:5 > [2001:db8::a]:53 ttl 1 bytes 9 vlan 7 from 02:00:00:00:00:0a",
                 "tcp 10.1.0.20:1 > 10.1.0.10:2 flags SA len 10", "132 10.1.0.20 > 10.1.0.10"):  # fmt: skip
        yield b"w" + text.encode()


def seeds(target: Target) -> Iterator[bytes]:
    """Inputs for a target that has none."""
    match target.name:
        case "packet":
            yield from frames()
        case "control":
            yield from conversations()
            yield from loads()
        case "path":
            yield from stories()
            yield news_within_a_train()
        case "same":
            yield from comparisons()
        case "intent":
            yield from files()
        case "trace":
            yield from questions()
        case other:
            raise KeyError(other)
