"""Fragments follow their first, in any order, without overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.all import (
    IP,
    UDP,
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


def piece(begin: int, end: int, more: bool, identification: int = 7, protocol: int = 17) -> Description:
    """Bytes of the datagram's payload, as an IPv4 fragment."""
    header = IP(
        src="10.1.0.20", dst="10.1.0.10", id=identification, flags="MF" if more else 0, frag=begin // 8, proto=protocol
    )
    return Description("10.1.0.20", "10.1.0.10", lambda: header / Raw(WHOLE[begin:end]))


def piece6(begin: int, end: int, more: bool) -> Description:
    header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / IPv6ExtHdrFragment(
        id=7, m=int(more), offset=begin // 8, nh=17
    )
    return Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / Raw(WHOLE[begin:end]))


def send(card: Card, what: Description) -> Sent:
    return card.host("client").sends(what)


@pytest.mark.parametrize("make", [piece, piece6])
def test_later_ones_follow_their_first(card: Card, make: type) -> None:
    send(card, make(0, 400, True)).arrives_at("web")
    send(card, make(600, 808, False)).arrives_at("web")
    send(card, make(400, 600, True)).arrives_at("web")
    assert card.flow().packets == (3, 0)


def test_without_a_first(card: Card) -> None:
    send(card, piece(400, 808, False)).is_dropped("fragment_no_first")
    send(card, piece(0, 400, True)).arrives_at("web")
    send(card, piece(400, 808, False, identification=8)).is_dropped("fragment_no_first")
    send(card, piece(400, 808, False, protocol=6)).is_dropped("fragment_no_first")
    send(card, piece(400, 808, False)).arrives_at("web")


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


@pytest.mark.parametrize(("begin", "end"), [(392, 808), (0, 400), (8, 16)])
def test_overlap_ends_it_all(card: Card, begin: int, end: int) -> None:
    send(card, piece(0, 400, True)).arrives_at("web")
    send(card, piece(begin, end, end < 808)).is_dropped("fragment_overlap")
    send(card, piece(400, 808, False)).is_dropped("fragment_overlap")
    send(card, piece(0, 400, True, identification=8)).arrives_at("web")
    send(card, piece(400, 808, False, identification=8)).arrives_at("web")


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


@pytest.mark.parametrize(("begin", "end"), [(400, 407), (400, 400)])
def test_not_on_eight(card: Card, begin: int, end: int) -> None:
    send(card, piece(0, 400, True)).arrives_at("web")
    send(card, piece(begin, end, True)).is_dropped("fragment_invalid")
    send(card, piece(400, 407, False)).arrives_at("web")


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
    cut(size, size + 8, True).is_dropped("fragment_overlap")  # the UDP header again, with another port
    cut(0, at["begin"], True, 8).arrives_at("web")
    cut(size + 8, size + 16, True, 8).is_dropped("fragment_overlap")
    cut(0, at["begin"], True, 9).arrives_at("web")
    cut(size + 16, len(whole), False, 9).arrives_at("web")


def test_extension_headers_before_the_fragment_header_are_no_part(card: Card) -> None:
    def cut(begin: int, end: int, more: bool) -> Sent:
        header = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a") / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
        fragment = IPv6ExtHdrFragment(id=7, m=int(more), offset=begin // 8, nh=17)
        return send(card, Description("2001:db8:1::14", "2001:db8:1::a", lambda: header / fragment / WHOLE[begin:end]))

    cut(0, 400, True).arrives_at("web")
    cut(400, 808, False).arrives_at("web")
    cut(392, 400, True).is_dropped("fragment_overlap")


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
