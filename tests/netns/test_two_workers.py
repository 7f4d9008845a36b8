"""What two workers of the engine share, on real ports: limits of a vNIC, and what neighbours say of themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from hal.conformance import Wire
from hal.conformance.frames import ARP, arp, ethernet, udp
from hal.conformance.world import ROUTER, ROUTER_MAC, UPLINK_MAC, A, B, C, rows, vnic
from hal.packet.contract import Backend, FlowFilter, Insert, LoadConfig, Modify
from hal.packet.schema.rows import as_rows
from tests.conformance.engines import EngineOnVeth
from tests.tools.until import until

FLOOD = 500
PORTS = (0, 1, 2, 3, 9)
OURS = "192.0.2.2"


@dataclass(frozen=True)
class Card:
    backend: Backend
    wire: Wire

    def engine(self, name: str) -> int:
        return self.backend.counters().engine[name]

    def drops(self, reason: str) -> int:
        return self.backend.counters().drops[reason]


@pytest.fixture
def card() -> Iterator[Card]:
    """The kit's world on veth pairs."""
    device = EngineOnVeth()
    backend = device.open()
    try:
        ports = tuple(device.port(number, f"p{number}") for number in PORTS)
        backend.load(LoadConfig(ports=ports, workers=2, connections=4096))
        backend.writer().commit([Insert(some) for some in as_rows(rows())])
        backend.start()
        wire = device.wire(backend)
        assert wire is not None
        yield Card(backend, wire)
    finally:
        device.close(backend)


GROUP_MAC = "01:00:5e:00:00:01"


def says(operation: int, mac: str, address: str, to: str = OURS) -> bytes:
    return ethernet(UPLINK_MAC, mac, ARP, arp(operation, mac, address, UPLINK_MAC, to))


def test_a_flood_of_arp_is_judged_before_others_hear_of_it(card: Card) -> None:
    """Nobody knows these neighbours, or the ARP is wrong: none of it is handed over. What a worker waits for is,
    whoever receives it: one answer, and both send to the router."""
    card.wire.receive()
    before = card.engine("handovers")
    for number in range(FLOOD):
        address, mac = f"192.0.2.{10 + number % 200}", f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}"
        card.wire.send(0, says(1 + number % 2, mac, address))
        card.wire.send(0, says(2, mac, ROUTER, to="192.0.2.99"))
        card.wire.send(0, ethernet(UPLINK_MAC, mac, ARP, arp(2, GROUP_MAC, ROUTER, UPLINK_MAC, OURS)))
    assert until(lambda: card.drops("arp_malformed") >= FLOOD)
    card.wire.receive()
    assert card.drops("arp_ignored") >= FLOOD + FLOOD // 2
    assert card.engine("handovers") == before

    for sport in range(4000, 4008):
        card.wire.send(1, A.frame(udp(A.ip, "203.0.113.9", sport)))
    assert until(lambda: {flow.worker for flow in card.backend.flows()} == {0, 1})
    sent = card.wire.receive()
    asked = [one for one in sent if one.port == 0 and one.data[12:14] == b"\x08\x06"]
    assert len(asked) >= 2  # each worker for itself
    handed = card.engine("handovers")
    card.wire.send(0, says(2, ROUTER_MAC, ROUTER))
    out: list[bytes] = []

    def all_out() -> bool:
        out.extend(one.data for one in card.wire.receive() if one.port == 0 and one.data[12:14] == b"\x08\x00")
        return len(out) == 8 - card.drops("neighbour_queue_full")  # four wait in a worker

    assert until(all_out)
    assert card.engine("handovers") == handed + 1
    # Told again and again, which is what a known neighbour may do: others hear it about once a second.
    began, handed = time.monotonic(), card.engine("handovers")
    for _ in range(FLOOD):
        card.wire.send(0, says(2, ROUTER_MAC, ROUTER))
    card.wire.receive()
    assert card.engine("handovers") - handed <= time.monotonic() - began + 1


def _has_dropped(card: Card, reason: str, count: int) -> bool:
    return card.drops(reason) == count


def _have_passed(card: Card, sport: int, count: int) -> bool:
    return [sum(flow.packets) for flow in card.backend.flows(FlowFilter(source_port=sport))] == [count]


def test_a_limit_is_whoevers_who_needs_it(card: Card) -> None:
    """One connection is allowed: whichever worker it hashes to, one after the other; and never two. It is one that goes
    on behind an answer: others would make way."""
    card.backend.writer().commit([Modify(some) for some in as_rows([replace(vnic(A), flow_limit=1)])])
    owners = set()
    for sport in range(4000, 4016):
        there, back = A.frame(udp(A.ip, C.ip, sport)), C.frame(udp(C.ip, A.ip, 53, sport))
        for passed, (host, datagram) in enumerate(((1, there), (3, back), (1, there)), 1):
            card.wire.send(host, datagram)
            assert until(partial(_have_passed, card, sport, passed))
        (flow,) = card.backend.flows()
        owners.add(flow.worker)
        refused = card.drops("flow_limit")
        for other in range(5000, 5008):
            card.wire.send(1, A.frame(udp(A.ip, C.ip, other)))
        assert until(partial(_has_dropped, card, "flow_limit", refused + 8))
        assert card.backend.writer().forget(FlowFilter(source_port=sport)) == 1
    assert owners == {0, 1}
    card.wire.send(2, B.frame(udp(B.ip, C.ip, 4000)))
    card.wire.send(2, B.frame(udp(B.ip, C.ip, 4001)))
    assert until(lambda: len(card.backend.flows()) == 2)
