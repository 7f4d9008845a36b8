"""build/bench.json: one row a figure, and what each has to reach.

Shape: {"machine": {...}, "figures": [{"id", "value", "unit", "peer", "peer_value", "ratio", "spread", "size",
"more": {name: number}}]}. `value` and `peer_value` are medians over runs, `spread` is the value's (see spread()),
`size` is how much of what the figure is about there was (flows, rules, routes, ports).
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "build" / "bench.json"


class Ratio(Enum):
    """What is divided by what."""

    TO_FLOOR = "ours over the floor's"
    TIMES_AS_FAST = "the peer's over ours"
    OF_STILL_RATE = "the rate over that of the same run without the change"
    NONE = "none"

    def of(self, value: float, peer_value: float | None) -> float | None:
        """The ratio of a figure, as the kind of figure defines it.

        Raises:
            ValueError: there must be a peer and isn't, or there is one where nothing is divided.
        """
        if self is Ratio.NONE:
            if peer_value is not None:
                raise ValueError("this figure has no ratio, so it has no peer")
            return None
        if peer_value is None:
            raise ValueError(f"the ratio is {self.value}: a peer's value is missing")
        if value <= 0 or peer_value <= 0:
            raise ValueError(f"no ratio of {value} and {peer_value}")
        return peer_value / value if self is Ratio.TIMES_AS_FAST else value / peer_value


class Sense(Enum):
    """Which side of a limit is good."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Limit:
    """`name` is "value", "ratio", or a name in `more`."""

    name: str
    sense: Sense
    number: float


@dataclass(frozen=True)
class Kind:
    """One row of the table of figures. Sizes are in `size_of`; `more` names what must stand there."""

    unit: str
    ratio: Ratio
    size_of: str
    limits: tuple[Limit, ...]
    more: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "firewall_1k": Kind("ns/packet", Ratio.TO_FLOOR, "flows", (Limit("ratio", Sense.AT_MOST, 2),)),
    "firewall_1m": Kind("ns/packet", Ratio.TO_FLOOR, "flows", (Limit("ratio", Sense.AT_MOST, 3),)),
    "firewall_tcp": Kind("ns/packet", Ratio.TO_FLOOR, "flows", (), more=("flows_1k",)),
    "firewall_vs_nft": Kind(
        "ns/packet",
        Ratio.TIMES_AS_FAST,
        "flows",
        (Limit("ratio", Sense.AT_LEAST, 20),),
        more=("on_veth", "on_veth_ratio"),
    ),
    "first_packet": Kind(
        "ns",
        Ratio.NONE,
        "rules",
        (Limit("value", Sense.AT_MOST, 600), Limit("over_10_rules", Sense.AT_MOST, 2)),
        more=("over_10_rules", "rules_10", "rules_1k"),
    ),
    "change_one": Kind("ms", Ratio.NONE, "rules", (Limit("value", Sense.AT_MOST, 5),)),
    "churn": Kind("packets/s", Ratio.OF_STILL_RATE, "commits/s", (Limit("ratio", Sense.AT_LEAST, 0.9),)),
    "load_routes": Kind("s", Ratio.NONE, "routes", (Limit("value", Sense.AT_MOST, 3),)),
    "memory_flow": Kind("bytes", Ratio.NONE, "connections", (Limit("value", Sense.AT_MOST, 322),), more=("tcp",)),
    "idle": Kind(
        "% of a core",
        Ratio.NONE,
        "ports",
        (
            Limit("value", Sense.AT_MOST, 2),
            Limit("p99_us", Sense.AT_MOST, 500),
            Limit("p50_over_bare", Sense.AT_MOST, 1.5),
        ),
        more=("p99_us", "bare_p99_us", "p50_over_bare"),
    ),
}


def spread(runs: Sequence[float]) -> float:
    """How far apart runs were: the largest less the smallest, over the median. One run: 0."""
    middle = statistics.median(runs)
    return (max(runs) - min(runs)) / abs(middle) if middle else 0.0


@dataclass(frozen=True)
class Figure:
    """One row. Made by figure(), which computes what follows from the rest."""

    id: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    spread: float
    size: int
    more: Mapping[str, float] = field(default_factory=dict)

    def number(self, name: str) -> float:
        """What a Limit's name means here."""
        if name == "value":
            return self.value
        if name == "ratio":
            if self.ratio is None:
                raise ValueError(f"{self.id} has no ratio")
            return self.ratio
        return self.more[name]

    def missed(self) -> list[str]:
        """A sentence for each limit that isn't reached."""
        return [
            f"{self.id}: {limit.name} is {self.number(limit.name):.4g}, to reach is {limit.sense.value} "
            f"{limit.number:g}"
            for limit in KINDS[self.id].limits
            if (self.number(limit.name) > limit.number) is (limit.sense is Sense.AT_MOST)
            and self.number(limit.name) != limit.number
        ]


def figure(
    name: str,
    runs: Sequence[float],
    size: int,
    *,
    peer: str | None = None,
    peer_runs: Sequence[float] = (),
    more: Mapping[str, float] | None = None,
) -> Figure:
    """A row from the runs of ours and of the peer.

    Args:
        name: one of KINDS.
        runs: our number of each run, in the figure's unit.
        size: how much there was of what the kind's `size_of` says.
        peer: who was run against, in a few words; where the ratio has a peer.
        peer_runs: its number of each run, in the same unit.
        more: the further numbers by name.

    Raises:
        ValueError: no such figure, no runs, a number that isn't one, a peer or a further number too many or too few.
    """
    if name not in KINDS:
        raise ValueError(f"no figure is called {name}: {', '.join(KINDS)}")
    kind, further = KINDS[name], dict(more or {})
    if not runs:
        raise ValueError(f"{name}: no run")
    if bool(peer) is not bool(peer_runs):
        raise ValueError(f"{name}: a peer has a name and runs, or there is none")
    if lacking := [key for key in kind.more if key not in further]:
        raise ValueError(f"{name}: {', '.join(lacking)} missing in more")
    if wrong := [number for number in (*runs, *peer_runs, *further.values()) if not math.isfinite(number)]:
        raise ValueError(f"{name}: {wrong[0]} is not a number")
    value = statistics.median(runs)
    peer_value = statistics.median(peer_runs) if peer_runs else None
    try:
        ratio = kind.ratio.of(value, peer_value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return Figure(name, value, kind.unit, peer, peer_value, ratio, spread(runs), size, further)


def document(machine: Mapping[str, str | int | float], figures: Sequence[Figure]) -> dict[str, Any]:
    """What is written, as plain values; each figure once, in the table's order.

    Raises:
        ValueError: a figure twice.
    """
    names = [row.id for row in figures]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)}: more than once")
    order = list(KINDS)
    rows = sorted(figures, key=lambda row: order.index(row.id))
    return {"machine": dict(machine), "figures": [{**asdict(row), "more": dict(row.more)} for row in rows]}


def write(machine: Mapping[str, str | int | float], figures: Sequence[Figure], path: Path = PATH) -> None:
    """Write build/bench.json, all of it or nothing."""
    text = json.dumps(document(machine, figures), indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def read(path: Path = PATH) -> tuple[dict[str, str | int | float], list[Figure]]:
    """Machine and figures of a file that write() wrote."""
    data: dict[str, Any] = json.loads(path.read_text())
    return data["machine"], [Figure(**row) for row in data["figures"]]
