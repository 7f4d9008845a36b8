"""A software card with real hosts: the demo's world, once a module and number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demo.show import INTENT, Demo, build, wait_for_web
from tests.netns.world import without_a_trace
from tests.tools.engines import RELEASED, SANITIZED

UNDER_LOAD = ("test_mixture",)
"""Modules that want as many packets as can be: their engine is the one that runs, all others' has sanitizers."""


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest, tell: Callable[[object], None]) -> Path:
    """The engine of this module's cards; which one it is, is printed."""
    chosen = RELEASED if request.module.__name__.rsplit(".", 1)[-1] in UNDER_LOAD else SANITIZED
    tell(f"{Path(request.module.__file__).name}: the card runs {chosen.parent.name}")
    return chosen


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def card(request: pytest.FixtureRequest, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo's card, started, with its intent applied."""
    with without_a_trace(tmp_path_factory.mktemp("world"), program) as world:
        demo = Demo(world, lambda _: None)
        build(world)
        world.write_card(workers=str(request.param))
        world.start_card()
        world.dsn("apply", str(INTENT))
        wait_for_web(demo)
        yield demo
