"""Limits of the engine where many connections are in the way: expired ones of others, and a scan of a subnet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from hal.conformance.bench import insert, modify
from hal.conformance.frames import ARP, arp, ethernet, udp
from hal.conformance.world import GUARDED, ROUTER, ROUTER_MAC, UPLINK_MAC, VRF, A, B, C, chain, rows, rule, vnic
from hal.packet.contract import Backend, EventKind, LimitCounters, LoadConfig, PacketIn, PacketResult, PortConfig, Shard
from hal.packet.dpdk import Engine
from hal.packet.frame._generated import Vnic
from hal.packet.model import Twin
from hal.packet.stages.firewall._generated import FirewallBinding, FirewallPolicy
from hal.packet.stages.route._generated import SubnetRoute
from tests.tools.engines import running

SECOND = 1_000_000_000
MANY = 20_000
"""Connections that expire at once: more than are looked at in a row for one that lives."""
NEIGHBOURS = 65_536
CONFIG = LoadConfig(
    ports=tuple(PortConfig(number, f"p{number}", "replay") for number in (0, 1, 2, 3, 9)),
    flow_limit=200_000,
    pickup_ns=0,
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A loaded engine with room for many connections of each vNIC."""
    with running() as started:
        started.load(CONFIG)
        started.start()
        yield started


def _commit(engine: Backend, *instead: Vnic) -> None:
    """The kit's world, some of its vNICs otherwise, and a route to its uplink's subnet."""
    others = {one.id: one for one in instead}
    world = [others.get(row.id, row) if isinstance(row, Vnic) else row for row in rows()]
    engine.writer().commit(insert(*world, SubnetRoute(id=90, vrf=VRF, prefix="100.64.0.0/10", subnet=3)))


def _guarded(engine: Engine) -> None:
    """The same, with a firewall before A, whose one rule logs; A may have one connection."""
    guard = [*chain(GUARDED, ("firewall", "bridge", "route"), ("firewall",)), FirewallPolicy(id=1)]
    rules = [FirewallBinding(id=1, vnic=A.vnic, policy=1), rule(log=1)]
    engine.writer().commit(insert(*guard, *rules))
    engine.writer().commit(modify(vnic(A, GUARDED, flow_limit=1)))


def _run(shard: Shard, frame: bytes, port: int, at: int) -> PacketResult:
    (result,) = shard.replay([PacketIn(frame, port, at)])
    return result


