"""First fragments that are refused leave nothing behind, on whichever worker they come, whichever has the connection.

Who forges one knows the addresses and ports of a connection, and no more. (RFC 1858, RFC 5961; *Fragments* of
docs/forwarding.md: what was dropped leaves no entry)
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.property import frames
from tests.property.frames import ACK, SYN
from tests.property.live import SECONDS, Side, by_port, collected, start_setting
from tests.property.talk import Conversation, wrap
from tests.property.test_live import EngineOnPorts, side
from tests.property.universe import difference, tables

CONNECTIONS = 16
HEAD = 32
"""Bytes of a datagram in its first fragment: a TCP header and some data."""
NUMBERS = tuple(turn << 30 for turn in range(4))
"""One of them is ahead of whatever number a connection has come to."""
ALLOW_TCP = (((3, 1, 0, 0, 0, 1, 0),), ())
ALLOW_80 = (((3, 1, 0, 0, 1, 1, 0),), ())


def fragments(talk: Conversation, payload: bytes, identification: int, reply: bool = False) -> list[tuple[int, bytes]]:
    """(port, frame) of its initiator's datagram, or of a reply, in two fragments."""
    begin, end = talk.ends(reply)
    ip = replace(talk.ip(reply), identification=identification, dont_fragment=False)
    parts = ((payload[:HEAD], True, 0), (payload[HEAD:], False, HEAD))
    return [
        (begin.port, wrap(begin, end, replace(ip, more=more, offset=offset), talk.protocol, part))
        for part, more, offset in parts
    ]


def exchange(card: Side, sent: list[tuple[int, bytes]], passing: int) -> int:
    """How many frames leave; waits for as many as should."""
    for port, data in sent:
        card.wire.send(port, data)
    return by_port(collected(card.wire, passing)).total()


def dropped(card: Side, reasons: tuple[str, ...], count: int) -> None:
    """So many are, each for one of these reasons; what was sent may be on its way still."""
    deadline = time.monotonic() + SECONDS
    while (found := drops(card, *reasons)) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == count


def drops(card: Side, *reasons: str) -> int:
    some = card.backend.counters().drops
    return sum(some[reason] for reason in reasons)


def opened(card: Side, some: list[Conversation]) -> None:
    for reply, flags in ((False, SYN), (True, SYN | ACK), (False, ACK)):
        sent = []
        for talk in some:
            begin, end = talk.ends(reply)
            ip = talk.ip(reply)
            sent.append((begin.port, wrap(begin, end, ip, *talk.says(ip, reply, flags, 0))))
        assert exchange(card, sent, len(some)) == len(some)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_forged_first_fragment_moves_no_window(workers: int) -> None:
    """A later fragment whose first was outside the window says nothing of what its sender has sent."""
    some = [
        Conversation(0, 1, v6=n % 2 > 0, protocol=frames.TCP, sport=20_000 + n, dport=80) for n in range(CONNECTIONS)
    ]
    with side(EngineOnPorts(), workers) as card:
        card.backend.writer().commit(difference({}, tables(replace(start_setting(), rules=ALLOW_TCP))))
        opened(card, some)
        assert {flow.worker for flow in card.backend.flows()} == set(range(workers))
        for place, talk in enumerate(some):
            firsts, laters = [], []
            for turn, number in enumerate(NUMBERS):
                body = frames.tcp(talk.ip(False), *talk.ports(False), ACK, number, 12345, bytes(60))
                first, later = fragments(talk, body, 1000 + place * 8 + turn)
                firsts.append(first)
                laters.append(later)
            assert exchange(card, [*firsts, *laters], 0) == 0
        lost = CONNECTIONS * len(NUMBERS)
        dropped(card, ("fragment_no_first",), lost)
        dropped(card, ("tcp_window",), lost)
        for place, talk in enumerate(some):  # and it goes on, in whole packets and in fragments
            protocol, body = talk.says(talk.ip(False), False, ACK, 60)
            assert protocol == frames.TCP
            assert exchange(card, fragments(talk, body, 5000 + place), 2) == 2
            begin, end = talk.ends(False)
            ip = talk.ip(False)
            whole = (begin.port, wrap(begin, end, ip, *talk.says(ip, False, ACK, 10)))
            assert exchange(card, [whole], 1) == 1
        assert drops(card, "tcp_window") == lost


@pytest.mark.parametrize("workers", [1, 2])
def test_what_rules_refuse_takes_no_place_of_fragments(workers: int) -> None:
    """More of them than a vNIC may have unfinished; then who has the same identification passes."""
    some = [Conversation(0, 1, protocol=frames.TCP, sport=1000 + n, dport=53) for n in range(3000)]
    good = [Conversation(0, 1, protocol=frames.TCP, sport=20_000 + n, dport=80) for n in range(CONNECTIONS)]
    with side(EngineOnPorts(), workers) as card:
        card.backend.writer().commit(difference({}, tables(replace(start_setting(), rules=ALLOW_80))))
        opened(card, good)
        for begin in range(0, len(some), 100):
            sent = [
                fragments(talk, frames.tcp(talk.ip(False), *talk.ports(False), SYN, data=bytes(60)), begin + place)[0]
                for place, talk in enumerate(some[begin : begin + 100])
            ]
            exchange(card, sent, 0)
            dropped(card, ("firewall_rule", "firewall_default"), begin + len(sent))
        for place, talk in enumerate(good):
            _, body = talk.says(talk.ip(False), False, ACK, 60)
            assert exchange(card, fragments(talk, body, place), 2) == 2
        assert drops(card, "fragment_limit", "fragment_table_full", "fragment_duplicate", "fragment_overlap") == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_in_fragments_go_nowhere(workers: int) -> None:
    """Whoever has the connection: neither first ones nor what follows them; those that come whole pass."""
    some = [
        Conversation(0, 1, v6=n % 2 > 0, protocol=frames.TCP, sport=20_000 + n, dport=80) for n in range(CONNECTIONS)
    ]
    with side(EngineOnPorts(), workers) as card:
        card.backend.writer().commit(difference({}, tables(replace(start_setting(), rules=ALLOW_TCP))))
        opened(card, some)
        before = {flow.id: flow.packets for flow in card.backend.flows()}
        assert {flow.worker for flow in card.backend.flows()} == set(range(workers))
        firsts, laters, whole = [], [], []
        for place, talk in enumerate(some):
            begin, end = talk.ends(True)
            ip = replace(talk.ip(True), identification=place, dont_fragment=False)
            quoted = talk.ip(False).wrap(*talk.says(talk.ip(False), False, ACK, 12))
            protocol = frames.ICMP6 if talk.v6 else frames.ICMP
            body = frames.icmp(ip, *((1, 4) if talk.v6 else (3, 3)), bytes(4), quoted)
            cut = len(body) - 8
            cut -= cut % 8
            firsts.append((begin.port, wrap(begin, end, replace(ip, more=True), protocol, body[:cut])))
            laters.append((begin.port, wrap(begin, end, replace(ip, offset=cut), protocol, body[cut:])))
            whole.append((begin.port, wrap(begin, end, ip, protocol, body)))
        assert exchange(card, [*firsts, *laters], 0) == 0
        dropped(card, ("icmp_error_invalid",), CONNECTIONS)
        dropped(card, ("fragment_no_first",), CONNECTIONS)
        assert {flow.id: flow.packets for flow in card.backend.flows()} == before
        assert exchange(card, whole, CONNECTIONS) == CONNECTIONS
        assert {flow.id: flow.packets for flow in card.backend.flows()} == {
            number: (one, other + 1) for number, (one, other) in before.items()
        }
