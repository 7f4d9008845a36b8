"""Scans of a subnet fill nothing but the scanner's own share: neighbours, packets that wait, connections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.all import ARP, Ether, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6

from hal.packet.contract import EventKind
from hal.packet.model import neighbours
from hal.packet.model.flows import Connection
from tests.packets.card import ON_TWIN, Card, answer_to_request
from tests.packets.packets import udp
from tests.packets.test_limits import victim_works
from tests.packets.test_neighbours import tick
from tests.packets.world import HOSTS

GATEWAY = HOSTS["gateway"]
MANY = 400
SHARE = 32
"""Packets of one vNIC or uplink that wait, and so neighbours that it asks for in three seconds."""
FLOWS = 256
"""Connections that the scanning vNIC may have."""


def scan(card: Card, name: str, source: str, net: str) -> list[str]:
    """One packet to each of many addresses of a net, and what became of them."""
    ends = [f"{net}{place:x}]" if net.startswith("[") else f"{net}{place % 250 + 3}" for place in range(16, 16 + MANY)]
    sent = [card.host(name).sends(udp(f"{source}:{7 + place // 250} > {to}:9")) for place, to in enumerate(ends)]
    return [one.result.reason or one.result.verdict.name for one in sent]


def decided_again(card: Card) -> int:
    return card.shard.counters().engine["reevaluations"]


def test_neighbours_that_fail_decide_nobodys_connections_again(card: Card) -> None:
    """But a next hop that fails does."""
    card.resolves("gateway")
    ask = udp("10.2.0.5:1 > 203.0.113.9:53")
    card.host("db").sends(ask).arrives_at("gateway")
    before = decided_again(card)
    card.host("client").sends(udp("10.1.0.20:1 > 192.0.2.77:9")).waits()
    tick(card.after(3))
    card.host("client").sends(udp("10.1.0.20:1 > 192.0.2.77:9")).is_dropped("neighbour_unresolved")
    card.host("db").sends(ask).arrives_at("gateway")
    for wait in (10, 10, 10, 10, 10, 7.5, 3):  # until it is forgotten; the gateway answers when it is asked
        tick(card.after(wait))
        card.receives(answer_to_request(GATEWAY, GATEWAY.addresses[0]), GATEWAY)
    card.host("db").sends(ask).arrives_at("gateway")
    assert [str(one.address) for one in card.shard.neighbours()] == [GATEWAY.addresses[0]]
    assert decided_again(card) == before
    tick(card.after(60))
    tick(card.after(3))
    card.host("db").sends(ask).is_dropped("next_hop_down")
    assert decided_again(card) > before


def works_for_others(card: Card) -> None:
    """Another vNIC's first packet to a next hop that isn't known yet goes; so does one between vNICs."""
    for sender, hop in (("10.2.0.5", GATEWAY.addresses[0]), ("[2001:db8:2::5]", GATEWAY.addresses[1])):
        to = "[2001:db8:cafe::1]" if ":" in hop else "203.0.113.9"
        card.host("db").sends(udp(f"{sender}:1 > {to}:53")).waits()
        (output,) = card.receives(answer_to_request(GATEWAY, hop), GATEWAY).is_taken().outputs()
        assert (output.port, Ether(output.data).dst) == (GATEWAY.port, GATEWAY.mac)
    card.host("db").sends(udp("10.2.0.5:1 > 10.1.0.20:53")).arrives_at("client")


@pytest.mark.parametrize(
    ("source", "net"), [("10.1.0.20", "192.0.2."), ("[2001:db8:1::14]", "[2001:db8:ff::")], ids=["v4", "v6"]
)
def test_a_vnic_scans_the_uplinks_net(card: Card, source: str, net: str) -> None:
    card.changes(replace(card.row("vnic", HOSTS["client"].vnic), flow_limit=FLOWS))
    became = scan(card, "client", source, net)
    assert became.count("QUEUE") == SHARE
    assert {*became} == {"QUEUE", "neighbour_queue_limit"}  # nobody has answered: the oldest makes way
    assert len(card.shard.neighbours()) == SHARE
    assert len(card.flows()) == FLOWS
    told = {(event.kind, event.id) for event in card.shard.events().events}
    assert told == {(EventKind.NEIGHBOUR_LIMIT, HOSTS["client"].vnic), (EventKind.FLOW_LIMIT, HOSTS["client"].vnic)}
    works_for_others(card)
    for _ in range(9):  # who stops is forgotten, with what he asked for
        tick(card.after(10))
    assert [one for one in card.shard.neighbours() if one.address not in GATEWAY.addresses] == []


@pytest.mark.parametrize(
    ("source", "net"), [("198.51.100.1", "192.0.2."), ("[2001:db8:fe::1]", "[2001:db8:ff::")], ids=["v4", "v6"]
)
def test_somebody_behind_an_uplink_scans_another_one(card: Card, source: str, net: str) -> None:
    became = scan(card, "second", source, net)
    assert became.count("QUEUE") == SHARE
    assert {*became} == {"QUEUE", "neighbour_queue_limit", "flow_table_full"}
    assert len(card.flows()) == 342  # of 1024: a third, rounded up
    assert len(card.shard.neighbours()) == SHARE
    works_for_others(card)


@pytest.mark.parametrize(
    ("source", "net"), [("192.0.2.1", "10.1.0."), ("[2001:db8:ff::1]", "[2001:db8:1::")], ids=["v4", "v6"]
)
def test_somebody_behind_an_uplink_scans_the_vnics_net(card: Card, source: str, net: str) -> None:
    """What is not declared is nobody's: nothing is asked for, kept or waits."""
    became = scan(card, "gateway", source, net)
    assert became.count("vnic_address_unknown") >= MANY - 4
    assert "QUEUE" not in became
    assert card.shard.neighbours() == []
    assert len(card.flows()) <= 4
    works_for_others(card)


