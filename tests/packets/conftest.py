"""Backends that the fixtures run on. Each is loaded, started and wired as `world` says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hal.packet.contract import Backend, Insert, LoadConfig
from hal.packet.model import Twin
from hal.packet.schema.rows import as_rows
from tests.packets import world
from tests.packets.card import PROVOKED, Card


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--provoked", type=Path, help="write which drop reasons were provoked, as JSON")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := session.config.getoption("--provoked"):
        path.write_text(json.dumps(sorted(PROVOKED)))


def _twin(config: LoadConfig) -> Backend:
    twin = Twin()
    twin.load(config)
    twin.start()
    return twin


BACKENDS: dict[str, Callable[[LoadConfig], Backend]] = {"twin": _twin}


@pytest.fixture(params=sorted(BACKENDS))
def blank(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A backend that is loaded and started, with nothing committed yet."""
    backend = BACKENDS[request.param](world.CONFIG)
    yield backend
    backend.close()


@pytest.fixture
def backend(blank: Backend) -> Backend:
    """A backend with the world's tables."""
    blank.writer().commit([Insert(rows) for rows in as_rows(world.rows())])
    return blank


@pytest.fixture
def card(backend: Backend) -> Card:
    """A fresh shard on that backend."""
    return Card(backend)


@pytest.fixture
def twin(backend: Backend) -> Twin:
    """For what only ports without devices can show: a cable unplugged, a queue that is full."""
    assert isinstance(backend, Twin)
    return backend
