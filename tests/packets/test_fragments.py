"""Fragments follow their first, in any order, without overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.all import (
    IP,
    TCP,
    UDP,
    Ether,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPOption_NOP,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    Raw,
)
from scapy.utils import checksum

from hal.packet.contract import PacketIn, Verdict
from hal.packet.frame._generated import Vrf
from tests.packets.card import Card, Sent
from tests.packets.packets import Description, udp
from tests.packets.world import HOSTS

WHOLE = bytes(UDP(sport=1, dport=53, len=8 + 800)) + bytes(800)
PAD = bytes(4)
"""Behind 20 bytes of TCP, to end on eight."""


def piece(begin: int, end: int, more: bool, identification: int = 7, protocol: int = 17) -> Description:
    """Bytes of the datagram's payload, as an IPv4 fragment."""
    header = IP(
        src="10.1.0.20", dst="10.1.0.10", id=identification, flags="MF" if more else 0, frag=begin // 8, proto=protocol
    )
    return Description("10.1.0.20", "10.1.0.10", lambda: header / Raw(WHOLE[begin:end]))


def piece6(begin: int, end: int, more: bool, identification: int = 7) -> Description:
    header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / IPv6ExtHdrFragment(
        id=identification, m=int(more), offset=begin // 8, nh=17
    )
    return Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / Raw(WHOLE[begin:end]))


def send(card: Card, what: Description) -> Sent:
    return card.host("client").sends(what)


def test_another_vrfs_first(card: Card) -> None:
    """Uplinks of two VRFs: the same addresses and identification are two datagrams."""
    card.gets(Vrf(id=2))
    uplink = card.row("vnic", HOSTS["second"].vnic)
    subnet = card.row("subnet", uplink.subnet)
    own = [card.row("local_address", row.id) for row in card.backend.snapshot().rows("local_address")]
    moving = (uplink, subnet, *(row for row in own if row.subnet == uplink.subnet))
    card.changes(*(replace(row, vrf=2) for row in moving))
    first = IP(src="203.0.113.8", dst="10.1.0.10", id=7, flags="MF", proto=17) / Raw(WHOLE[:400])
    rest = IP(src="203.0.113.8", dst="10.1.0.10", id=7, frag=50, proto=17) / Raw(WHOLE[400:])
    card.host("gateway").sends(Description("203.0.113.8", "10.1.0.10", lambda: first)).arrives_at("web")
    later = Description("203.0.113.8", "10.1.0.10", lambda: rest)
    card.host("second").sends(later).is_dropped("fragment_no_first")
    card.host("gateway").sends(later).arrives_at("web")


def test_first_was_dropped(card: Card) -> None:
    denied = IP(src="10.1.0.20", dst="10.1.0.10", id=7, flags="MF") / UDP(sport=1, dport=99, len=99) / bytes(16)
    send(card, Description("10.1.0.20", "10.1.0.10", lambda: denied)).is_dropped("firewall_default")
    send(card, piece(24, 808, False)).is_dropped("fragment_no_first")


def test_entries_live_half_a_minute(card: Card) -> None:
    send(card, piece(0, 400, True)).arrives_at("web")
    card.after(29.9)
    send(card, piece(400, 600, True)).arrives_at("web")
    card.after(0.1)
    send(card, piece(600, 808, False)).is_dropped("fragment_no_first")


def test_nine_ranges(card: Card) -> None:
    send(card, piece(0, 40, True)).arrives_at("web")
    for begin in range(48, 48 + 16 * 7, 16):
        send(card, piece(begin, begin + 8, True)).arrives_at("web")
    send(card, piece(400, 408, True)).is_dropped("fragment_ranges")
    send(card, piece(40, 48, True)).arrives_at("web")
    send(card, piece(400, 408, True)).arrives_at("web")


def test_tiny_firsts(card: Card) -> None:
    tiny = IP(src="10.1.0.20", dst="10.1.0.10", id=7, flags="MF", proto=6) / Raw(bytes(16))
    send(card, Description("10.1.0.20", "10.1.0.10", lambda: tiny)).is_dropped("fragment_tiny")
    send(card, piece(0, 8, True)).arrives_at("web")


# --- by the clauses of the RFCs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [piece, piece6])
def test_rfc791_3_2_out_of_order_behind_the_first(card: Card, make: type) -> None:
    send(card, make(0, 200, True)).arrives_at("web")
    for begin, end in ((600, 808), (200, 400), (400, 600)):
        send(card, make(begin, end, end < 808)).arrives_at("web")
    assert card.flow().packets == (4, 0)