@pytest.mark.parametrize("name", ["client", "gateway"])
def test_asking_for_many_addresses_leaves_nothing(card: Card, name: str) -> None:
    """By ARP and by neighbour discovery: only declared addresses are answered, and nobody is learned from questions."""
    host = HOSTS[name]
    v4, v6 = ("10.1.0.", "2001:db8:1::") if name == "client" else ("192.0.2.", "2001:db8:ff::")
    for place in range(0x40, 0x80):
        ask = ARP(op=1, hwsrc=host.mac, psrc=host.addresses[0], pdst=f"{v4}{place}")
        card.receives(bytes(Ether(src=host.mac, dst="ff:ff:ff:ff:ff:ff") / ask), host).is_dropped("arp_ignored")
        ns = ICMPv6ND_NS(tgt=f"{v6}{place:x}") / ICMPv6NDOptSrcLLAddr(lladdr=host.mac)
        ip = IPv6(src=host.addresses[1], dst=f"ff02::1:ff00:{place:x}", hlim=255)
        frame = Ether(src=host.mac, dst=f"33:33:ff:00:00:{place:02x}") / ip / ns
        card.receives(bytes(frame), host).is_dropped("nd_ignored").silently()
    assert card.shard.neighbours() == []
    assert card.flows() == []
    works_for_others(card)


@ON_TWIN
def test_what_answers_has_a_share_too(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that answers for every address of its net: who asks it for many has half of all neighbours (of the
    engine's 65,536 in tests/unit/test_engine_limits.py), the next one half of what is left."""
    monkeypatch.setattr(neighbours, "ROOM", 16)

    def asks(name: str, source: str, places: range) -> list[str]:
        reasons = []
        for place in places:
            sent = card.host(name).sends(udp(f"{source}:7 > 192.0.2.{place}:9"))
            reasons.append(sent.result.reason)
            card.receives(answer_to_request(GATEWAY, f"192.0.2.{place}"), GATEWAY)
        return reasons

    assert asks("client", "10.1.0.20", range(20, 30)) == [""] * 8 + ["neighbour_limit"] * 2
    assert asks("db", "10.2.0.5", range(30, 36)) == [""] * 4 + ["neighbour_limit"] * 2
    assert asks("db", "10.2.0.5", range(20, 24)) == [""] * 4  # those that are known count for who asked for them
    assert card.lost("neighbour_limit") == 4
    tick(card.after(60))
    assert [one.address for one in card.shard.neighbours()] == [f"192.0.2.{place}" for place in range(20, 24)]
    for place in range(20, 24):
        card.receives(answer_to_request(GATEWAY, f"192.0.2.{place}"), GATEWAY)
    tick(card.after(60))
    assert card.shard.neighbours() == []
    assert asks("client", "10.1.0.20", range(40, 50)) == [""] * 8 + ["neighbour_limit"] * 2


def test_a_scan_that_goes_on(card: Card) -> None:
    """Round after round the scanner has his share of what waits, and what he asked for is forgotten behind him."""
    most = 0
    for rounds in range(40):
        for place in range(SHARE):
            card.host("client").sends(udp(f"[2001:db8:1::14]:7 > [2001:db8:ff::{rounds + 1:x}:{place:x}]:9"))
        most = max(most, len(card.shard.neighbours()))
        tick(card.after(3))
    assert SHARE * 20 < most < SHARE * 22  # each for 3 s of asking and 60 s of asking again
    works_for_others(card)


def test_who_goes_on_with_what_he_scanned_keeps_nothing(card: Card) -> None:
    """Packets that go on coming for an address that doesn't answer don't keep it known: it is asked for anew."""
    ends = [f"[2001:db8:ff::{place:x}]" for place in range(16, 28)]
    became: list[set[str]] = []
    for _ in range(8):
        sent = [card.host("client").sends(udp(f"[2001:db8:1::14]:7 > {end}:9")).result for end in ends]
        became.append({one.reason or one.verdict.name for one in sent})
        assert len(card.shard.neighbours()) == len(ends)
        tick(card.after(9.5))
    assert became == [{"QUEUE"}, *[{"neighbour_unresolved"}] * 6, {"QUEUE"}]
    works_for_others(card)


@ON_TWIN
def test_who_is_refused_makes_nobody_look_through_all_connections(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture of a flood is traced in a time that grows with its packets; what has expired makes room still."""
    looks = 0

    def counted(connection: Connection, now: int) -> bool:
        nonlocal looks
        looks += 1
        return expired(connection, now)

    expired = Connection.expired
    monkeypatch.setattr(Connection, "expired", counted)
    card.changes(replace(card.row("vnic", 20), flow_limit=100))
    sends = card.host("client").sends
    for port in range(1, 101):
        victim_works(card, port, "client")
    looks = 0
    floods = [sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).result.reason for port in range(101, 201)]
    assert floods == ["flow_limit"] * 100
    assert looks <= 100
    card.after(200)
    sends(udp("10.1.0.20:7 > 10.1.0.10:53")).arrives_at("web")  # it lives for longer than the others now
    card.after(100)
    for port in range(201, 300):
        victim_works(card, port, "client")
    sends(udp("10.1.0.20:300 > 10.1.0.10:53")).is_dropped("flow_limit")
