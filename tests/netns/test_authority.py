"""What the engine may do once it runs: forward, and nothing else; looked at from outside, in the kernel's words."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import held
from tests.netns import two_hosts
from tests.netns.world import World
from tests.tools.until import until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with two_hosts.forwarding(folder, "allow icmp from any to any", program, workers="2") as world:
        yield world


def threads(pid: int) -> dict[str, dict[str, str]]:
    """Thread -> field of its status -> value."""
    found = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        found[f"{fields['Name'].strip()} {status.parent.name}"] = {
            key: " ".join(v.split()) for key, v in fields.items()
        }
    return found


def has_no_rights(pid: int) -> int:
    """Holds every thread of an engine to it; returns its user."""
    some = threads(pid)
    assert len(some) > 2, some  # the control thread, two workers
    users = {one["Uid"] for one in some.values()} | {one["Gid"] for one in some.values()}
    assert len(users) == 1, users
    numbers = set(users.pop().split())
    assert len(numbers) == 1
    for name, one in some.items():
        sets = {key: one[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert set(sets.values()) == {"0" * 16}, (name, sets)
        assert (one["NoNewPrivs"], one["Groups"]) == ("1", ""), name
    return int(numbers.pop())


def test_the_engine_is_nobody_and_forwards(world: World) -> None:
    engine = world.pids()[1]
    assert 60706 <= has_no_rights(engine) < 61184
    assert ", 0% packet loss" in world.hosts["a"].run("ping", "-c", "3", "-i", "0.2", two_hosts.B).stdout


def test_nobody_of_its_own_user_looks_into_it(world: World) -> None:
    engine = world.pids()[1]
    uid = has_no_rights(engine)
    spy = f"import os\nos.setgroups([])\nos.setgid({uid})\nos.setuid({uid})\nopen('/proc/{engine}/mem', 'rb')"
    told = subprocess.run([sys.executable, "-c", spy], capture_output=True, text=True, check=False)
    assert (told.returncode, "PermissionError" in told.stderr) == (1, True), told.stderr
    # The same program may look into one of that user that isn't kept from it.
    open_one = f"import os\nos.setgroups([])\nos.setgid({uid})\nos.setuid({uid})\nimport ctypes\n"
    open_one += "ctypes.CDLL(None).prctl(4, 1)\nopen('/proc/self/mem', 'rb')"
    told = subprocess.run([sys.executable, "-c", open_one], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_its_folder_is_not_its_own(world: World) -> None:
    folder = world.run_folder / "engine"
    owners = {path.name: path.lstat().st_uid for path in (folder, *folder.iterdir())}
    assert {name: uid for name, uid in owners.items() if uid} == {"dpdk": has_no_rights(world.pids()[1])}
    assert not folder.stat().st_mode & 0o022


def test_one_that_was_killed_comes_back_as_the_same_user_and_stop_leaves_nothing_of_it(world: World) -> None:
    engine = world.pids()[1]
    uid = has_no_rights(engine)
    assert held.held(f"uid-{uid}")
    os.kill(engine, signal.SIGKILL)
    assert until(lambda: world.status().engine_pid not in (0, engine), 30)
    assert until(lambda: world.status().engine_state == "forwarding", 30)
    assert has_no_rights(world.pids()[1]) == uid
    world.stop_card()
    assert sorted(path.name for path in (world.run_folder / "engine").iterdir()) == ["engine.lock", "engine.log"]
    assert not held.held(f"uid-{uid}")
    world.start_card()
    assert ", 0% packet loss" in world.hosts["a"].run("ping", "-c", "3", "-i", "0.2", two_hosts.B).stdout


def test_another_user_is_card_tomls_to_say(world: World) -> None:
    world.stop_card()
    world.write_card(workers="2", engine_user="61199", memory_mb="512")
    world.start_card()
    engine = world.pids()[1]
    assert has_no_rights(engine) == 61199
    assert b"--memory\x00512\x00" in Path(f"/proc/{engine}/cmdline").read_bytes()
    assert ", 0% packet loss" in world.hosts["a"].run("ping", "-c", "3", "-i", "0.2", two_hosts.B).stdout
    os.kill(world.pids()[0], signal.SIGKILL)
    world.write_card(workers="2", engine_user='"root"')
    card = str(world.folder / "card.toml")
    refused = world.dsn("card", "start", card, "--state", str(world.folder / "state"), check=False)
    assert refused.returncode == 1
    assert "INVALID: card.toml, field engine_user: got root, limit the user of the engine that runs" in refused.stderr
    world.write_card(workers="2")
    world.start_card()  # adopts: it has no rights either
    assert world.pids()[1] == engine
    world.stop_card()
    world.write_card(workers="2", engine_user='"no-such-user"')
    refused = world.dsn("card", "start", card, "--state", str(world.folder / "state"), check=False)
    assert re.search(r"INVALID: card.toml, field engine_user: got no-such-user, limit a user", refused.stderr)
    world.write_card(workers="2", engine_user='"root"')
    world.start_card()
    status = threads(world.pids()[1])
    assert {one["Uid"] for one in status.values()} == {"0 0 0 0"}
    assert {one["CapEff"] for one in status.values()} == {"0" * 16}
    assert "the engine runs as root" in (world.run_folder / "dsnd.log").read_text()
    world.stop_card()
    world.write_card(workers="2")
    world.start_card()
