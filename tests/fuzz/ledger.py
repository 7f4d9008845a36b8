"""What runs at length have added up to: a line of JSON for each in `build/fuzz/TARGET/runs.jsonl`."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from tests.fuzz.targets import Target


@dataclass(frozen=True)
class Entry:
    """A run, or several added up.

    Args:
        seconds: by the wall.
        processor: seconds of processor time, which a busy machine doesn't make more of.
        inputs: executions.
        edges: of code reached at the end, the most of all runs when added up.
        runs: how many.
    """

    seconds: float = 0.0
    processor: float = 0.0
    inputs: int = 0
    edges: int = 0
    runs: int = 0

    def __add__(self, other: Entry) -> Entry:
        return Entry(
            self.seconds + other.seconds,
            self.processor + other.processor,
            self.inputs + other.inputs,
            max(self.edges, other.edges),
            self.runs + other.runs,
        )

    def __str__(self) -> str:
        hours = f"{self.processor / 3600:.2f} h of processor time ({self.seconds / 3600:.2f} h)"
        return f"{self.inputs:,} inputs in {hours} over {self.runs} runs, {self.edges:,} edges"


class Clock:
    """Reads how long a run took; processor time is that of children that have ended."""

    def __init__(self) -> None:
        self._began, self._processor = time.monotonic(), _children()

    def entry(self, inputs: int, edges: int) -> Entry:
        return Entry(time.monotonic() - self._began, _children() - self._processor, inputs, edges, 1)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def add(target: Target, entry: Entry) -> None:
    """Write a run down."""
    target.ledger.parent.mkdir(parents=True, exist_ok=True)
    with target.ledger.open("a") as file:
        file.write(json.dumps(asdict(entry)) + "\n")


def total(target: Target) -> Entry:
    """All runs of a target in this checkout. A line that a full disk cut short counts for nothing."""
    return sum(_entries(target), Entry())


def _entries(target: Target) -> Iterator[Entry]:
    if not target.ledger.is_file():
        return
    for line in target.ledger.read_text().splitlines():
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            continue
