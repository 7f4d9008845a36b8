"""Connections: what opens them, and time-outs. What TCP's segments must be is in tests/packets/tcp."""

from __future__ import annotations

import pytest

from hal.packet.contract import TcpState
from tests.packets.card import Card, Sent
from tests.packets.packets import ISS, other, ping, pong, tcp, udp
from tests.packets.tcp.talk import OPEN, Talk

CLIENT, WEB = "10.1.0.20:4000 > 10.1.0.10:80", "10.1.0.10:80 > 10.1.0.20:4000"
HANDSHAKE = OPEN


def play(card: Card, segments: str) -> Talk:
    """Segments of such a connection in a row, all of which pass; both sides begin as `tcp` says."""
    return Talk(card, isn=(ISS, ISS)).plays(segments)


def a(card: Card, flags: str) -> Sent:
    """A segment of the initiator."""
    return card.host("client").sends(tcp(CLIENT, flags=flags))


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
