"""How much a run of the bench does, and what it says while it does it."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """
    Args:
        runs: of each figure that has runs; they interleave with those of the peer.
        packets: in a phase that is timed.
        flows: at most, where a figure is about a million.
        rules: of the long list.
        changes: of one rule, in change_one.
        seconds: that a rate is measured for, in churn.
        idle_seconds: at rest, in idle.
        routes: at most, in load_routes; None: the whole table.
        huge: packets in huge pages.
    """

    runs: int = 5
    packets: int = 20_000_000
    flows: int = 1_000_000
    rules: int = 10_000
    changes: int = 500
    seconds: float = 5.0
    idle_seconds: float = 60.0
    routes: int | None = None
    huge: bool = True
    quiet: bool = False

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


FULL = Effort()
QUICK = Effort(runs=2, packets=5_000_000, changes=60, seconds=1.5, idle_seconds=10.0)
TINY = Effort(
    runs=1, packets=20_000, flows=2_000, rules=100, changes=6, seconds=0.3, idle_seconds=1.0, routes=2_000, huge=False,
    quiet=True,
)  # fmt: skip
