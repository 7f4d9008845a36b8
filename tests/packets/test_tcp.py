"""Connections: what opens them, time-outs, pick-up, limits. What TCP's segments must be is in tests/packets/tcp."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hal.packet.contract import TcpState
from tests.packets.card import Card, Sent
from tests.packets.packets import ISS, other, ping, pong, tcp, udp
from tests.packets.tcp.talk import OPEN, Talk
from tests.packets.world import GUARDED

CLIENT, WEB = "10.1.0.20:4000 > 10.1.0.10:80", "10.1.0.10:80 > 10.1.0.20:4000"
HANDSHAKE = OPEN


def play(card: Card, segments: str) -> Talk:
    """Segments of such a connection in a row, all of which pass; both sides begin as `tcp` says."""
    return Talk(card, isn=(ISS, ISS)).plays(segments)


def a(card: Card, flags: str) -> Sent:
    """A segment of the initiator."""
    return card.host("client").sends(tcp(CLIENT, flags=flags))


def b(card: Card, flags: str) -> Sent:
    """A segment of the other side."""
    return card.host("web").sends(tcp(WEB, flags=flags))


@pytest.mark.parametrize(
    ("segments", "state", "timeout"),
    [
        ("A:S", TcpState.SYN_SENT, 240),
        ("A:S B:SA", TcpState.SYN_RECEIVED, 240),
        (OPEN, TcpState.ESTABLISHED, 7440),
        (OPEN + " A:PA+10 B:A B:PA+10", TcpState.ESTABLISHED, 7440),
        (OPEN + " A:FA", TcpState.FIN_WAIT, 240),
        (OPEN + " A:FA B:FA", TcpState.CLOSING, 240),
        (OPEN + " A:FA B:FA A:A", TcpState.TIME_WAIT, 240),
        (OPEN + " A:R", TcpState.CLOSED, 10),
        (OPEN + " A:FA B:FA A:A B:R", TcpState.CLOSED, 10),
    ],
)
def test_states(card: Card, segments: str, state: TcpState, timeout: int) -> None:
    """Each with its time-out; what each segment does to them is in tests/packets/tcp."""
    Talk(card).plays(segments)
    flow = card.flow()
    assert (flow.tcp_state, flow.timeout_ns) == (state, timeout * 1_000_000_000)
    assert sum(flow.packets) == len(segments.split())


@pytest.mark.parametrize("flags", ["A", "PA", "FA", "R", "RA", "SA"])
def test_no_session(card: Card, flags: str) -> None:
    a(card, flags).is_dropped("tcp_no_session").silently()
    a(card, "S").arrives_at("web")


def test_expiry_is_exact(card: Card) -> None:
    play(card, HANDSHAKE)
    card.after(7440 - 1e-9)
    a(card, "A").arrives_at("web")
    card.after(7440)
    a(card, "A").is_dropped("tcp_no_session")


def test_other_time_outs(card: Card) -> None:
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")
    assert card.flow(protocol=17).timeout_ns == 120 * 10**9
    card.host("web").sends(udp("10.1.0.10:53 > 10.1.0.20:1")).arrives_at("client")
    assert card.flow(protocol=17).timeout_ns == 300 * 10**9
    card.host("client").sends(ping("10.1.0.20 > 10.1.0.10")).arrives_at("web")
    card.host("web").sends(pong("10.1.0.10 > 10.1.0.20")).arrives_at("client")
    assert card.flow(protocol=1).timeout_ns == 60 * 10**9
    card.host("client").sends(other("10.1.0.20 > 10.1.0.10", 50)).arrives_at("web")
    assert card.flow(protocol=50).timeout_ns == 600 * 10**9


# --- pick-up -----------------------------------------------------------------------------------------------------


def test_pick_up_of_the_initiator(card: Card) -> None:
    fresh = card.anew(pickup=True)
    a(fresh, "PA").arrives_at("web")
    flow = fresh.flow()
    assert (flow.source, flow.tcp_state) == ("10.1.0.20", TcpState.ESTABLISHED)
    assert fresh.shard.counters().engine["pickups"] == 1
    b(fresh, "A").arrives_at("client")


def test_pick_up_of_a_reply(card: Card) -> None:
    fresh = card.anew(pickup=True)
    b(fresh, "PA").arrives_at("client")
    flow = fresh.flow()
    assert (flow.source, flow.destination_port, flow.packets) == ("10.1.0.20", 80, (0, 1))
    a(fresh, "A").arrives_at("web")


def test_pick_up_of_a_routed_reply(card: Card) -> None:
    fresh = card.anew(pickup=True)
    fresh.host("web").sends(tcp("10.1.0.10:80 > 10.2.0.5:4000", flags="A")).arrives_at("db", ttl=63)
    assert fresh.flow().source == "10.2.0.5"


def test_pick_up_asks_the_policy(card: Card) -> None:
    fresh = card.anew(pickup=True)
    b(fresh, "R").is_dropped("tcp_no_session")
    b(fresh, "SA").is_dropped("tcp_no_session")
    fresh.host("web").sends(tcp("10.1.0.10:500 > 10.1.0.20:4000", flags="A")).is_dropped("firewall_default")
    fresh.host("client").sends(tcp("10.1.0.20:500 > 10.1.0.10:4000", flags="A")).is_dropped("firewall_default")


def test_pick_up_is_no_way_around_antispoof(card: Card) -> None:
    """Bridged, its reply would lead back to the MAC that it was sent from, whatever the address."""
    fresh = card.anew(pickup=True)
    spoofed = tcp("10.2.0.77:80 > 10.1.0.20:4000", flags="A").frame(destination_mac="02:00:00:00:00:14")
    fresh.host("web").sends(spoofed).is_dropped("spoofed_address").silently()
    assert fresh.flows() == []
    b(fresh, "PA").arrives_at("client")


def test_pick_up_asks_antispoof_behind_the_firewall(card: Card) -> None:
    """Where the firewall stands in front, it is the one that drops a spoofed packet; no reply it is all the same."""
    first, second = (card.row("profile_stage", GUARDED * 100 + place) for place in (0, 1))
    card.changes(replace(first, stage="firewall"), replace(second, stage="antispoof"))
    fresh = card.anew(pickup=True)
    spoofed = tcp("10.2.0.77:80 > 10.1.0.20:4000", flags="A").frame(destination_mac="02:00:00:00:00:14")
    fresh.host("web").sends(spoofed).is_dropped("firewall_default").silently()
    assert fresh.flows() == []
    b(fresh, "PA").arrives_at("client")


# --- limits ------------------------------------------------------------------------------------------------------


def test_own_limit(card: Card) -> None:
    card.changes(replace(card.row("vnic", 20), flow_limit=2))
    for port in (1, 2):
        card.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).arrives_at("web")
    card.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).is_dropped("flow_limit")
    card.host("web").sends(udp("10.1.0.10:3 > 10.1.0.20:53")).arrives_at("client")
    card.host("client").sends(udp("10.1.0.20:1 > 10.1.0.10:53")).arrives_at("web")
    card.after(120)
    card.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).arrives_at("web")


def test_inbound_limit(card: Card) -> None:
    """A share apart from what the vNIC opens itself, each of its own size."""
    card.changes(replace(card.row("vnic", 10), inbound_flow_limit=2, flow_limit=1))
    for port in (1, 2):
        card.host("gateway").sends(tcp(f"203.0.113.9:{port} > 10.1.0.10:80")).arrives_at("web")
    card.host("gateway").sends(tcp("203.0.113.9:3 > 10.1.0.10:80")).is_dropped("flow_limit")
    card.host("web").sends(udp("10.1.0.10:3 > 10.1.0.20:53")).arrives_at("client")
    card.host("web").sends(udp("10.1.0.10:4 > 10.1.0.20:53")).is_dropped("flow_limit")


def test_table_is_full(card: Card) -> None:
    small = card.anew(connections=2)
    for port in (1, 2):
        small.host("client").sends(udp(f"10.1.0.20:{port} > 10.1.0.10:53")).arrives_at("web")
    small.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).is_dropped("flow_table_full")
    small.after(120)
    small.host("client").sends(udp("10.1.0.20:3 > 10.1.0.10:53")).arrives_at("web")
