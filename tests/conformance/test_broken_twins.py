"""Every check fails on a twin that is broken in just what it checks, and no other check does."""

import gc
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from importlib import metadata
from unittest import mock

import pytest

from hal.conformance import Level, State, checks_for, run
from hal.packet.model import counters
from hal.packet.schema import registry
from tests.conformance.broken import BREAKS
from tests.conformance.broken.parts import BrokenDevice

NAMES = [check.name for check in checks_for(Level.ALL)]


EVENTS_KEPT = 400
"""A broken twin's ring goes round sooner than a whole one's, which two checks fill up: a third of the kit's time."""


def _prepared() -> None:
    """What is installed is looked up once, not for each of some ten thousand cards; and rings of events are short."""
    found = metadata.entry_points(group="dsn.stages")
    mock.patch.object(registry, "entry_points", return_value=found).start()
    mock.patch.object(counters, "EVENTS_KEPT", EVENTS_KEPT).start()
    gc.freeze()  # nor is what is imported looked through for garbage: a tenth of the time


def _failed(name: str) -> dict[str, str]:
    """What fails on the twin that is broken for this check, and in which words."""
    how = BREAKS[name]
    with how.around():
        report = run(BrokenDevice(how), Level.ALL)
    return {result.check.name: result.words for result in report.failed}


@pytest.fixture(scope="module")
def failed(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[dict[str, str]]]]:
    """What fails on each broken twin that is asked for. They are many and hold nothing but memory: each CPU takes its
    share of them, and one more runs while another waits for a commit beside its packets."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    names = [str(item.callspec.params["name"]) for item in items if item.originalname == test_broken_twin.__name__]
    # Not forked: pytest's process may have threads.
    workers = min(len(names), len(os.sched_getaffinity(0)) + 1)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepared)
    try:
        yield {name: pool.submit(_failed, name) for name in names}
    finally:
        pool.shutdown(cancel_futures=True)


def test_every_check_has_a_broken_twin() -> None:
    assert sorted(set(NAMES) - set(BREAKS)) == []
    assert sorted(set(BREAKS) - set(NAMES)) == []
    assert len(NAMES) == len(set(NAMES))


def test_a_whole_twin_fails_nothing() -> None:
    report = run(BrokenDevice(), Level.ALL)
    assert [result.words for result in report.results if result.state is not State.PASSED] == []


@pytest.mark.parametrize("name", NAMES)
def test_broken_twin(name: str, failed: dict[str, Future[dict[str, str]]]) -> None:
    found = failed[name].result()
    assert set(found) == {name}, found
