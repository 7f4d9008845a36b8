"""Two cards on one machine: neither gets an interface or a state folder of the other."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.world import World, without_a_trace
from tests.tools.until import until


@pytest.fixture
def world(tmp_path: Path, program: Path) -> Iterator[World]:
    with without_a_trace(tmp_path, program) as world:
        world.host("a", "host0", "02:00:00:00:00:0a", ["10.1.0.10/24"])
        world.write_card()
        world.start_card()
        yield world


def other(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """`dsn` for a second card of the same machine."""
    run = f"DSN_RUN={world.folder / 'other'}"
    return world.in_card("env", run, str(Path(sys.executable).parent / "dsn"), *words, check=False, timeout=120)


def is_cut_off(world: World, interface: str) -> bool:
    return "bpf" in world.in_card("tc", "filter", "show", "dev", interface, "ingress").stdout


def kill_both(world: World) -> None:
    pids = world.pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)


def test_an_interface_is_one_cards_for_as_long_as_its_engine_lives(world: World) -> None:
    start = ("card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "other-state"))
    status = world.status()
    busy = f"BUSY: port host0, field device: got linux:host0 is another card with dsn-engine pid {status.engine_pid}'s"
    refused = other(world, *start)
    assert (refused.returncode, busy in refused.stderr) == (1, True), refused.stderr
    os.kill(status.daemon_pid, signal.SIGKILL)
    refused = other(world, *start)
    assert (refused.returncode, busy in refused.stderr) == (1, True), refused.stderr
    world.start_card()  # adopts
    assert world.pids()[1] == status.engine_pid
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


def test_what_a_dead_card_left_is_not_taken_from_the_card_that_has_it_now(world: World) -> None:
    kill_both(world)
    started = other(
        world, "card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "other-state")
    )
    try:
        assert started.returncode == 0, started.stderr
        assert "was taken away" in world.dsn("card", "stop").stdout
        assert is_cut_off(world, "host0")
    finally:
        assert other(world, "card", "stop").returncode == 0
    assert not is_cut_off(world, "host0")
    world.start_card()


def test_what_a_dead_card_left_is_given_back_by_the_next_that_has_other_interfaces(world: World) -> None:
    kill_both(world)
    assert is_cut_off(world, "host0")
    card = world.folder / "fewer.toml"
    card.write_text('board = "software"\n[ports]\nspare0 = "linux:spare0"\n')
    world.in_card("ip", "link", "add", "spare0", "up", "type", "veth", "peer", "name", "spare1")
    started = world.dsn("card", "start", str(card), "--state", str(world.folder / "fewer-state"))
    assert started.returncode == 0, started.stderr
    assert (is_cut_off(world, "host0"), is_cut_off(world, "spare0")) == (False, True)
    assert world.dsn("card", "stop").returncode == 0
    world.start_card()


def test_a_card_that_stops_leaves_the_interface_to_the_card_that_has_taken_it_since(world: World) -> None:
    start = ("card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "other-state"))
    os.kill(world.status().daemon_pid, signal.SIGKILL)  # who looks would be faster than the other card
    world.in_card("ip", "link", "del", "host0")
    world.in_card("ip", "link", "add", "host0", "type", "veth", "peer", "name", "other0")
    card = world.folder / "one.toml"
    card.write_text('board = "software"\n[ports]\nhost0 = "linux:host0"\n')
    assert other(world, *start[:2], str(card), *start[3:]).returncode == 0
    try:
        world.start_card()
        assert world.dsn("card", "stop").returncode == 0
        assert is_cut_off(world, "host0")
    finally:
        assert other(world, "card", "stop").returncode == 0
    assert not is_cut_off(world, "host0")
    world.start_card()


def test_a_state_folder_is_one_daemons(world: World) -> None:
    card = world.folder / "null.toml"
    card.write_text('board = "twin"\n[ports]\nhost0 = "replay"\n')
    daemon, _ = world.pids()
    refused = other(world, "card", "start", str(card), "--state", str(world.folder / "state"))
    assert refused.returncode == 1
    assert f"BUSY: state folder {world.folder / 'state'}: got dsnd with pid {daemon}" in refused.stderr
    assert other(world, "card", "start", str(card), "--state", str(world.folder / "other-state")).returncode == 0
    assert other(world, "card", "stop").returncode == 0


def test_an_interface_that_is_gone_is_told_and_taken_up_when_it_is_made_anew(world: World) -> None:
    def fault() -> str:
        return world.status().last_fault

    assert fault() == ""
    world.in_card("ip", "link", "del", "host0")
    assert fault() == "port host0: interface host0 is gone: the card takes it up when it is made anew"
    time.sleep(2.5)  # longer than between two looks
    world.in_card("ip", "link", "add", "host0", "type", "veth", "peer", "name", "other0")
    index = json.loads(world.in_card("ip", "-j", "link", "show", "host0").stdout)[0]["ifindex"]

    def events() -> list[str]:
        return [one for one in world.events() if one.startswith("INTERFACE")]

    assert until(lambda: len(events()) > 1, 30)
    assert events() == [
        "INTERFACE_GONE port host0: interface host0 is gone",
        f"INTERFACE_ANEW port host0: interface host0 was made anew, index {index}, and is taken up",
    ]
    assert fault() == ""


def test_an_interface_that_another_card_has_is_not_taken_up_before_it_lets_go(world: World) -> None:
    start = ("card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "other-state"))
    before = world.status()
    os.kill(before.daemon_pid, signal.SIGKILL)  # who looks would be faster than the other card
    world.in_card("ip", "link", "del", "host0")
    world.in_card("ip", "link", "add", "host0", "type", "veth", "peer", "name", "other0")
    assert other(world, *start).returncode == 0
    try:
        world.start_card()
        assert world.status().engine_pid == before.engine_pid
        time.sleep(2.5)  # longer than between two looks
        assert "INTERFACE_ANEW" not in world.dsn("show", "events", "--json").stdout
    finally:
        assert other(world, "card", "stop").returncode == 0
    taken = "interface host0 was made anew, index"
    assert until(lambda: any(taken in one for one in world.events()), 30)
    assert taken in world.dsn("show", "events", "--json").stdout
    assert until(lambda: world.status().last_fault == "", 10)


def test_the_engines_death_and_its_start_are_events(world: World) -> None:
    os.kill(world.pids()[1], signal.SIGSEGV)

    def told() -> list[str]:
        return [one for one in world.events() if one.startswith("ENGINE")]

    deadline = time.monotonic() + 60
    while len(told()) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    died, started = told()
    after = world.status()
    # A sanitizer catches the signal and aborts.
    assert re.fullmatch(r"ENGINE_DIED after \d+\.\d s, signal SIG(SEGV|ABRT)", died)
    assert started == f"ENGINE_STARTED pid {after.engine_pid}, start 2 of this dsnd"
    assert re.fullmatch(r"died after \d+\.\d s, signal SIG(SEGV|ABRT)", after.last_fault)
    (world.run_folder / "engine" / "engine.log").write_text("")  # what the sanitizer said of the signal
