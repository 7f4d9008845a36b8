"""Of who has as many packets waiting for neighbours as he may, the oldest goes for the next one: whoever makes him
answer addresses that nobody has keeps him from no next hop (ADR 0200)."""

from __future__ import annotations

from scapy.all import Ether

from hal.packet.contract import EventKind
from tests.packets.card import Card, Sent, answer_to_request
from tests.packets.packets import tcp, udp
from tests.packets.test_neighbours import requests, sports, tick
from tests.packets.world import HOSTS

GATEWAY = HOSTS["gateway"]
CLIENT = HOSTS["client"].vnic
SHARE, PATIENCE = 32, 0.032
"""Packets of a vNIC that may wait, and how long one has for itself before it makes way, in seconds."""


def to(card: Card, place: int, port: int = 1) -> Sent:
    """A packet of the client's to an address of the uplink's net that nobody has."""
    return card.host("client").sends(udp(f"10.1.0.20:{port} > 192.0.2.{place + 10}:9"))


def fills(card: Card) -> None:
    """The client's share, all at once."""
    for place in range(SHARE):
        assert requests(to(card, place).waits()) == [f"192.0.2.{place + 10}"]


def known(card: Card) -> list[str]:
    return [one.address for one in card.shard.neighbours()]


def refused(card: Card) -> int:
    return card.shard.counters().limits[CLIENT, "neighbour_queue_limit"].refused


def forge(card: Card, number: int) -> Sent:
    """A SYN from an address of the uplink's net that nobody has, and the client's answer to it."""
    talk = f"[2001:db8:ff::f:{number:x}]:5555", "[2001:db8:1::14]:80"
    came = card.host("gateway").sends(tcp(f"{talk[0]} > {talk[1]}", "S"))
    assert HOSTS["client"].port in [output.port for output in came.outputs()]
    return card.host("client").sends(tcp(f"{talk[1]} > {talk[0]}", "SA"))


def test_the_oldest_goes_for_the_newest_when_it_has_waited(card: Card) -> None:
    fills(card)
    assert requests(to(card.after(PATIENCE - 1e-9), 100).is_dropped("neighbour_queue_limit").silently()) == []
    assert (card.lost("neighbour_queue_limit"), refused(card)) == (1, 1)
    assert requests(to(card.after(1e-9), 101).waits()) == ["192.0.2.111"]
    assert (card.lost("neighbour_queue_limit"), refused(card)) == (2, 2)
    assert card.shard.counters().vnics[CLIENT]["drops"] == 2
    assert [(one.kind, one.id) for one in card.shard.events().events] == [(EventKind.NEIGHBOUR_LIMIT, CLIENT)]


def test_what_it_waited_for_is_forgotten(card: Card) -> None:
    """So a scan keeps no more neighbours known than packets may wait; one for which another still waits stays."""
    to(card, 0).waits()
    to(card, 0, port=2).waits()
    for place in range(1, SHARE - 1):
        to(card, place).waits()
    assert len(known(card)) == SHARE - 1
    card.after(PATIENCE)
    to(card, 100).waits()
    assert "192.0.2.10" in known(card)
    to(card, 101).waits()
    assert "192.0.2.10" not in known(card)
    assert len(known(card)) == SHARE
    card.receives(answer_to_request(GATEWAY, "192.0.2.10"), GATEWAY).is_dropped("arp_ignored")
    (output,) = card.receives(answer_to_request(GATEWAY, "192.0.2.11"), GATEWAY).is_taken().outputs()
    assert output.port == GATEWAY.port


def test_its_own_neighbours_queue_loses_it(card: Card) -> None:
    """The oldest waits for the very neighbour that the newest is for: it goes, and nobody else's there."""
    to(card, 0).waits()
    for port in (1, 2, 3):
        card.host("db").sends(udp(f"10.2.0.5:{port} > 192.0.2.10:9")).waits()
    for place in range(1, SHARE):
        to(card, place).waits()
    to(card.after(PATIENCE), 0, port=2).waits()
    assert (card.lost("neighbour_queue_limit"), card.lost("neighbour_queue_full")) == (1, 0)
    to(card, 0, port=3).waits()  # his oldest waits elsewhere: it goes, and here the oldest of who has most
    assert (card.lost("neighbour_queue_limit"), card.lost("neighbour_queue_full")) == (2, 1)
    sent = card.receives(answer_to_request(GATEWAY, "192.0.2.10"), GATEWAY).is_taken()
    assert sorted(sports(sent)) == [2, 2, 3, 3]