@pytest.mark.parametrize("make", [piece, piece6])
def test_rfc791_3_2_before_the_first(card: Card, make: type) -> None:
    """Who may pass only the first says: the card keeps none back."""
    send(card, make(400, 808, False)).is_dropped("fragment_no_first").silently()
    send(card, make(0, 400, True)).arrives_at("web")
    send(card, make(400, 808, False, 8)).is_dropped("fragment_no_first").silently()
    send(card, make(400, 808, False)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
def test_rfc791_3_2_all_but_the_last_end_on_eight(card: Card, make: type) -> None:
    send(card, make(0, 400, True)).arrives_at("web")
    send(card, make(400, 407, True)).is_dropped("fragment_invalid")
    send(card, make(400, 407, False)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
@pytest.mark.parametrize("more", [False, True])
def test_rfc815_3_an_empty_fragment_fills_no_hole(card: Card, make: type, more: bool) -> None:
    send(card, make(0, 400, True)).arrives_at("web")
    send(card, make(400, 400, more)).is_dropped("fragment_invalid")
    send(card, make(400, 808, False)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
def test_rfc815_3_a_datagram_has_one_end(card: Card, make: type) -> None:
    send(card, make(0, 200, True)).arrives_at("web")
    send(card, make(400, 600, False)).arrives_at("web")
    send(card, make(600, 608, True)).is_dropped("fragment_invalid")
    send(card, make(600, 808, False)).is_dropped("fragment_invalid")
    send(card, make(200, 208, False)).is_dropped("fragment_invalid")
    send(card, make(200, 400, True)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
def test_rfc815_3_no_end_before_what_has_come(card: Card, make: type) -> None:
    send(card, make(0, 200, True)).arrives_at("web")
    send(card, make(400, 600, True)).arrives_at("web")
    send(card, make(200, 300, False)).is_dropped("fragment_invalid")
    send(card, make(600, 808, False)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
@pytest.mark.parametrize(("begin", "end"), [(0, 400), (0, 200), (400, 600), (408, 416)])
def test_rfc8200_4_5_duplicates_are_dropped_alone(card: Card, make: type, begin: int, end: int) -> None:
    send(card, make(0, 400, True)).arrives_at("web")
    send(card, make(400, 600, True)).arrives_at("web")
    send(card, make(begin, end, True)).is_dropped("fragment_duplicate").silently()
    send(card, make(600, 808, False)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
@pytest.mark.parametrize(("begin", "end"), [(0, 408), (8, 408), (392, 408), (392, 808), (592, 616), (0, 800)])
def test_rfc5722_4_an_overlap_ends_the_datagram(card: Card, make: type, begin: int, end: int) -> None:
    send(card, make(0, 400, True)).arrives_at("web")
    send(card, make(600, 608, True)).arrives_at("web")
    send(card, make(begin, end, end < 808)).is_dropped("fragment_overlap").silently()
    for first, last in ((400, 600), (0, 400), (608, 808)):
        send(card, make(first, last, last < 808)).is_dropped("fragment_overlap")
    send(card, make(0, 400, True, 8)).arrives_at("web")
    send(card, make(400, 808, False, 8)).arrives_at("web")


@pytest.mark.parametrize("make", [piece, piece6])
def test_rfc4963_2_an_identification_comes_again(card: Card, make: type) -> None:
    """At 2,200 datagrams a second IPv4's 65,536 are used up while entries live: one that is whole leaves none."""
    for _ in range(3):
        send(card, make(0, 400, True)).arrives_at("web")
        send(card, make(600, 808, False)).arrives_at("web")
        send(card, make(400, 600, True)).arrives_at("web")
        send(card, make(400, 600, True)).is_dropped("fragment_no_first")


def test_rfc1858_3_2_2_a_later_one_inside_the_tcp_header(card: Card) -> None:
    first = IP(src="10.1.0.20", dst="10.1.0.10", id=7, flags="MF", proto=6) / TCP(sport=9, dport=80, flags="S") / PAD
    send(card, Description("10.1.0.20", "10.1.0.10", lambda: first)).arrives_at("web")
    for begin in (8, 16):
        send(card, piece(begin, begin + 8, False, protocol=6)).is_dropped("fragment_tiny").silently()
    send(card, piece(24, 48, True, protocol=6)).arrives_at("web")


def test_rfc3128_the_port_comes_in_a_later_one(card: Card) -> None:
    """Nor without its first, by which a filter that looks at it alone would let it pass."""
    send(card, piece(8, 808, False, protocol=6)).is_dropped("fragment_tiny")
    send(card, piece(8, 808, False)).is_dropped("fragment_no_first")


def test_of_udp_eight_bytes_may_come_first(card: Card) -> None:
    send(card, piece(0, 8, True)).arrives_at("web")
    send(card, piece(8, 808, False)).arrives_at("web")


def test_rfc7112_5_a_first_has_the_whole_chain(card: Card) -> None:
    def first(following: int, data: bytes) -> Sent:
        header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / IPv6ExtHdrFragment(id=7, m=1, nh=following)
        return send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / Raw(data)))

    first(60, b"\x11\1" + bytes(6)).is_dropped("fragment_tiny")  # the options' second half is missing
    first(60, b"\x3c\0" + bytes(6)).is_dropped("fragment_tiny")  # options, and more of them to come
    first(60, b"\x06\0" + bytes(6) + bytes(16)).is_dropped("fragment_tiny")  # TCP's last 4 bytes are missing
    first(60, b"\x11\0" + bytes(6) + WHOLE[:8]).arrives_at("web")


def test_rfc6946_3_atomic_ones_are_no_fragments(card: Card) -> None:
    """Nor while a datagram in fragments has their identification."""

    def atomic() -> Sent:
        whole = IPv6ExtHdrFragment(id=7) / UDP(sport=1, dport=53) / b"atomic"
        built = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / whole
        return send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: built))

    atomic().arrives_at("web")
    send(card, piece6(0, 400, True)).arrives_at("web")
    atomic().arrives_at("web")
    send(card, piece6(400, 808, False)).arrives_at("web")
    atomic().arrives_at("web")
    send(card, piece6(400, 808, False)).is_dropped("fragment_no_first")  # an atomic one is nobody's first


def test_rfc8200_4_5_what_follows_is_said_by_the_first(card: Card) -> None:
    """Next headers of later fragments may differ."""
    send(card, piece6(0, 400, True)).arrives_at("web")
    odd = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / IPv6ExtHdrFragment(id=7, offset=50, nh=6) / WHOLE[400:]
    send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: odd)).arrives_at("web")


