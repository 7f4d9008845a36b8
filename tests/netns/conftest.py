"""A software card with real hosts: the demo's world, once a module and number of workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.show import INTENT, Demo, build, wait_for_web
from tests.netns.world import World, leftovers


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def card(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo's card, started, with its intent applied. What it leaves behind is an error."""
    world = World(tmp_path_factory.mktemp("world"))
    demo = Demo(world, lambda _: None)
    try:
        build(world)
        world.write_card(workers=str(request.param))
        world.start_card()
        world.dsn("apply", str(INTENT))
        wait_for_web(demo)
        yield demo
    finally:
        world.dsn("card", "stop", check=False)
        world.close()
    assert list(leftovers(world.tag)) == []
