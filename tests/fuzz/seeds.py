"""Inputs to begin with: what ordinary hosts send, and what the property tests bend."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.fuzz.targets import Target
from tests.property.commands import STARTS, WEIGHTED, Story
from tests.property.stories import random_story

STORIES = 400


def frames() -> Iterator[bytes]:
    """Frames of drawn stories, and of other protocols' real traffic as scapy makes it."""
    for number in range(STORIES):
        story = Story(STARTS[number % len(STARTS)])
        for first, *rest in random_story(random.Random(number)):
            kind = WEIGHTED[first % len(WEIGHTED)]
            numbers = (rest[0], rest[1], rest[2], rest[3])
            story.reshape(*numbers)
            yield from (packet.data for packet in story.packets(kind, numbers))
    yield from scapy_frames()


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


def seeds(target: Target) -> Iterator[bytes]:
    """Inputs for a target that has none."""
    match target.name:
        case "packet":
            yield from frames()
        case other:
            raise KeyError(other)