def test_expired_connections_are_absent_however_many_lie_before(engine: Engine) -> None:
    """B has one connection and may have one. It expires a little after A's many, and is absent from then on."""
    _commit(engine, replace(vnic(B), flow_limit=1))
    shard = engine.shard(connections=MANY + 10)
    first, second = B.frame(udp(B.ip, C.ip, 1)), B.frame(udp(B.ip, C.ip, 2))
    assert _run(shard, first, B.port, SECOND - 1).reason == ""
    assert _run(shard, C.frame(udp(C.ip, B.ip, 53, 1)), C.port, SECOND).reason == ""
    assert _run(shard, first, B.port, SECOND + 1).reason == ""  # answered: it lives for 300 s, and makes no way
    own = [PacketIn(A.frame(udp(A.ip, C.ip, 1 + n, 1 + n // 60_000)), A.port, 181 * SECOND) for n in range(MANY)]
    assert {one.reason for one in shard.replay(own)} == {""}
    assert _run(shard, second, B.port, 301 * SECOND).reason == "flow_limit"
    assert _run(shard, second, B.port, 301 * SECOND + 1).reason == ""
    shard.close()


def test_a_full_table_has_room_as_soon_as_one_expired(engine: Engine) -> None:
    _commit(engine)
    shard = engine.shard(connections=MANY)
    own = [PacketIn(A.frame(udp(A.ip, C.ip, 1 + n)), A.port, SECOND) for n in range(MANY)]
    assert {one.reason for one in shard.replay(own)} == {""}
    other = A.frame(udp(A.ip, C.ip, 1 + MANY))
    assert _run(shard, other, A.port, 121 * SECOND - 1).reason == "flow_table_full"
    assert _run(shard, other, A.port, 121 * SECOND).reason == ""
    shard.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_scan_takes_no_neighbour_from_others(engine: Engine, at_once: bool) -> None:
    """A opens more connections to silent addresses of the uplink's subnet than neighbours can be known: B finds the
    router all the same, while A's share of waiting packets is taken and later; and it counts as what it is, packets of
    which more wait than A may have."""
    _commit(engine)
    shard = engine.shard(connections=NEIGHBOURS + 1000)
    scan = [
        PacketIn(A.frame(udp(A.ip, f"100.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}")), A.port, SECOND)
        for n in range(NEIGHBOURS + 100)
    ]
    results = shard.replay(scan)
    assert [one.reason for one in results[:32]] == [""] * 32
    assert {one.reason for one in results[32:]} == {"neighbour_queue_limit"}
    assert shard.counters().drops["neighbour_queue_limit"] == NEIGHBOURS + 100 - 32
    later = SECOND + 1 if at_once else 10 * SECOND  # those that waited were given up
    assert _run(shard, B.frame(udp(B.ip, "203.0.113.9")), B.port, later).reason == ""
    answer = ethernet(UPLINK_MAC, ROUTER_MAC, ARP, arp(2, ROUTER_MAC, ROUTER, UPLINK_MAC, "192.0.2.2"))
    sent = [out.port for out in _run(shard, answer, 0, later + 1).outputs]
    assert sent == [0]
    shard.close()


def test_refused_connections_leave_no_neighbours(engine: Engine) -> None:
    """More of them than neighbours can be known, to as many addresses, come to nothing; then one is let through."""
    _commit(engine)
    shard = engine.shard(connections=1)
    scan = [
        PacketIn(A.frame(udp(A.ip, f"100.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}")), A.port, SECOND)
        for n in range(NEIGHBOURS + 100)
    ]
    results = shard.replay(scan)
    assert (results[0].reason, {one.reason for one in results[1:]}) == ("", {"flow_table_full"})
    assert _run(shard, B.frame(udp(B.ip, "100.127.0.1")), B.port, 122 * SECOND).reason == ""
    shard.close()


def test_logs_push_out_nothing_but_logs(engine: Engine) -> None:
    """What was told before 5,000 logs, 100 a second, is still there; of the logs as many as are kept. All of them in
    one replay: the shard's own ring holds fewer."""
    _commit(engine)
    _guarded(engine)
    shard = engine.shard(connections=10_000)
    first = [_run(shard, A.frame(udp(A.ip, C.ip, port)), A.port, SECOND).reason for port in (1, 3)]
    assert first == ["", ""]  # for which the first has made way
    replies = [PacketIn(C.frame(udp(C.ip, A.ip, 1 + n)), C.port, 2 * SECOND + n * SECOND // 100) for n in range(5_000)]
    assert {one.reason for one in shard.replay(replies)} == {""}
    told = shard.events()
    assert [event.number for event in told.events if event.kind is EventKind.FLOW_LIMIT] == [2]
    assert [event.number for event in told.events if event.kind is EventKind.RULE_LOG] == list(range(908, 5004))
    assert (told.missed, told.cursor) == (5003 - 4097, 5003)
    assert shard.counters().engine["logs_suppressed"] == 0
    shard.replay([PacketIn(C.frame(udp(C.ip, A.ip, 1 + n, 2)), C.port, 60 * SECOND) for n in range(1_000)])
    assert (shard.events().cursor, shard.counters().engine["logs_suppressed"]) == (5103, 900)
    shard.close()


@pytest.fixture(params=["engine", "twin"])
def either(request: pytest.FixtureRequest) -> Backend:
    if request.param == "engine":
        return cast("Backend", request.getfixturevalue("engine"))
    twin = Twin()
    twin.load(CONFIG)
    twin.start()
    return twin


def test_who_waits_are_bounded_in_all(either: Backend) -> None:
    """Eight vNICs fill the room for packets that wait, a share each; of the ninth one finds room all the same, and a
    second one when they are given up."""
    _commit(either)
    either.writer().commit(insert(*(vnic(A, id=300 + place, port=3, vlan=100 + place) for place in range(9))))
    shard = either.shard(connections=1000)

    def scanned(place: int, to: int, at: int) -> str:
        tagged = A.frame(udp(A.ip, f"100.64.{place}.{to}"))
        frame = tagged[:12] + bytes([0x81, 0, 0, 100 + place]) + tagged[12:]
        return _run(shard, frame, 3, at).reason

    for place in range(8):
        assert [scanned(place, to, SECOND) for to in range(33)] == [""] * 32 + ["neighbour_queue_limit"]
    assert [scanned(8, to, SECOND) for to in (0, 1)] == ["", "neighbour_queue_full"]
    assert scanned(8, 1, 4 * SECOND) == ""
    assert shard.counters().drops["neighbour_unresolved"] == 257
    shard.close()


def _asked_and_answered(shard: Shard, places: range) -> list[str]:
    """A sends to so many addresses of the uplink's net; the router says of each that it is there."""
    reasons, at = [], SECOND
    for first in range(places.start, places.stop, 32):
        packets, answers = [], []
        for place in places[first - places.start :][:32]:
            to = f"100.{64 + (place >> 16)}.{place >> 8 & 255}.{place & 255}"
            packets.append(PacketIn(A.frame(udp(A.ip, to, 1 + place // 60_000)), A.port, at))
            answers.append(arp(2, ROUTER_MAC, to, UPLINK_MAC, "100.64.0.1"))
        reasons += [one.reason for one in shard.replay(packets)]
        frames = [ethernet(UPLINK_MAC, ROUTER_MAC, ARP, answer) for answer in answers]
        shard.replay([PacketIn(frame, 0, at) for frame in frames])
    return reasons


def test_neighbours_that_answer_have_a_share_too(engine: Engine) -> None:
    """A router that answers for every address of its net: A has half of all neighbours, and B finds room."""
    _commit(engine)
    shard = engine.shard(connections=NEIGHBOURS)
    reasons = _asked_and_answered(shard, range(256, 256 + NEIGHBOURS // 2 + 40))
    assert reasons == [""] * (NEIGHBOURS // 2) + ["neighbour_limit"] * 40
    assert shard.counters().drops["neighbour_limit"] == 40
    told = [(event.kind, event.id) for event in shard.events().events]
    assert told == [(EventKind.NEIGHBOUR_LIMIT, A.vnic)]
    assert [_run(shard, B.frame(udp(B.ip, f"100.127.0.{to}")), B.port, SECOND).reason for to in range(8)] == [""] * 8
    assert len(shard.neighbours()) == NEIGHBOURS // 2 + 8
    shard.settle()
    limits, room = shard.counters().limits, NEIGHBOURS // 2 - 8
    assert limits[A.vnic, "neighbour_limit"] == LimitCounters(NEIGHBOURS // 2, room, 40)
    assert limits[B.vnic, "neighbour_limit"] == LimitCounters(8, room, 0)
    shard.close()
