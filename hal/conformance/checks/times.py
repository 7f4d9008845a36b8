"""Times that a card tells: of which clock they are."""

from __future__ import annotations

from collections.abc import Callable

from hal.conformance.bench import Bench, Card
from hal.conformance.check import Level, check, equal, expect
from hal.conformance.frames import udp
from hal.conformance.world import A, C, firewalled, routed, rule
from hal.packet.contract import EventKind, PacketIn

CLOCK = (
    "Times of events and connections are nanoseconds of CLOCK_BOOTTIME, between what it says before their cause and "
    "behind it."
)
CALLERS = (
    "In a private shard they are the caller's, and so is the whole clock of a card that is moved by hand, as the "
    "twin's is."
)
AHEAD_NS = 20_000_000
"""So much is let pass first: a clock that is moved by hand may begin at 0, where nanoseconds look like seconds."""
SLACK_NS = 1_000_000
"""What may lie between two readings of a clock that are made at once, on two CPUs."""
LATE_NS = 100_000_000
"""How much older than its packet a time may be: cards read the clock once for many packets."""
SECOND = 1_000_000_000


def _between(card: Card, cause: Callable[[], object], times: Callable[[], dict[str, int]], early: int) -> None:
    """What is told of a cause lies between two readings of the clock, but for `early` nanoseconds before them."""
    card.advance(AHEAD_NS)
    before = card.now_ns()
    cause()
    after = card.now_ns()
    for what, told in times().items():
        words = f"{what}: got {told}, wanted {before}..{after} of CLOCK_BOOTTIME (Device.now_ns says another clock)"
        expect(before - early <= told <= after + SLACK_NS, words)


@check(Level.STATELESS, CLOCK, needs=("events",))
def commits_have_the_clocks_time(bench: Bench) -> None:
    """A COMMIT event's time lies between what the clock says before the commit and behind it."""
    card = bench.card()
    _between(card, card.commit, lambda: {"time of a COMMIT event": card.backend.events().events[-1].time_ns}, SLACK_NS)


@check(Level.STATEFUL, CLOCK, CALLERS, needs=("events", "flows", "wire", "firewall", "bridge", "route"))
def connections_have_the_clocks_time(bench: Bench) -> None:
    """A connection through the ports was made, and last used, between two readings of the clock; so was its log."""
    card = firewalled(bench, rule(log=1))
    live = card.live()

    def times() -> dict[str, int]:
        (flow,) = live.flows()
        logs = [event.time_ns for event in live.events().events if event.kind is EventKind.RULE_LOG]
        told = {"created_ns": flow.created_ns, "last_ns": flow.last_ns}
        return told | {f"time of RULE_LOG event {number}": at for number, at in enumerate(logs, 1)}

    _between(card, lambda: routed(live).left_by(C.port), times, LATE_NS)


@check(Level.STATEFUL, CALLERS, needs=("events", "flows", "shard", "firewall", "bridge", "route"))
def shards_have_their_callers_time(bench: Bench) -> None:
    """In a private shard times are those that its packets came with, to the nanosecond."""
    shard = firewalled(bench, rule(log=1)).shard()
    first, last = 5 * SECOND + 1, 7 * SECOND + 3
    shard.replay([PacketIn(A.frame(udp(A.ip, C.ip)), A.port, at) for at in (first, last)])
    (flow,) = shard.flows()
    equal((flow.created_ns, flow.last_ns), (first, last), "created_ns and last_ns of a connection")
    logs = [event.time_ns for event in shard.events().events if event.kind is EventKind.RULE_LOG]
    equal([at for at in logs if at != first], [], "times of RULE_LOG events that aren't their packet's")
