"""The engine is the twin, packet for packet: Hypothesis draws tables, packets, times and commits for both.

What a run reached is printed and bounded below, so that a generator that has gone blind fails. That the comparison
sees anything at all is shown on twins that are wrong in one small thing.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.packet.contract import Backend, LoadConfig, Verdict
from hal.packet.model import Twin
from hal.packet.schema.registry import schema
from tests.property.commands import Command
from tests.property.compare import PUSHED_OUT, Coverage, Differs, Pair, noted, play_many, play_unconfigured
from tests.property.mutants import MUTANTS, MutantBackend
from tests.property.stories import crowded_stories, random_stories, random_story, stories
from tests.property.universe import LOAD, QUARTER
from tests.tools.engines import running


def _loaded(backend: Backend, config: LoadConfig = LOAD) -> Backend:
    backend.load(config)
    backend.start()
    return backend


@pytest.fixture
def twin() -> Iterator[Backend]:
    backend = _loaded(Twin())
    yield backend
    backend.close()


@contextlib.contextmanager
def twin_and_engine(config: LoadConfig = LOAD) -> Iterator[Pair]:
    """A twin and an engine with sanitizers, without a commit."""
    with running() as started:
        yield Pair(_loaded(Twin(), config), _loaded(started, config))


@pytest.fixture(scope="module")
def pairs() -> Iterator[tuple[Pair, Pair]]:
    """With the card's numbers above a quarter of what fits, and at that."""
    with twin_and_engine() as one, twin_and_engine(QUARTER) as other:
        yield one, other


STORIES, CROWDED = 1_300, 12
AT_LEAST, MORE = 20, 4
"""Of each thing that may happen so many times at least; of what is rare some seeds have a few less, and go on for as
many stories again, in so many parts, until they have met it."""
ELSEWHERE = {"port_down", "port_full", "first_packet_limit", "neighbour_limit", PUSHED_OUT}
"""Reasons that tables, packets, times and commits can't cause: what a port is at, what a burst is, 32,768 neighbours.
They have tests of their own, as `tests/packets/test_reasons.py` makes sure; of the engine's ports in
`tests/netns/test_live.py`. And what happens to packets that wait, which is counted apart."""


@pytest.mark.timeout(7200)  # two minutes of two processes that ask each other: many more where others have the cores
def test_the_engine_is_the_twin(seed: int, long: bool, tell: Callable[[object], None]) -> None:
    """Many stories from one seed; what they reached is printed and bounded below."""
    source = random.Random(seed)
    coverage = Coverage()
    times = 10 if long else 1
    reasons = schema(own_only=True).reason_numbers.keys() - ELSEWHERE
    with noted(coverage), twin_and_engine(QUARTER) as pair:
        play_many(pair, crowded_stories(source, CROWDED * times), coverage)
    with noted(coverage), twin_and_engine() as pair:
        play_unconfigured(pair, (random_story(source) for _ in range(10)), coverage)
        play_many(pair, random_stories(source, STORIES * times), coverage)
        for _ in range(MORE):
            if coverage.too_few(AT_LEAST, reasons):
                play_many(pair, random_stories(source, STORIES // MORE), coverage)
    tell(coverage)
    assert coverage.too_few(AT_LEAST, reasons) == {}


@given(story=stories, quarter=st.booleans())
def test_the_engine_is_the_twin_in_any_story(pairs: tuple[Pair, Pair], story: list[Command], quarter: bool) -> None:
    """Fewer stories, which Hypothesis shrinks to the few commands that show a difference."""
    play_many(pairs[quarter], [story])


def seeded(count: int) -> Iterator[list[Command]]:
    return (random_story(random.Random(number)) for number in range(count))


def test_stories_reach_every_verdict(twin: Backend) -> None:
    coverage = play_many(Pair(twin, _loaded(Twin())), seeded(40))
    assert set(coverage.verdicts) == {verdict.name for verdict in Verdict}
    assert set(coverage.reasons) <= set(schema(own_only=True).reason_numbers)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_backend_that_is_wrong_in_one_thing_is_seen(name: str, twin: Backend) -> None:
    pair = Pair(twin, cast("Backend", MutantBackend(_loaded(Twin()), MUTANTS[name])))
    with pytest.raises(Differs):
        play_many(pair, seeded(200))
