"""How many fragmented datagrams are remembered: who floods with first ones takes from nobody else.

A worker has 4,096 places. Each test reads what was refused from the counter of its reason, and what passes beside it.
"""

from __future__ import annotations

from dataclasses import replace

from scapy.utils import checksum

from hal.packet.contract import EventKind, PacketIn
from tests.packets.card import Card
from tests.packets.packets import udp
from tests.packets.test_limits import CLIENT, WEB, refused, told, victim_works
from tests.packets.world import HOSTS

UPLINK = 1
MORE, LAST = 0x2000, 51
"""Flags and offset of a first fragment, and of the last one that follows."""


def fragments(card: Card, host: str, numbers: range, to: str = "10.1.0.10", field: int = MORE) -> list[str]:
    """First fragments of as many datagrams, each with this identification; why they are dropped. `field`: flags and
    offset of others."""
    source = {"client": "10.1.0.20", "db": "10.2.0.5", "gateway": "203.0.113.9"}[host]
    frame = bytearray(card.host(host).frame(udp(f"{source}:1 > {to}:53", bytes(400))))
    ip = 18 if host == "db" else 14
    packets = []
    for number in numbers:
        frame[ip + 4 : ip + 8], frame[ip + 10 : ip + 12] = (
            number.to_bytes(2, "big") + field.to_bytes(2, "big"),
            bytes(2),
        )
        frame[ip + 10 : ip + 12] = checksum(bytes(frame[ip : ip + 20])).to_bytes(2, "big")
        packets.append(PacketIn(bytes(frame), HOSTS[host].port, card.now))
    return [result.reason for result in card.replays(packets)]


def test_fragments_of_a_vnic(card: Card) -> None:
    card.changes(replace(card.row("vnic", CLIENT), fragment_limit=3))
    victim_works(card, 1)
    assert fragments(card, "client", range(10)) == [""] * 3 + ["fragment_limit"] * 7
    assert refused(card, "fragment_limit") == 7
    cut = udp("10.1.0.20:1 > 10.1.0.10:53", bytes(400), ip={"id": 99, "flags": "MF"})
    card.host("client").sends(cut).is_dropped("fragment_limit").silently()
    assert fragments(card, "db", range(10)) == [""] * 10
    victim_works(card, 1)
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")
    assert told(card) == [(EventKind.FRAGMENT_LIMIT, CLIENT)]
    card.after(30)
    assert fragments(card, "client", range(10, 14)) == [""] * 3 + ["fragment_limit"]
    assert told(card) == [(EventKind.FRAGMENT_LIMIT, CLIENT)] * 2


def test_nobody_takes_the_whole_table(card: Card) -> None:
    """By default a quarter of it, an uplink a third of what may come by uplinks; never more than is left for others."""
    assert fragments(card, "client", range(1200)).count("") == 1024
    card.changes(replace(card.row("vnic", UPLINK), punt_limit=50000))
    assert fragments(card, "gateway", range(1200), "192.0.2.2").count("") == 683
    assert fragments(card, "db", range(1200)).count("") == 1024
    assert refused(card, "fragment_limit") == 1200 - 1024 + 1200 - 683 + 1200 - 1024
    assert refused(card, "fragment_table_full") == 0


def test_what_is_left_is_less_than_half(card: Card) -> None:
    """Where a row says so and its vNIC has most of the table, what comes by uplinks leaves room to others."""
    card.changes(replace(card.row("vnic", CLIENT), fragment_limit=2800))
    card.changes(replace(card.row("vnic", UPLINK), punt_limit=50000))
    assert fragments(card, "client", range(3000)).count("") == 2800
    assert fragments(card, "gateway", range(1200), "192.0.2.2").count("") == 432
    assert fragments(card, "gateway", range(1200)).count("") == 96
    assert fragments(card, "db", range(1200)).count("") == 384
    assert refused(card, "fragment_limit") == 200 + 1200 - 432 + 1200 - 96 + 1200 - 384
    assert refused(card, "fragment_table_full") == 0


def test_fragments_from_outside_count_for_whom_they_go_to(card: Card) -> None:
    """Behind an uplink is everybody: a flood to one vNIC takes nothing from another, nor from what it sends."""
    card.changes(replace(card.row("vnic", CLIENT), fragment_limit=3))
    assert fragments(card, "gateway", range(10), "10.1.0.20") == [""] * 3 + ["fragment_limit"] * 7
    assert told(card) == [(EventKind.FRAGMENT_LIMIT, CLIENT)]
    assert fragments(card, "gateway", range(100), "10.2.0.5") == [""] * 100
    assert fragments(card, "gateway", range(100, 150), "192.0.2.2") == [""] * 50
    assert fragments(card, "client", range(10)) == [""] * 3 + ["fragment_limit"] * 7
    assert refused(card, "fragment_limit") == 14
    card.after(30)
    assert fragments(card, "gateway", range(10), "10.1.0.20") == [""] * 3 + ["fragment_limit"] * 7


FLOODED = ("10.1.0.20", "10.1.0.10", "10.2.0.5", "10.2.0.40")


def test_fragments_to_all_vnics(card: Card) -> None:
    """However many are flooded from outside, each takes an eighth of what is free of their half, and vNICs that send
    find theirs whole."""
    for to, count in zip(FLOODED, (227, 202, 180, 160), strict=True):
        assert fragments(card, "gateway", range(1200), to).count("") == count
    assert fragments(card, "client", range(1200)).count("") == 1024
    assert fragments(card, "db", range(1200)).count("") == 1024
    assert refused(card, "fragment_limit") == 6 * 1200 - 227 - 202 - 180 - 160 - 1024 - 1024
    assert refused(card, "fragment_table_full") == 0


def test_what_comes_by_uplinks_is_half_whatever_rows_say(card: Card) -> None:
    """A number is what one may have at most: who sends finds room where others are flooded up to theirs."""
    for vnic in (CLIENT, WEB):
        card.changes(replace(card.row("vnic", vnic), fragment_limit=1500))
    assert fragments(card, "gateway", range(1600), "10.1.0.20").count("") == 1500
    assert fragments(card, "gateway", range(1600)).count("") == 2048 - 1500
    assert fragments(card, "gateway", range(2000, 2100), "10.2.0.5") == ["fragment_limit"] * 100
    assert fragments(card, "db", range(1200)).count("") == 1024
    assert fragments(card, "client", range(1024)).count("") == 1024
    assert refused(card, "fragment_limit") == 100 + 1600 - 548 + 100 + 1200 - 1024
    assert refused(card, "fragment_table_full") == 0


def test_places_of_what_is_whole_or_too_old_are_free_again(card: Card) -> None:
    """Of what comes by uplinks, too."""
    card.changes(replace(card.row("vnic", CLIENT), fragment_limit=4096))
    assert fragments(card, "gateway", range(2100), "10.1.0.20").count("") == 2048
    assert fragments(card, "gateway", range(3), "10.1.0.20", LAST) == [""] * 3
    assert fragments(card, "gateway", range(3000, 3004), "10.1.0.20") == [""] * 3 + ["fragment_limit"]
    card.after(30)
    assert fragments(card, "gateway", range(2100), "10.1.0.20").count("") == 2048
    assert refused(card, "fragment_limit") == 52 + 1 + 52
