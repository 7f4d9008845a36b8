"""Every check fails on a twin that is broken in just what it checks, and no other check does."""

from collections.abc import Iterator
from importlib import metadata
from unittest import mock

import pytest

from hal.conformance import Level, State, checks_for, run
from hal.packet.schema import registry
from tests.conformance.broken import BREAKS
from tests.conformance.broken.parts import BrokenDevice

NAMES = [check.name for check in checks_for(Level.ALL)]


@pytest.fixture(scope="module", autouse=True)
def _installed_once() -> Iterator[None]:
    """What is installed is looked up once, not for each of some ten thousand cards."""
    found = metadata.entry_points(group="dsn.stages")
    with mock.patch.object(registry, "entry_points", return_value=found):
        yield


def test_every_check_has_a_broken_twin() -> None:
    assert sorted(set(NAMES) - set(BREAKS)) == []
    assert sorted(set(BREAKS) - set(NAMES)) == []
    assert len(NAMES) == len(set(NAMES))


def test_a_whole_twin_fails_nothing() -> None:
    report = run(BrokenDevice(), Level.ALL)
    assert [result.words for result in report.results if result.state is not State.PASSED] == []


@pytest.mark.parametrize("name", NAMES)
def test_broken_twin(name: str) -> None:
    how = BREAKS[name]
    with how.around():
        report = run(BrokenDevice(how), Level.ALL)
    failed = {result.check.name: result.words for result in report.failed}
    assert set(failed) == {name}, failed
