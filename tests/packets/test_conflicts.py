"""Somebody on an uplink has an address of the card's or of a vNIC's: RFC 5227 2.4, RFC 4862 5.4.4, RFC 7527."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.all import ARP, Ether, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6

from hal.packet.contract import EventKind
from hal.packet.stages.bridge._generated import LocalAddress, VnicAddress
from hal.packet.stages.route._generated import BlackholeRoute
from tests.packets.card import Card, Sent, checksums_hold
from tests.packets.world import BACK, HOSTS, TRANSIT0, VRF

GATEWAY = HOSTS["gateway"]
OWN = GATEWAY.next_to
OTHER = "02:00:00:00:0b:ad"
ZEROS = "00:00:00:00:00:00"
LOCAL4, LOCAL6 = "192.0.2.2", "2001:db8:ff::2"


def arp(card: Card, address: str, mac: str = OTHER, name: str = "gateway", **fields: Any) -> Sent:
    """By default a gratuitous request."""
    message = ARP(**{"op": 1, "hwsrc": mac, "psrc": address, "pdst": address, "hwdst": ZEROS, **fields})
    return card.receives(bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / message), HOSTS[name])


def na(card: Card, address: str, mac: str = OTHER, flags: int = 0) -> Sent:
    """Unsolicited, to all nodes."""
    message = ICMPv6ND_NA(tgt=address, R=0, S=0, O=flags) / ICMPv6NDOptDstLLAddr(lladdr=mac)
    ip = IPv6(src=address, dst="ff02::1", hlim=255)
    return card.receives(bytes(Ether(src=mac, dst="33:33:00:00:00:01") / ip / message), GATEWAY)


def told(card: Card) -> list[tuple[str, int, str]]:
    """Conflicts that events tell of."""
    events = card.shard.events().events
    return [(one.table, one.id, one.data) for one in events if one.kind is EventKind.ADDRESS_CONFLICT]


def row_id(card: Card, table: str, address: str) -> int:
    rows: list[Any] = list(card.backend.snapshot([table]).rows(table))
    (found,) = [row.id for row in rows if row.address == address]
    return int(found)


@pytest.mark.parametrize("fields", [{}, {"op": 2}, {"pdst": "192.0.2.77"}, {"pdst": LOCAL4, "op": 2, "hwdst": OWN}])
def test_rfc5227_2_4_an_address_of_the_card_is_defended(card: Card, fields: dict[str, Any]) -> None:
    sent = arp(card, LOCAL4, **fields).is_dropped("address_conflict")
    (output,) = sent.outputs()
    frame = Ether(output.data)
    announced = frame[ARP]
    assert (output.port, frame.dst, frame.src) == (0, "ff:ff:ff:ff:ff:ff", OWN)
    assert (announced.op, announced.hwsrc, announced.psrc, announced.hwdst, announced.pdst) == (
        1, OWN, LOCAL4, ZEROS, LOCAL4,
    )  # fmt: skip
    assert told(card) == [("local_address", row_id(card, "local_address", LOCAL4), f"{LOCAL4} is-at {OTHER}")]


def test_rfc5227_2_4_b_one_announcement_in_ten_seconds(card: Card) -> None:
    """Each address its own; every packet of it is dropped and counted."""
    assert len(arp(card, LOCAL4).outputs()) == 1
    for wait in (0, 5, 4.999):
        arp(card.after(wait), LOCAL4).is_dropped("address_conflict").silently()
    assert len(na(card, LOCAL6).is_dropped("address_conflict").outputs()) == 1
    assert len(arp(card.after(0.001), LOCAL4, "02:00:00:00:0b:ae").is_dropped("address_conflict").outputs()) == 1
    assert card.shard.counters().drops["address_conflict"] == 6
    assert len(told(card)) == 3


def test_rfc4862_5_4_4_an_address_of_the_card_is_defended(card: Card) -> None:
    for flags in (0, 1):
        sent = na(card.after(10), LOCAL6, flags=flags).is_dropped("address_conflict")
        (output,) = sent.outputs()
        frame = Ether(output.data)
        message = frame[ICMPv6ND_NA]
        assert (frame.dst, frame.src, frame[IPv6].src, frame[IPv6].dst) == (
            "33:33:00:00:00:01", OWN, LOCAL6, "ff02::1",
        )  # fmt: skip
        assert (message.tgt, message.R, message.S, message.O) == (LOCAL6, 1, 0, 1)
        assert (frame[ICMPv6NDOptDstLLAddr].lladdr, frame[IPv6].hlim) == (OWN, 255)
        assert checksums_hold(output.data)


def test_who_asks_under_an_address_of_the_card(card: Card) -> None:
    """Isn't answered: he would take the answer for his."""
    message = ICMPv6ND_NS(tgt="2001:db8:ff::3") / ICMPv6NDOptSrcLLAddr(lladdr=OTHER)
    ether = Ether(src=OTHER, dst="33:33:ff:00:00:03")
    sent = card.receives(bytes(ether / IPv6(src=LOCAL6, dst="ff02::1:ff00:3", hlim=255) / message), GATEWAY)
    assert Ether(sent.is_dropped("address_conflict").outputs()[0].data).haslayer(ICMPv6ND_NA)
    card.gets(LocalAddress(id=99, vrf=VRF, address="192.0.2.3", subnet=TRANSIT0))
    sent = arp(card, LOCAL4, pdst="192.0.2.3").is_dropped("address_conflict")
    assert [Ether(output.data)[ARP].op for output in sent.outputs()] == [1]
    arp(card, "192.0.2.50", pdst="192.0.2.3").is_taken().answer()


