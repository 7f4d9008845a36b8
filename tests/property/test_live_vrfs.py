"""A route may lead into another VRF: its next hop's uplink, or its subnet, is there. What answers comes in by that VRF,
and finds the connection whichever worker has it (*Keys and hashes* of docs/forwarding.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from hal.packet.model.device import TwinDevice
from tests.property import frames
from tests.property.frames import ACK, PSH, SYN, Ip
from tests.property.live import Side, by_port, collected, start_setting
from tests.property.talk import Conversation, wrap
from tests.property.test_live import EngineOnPorts, side
from tests.property.test_live_fragments import exchange, fragments, opened
from tests.property.universe import ENDS, GATEWAY_MAC, LOCAL, ROUTERS, UPLINK1, RouteChoice, difference, tables

CONNECTIONS = 16
ALLOW_ALL = (((3, 0, 0, 0, 0, 1, 0),), ())


@dataclass(frozen=True)
class Away:
    """The other end, as a number of ENDS; which part of the universe is a VRF of its own, and the routes there."""

    end: int
    apart: int
    routes: tuple[RouteChoice, ...]


AWAY = {
    "vnic": Away(2, 1, ((3, 4), (5, 4))),
    "uplink": Away(5, 2, ((6, 1), (7, 1))),
}


def router_answers() -> list[tuple[int, bytes]]:
    """(port, frame): the router of the other VRF's uplink says by ARP and ND who it is."""
    here, (v4, v6), (asked4, asked6) = ENDS[5], ROUTERS[UPLINK1], LOCAL[4]
    told = frames.arp(2, here.mac, v4, GATEWAY_MAC[4], asked4)
    ip = Ip(v6, asked6, ttl=255)
    advertised = ip.wrap(frames.ICMP6, frames.neighbour(ip, 136, v6, here.mac, 0x60))
    return [
        (here.port, frames.ethernet(GATEWAY_MAC[4], here.mac, kind, body, here.vlan))
        for kind, body in ((0x0806, told), (0x86DD, advertised))
    ]


def known(card: Side, away: Away) -> None:
    """Where the other end is behind a router, all workers know that one's MAC from here on."""
    if away.end != 5:
        return
    talks = [Conversation(0, away.end, n % 2 > 0, frames.UDP, 10_000 + n, 53) for n in range(CONNECTIONS)]
    exchange(card, [first(talk) for talk in talks], 2)
    for answer in router_answers():
        card.wire.send(*answer)
    by_port(collected(card.wire, 1))


def first(talk: Conversation) -> tuple[int, bytes]:
    begin, end = talk.ends(False)
    ip = talk.ip(False)
    return begin.port, wrap(begin, end, ip, *talk.says(ip, False, SYN, 8))


def errors(some: Sequence[Conversation]) -> list[tuple[int, bytes]]:
    """(port, frame): the other end's side says of each one's latest packet that it didn't arrive."""
    sent = []
    for talk in some:
        begin, end = talk.ends(True)
        ip = talk.ip(True)
        quoted = talk.ip(False).wrap(*talk.l4(talk.ip(False), False, ACK, 8))
        protocol, told = (frames.ICMP6, (1, 4)) if talk.v6 else (frames.ICMP, (3, 3))
        sent.append((begin.port, wrap(begin, end, ip, protocol, frames.icmp(ip, *told, bytes(4), quoted))))
    return sent


def workers_of(card: Side) -> list[tuple[str, int, int]]:
    return sorted((flow.source, flow.source_port, flow.worker) for flow in card.backend.flows())


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("where", AWAY)
def test_what_answers_by_another_vrf_finds_its_connection(where: str, workers: int) -> None:
    """Segments, fragments and ICMP errors, both ways; each connection is of the worker that the twin says."""
    away = AWAY[where]
    setting = replace(start_setting(), rules=ALLOW_ALL, policies=(1, 1, 1, 1), apart=away.apart, routes=away.routes)
    owners = []
    for device in (TwinDevice(), EngineOnPorts()):
        some = [Conversation(0, away.end, n % 2 > 0, frames.TCP, 20_000 + n, 80) for n in range(CONNECTIONS)]
        with side(device, workers) as card:
            card.backend.writer().commit(difference({}, tables(setting)))
            known(card, away)
            opened(card, some)
            assert exchange(card, errors(some), CONNECTIONS) == CONNECTIONS
            for reply in (True, False):
                sent = []
                for place, talk in enumerate(some):
                    _, body = talk.says(talk.ip(reply), reply, PSH | ACK, 60)
                    sent += fragments(talk, body, place, reply)
                assert exchange(card, sent, len(sent)) == len(sent)
            flows = [flow for flow in card.backend.flows() if flow.protocol == frames.TCP]
            assert Counter(flow.packets for flow in flows) == {(4, 4): CONNECTIONS}
            assert {flow.worker for flow in flows} == set(range(workers))
            owners.append(workers_of(card))
    assert owners[0] == owners[1]
