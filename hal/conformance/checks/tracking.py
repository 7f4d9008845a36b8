"""How connections are followed: whose time-outs they have, from when on."""

from __future__ import annotations

from hal.conformance import world
from hal.conformance.bench import Bench, insert, modify
from hal.conformance.check import Level, check, equal
from hal.conformance.world import OPEN, A
from hal.packet.frame._generated import Profile, Tracking

SECOND = 1_000_000_000


@check(
    Level.STATEFUL,
    "So what a commit says holds at once for connections that live, longer or shorter.",
    needs=("packets", "bridge", "route", "flows"),
    waits=4,
)
def time_outs_are_those_of_now(bench: Bench) -> None:
    """A living connection has the time-out that a commit gives its vNIC's profile, longer or shorter, and so ends."""
    card = world.world(bench)
    traffic = card.traffic()
    world.routed(traffic)
    card.commit(insert(Tracking(id=1, udp=604_800)), modify(Profile(id=OPEN, tracking=1)))
    (flow,) = traffic.flows()
    equal(flow.timeout_ns, 604_800 * SECOND, "time-out by the row that its profile names, in ns")
    card.commit(modify(Tracking(id=1, udp=3)))
    (flow,) = traffic.flows()
    equal(flow.timeout_ns, 3 * SECOND, "time-out by the row as it is now, in ns")
    traffic.send(A.port, b"", after=4 * SECOND)
    equal(traffic.flows(), [], "connections when their time is over")
