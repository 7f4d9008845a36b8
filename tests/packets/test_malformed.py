"""What can't be is dropped, under the name of what is wrong; beside it the like of it that passes."""

from collections.abc import Callable
from typing import Any

import pytest
from scapy.all import (
    AH,
    ICMP,
    IP,
    UDP,
    IPOption,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_SSRR,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)

from hal.packet.contract import Backend, PacketIn
from hal.packet.schema.registry import schema
from tests.packets.card import Card
from tests.packets.packets import Description, other, ping, pong, tcp, udp

GOOD = udp("10.1.0.20:1 > 10.1.0.10:53")
GOOD6 = udp("[2001:db8:1::14]:1 > [2001:db8:1::a]:53")


def test_nothing_is_forwarded_before_the_first_commit(blank: Backend) -> None:
    card = Card(blank)
    card.host("client").sends(GOOD).is_dropped("not_configured").silently()
    assert card.shard.counters().drops["not_configured"] == 1
    card.close()


def edited(good: Description, card: Card, edit: Callable[[bytearray], None]) -> bytes:
    frame = bytearray(card.host("client").frame(good))
    edit(frame)
    return bytes(frame)


def put(offset: int, data: bytes) -> Callable[[bytearray], None]:
    """Overwrite bytes of a frame."""

    def edit(frame: bytearray) -> None:
        frame[offset : offset + len(data)] = data

    return edit


def cut(size: int) -> Callable[[bytearray], None]:
    def edit(frame: bytearray) -> None:
        del frame[size:]

    return edit


def insert(offset: int, data: bytes) -> Callable[[bytearray], None]:
    def edit(frame: bytearray) -> None:
        frame[offset:offset] = data

    return edit


ETHERNET = [
    ("ethernet_truncated", cut(13)),
    ("ethernet_truncated", cut(0)),
    ("ethernet_truncated", lambda frame: (insert(12, b"\x81\0\0\7")(frame), cut(17)(frame))),
    ("ethernet_source_invalid", put(6, bytes(6))),
    ("ethernet_source_invalid", put(6, b"\x01\0\0\0\0\1")),
    ("vlan_nested", insert(12, b"\x81\0\0\7\x81\0\0\7")),
    ("vlan_nested", insert(12, b"\x88\xa8\0\7")),
    ("vlan_nested", insert(12, b"\x91\0\0\7")),
    ("vlan_nested", insert(12, b"\x81\0\0\7\x88\xa8\0\7")),
    ("llc", put(12, b"\x05\xff")),
    ("llc", put(12, b"\0\x40")),
    ("ethertype_unsupported", put(12, b"\x88\xcc")),
    ("vnic_unknown", insert(12, b"\x81\0\0\x63")),
    ("broadcast", put(0, b"\xff" * 6)),
    ("group_mismatch", put(0, b"\x01\0\x5e\0\0\1")),
]

IPV4 = [
    ("ipv4_truncated", cut(14 + 19)),
    ("ipv4_truncated", put(16, b"\0\xff")),
    ("ipv4_truncated", lambda frame: (put(14, b"\x4f")(frame), put(16, b"\0\x3c")(frame))),
    ("ipv4_header", put(14, b"\x55")),
    ("ipv4_header", put(14, b"\x44")),
    ("ipv4_header", put(16, b"\0\x13")),
    ("ipv4_checksum", put(24, b"\0\0")),
]

IPV6 = [
    ("ipv6_truncated", cut(14 + 39)),
    ("ipv6_truncated", put(18, b"\0\xff")),
    ("ipv6_header", put(14, b"\x40")),
    ("ipv6_header", put(18, b"\0\0\0")),
]


@pytest.mark.parametrize(("reason", "edit"), [*ETHERNET, *IPV4])
def test_bytes_of_ipv4_frames(card: Card, reason: str, edit: Callable[[bytearray], None]) -> None:
    card.host("client").sends(edited(GOOD, card, edit)).is_dropped(reason)
    card.host("client").sends(GOOD).arrives_at("web")


