"""Runs checks against a device and says, in a report, what it can be admitted for and what to build next."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hal.conformance.bench import Bench
from hal.conformance.check import VERBS, Check, Level, Unmet, checks_of
from hal.conformance.checks import MODULES
from hal.conformance.device import MEANS, Device, has_means, waits
from hal.errors import HalError
from hal.text import printable_line

__all__ = ["Report", "Result", "State", "checks_for", "run", "run_one", "say", "tested_levels"]


MEANS_WORDS = "means of its device: "
PATIENCE = 30.0
"""Seconds behind which `run` tells of a check that is still running: a stranger's card may never come back."""
SHORTER = "Device.advance makes it shorter: move the card's clock, or shorten its time-outs and wait as much less."
UNSEEN = "verb shard, or a wire to its ports"
"""What a card lacks of which no packet can be seen."""


class State(Enum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "absent"
    """It needs what the card declares absent, or what its device has no means for; not held against it."""


@dataclass(frozen=True)
class Result:
    """One check, with the reason where it did not pass."""

    check: Check
    state: State
    words: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check.name,
            "level": self.check.level.word,
            "state": self.state.value,
            "sentences": list(self.check.sentences),
            "words": self.words,
            "seconds": round(self.seconds, 6),
        }


@dataclass(frozen=True)
class Report:
    """Results of one run.

    Args:
        device: the device's name.
        level: what it was held to.
        told: the level that its capabilities tell, "" where they couldn't be asked.
        absent: what they tell to be absent.
        results: a result for each check.
    """

    device: str
    level: Level
    told: str
    absent: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """No check failed, and the card reached what it was held to; of a run of some checks only: none failed."""
        return bool(self.results) and not self.failed and (not self.whole or self.reached is self.level)

    @property
    def whole(self) -> bool:
        """Every check up to the level it was held to was run. Some of them say nothing about a level."""
        return {check.name for check in checks_for(self.level)} <= {result.check.name for result in self.results}

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.state is State.FAILED)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Verbs that the level needs and the card declares absent."""
        return tuple(verb for verb in self.absent if verb in VERBS and VERBS[verb] <= self.level)

    @property
    def reached(self) -> Level | None:
        """The highest level that was tested whole and of which no check failed, up to the one it was held to. A level
        without checks of its own is reached by nobody, nor one whose packets nobody saw. None where there is none."""
        if not self.whole:
            return None
        found: Level | None = None
        for level in tested_levels():
            below = [result for result in self.results if result.check.level <= level]
            bad = any(result.state is State.FAILED or result.words == UNSEEN for result in below)
            if level > self.level or bad or any(VERBS[verb] <= level for verb in self.absent if verb in VERBS):
                break
            found = level
        return found

    @property
    def untested(self) -> Mapping[str, int]:
        """What is missing -> how many checks could not be run for the lack of it, most first."""
        return dict(Counter(one.words for one in self.results if one.state is State.ABSENT).most_common())

    def next(self) -> list[str]:
        """What to build next, first things first."""
        advice = [f"Fix {result.check.name}: {result.words}" for result in self.failed[:3]]
        waiting: dict[str, int] = {}
        absent = [result for result in self.results if result.state is State.ABSENT]
        means = [result for result in absent if result.words.startswith(MEANS_WORDS)]
        first = min((result.check.level for result in absent if result not in means), default=None)
        for result in absent:
            if result not in means and result.check.level is first:
                waiting[result.words] = waiting.get(result.words, 0) + 1
        advice += [
            f"Build what is absent, {words}: {count} checks of level {first.word if first else ''} wait for it"
            for words, count in sorted(waiting.items(), key=lambda item: -item[1])
        ]
        above = [level for level in tested_levels() if level > self.level]
        if not advice and above and self.whole:
            advice.append(f"Run the kit at level {above[0].word}.")
        for words, count in Counter(one.words for one in means).items():
            advice.append(f"Give the kit {words}: {count} check{' waits' if count == 1 else 's wait'} for it")
        return advice

    def verdict(self) -> list[str]:
        """What it is admitted for, and what nobody tested for that; nothing for a run of some checks only."""
        told = []
        if not self.whole:
            told.append(f"no level is told: {len(self.results)} of {len(checks_for(self.level))} checks were run")
        else:
            told.append(f"admitted for: {self.reached.word if self.reached else 'nothing yet'}")
            if self.level not in tested_levels():
                told.append(f"level {self.level.word} has no checks yet: nothing can be admitted for it")
        if self.whole and self.lacking:
            told.append(f"level {self.level.word} needs what the card declares absent: {', '.join(self.lacking)}")
        if self.untested:
            told.append(f"not tested: {sum(self.untested.values())} of {len(self.results)} checks")
            told += [f"    for lack of {words}: {count}" for words, count in self.untested.items()]
        return told

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "level": self.level.word,
            "told": self.told,
            "reached": self.reached.word if self.reached else None,
            "passed": self.passed,
            "whole": self.whole,
            "untested": dict(self.untested),
            "absent": list(self.absent),
            "next": self.next(),
            "results": [result.to_dict() for result in self.results],
        }

    def print(self, console: Console, every: bool = False) -> None:
        """The matrix: a line a group of checks, a column a state; then what failed, and what to build next."""
        table = Table("level", "about", title=Text(f"{self.device}, held to level {self.level.word}"))
        for state in State:
            table.add_column(state.value, justify="right")
        groups: dict[tuple[Level, str], list[Result]] = {}
        for result in self.results:
            about = result.check.body.__module__.rsplit(".", 1)[-1].replace("_", " ")
            groups.setdefault((result.check.level, about), []).append(result)
        for (level, about), results in sorted(groups.items(), key=lambda item: item[0][0]):
            counts = [sum(result.state is state for result in results) for state in State]
            style = "red" if counts[1] else None
            table.add_row(level.word, about, *(str(count) if count else "" for count in counts), style=style)
        console.print(table)
        for result in self.results:
            if every or result.state is State.FAILED:
                say(console, f"{result.state.value} {result.check.name} ({result.check.about})")
                for line in result.words.splitlines():
                    say(console, f"    {line}")
                if result.state is State.FAILED:
                    for sentence in result.check.sentences:
                        say(console, f"    the contract: {sentence}")
        for line in self.verdict():
            say(console, line)
        for advice in self.next():
            say(console, f"next: {advice}")


def say(console: Console, line: str) -> None:
    """A line that may hold anyone's words: no markup, no commands to the terminal."""
    console.print(Text(printable_line(line)))