def test_the_neighbour_that_the_newest_needs_is_not_forgotten(card: Card) -> None:
    """Though the oldest was the only one that waited for it: it is asked for already, and its answer is heard."""
    fills(card)
    assert requests(to(card.after(PATIENCE), 0, port=2).waits()) == []
    assert (card.lost("neighbour_queue_limit"), refused(card), len(known(card))) == (1, 1, SHARE)
    sent = card.receives(answer_to_request(GATEWAY, "192.0.2.10"), GATEWAY).is_taken()
    assert sports(sent) == [2]


def test_a_next_hop_is_asked_for_at_once(card: Card) -> None:
    fills(card)
    to(card, 100).is_dropped("neighbour_queue_limit")
    assert requests(card.host("client").sends(udp("10.1.0.20:1 > 203.0.113.9:53")).waits()) == ["192.0.2.1"]
    assert card.lost("neighbour_queue_limit") == 2
    for place in range(SHARE):
        to(card.after(PATIENCE), place + 101).waits()
    assert "192.0.2.1" in known(card)  # what waited for it went, but it is asked for still
    card.receives(answer_to_request(GATEWAY, "192.0.2.1"), GATEWAY).is_taken()
    card.host("client").sends(udp("10.1.0.20:2 > 203.0.113.9:53")).arrives_at("gateway")


def test_forged_sources_keep_nobody_from_his_next_hop(card: Card) -> None:
    """Fifteen a second, of whom each is answered, while he forgets whom he has not needed for a minute."""
    card.resolves("gateway")
    card.after(57)
    became = [forge(card.after(1 / 15), number).result.verdict.name for number in range(5 * 15)]
    assert set(became) == {"QUEUE"}
    assert "2001:db8:ff::1" not in known(card)
    ask = card.host("client").sends(tcp("[2001:db8:1::14]:7000 > [2001:db8:cafe::9]:8080", "S")).waits()
    assert [output.port for output in ask.outputs()] == [GATEWAY.port]
    assert card.lost("neighbour_queue_limit") > 0
    (output,) = card.receives(answer_to_request(GATEWAY, "2001:db8:ff::1"), GATEWAY).is_taken().outputs()
    assert Ether(output.data).dst == GATEWAY.mac


def test_a_scan_at_any_pace_fills_nothing(card: Card) -> None:
    """Neighbours are known as many as before, and requests go out no faster than a thousand a second."""
    asked = 0
    for number in range(1000):
        card.after(0.0001 if number < 500 else 0.002)
        asked += len(card.host("client").sends(udp(f"[2001:db8:1::14]:7 > [2001:db8:ff::1:{number:x}]:9")).outputs())
    assert len(known(card)) == SHARE
    assert asked <= SHARE * (1 + (500 * 0.0001 + 500 * 0.002) // PATIENCE)
    for _ in range(9):
        tick(card.after(10))
    assert known(card) == []


def test_the_cards_own_programs_find_theirs(card: Card) -> None:
    """What the kernel behind the tap answers to forged packets waits as a vNIC's packets do."""

    def out(target: str) -> Sent:
        return card.host("card").sends(udp(f"192.0.2.2:161 > {target}:9"))

    for place in range(SHARE):
        out(f"192.0.2.{place + 10}").waits()
    out("192.0.2.110").is_dropped("neighbour_queue_limit")
    assert requests(out("203.0.113.9").waits()) == ["192.0.2.1"]
    out("192.0.2.110").is_dropped("neighbour_queue_limit")
    card.after(PATIENCE)
    assert requests(out("192.0.2.110").waits()) == ["192.0.2.110"]
    assert card.lost("neighbour_queue_limit") == 4