def test_rfc791_2_3_protocols_have_identifications_of_their_own(card: Card) -> None:
    esp = IP(src="10.1.0.20", dst="10.1.0.10", id=7, flags="MF", proto=50) / Raw(bytes(400))
    send(card, piece(0, 400, True)).arrives_at("web")
    send(card, Description("10.1.0.20", "10.1.0.10", lambda: esp)).arrives_at("web")
    send(card, piece(400, 808, False, protocol=6)).is_dropped("fragment_no_first")
    send(card, piece(400, 808, False, protocol=50)).arrives_at("web")
    send(card, piece(400, 600, True)).arrives_at("web")
    assert {flow.protocol: flow.packets[0] for flow in card.flows()} == {17: 2, 50: 2}


@pytest.mark.parametrize("flags", ["DF+MF", "evil+MF"])
def test_rfc791_3_1_flags_beside_more_fragments(card: Card, flags: str) -> None:
    """A host may cut up what routers must not, and the reserved bit says nothing."""
    first = IP(src="10.1.0.20", dst="10.1.0.10", id=7, flags=flags, proto=17) / Raw(WHOLE[:400])
    sent = send(card, Description("10.1.0.20", "10.1.0.10", lambda: first)).arrives_at("web")
    assert Ether(sent.outputs()[0].data)[IP].flags == flags
    send(card, piece(400, 808, False)).arrives_at("web")


def test_rfc6980_5_neighbour_discovery_is_never_in_fragments(card: Card) -> None:
    """An atomic fragment is one here."""
    asked = ICMPv6ND_NS(tgt="2001:db8:1::1") / ICMPv6NDOptSrcLLAddr(lladdr=HOSTS["client"].mac)
    header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::1", hlim=255)

    def ask(built: Any) -> Sent:
        return send(card, Description("2001:db8:1::14", "2001:db8:1::1", lambda: built))

    ask(header / IPv6ExtHdrFragment(id=7) / asked).is_dropped("nd_malformed")
    ask(header / IPv6ExtHdrFragment(id=7, m=1) / asked).is_dropped("nd_malformed")
    ask(header / asked).is_taken()


# --- extension headers: behind the fragment header they are part of what is cut up (RFC 8200 4.5) ---------------------


def options(size: int) -> Any:
    """Destination options of this many bytes, all padding."""
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(size - 4))])