def test_an_address_of_another_link_is_not_defended_on_this(card: Card) -> None:
    for place, address in enumerate(("10.1.0.1", "198.51.100.2")):
        arp(card, address).is_dropped("address_conflict").silently()
        assert len(told(card)) == place + 1


def test_rfc4007_6_a_link_local_address_is_of_its_link(card: Card) -> None:
    """The gateway of the vNICs' subnet is fe80::1; so may be a router on an uplink."""
    na(card, "fe80::1").is_dropped("nd_ignored").silently()
    assert told(card) == []
    card.gets(LocalAddress(id=99, vrf=VRF, address="fe80::99", subnet=TRANSIT0))
    assert len(na(card, "fe80::99").is_dropped("address_conflict").outputs()) == 1
    assert told(card) == [("local_address", 99, f"fe80::99 is-at {OTHER}")]


@pytest.mark.parametrize("host", ["web", "db"])
def test_an_address_of_a_vnic_is_told_of(card: Card, host: str) -> None:
    """What packets to it would reach is the vNIC, whatever an uplink says. Nothing is learned or said there."""
    v4, v6 = HOSTS[host].addresses
    arp(card, v4).is_dropped("address_conflict").silently()
    na(card, v6).is_dropped("address_conflict").silently()
    arp(card.after(1), v4).is_dropped("address_conflict").silently()
    assert told(card) == [
        ("vnic_address", row_id(card, "vnic_address", v4), f"{v4} is-at {OTHER}"),
        ("vnic_address", row_id(card, "vnic_address", v6), f"{v6} is-at {OTHER}"),
    ]
    assert card.shard.neighbours() == []
    # Where its packets would go elsewhere it is none of a vNIC's.
    card.gets(BlackholeRoute(id=77, vrf=VRF, prefix=f"{v4}/32"))
    arp(card, v4).is_dropped("arp_ignored").silently()


def test_rfc7527_what_came_back_is_no_conflict(card: Card) -> None:
    """The card's own frames, looped back by the segment: its MAC says so."""
    arp(card, LOCAL4, OWN).is_dropped("arp_ignored").silently()
    na(card, LOCAL6, OWN).is_dropped("nd_ignored").silently()
    assert told(card) == []
    arp(card, LOCAL4).is_dropped("address_conflict")


def test_rfc5227_2_1_1_a_probe_is_answered_and_no_conflict(card: Card) -> None:
    answer = arp(card, "0.0.0.0", pdst=LOCAL4).is_taken().answer()
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, OWN, LOCAL4)
    assert told(card) == []
    arp(card, LOCAL4).is_dropped("address_conflict")


def test_a_neighbours_address_that_becomes_the_cards(card: Card) -> None:
    """Who had it is heard no more."""
    card.resolves("gateway")
    card.gets(LocalAddress(id=99, vrf=VRF, address="192.0.2.1", subnet=TRANSIT0))
    arp(card, "192.0.2.1", GATEWAY.mac).is_dropped("address_conflict")
    card.loses("local_address", 99)
    arp(card, "192.0.2.1", GATEWAY.mac).is_taken()


def test_vnics_are_no_judges(card: Card) -> None:
    """What vNICs tell of others is refused by antispoof, or heard by nobody; the card defends nothing there."""
    for address in ("10.1.0.1", "10.1.0.10"):
        mac = HOSTS["client"].mac
        arp(card, address, mac, "client").is_dropped("spoofed_arp").silently()
        arp(card, address, HOSTS["open"].mac, "open").is_dropped("arp_ignored").silently()
    assert told(card) == []


def test_64_addresses_at_a_time(card: Card) -> None:
    """More are dropped, and neither told of nor defended, until ten seconds have passed. vNICs' addresses take no room
    from the card's."""
    more = [f"192.0.2.{100 + place}" for place in range(65)]
    card.gets(*(LocalAddress(id=900 + n, vrf=VRF, address=one, subnet=TRANSIT0) for n, one in enumerate(more)))
    db = HOSTS["db"].vnic
    vnics = [f"10.2.0.{100 + place}" for place in range(65)]
    card.gets(*(VnicAddress(id=900 + n, subnet=BACK, address=one, vnic=db) for n, one in enumerate(vnics)))
    for one in vnics:
        arp(card, one).is_dropped("address_conflict").silently()
    assert [len(arp(card, one).is_dropped("address_conflict").outputs()) for one in more] == [1] * 64 + [0]
    assert len(told(card)) == 128
    assert len(arp(card.after(10), more[-1]).outputs()) == 1