def checks_for(level: Level = Level.ALL, modules: Iterable[ModuleType] = MODULES) -> list[Check]:
    """All checks up to this level, lower levels first."""
    found = [check for module in modules for check in checks_of(module) if check.level <= level]
    return sorted(found, key=lambda check: check.level)


def tested_levels() -> list[Level]:
    """The levels that have checks of their own, lowest first."""
    return sorted({check.level for check in checks_for()})


def _without(device: Device, absent: Sequence[str], stages: Sequence[str], check: Check) -> str:
    """What this check needs and can't have; "" where nothing is in its way."""
    for need in check.needs:
        if need in MEANS:
            if not has_means(device, need):
                return MEANS_WORDS + need
            continue
        if need == "wire" and not _has_wire(device):
            return "a wire to its ports"
        if need == "packets" and "shard" in absent and not _has_wire(device):
            return UNSEEN
        if need in ("wire", "packets"):
            continue
        if need in absent or (need not in VERBS and need not in stages):
            return f"stage {need}" if need not in VERBS else f"verb {need}"
    return ""


def _has_wire(device: Device) -> bool:
    return has_means(device, "wire")


def run_one(device: Device, check: Check, absent: Sequence[str] = (), stages: Sequence[str] | None = None) -> Result:
    """One check on cards of its own. `absent` and `stages` are as its capabilities tell them; None: a card is asked,
    the first time that this device is held to anything."""
    if stages is None:
        if device not in _ASKED:
            _ASKED[device] = _ask(device)
        absent, stages, _ = _ASKED[device]
    if words := _without(device, absent, stages, check):
        return Result(check, State.ABSENT, words)
    bench = Bench(device)
    began = time.monotonic()
    try:
        check.body(bench)
        state, words = State.PASSED, ""
    except Unmet as unmet:
        state, words = State.FAILED, str(unmet)
    except HalError as error:
        state, words = State.FAILED, f"refused where the contract has it allowed: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a stranger's card raises is a finding, not our end
        place = traceback.extract_tb(error.__traceback__)[-1]
        state, words = State.FAILED, f"raised {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    finally:
        bench.close()
    return Result(check, state, words, time.monotonic() - began)


_ASKED: WeakKeyDictionary[Device, tuple[tuple[str, ...], tuple[str, ...], str]] = WeakKeyDictionary()
"""What `_ask` found: a test of each check by itself would start an engine more for each."""


def _ask(device: Device) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """What a card tells to be absent, its stages with code, and its level."""
    bench = Bench(device)
    try:
        told = bench.card().capabilities
        return told.absent, told.stages, told.level
    finally:
        bench.close()


def run(
    device: Device,
    level: Level | None = None,
    checks: Sequence[Check] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Hold a device to a level: the one given, else the one that its capabilities tell. Checks that wait come
    last, and `tell` is told before each that has to be waited for, and of each that takes long.

    Raises:
        HalError: where a card can't even be opened, loaded and asked for its capabilities.
    """
    absent, stages, told = _ask(device)
    level = Level.of(told) if level is None else level
    chosen = checks_for(level) if checks is None else [check for check in checks if check.level <= level]
    done: dict[str, Result] = {}
    for check in sorted(chosen, key=lambda check: check.waits):
        if tell and check.waits and waits(device, absent) and not _without(device, absent, stages, check):
            to_go = f"{len(chosen) - len(done)} of {len(chosen)} checks to go"
            tell(f"{check.name} waits {check.waits} s: {to_go}. {SHORTER}")
        with _watched(check, tell):
            done[check.name] = run_one(device, check, absent, stages)
    return Report(device.name, level, told, absent, tuple(done[check.name] for check in chosen))


@contextmanager
def _watched(check: Check, tell: Callable[[str], None] | None) -> Iterator[None]:
    """Tells which check it is where it doesn't come to an end."""
    if tell is None:
        yield
        return
    words = f"{check.name} has been running for {PATIENCE:.0f} s (beyond what it waits for): {check.about}"
    watch = threading.Timer(PATIENCE + check.waits, tell, (words,))
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