@pytest.mark.parametrize("size", [8, 248])
def test_ranges_begin_behind_the_fragment_header(card: Card, size: int) -> None:
    whole = bytes(options(size) / Raw(WHOLE))
    whole = b"\x11" + whole[1:]
    at = {"begin": size + 16}

    def cut(begin: int, end: int, more: bool, identification: int = 7) -> Sent:
        fragment = IPv6ExtHdrFragment(id=identification, m=int(more), offset=begin // 8, nh=60)
        header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / fragment
        return send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / Raw(whole[begin:end])))

    cut(0, at["begin"], True).arrives_at("web")
    cut(size, size + 8, True).is_dropped("fragment_duplicate")  # the UDP header again, with another port
    cut(0, at["begin"], True, 8).arrives_at("web")
    cut(size + 8, size + 24, True, 8).is_dropped("fragment_overlap")
    cut(0, at["begin"], True, 9).arrives_at("web")
    cut(size + 16, len(whole), False, 9).arrives_at("web")


def test_extension_headers_before_the_fragment_header_are_no_part(card: Card) -> None:
    def cut(begin: int, end: int, more: bool) -> Sent:
        header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
        fragment = IPv6ExtHdrFragment(id=7, m=int(more), offset=begin // 8, nh=17)
        return send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / fragment / WHOLE[begin:end]))

    cut(0, 400, True).arrives_at("web")
    cut(392, 408, True).is_dropped("fragment_overlap")
    cut(400, 808, False).is_dropped("fragment_overlap")


# --- a whole datagram is no longer than its header can say --------------------------------------------------------


def last(begin: int, size: int, options: int = 0) -> Description:
    header = IP(src="10.1.0.20", dst="10.1.0.10", id=7, frag=begin // 8, proto=17, options=[IPOption_NOP()] * options)
    return Description("10.1.0.20", "10.1.0.10", lambda: header / Raw(bytes(size)))


def test_beyond_the_longest_datagram(card: Card) -> None:
    send(card, piece(0, 400, True)).arrives_at("web")
    send(card, last(65528, 8)).is_dropped("fragment_invalid")  # its bytes alone
    send(card, last(65528, 7)).is_dropped("fragment_invalid")  # with its header
    send(card, last(65512, 4)).is_dropped("fragment_invalid")
    send(card, last(65512, 3, options=4)).is_dropped("fragment_invalid")
    send(card, last(65512, 3)).arrives_at("web")


def test_beyond_the_longest_datagram_with_the_first_ones_options(card: Card) -> None:
    """Later fragments need not have the options of the first: the whole datagram has (RFC 791 3.1)."""
    first = IP(src="10.1.0.20", dst="10.1.0.10", id=7, flags="MF", proto=17, options=[IPOption_NOP()] * 40)
    send(card, Description("10.1.0.20", "10.1.0.10", lambda: first / Raw(WHOLE[:400]))).arrives_at("web")
    send(card, last(65512, 3)).is_dropped("fragment_invalid")
    send(card, last(65472, 4)).is_dropped("fragment_invalid")
    send(card, last(65472, 3)).arrives_at("web")


@pytest.mark.parametrize(("before", "size"), [(0, 7), (8, 7)])
def test_beyond_the_longest_datagram_of_ipv6(card: Card, before: int, size: int) -> None:
    """The payload length counts extension headers before the fragment header (RFC 8200 4.5)."""

    def cut(begin: int, data: bytes, more: bool) -> Sent:
        header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a")
        if before:
            header /= IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(before - 4))])
        header /= IPv6ExtHdrFragment(id=7, m=int(more), offset=begin // 8, nh=17)
        return send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / Raw(data)))

    cut(0, WHOLE[:400], True).arrives_at("web")
    cut(65528 - before, bytes(size + 1), False).is_dropped("fragment_invalid")
    cut(65528 - before, bytes(size), False).arrives_at("web")


def test_no_room_for_another_first(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), fragment_limit=4096))
    frame = bytearray(send(card, piece(0, 400, True, identification=0)).arrives_at("web").data)
    packets = []
    for identification in range(1, 4096):  # scapy takes its time
        frame[18:20], frame[24:26] = identification.to_bytes(2, "big"), bytes(2)
        frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
        packets.append(PacketIn(bytes(frame), HOSTS["client"].port, card.now))
    assert {result.verdict for result in card.replays(packets)} == {Verdict.FORWARD}
    send(card, piece(0, 400, True, identification=5000)).is_dropped("fragment_table_full")
    send(card, udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")
    card.after(30)
    send(card, piece(0, 400, True, identification=5000)).arrives_at("web")


def test_connection_is_gone(card: Card) -> None:
    send(card, piece(0, 400, True)).arrives_at("web")
    card.loses("firewall_rule", 104)
    send(card, piece(400, 600, True)).is_dropped("firewall_default")
    send(card, piece(600, 808, False)).is_dropped("fragment_no_first")