@pytest.mark.parametrize(("reason", "edit"), IPV6)
def test_bytes_of_ipv6_frames(card: Card, reason: str, edit: Callable[[bytearray], None]) -> None:
    card.host("client").sends(edited(GOOD6, card, edit)).is_dropped(reason)
    card.host("client").sends(GOOD6).arrives_at("web")


def v4(**fields: Any) -> Description:
    built = IP(src="10.1.0.20", dst="10.1.0.10", **fields) / UDP(sport=1, dport=53) / b"x"
    return Description("10.1.0.20", "10.1.0.10", lambda: built)


@pytest.mark.parametrize(
    ("reason", "option"),
    [
        ("source_route", IPOption_LSRR()),
        ("source_route", IPOption_SSRR()),
        ("ipv4_options", IPOption(option=2, length=1, value=b"00")),
        ("ipv4_options", IPOption(option=2, length=9, value=b"00")),
    ],
)
def test_ipv4_options(card: Card, reason: str, option: Any) -> None:
    card.host("client").sends(v4(options=[option])).is_dropped(reason)
    card.host("client").sends(v4(options=[IPOption_NOP()] * 4)).arrives_at("web")


def v6(*headers: Any) -> Description:
    packet = IPv6(src="2001:db8:1::14", dst="2001:db8:1::a")
    for header in headers:
        packet = packet / header
    built = packet / UDP(sport=1, dport=53) / b"x"
    return Description("2001:db8:1::14", "2001:db8:1::a", lambda: built)


@pytest.mark.parametrize(
    "headers",
    [
        [IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop()],
        [IPv6ExtHdrFragment(), IPv6ExtHdrFragment()],
        [IPv6ExtHdrDestOpt()] * 9,
        [IPv6ExtHdrDestOpt(len=200)],
        [IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(253))])],
    ],
)
def test_ipv6_extension_headers(card: Card, headers: list[Any]) -> None:
    card.host("client").sends(v6(*headers)).is_dropped("ipv6_extension")


@pytest.mark.parametrize(
    "headers",
    [
        [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(type=4), IPv6ExtHdrDestOpt()],
        [IPv6ExtHdrDestOpt()] * 8,
        [IPv6ExtHdrFragment(id=9)],
        [AH(nh=17, payloadlen=4, icv=bytes(12))],
    ],
)
def test_ipv6_extension_headers_that_pass(card: Card, headers: list[Any]) -> None:
    card.host("client").sends(v6(*headers)).arrives_at("web")


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("0.1.2.3", "10.1.0.10"),
        ("127.0.0.1", "10.1.0.10"),
        ("224.0.0.1", "10.1.0.10"),
        ("239.255.255.255", "10.1.0.10"),
        ("240.0.0.1", "10.1.0.10"),
        ("255.255.255.255", "10.1.0.10"),
        ("10.1.0.20", "0.0.0.0"),
        ("10.1.0.20", "127.0.0.1"),
        ("10.1.0.20", "0.255.255.255"),
        ("10.1.0.20", "240.0.0.1"),
        ("10.1.0.20", "255.255.255.255"),
        ("::", "2001:db8:1::a"),
        ("::1", "2001:db8:1::a"),
        ("ff02::1", "2001:db8:1::a"),
        ("::ffff:10.1.0.20", "2001:db8:1::a"),
        ("2001:db8:1::14", "::"),
        ("2001:db8:1::14", "::1"),
        ("2001:db8:1::14", "::ffff:10.1.0.10"),
    ],
)
def test_addresses_that_are_on_no_wire(card: Card, source: str, destination: str) -> None:
    built = (IPv6 if ":" in source else IP)(src=source, dst=destination) / UDP(sport=1, dport=53)
    card.host("client").sends(Description(source, destination, lambda: built)).is_dropped("address_invalid")
    card.host("client").sends(GOOD).arrives_at("web")


