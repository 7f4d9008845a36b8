"""What dsnd does with an engine that outlived its dsnd, by the commands that people use."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import namespaces
from sdk.dsnd.taps import card_namespace
from tests.netns.world import World, card_alone, run
from tests.tools.until import until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with card_alone(tmp_path) as world:
        yield world


def test_another_card_toml_is_refused_and_stop_is_a_way_out(world: World) -> None:
    daemon, engine = world.pids()
    os.kill(daemon, signal.SIGKILL)
    card = world.folder / "card.toml"
    old = card.read_text()
    card.write_text(old + 'a0 = "null"\n')
    again = ("card", "start", str(card), "--state", str(world.folder / "state"))
    refused = world.dsn(*again, check=False)
    assert refused.returncode == 1
    assert refused.stderr == (
        "dsn: INVALID: card.toml: got another than the running engine was loaded with: ports.a0 is not among its "
        "ports; ports.host0.number 1, the engine's 0. Give dsnd the card.toml of before, or load the engine anew: "
        "dsn card stop, dsn card start.\n"
    )
    card.write_text(old)
    world.start_card()
    daemon, same = world.pids()
    assert same == engine
    os.kill(daemon, signal.SIGKILL)
    card.write_text(old + 'a0 = "null"\n')
    assert card_namespace(world.run_folder) in run("ip", "netns", "list").stdout
    assert world.dsn("card", "stop").stdout == "stopped; the intent is kept\n"
    assert card_namespace(world.run_folder) not in run("ip", "netns", "list").stdout
    deadline = time.monotonic() + 5
    while Path(f"/proc/{engine}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    world.start_card()
    assert world.pids()[1] != engine
    world.dsn("card", "stop")
    assert card_namespace(world.run_folder) not in run("ip", "netns", "list").stdout
    gone = world.dsn("card", "stop", check=False)
    assert (gone.returncode, "no dsnd and no engine is running" in gone.stderr) == (3, True)


VRF = """
kind: Vrf
name: blue
---
kind: Subnet
name: shop
spec: {vrf: blue, gateways: [10.1.0.1/24]}
"""


def test_a_failed_start_leaves_nothing_that_the_next_one_meets(world: World) -> None:
    """`ip netns exec` has mounts of its own: namespaces made there are plain files outside."""
    world.dsn("card", "stop")
    card = world.folder / "card.toml"
    good = card.read_text()
    card.write_text(good + 'uplink0 = "linux:nothere"\n')
    dsn = [str(Path(sys.executable).parent / "dsn"), "card", "start", str(card), "--state", str(world.folder / "state")]
    prefix = card_namespace(world.run_folder)
    inside = ("ip", "netns", "exec", world.card_namespace, "env", f"DSN_RUN={world.run_folder}")
    refused = run(*inside, *dsn, check=False)
    assert refused.stderr == (
        "dsn: INVALID: port uplink0, field device: got linux:nothere: No such device. "
        "Name a device that is there: ip link.\n"
    )
    assert [name for name in namespaces.names() if name.startswith(prefix)] == []
    card.write_text(good)
    for name in (prefix, f"{prefix}-default"):
        (namespaces.FOLDER / name).touch()
    world.start_card()
    assert namespaces.alive(prefix)
    assert namespaces.alive(f"{prefix}-default")


def test_an_apply_forks_nothing(world: World) -> None:
    (world.folder / "vrf.yaml").write_text(VRF)
    world.dsn("apply", str(world.folder / "vrf.yaml"))
    assert namespaces.alive(f"{card_namespace(world.run_folder)}-blue")
    assert "fork_posix" not in (world.run_folder / "dsnd.log").read_text()


def test_a_state_folder_that_is_mounted_read_only_keeps_no_card_down(world: World) -> None:
    """Neither a dead engine nor a dead dsnd nor both."""
    intent, state = world.folder / "a.yaml", world.folder / "state"
    intent.write_text("kind: Vrf\nname: blue\n")
    world.dsn("apply", str(intent))
    daemon, engine = world.pids()
    run("mount", "--bind", str(state), str(state))
    try:
        run("mount", "-o", "remount,bind,ro", str(state))
        os.kill(engine, signal.SIGKILL)
        second = _other_engine(world, engine)
        os.kill(daemon, signal.SIGKILL)
        world.start_card()
        daemon, same = world.pids()
        assert same == second
        os.kill(daemon, signal.SIGKILL)
        os.kill(second, signal.SIGKILL)
        world.start_card()
        assert world.pids()[1] != second
        objects = json.loads(world.dsn("show", "objects", "--json").stdout)
        assert [one["name"] for one in objects if one["kind"] == "Vrf"] == ["blue", "default"]
        refused = world.dsn("apply", str(intent), check=False)
        assert refused.returncode
        assert "FULL: state folder" in refused.stderr
        assert "Read-only file system" in refused.stderr
        world.dsn("card", "stop")
    finally:
        run("umount", str(state))


def test_an_adopted_engine_dies_at_its_own_age(world: World) -> None:
    """It was started by the dsnd before: what it lived counts from there."""
    since = time.monotonic()
    daemon, engine = world.pids()
    os.kill(daemon, signal.SIGKILL)
    time.sleep(1)
    world.start_card()
    assert world.pids()[1] == engine
    lived = time.monotonic() - since  # at least
    os.kill(engine, signal.SIGKILL)
    _other_engine(world, engine)
    told = world.status().last_fault
    found = re.match(r"died after (?:(\d+) min )?(\d+(?:\.\d)?) s", told)
    assert found, told
    assert int(found.group(1) or 0) * 60 + float(found.group(2)) > lived - 1, told


def _other_engine(world: World, before: int) -> int:
    """The engine that is started in place of one that died, once it forwards."""
    assert until(lambda: (now := world.status()).engine_pid not in (0, before) and now.engine_state == "forwarding")
    return world.pids()[1]
