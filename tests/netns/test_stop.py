"""`dsn card stop` ends a card in bounded time, an engine that doesn't answer included; and its logs are bounded."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import namespaces
from sdk.dsnd.rotation import MOST_BYTES
from sdk.dsnd.taps import card_namespace
from tests.netns.world import World, card_alone

KILLED = "stopped; the intent is kept; the engine was killed: no answer within 5 s\n"
SECONDS = 20.0
"""What a stop may take here: five for the engine's answer, the rest for a loaded machine."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with card_alone(tmp_path) as world:
        yield world


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("orphaned", [False, True], ids=["with dsnd", "without"])
def test_a_stopped_engine_is_killed_and_that_is_told(world: World, orphaned: bool) -> None:
    intent = world.folder / "a.yaml"
    intent.write_text("kind: Vrf\nname: blue\n")
    world.dsn("apply", str(intent))
    daemon, engine = world.pids()
    if orphaned:
        os.kill(daemon, signal.SIGKILL)
    os.kill(engine, signal.SIGSTOP)
    begin = time.monotonic()
    assert world.dsn("card", "stop").stdout == KILLED
    assert time.monotonic() - begin < SECONDS
    assert gone(daemon)
    assert gone(engine)
    assert card_namespace(world.run_folder) not in namespaces.names()
    world.start_card()
    assert "Vrf" in world.dsn("show", "objects", "Vrf", "blue").stdout
    assert world.dsn("card", "stop").stdout == "stopped; the intent is kept\n"


def test_the_engines_log_is_bounded(world: World) -> None:
    log = world.run_folder / "engine" / "engine.log"
    with log.open("ab") as stream:
        stream.write(b"x" * (MOST_BYTES + 1))
    deadline = time.monotonic() + 20
    while log.stat().st_size > MOST_BYTES:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert log.with_name("engine.log.1").stat().st_size > MOST_BYTES
    assert world.pids()[1]
