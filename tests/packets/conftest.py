"""Backends that the fixtures run on, the twin and the engine. Each is loaded, started and wired as `world` says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hal.packet.contract import Backend
from hal.packet.derive import sync
from hal.packet.model import Twin
from tests.packets import world
from tests.packets.card import Card
from tests.tools.engine import binary
from tests.tools.engines import running
from tests.tools.provoked import PROVOKED

_CHOSEN = pytest.StashKey[bool]()
"""Whether this run leaves some of the folder's tests out."""
LAST = "test_reasons.py"
"""It looks at what all others have provoked."""


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        item.config.stash[_CHOSEN] = True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    found = {item.path for item in items}
    named = any("::" in one for one in config.args)
    if named or not set(here.rglob("test_*.py")) <= found:
        config.stash[_CHOSEN] = True
    items.sort(key=lambda item: item.path == here / LAST)


@pytest.fixture
def provoked_by_all(request: pytest.FixtureRequest) -> set[str] | None:
    """Reasons that all other fixtures here have provoked in this run; None where it leaves some of them out."""
    return None if request.config.stash.get(_CHOSEN, False) else PROVOKED


@pytest.fixture(scope="session")
def running_engine() -> Iterator[Backend]:
    """The engine with sanitizers, loaded and started; one for all fixtures, since each has a shard of its own."""
    binary()
    with running() as engine:
        engine.load(world.CONFIG)
        engine.start()
        yield engine


def _twin() -> Twin:
    twin = Twin()
    twin.load(world.CONFIG)
    twin.start()
    return twin


@pytest.fixture(params=["twin", "engine"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """A backend with the world's tables, whatever the fixture before has done to them."""
    found: Backend = _twin() if request.param == "twin" else request.getfixturevalue("running_engine")
    sync(found.writer(), found, *world.rows(), tables=found.capabilities().schema.table_numbers)
    return found


@pytest.fixture(params=["twin", "engine"])
def blank(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A backend that is loaded and started, with nothing committed yet."""
    with contextlib.ExitStack() as stack:
        found: Backend = _twin() if request.param == "twin" else stack.enter_context(running(binary()))
        if request.param == "engine":
            found.load(world.CONFIG)
            found.start()
        yield found


@pytest.fixture
def card(backend: Backend) -> Iterator[Card]:
    """A fresh shard on that backend."""
    card = Card(backend)
    yield card
    card.close()


@pytest.fixture
def twin(backend: Backend) -> Twin:
    """For what only ports without devices can show: a cable unplugged, a queue that is full."""
    assert isinstance(backend, Twin)
    return backend
