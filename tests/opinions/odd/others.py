"""Other protocols, ICMP, fragments."""

from __future__ import annotations

from typing import Any

from scapy.all import (
    ICMP,
    UDP,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6ExtHdrFragment,
    Raw,
)

from tests.opinions.odd.story import Story, story


def _datagram(s: Story, side: int, size: int = 20) -> Any:
    return s.ip(side) / UDP(sport=s.ports[side], dport=s.ports[1 - side]) / Raw(bytes(size))


@story("datagrams")
def _datagrams(s: Story) -> None:
    s.tells(0, _datagram(s, 0))
    s.tells(1, _datagram(s, 1))
    s.tells(0, _datagram(s, 0, 0))


@story("protocol", number=(2, 47, 50, 51, 97, 132, 253))
def _protocol(s: Story, number: int) -> None:
    field_name = "nh" if s.v6 else "proto"
    if s.v6 and number == 51:
        return
    for side in (0, 1, 0):
        s.tells(side, s.ip(side, **{field_name: number}) / Raw(bytes(range(40))))


@story("echo", ident=(7, 8))
def _echo(s: Story, ident: int) -> None:
    """A reply to what was asked, or to what was not."""
    if s.v6:
        s.tells(0, s.ip(0) / ICMPv6EchoRequest(id=7, seq=1, data=b"ping"))
        s.tells(1, s.ip(1) / ICMPv6EchoReply(id=ident, seq=1, data=b"ping"))
    else:
        s.tells(0, s.ip(0) / ICMP(id=7, seq=1) / b"ping")
        s.tells(1, s.ip(1) / ICMP(type=0, id=ident, seq=1) / b"ping")


def _unreachable(s: Story, side: int, quoted: bytes) -> Any:
    if s.v6:
        return s.ip(side) / ICMPv6DestUnreach(code=4) / Raw(quoted)
    return s.ip(side) / ICMP(type=3, code=3) / Raw(quoted[:28])


@story("unreachable", port=(0, 1))
def _unreachable_port(s: Story, port: int) -> None:
    """It quotes what was sent, or what was not."""
    sent = s.tells(0, _datagram(s, 0))
    place = 40 if s.v6 else 20
    quoted = bytearray(sent)
    quoted[place + 3] ^= port
    s.tells(1, _unreachable(s, 1, bytes(quoted)))


@story("unreachable-segment", off=(0, 100, -30_000, 30_000, 1 << 30))
def _unreachable_segment(s: Story, off: int) -> None:
    """RFC 5927 4.1: what it quotes must have been on its way."""
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101, 100)
    s.tells(1, _unreachable(s, 1, bytes(s.segment(0, "PA", 101 + off, 101, 100))))
    s.b("A", 101, 201)


def _pieces(s: Story, side: int, cuts: list[tuple[int, int]], size: int = 3000) -> list[Any]:
    """Fragments of a datagram: from, to, in bytes of what is cut up."""
    whole = bytes(_datagram(s, side, size).payload)
    found = []
    for begin, end in cuts:
        more = end < len(whole)
        if s.v6:
            header = IPv6ExtHdrFragment(offset=begin // 8, m=int(more), id=77, nh=17)
            found.append(s.ip(side) / header / Raw(whole[begin:end]))
        else:
            found.append(
                s.ip(side, flags="MF" if more else 0, frag=begin // 8, id=77, proto=17) / Raw(whole[begin:end])
            )
    return found


CUTS = {
    "in-order": [(0, 1400), (1400, 2800), (2800, 3008)],
    "later-ones-turned": [(0, 1400), (2800, 3008), (1400, 2800)],
    "last-first": [(2800, 3008), (0, 1400), (1400, 2800)],
    "again": [(0, 1400), (1400, 2800), (1400, 2800), (2800, 3008)],
    "first-again": [(0, 1400), (0, 1400), (1400, 2800), (2800, 3008)],
    "overlap": [(0, 1400), (1392, 2800), (2800, 3008)],
    "overlap-of-first": [(0, 1400), (8, 1400), (1400, 2800), (2800, 3008)],
    "hole": [(0, 1400), (2800, 3008)],
    "tiny-first": [(0, 8), (8, 1400), (1400, 3008)],
    "no-first": [(1400, 2800), (2800, 3008)],
}


@story("fragments", cuts=tuple(CUTS))
def _fragments(s: Story, cuts: str) -> None:
    s.tells(0, _datagram(s, 0))
    s.tells(1, _datagram(s, 1))
    for piece in _pieces(s, 0, CUTS[cuts]):
        s.tells(0, piece)