@pytest.mark.parametrize("text", ["10.1.0.20:1 > 224.0.0.5:2", "[2001:db8:1::14]:1 > [ff02::5]:2"])
def test_multicast_to_a_unicast_mac(card: Card, text: str) -> None:
    card.host("client").sends(udp(text)).is_dropped("group_mismatch")
    card.host("client").sends(GOOD).arrives_at("web")


TRANSPORT = [
    ("l4_truncated", other("10.1.0.20 > 10.1.0.10", 6, bytes(19))),
    ("l4_truncated", other("10.1.0.20 > 10.1.0.10", 17, bytes(7))),
    ("l4_truncated", other("10.1.0.20 > 10.1.0.10", 1, bytes(7))),
    ("l4_truncated", tcp("10.1.0.20:4 > 10.1.0.10:80", dataofs=6)),
    ("l4_header", tcp("10.1.0.20:4 > 10.1.0.10:80", dataofs=4)),
    ("l4_header", tcp("10.1.0.20:0 > 10.1.0.10:80")),
    ("l4_header", tcp("10.1.0.20:4 > 10.1.0.10:0")),
    ("l4_header", udp("10.1.0.20:4 > 10.1.0.10:0")),
    ("l4_header", udp("10.1.0.20:4 > 10.1.0.10:53", len=7)),
    ("l4_header", udp("10.1.0.20:4 > 10.1.0.10:53", len=99)),
    ("l4_header", other("10.1.0.20 > 10.1.0.10", 58)),
    ("l4_header", other("2001:db8:1::14 > 2001:db8:1::a", 1)),
    *(("tcp_flags", tcp("10.1.0.20:4 > 10.1.0.10:80", flags=flags)) for flags in ("", "F", "SF", "SR", "FRA", "PU")),
]


@pytest.mark.parametrize(("reason", "wrong"), TRANSPORT)
def test_transport_headers(card: Card, reason: str, wrong: Description) -> None:
    card.host("client").sends(wrong).is_dropped(reason)
    card.host("client").sends(tcp("10.1.0.20:4 > 10.1.0.10:80", options=[("MSS", 1460)])).arrives_at("web")
    card.host("client").sends(udp("10.1.0.20:0 > 10.1.0.10:53")).arrives_at("web")


def test_transport_checksums_are_not_looked_at(card: Card) -> None:
    sent = card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53", chksum=0x1234))
    assert sent.outputs()[0].data[40:42] == b"\x12\x34"


def test_icmp_that_opens_nothing(card: Card) -> None:
    for kind in (13, 15, 17, 10):
        message = bytes(ICMP(type=kind))
        stray = other("10.1.0.20 > 10.1.0.10", 1, message)
        card.host("client").sends(stray).is_dropped("icmp_type")
    card.host("client").sends(pong("10.1.0.20 > 10.1.0.10")).is_dropped("icmp_type")
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.10")).arrives_at("web")


def test_port_that_is_not_there(card: Card) -> None:
    (result,) = card.shard.replay([PacketIn(card.host("client").frame(GOOD), 77, card.now)])
    assert result.reason == "vnic_unknown"


def test_any_bytes_are_a_verdict(card: Card) -> None:
    """Every prefix of a good frame, and every byte of its headers flipped, ends in a verdict."""
    reasons = set(schema().reason_numbers)
    for good in (GOOD, GOOD6, tcp("10.1.0.20:4 > 10.1.0.10:80"), ping("2001:db8:1::14 > 2001:db8:1::1")):
        frame = card.host("client").frame(good)
        for size in range(len(frame)):
            assert card.host("client").sends(frame[:size]).result.reason in reasons
        for place in range(len(frame)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = frame[:place] + bytes([frame[place] ^ flip]) + frame[place + 1 :]
                assert card.host("client").sends(damaged).result.reason in {"", *reasons}
