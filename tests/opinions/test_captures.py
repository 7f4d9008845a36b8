"""The verdict of every packet of the corpus: twin and engine agree on all, and where Linux differs it is listed why."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

from hal.packet.contract import Backend, PacketResult, Verdict
from tests.opinions import odd, ours
from tests.opinions.capture import Capture, kept
from tests.opinions.compare import Opinion, opinions
from tests.opinions.conntrack import Conntrack
from tests.opinions.differences import DIFFERENCES, NOW, OURS, RIGHT, THEIRS, Difference, too_many
from tests.opinions.room import Room, room
from tests.opinions.stacks import TALKS

LEAST = 300
"""Captures in the corpus."""
WRITTEN = Path(__file__).resolve().parents[2] / "build" / "opinions.txt"


@cache
def corpus() -> Sequence[Capture]:
    """What was kept of Linux's stacks, and what the stories tell."""
    return [*kept(), *odd.captures()]


def by_difference(found: Sequence[Opinion]) -> tuple[dict[Difference, list[Opinion]], list[Opinion]]:
    """Those that differ, by what explains them first; and those that nothing explains."""
    explained: dict[Difference, list[Opinion]] = {one: [] for one in DIFFERENCES}
    left = []
    for opinion in found:
        if not opinion.differs:
            continue
        for difference in DIFFERENCES:
            if difference.explains(opinion):
                explained[difference].append(opinion)
                break
        else:
            left.append(opinion)
    return explained, left


def test_the_corpus_is_large(tell: Callable[[object], None]) -> None:
    sizes = Counter(one.name.partition("/")[0] for one in corpus())
    kinds = {one.name.rpartition("-")[0] for one in corpus() if one.name.startswith("linux/")}
    tell(f"captures: {dict(sizes)}, packets: {sum(len(one.frames) for one in corpus())}")
    assert sizes.total() >= LEAST
    assert kinds == {f"linux/{kind}" for kind in TALKS}


def test_twin_and_engine_agree_on_all(twin: Backend, engine: Backend) -> None:
    def all_of(results: Sequence[PacketResult]) -> list[tuple[Verdict, str, object]]:
        return [(one.verdict, one.reason, one.outputs) for one in results]

    packets = 0
    for capture in corpus():
        by_twin, by_engine = ours.results(twin, capture), ours.results(engine, capture)
        assert all_of(by_engine) == all_of(by_twin), capture.name
        packets += len(by_twin)
    assert packets > 10_000


def test_every_difference_from_linux_is_listed(twin: Backend, linux: Conntrack, tell: Callable[[object], None]) -> None:
    found = [
        opinion
        for capture in corpus()
        for opinion in opinions(capture, ours.results(twin, capture), linux.verdicts(capture.frames))
    ]
    explained, left = by_difference(found)
    lines = []
    for difference, seen in explained.items():
        lines.append(f"{len(seen):4} {difference.what}: right is {difference.right}. {difference.why}")
        lines += [f"       {one}" for one in seen]
    WRITTEN.parent.mkdir(exist_ok=True)
    WRITTEN.write_text("\n".join(lines) + "\n")
    both = Counter((one.reason == "", one.theirs) for one in found)
    tell(
        f"{len(found)} opinions: both pass {both[True, True]}, both drop {both[False, False]}, only the card drops "
        f"{both[False, True]}, only Linux does {both[True, False]}; each listed in {WRITTEN.name}"
    )
    assert list(map(str, left)) == []
    assert [one.what for one, seen in explained.items() if not seen] == []
    for one, seen in explained.items():
        counted = Counter(opinion.capture.partition("/")[0] for opinion in seen)
        assert (counted["odd"], counted["linux"]) == (one.odd, one.linux), (one.what, list(map(str, seen)))
    assert both[True, True] > 5_000
    assert both[False, False] > 100


def test_every_difference_says_who_is_right_by_which_clause() -> None:
    """A clause that leaves a choice makes nobody right alone."""
    for one in DIFFERENCES:
        assert one.right in RIGHT, one.what
        assert re.match(r"RFC \d+ (\d+(\.\d+)*|REQ-\d+)", one.why), one.what
        if one.right in (OURS, THEIRS):
            assert not re.search(r"\b(MAY|SHOULD|optional|suggested)\b", one.why), one.what


def test_talks_of_today_are_no_different(
    twin: Backend, engine: Backend, linux: Conntrack, seed: int, long: bool
) -> None:
    """New captures of this machine's own stack, of each talk."""
    with room("dsn-talk") as here:
        for number, kind in enumerate(TALKS):
            for turn in range(3 if long else 1):
                capture = _recorded(here, kind, seed + 100 * number + turn)
                by_twin = ours.results(twin, capture)
                assert ours.results(engine, capture) == by_twin, capture
                found = list(opinions(capture, by_twin, linux.verdicts(capture.frames)))
                _, left = by_difference(found)
                assert list(map(str, left)) == [], capture
                assert list(map(str, too_many(capture.name, found))) == []


@pytest.mark.parametrize("kind", TALKS)
@pytest.mark.parametrize("reason", ["tcp_window", "tcp_state", "tcp_no_session", "tcp_challenged", ""])
@pytest.mark.parametrize("what", ["S", "SA", "A", "PA", "FA", "FPA", "RA"])
def test_no_difference_explains_a_talk_of_today(kind: str, reason: str, what: str) -> None:
    """What its handshake, its data or its end looked like to a card that drops or passes all of it is no weather."""
    name = f"linux/{kind}{NOW}"
    wrong = [Opinion(name, number, f"tcp {what}", reason, reason != "") for number in range(100)]
    assert by_difference(wrong)[1] or too_many(name, wrong)


def test_kept_talks_are_within_what_today_may_have(twin: Backend, linux: Conntrack) -> None:
    """Twice as many, so that a bad day is no failure."""
    for capture in kept():
        found = list(opinions(capture, ours.results(twin, capture), linux.verdicts(capture.frames)))
        assert too_many(capture.name.rpartition("-")[0], found * 2) == []


def _recorded(room: Room, kind: str, seed: int) -> Capture:
    """A talk; with other weather where it was too bad for its hosts."""
    for again in range(4):
        with contextlib.suppress(OSError, AssertionError):
            return room.capture(f"linux/{kind}{NOW}", kind, seed + 10_000 * again)
    return room.capture(f"linux/{kind}{NOW}", kind, seed + 50_000)
