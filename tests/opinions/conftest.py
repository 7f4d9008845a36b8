"""The judges: Linux's connection tracking, the twin, the engine with sanitizers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hal.packet.contract import Backend
from hal.packet.derive import sync
from hal.packet.model import Twin
from tests.opinions import conntrack
from tests.packets import world
from tests.tools.engine import binary
from tests.tools.engines import running


@pytest.fixture(scope="session")
def linux() -> Iterator[conntrack.Conntrack]:
    with conntrack.router() as router:
        yield router


def _wired(backend: Backend) -> Backend:
    backend.load(world.CONFIG)
    backend.start()
    sync(backend.writer(), backend, *world.rows(), tables=backend.capabilities().schema.table_numbers)
    return backend


@pytest.fixture(scope="session")
def twin() -> Backend:
    return _wired(Twin())


@pytest.fixture(scope="session")
def engine() -> Iterator[Backend]:
    with running(binary()) as one:
        yield _wired(one)
