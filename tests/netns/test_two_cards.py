"""Two cards on one machine: neither gets an interface or a state folder of the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.world import World, leftovers


@pytest.fixture
def world(tmp_path: Path, program: Path) -> Iterator[World]:
    with World(tmp_path, program) as world:
        world.host("a", "host0", "02:00:00:00:00:0a", ["10.1.0.10/24"])
        world.write_card()
        world.start_card()
        yield world
        world.stop_card()
    assert list(leftovers(world.tag)) == []


def other(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """`dsn` for a second card of the same machine."""
    run = f"DSN_RUN={world.folder / 'other'}"
    return world.in_card("env", run, str(Path(sys.executable).parent / "dsn"), *words, check=False, timeout=120)


def test_an_interface_is_one_cards_for_as_long_as_its_engine_lives(world: World) -> None:
    start = ("card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "other-state"))
    status = json.loads(world.dsn("card", "status", "--json").stdout)
    busy = (
        f"BUSY: port host0, field device: got linux:host0 is another card with dsn-engine pid {status['engine_pid']}'s"
    )
    refused = other(world, *start)
    assert (refused.returncode, busy in refused.stderr) == (1, True), refused.stderr
    os.kill(status["daemon_pid"], signal.SIGKILL)
    refused = other(world, *start)
    assert (refused.returncode, busy in refused.stderr) == (1, True), refused.stderr
    world.start_card()  # adopts
    assert json.loads(world.dsn("card", "status", "--json").stdout)["engine_pid"] == status["engine_pid"]
    world.dsn("card", "stop")
    started = other(world, *start)
    try:
        assert started.returncode == 0, started.stderr
        refused = world.dsn("card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "state"),
                            check=False)  # fmt: skip
        assert (refused.returncode, "BUSY: port host0" in refused.stderr) == (1, True), refused.stderr
    finally:
        assert other(world, "card", "stop").returncode == 0
    world.start_card()


def test_a_state_folder_is_one_daemons(world: World) -> None:
    card = world.folder / "null.toml"
    card.write_text('board = "twin"\n[ports]\nhost0 = "replay"\n')
    daemon = json.loads(world.dsn("card", "status", "--json").stdout)["daemon_pid"]
    refused = other(world, "card", "start", str(card), "--state", str(world.folder / "state"))
    assert refused.returncode == 1
    assert f"BUSY: state folder {world.folder / 'state'}: got dsnd with pid {daemon}" in refused.stderr
    assert other(world, "card", "start", str(card), "--state", str(world.folder / "other-state")).returncode == 0
    assert other(world, "card", "stop").returncode == 0
