"""Who is asked before a connection is picked up: the policy of who would have opened it, and antispoof."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import TcpState
from tests.packets.card import Card, Sent
from tests.packets.packets import tcp
from tests.packets.world import GUARDED

CLIENT, WEB = "10.1.0.20:4000 > 10.1.0.10:80", "10.1.0.10:80 > 10.1.0.20:4000"


def a(card: Card, flags: str) -> Sent:
    """A segment of the initiator."""
    return card.host("client").sends(tcp(CLIENT, flags=flags))


def b(card: Card, flags: str) -> Sent:
    """A segment of the other side."""
    return card.host("web").sends(tcp(WEB, flags=flags))


def test_of_the_initiator(card: Card) -> None:
    fresh = card.anew(pickup=True)
    a(fresh, "PA").arrives_at("web")
    flow = fresh.flow()
    assert (flow.source, flow.tcp_state) == ("10.1.0.20", TcpState.ESTABLISHED)
    assert fresh.shard.counters().engine["pickups"] == 1
    b(fresh, "A").arrives_at("client")


def test_of_a_reply(card: Card) -> None:
    fresh = card.anew(pickup=True)
    b(fresh, "PA").arrives_at("client")
    flow = fresh.flow()
    assert (flow.source, flow.destination_port, flow.packets) == ("10.1.0.20", 80, (0, 1))
    a(fresh, "A").arrives_at("web")


def test_of_a_routed_reply(card: Card) -> None:
    fresh = card.anew(pickup=True)
    fresh.host("web").sends(tcp("10.1.0.10:80 > 10.2.0.5:4000", flags="A")).arrives_at("db", ttl=63)
    assert fresh.flow().source == "10.2.0.5"


def test_asks_the_policy(card: Card) -> None:
    fresh = card.anew(pickup=True)
    b(fresh, "R").is_dropped("tcp_no_session")
    b(fresh, "SA").is_dropped("tcp_no_session")
    fresh.host("web").sends(tcp("10.1.0.10:500 > 10.1.0.20:4000", flags="A")).is_dropped("firewall_default")
    fresh.host("client").sends(tcp("10.1.0.20:500 > 10.1.0.10:4000", flags="A")).is_dropped("firewall_default")


def test_is_no_way_around_antispoof(card: Card) -> None:
    """Bridged, its reply would lead back to the MAC that it was sent from, whatever the address."""
    fresh = card.anew(pickup=True)
    spoofed = tcp("10.2.0.77:80 > 10.1.0.20:4000", flags="A").frame(destination_mac="02:00:00:00:00:14")
    fresh.host("web").sends(spoofed).is_dropped("spoofed_address").silently()
    assert fresh.flows() == []
    b(fresh, "PA").arrives_at("client")


def test_asks_antispoof_behind_the_firewall(card: Card) -> None:
    """Where the firewall stands in front, it is the one that drops a spoofed packet; no reply it is all the same."""
    first, second = (card.row("profile_stage", GUARDED * 100 + place) for place in (0, 1))
    card.changes(replace(first, stage="firewall"), replace(second, stage="antispoof"))
    fresh = card.anew(pickup=True)
    spoofed = tcp("10.2.0.77:80 > 10.1.0.20:4000", flags="A").frame(destination_mac="02:00:00:00:00:14")
    fresh.host("web").sends(spoofed).is_dropped("firewall_default").silently()
    assert fresh.flows() == []
    b(fresh, "PA").arrives_at("client")
