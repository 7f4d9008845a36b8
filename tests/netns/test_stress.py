"""dsnd where things go wrong: ended in the middle of an apply, a full disk, what others left behind, a sick engine."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hal.errors import HalError
from hal.packet.dpdk.process import find_binary
from sdk.api.client import IntentText
from sdk.dsnd.store import StoredIntent
from tests.netns.world import World, without_a_trace
from tests.tools.until import until

ONE = "kind: Subnet\nname: shop\nspec: {gateways: [10.1.0.1/24]}\n"
TWO = ONE + "---\nkind: Vnic\nname: web\nspec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, policy: p}\n"
TWO += "---\nkind: FirewallPolicy\nname: p\nspec: {rules: {all: allow any from any to any}}\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An engine's program that a test can take away: a script in front of the real one."""
    program = tmp_path_factory.mktemp("engine") / "dsn-engine"
    restore(program)
    before = os.environ.get("DSN_ENGINE")
    os.environ["DSN_ENGINE"] = str(program)
    yield program
    if before is None:
        del os.environ["DSN_ENGINE"]
    else:
        os.environ["DSN_ENGINE"] = before


def restore(program: Path) -> None:
    real = find_binary() if "DSN_ENGINE" not in os.environ else program.with_name("real")
    real_path = program.with_name("real")
    if not real_path.exists():
        real_path.symlink_to(real)
    program.write_text(f'#!/bin/sh\nexec {real_path} "$@"\n')
    program.chmod(0o755)


@pytest.fixture(scope="module")
def world(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with without_a_trace(tmp_path_factory.mktemp("stress"), stopped=True) as world:
        world.host("web", "host0", "02:00:00:00:00:0a", ("10.1.0.10/24",))
        world.write_card()
        world.start_card()
        yield world


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"


def test_ended_in_the_middle_of_an_apply(world: World, seed: int) -> None:
    """SIGTERM: what has begun is answered; whatever was acknowledged holds, whatever wasn't is whole or not there."""
    source = random.Random(seed)
    digests: list[str] = []
    for turn in range(4):
        with closing(world.api()) as api:
            before = api.status()
            text = f"{(TWO, ONE)[turn % 2]}# {turn}\n"
            intent = [IntentText("x.yaml", text.encode())]

            def applying(api: Any = api, intent: list[IntentText] = intent) -> None:
                try:
                    digests.append(api.apply(intent).digest)
                except HalError as error:
                    digests.append("")
                    assert error.kind.name in ("LOST", "TIMEOUT")  # noqa: PT017

            thread = threading.Thread(target=applying)
            thread.start()
            time.sleep(source.uniform(0.0, 0.1))
            os.kill(before.daemon_pid, signal.SIGTERM)
            thread.join()
            assert until(partial(gone, before.daemon_pid))
        world.start_card()
        with closing(world.api()) as api:
            after = api.status()
        assert after.engine_pid == before.engine_pid
        assert after.engine_tag == after.intent_digest
        asked = StoredIntent((("", "x.yaml", text),)).digest
        assert digests[-1] in ("", asked)
        assert after.intent_digest in ((asked,) if digests[-1] else (before.intent_digest, asked))
        assert not (world.folder / "state" / "intent.pending").exists()


def test_what_a_killed_dsnd_leaves_behind_is_in_nobodys_way(world: World) -> None:
    before = world.status()
    os.kill(before.daemon_pid, signal.SIGKILL)
    assert until(lambda: gone(before.daemon_pid))
    told = world.dsn("card", "status", check=False)
    assert told.returncode == 3
    assert "Its engine goes on forwarding meanwhile." in told.stderr
    # Its socket, its lock with a number that is somebody else's now, half a file.
    assert (world.run_folder / "dsnd.sock").is_socket()
    (world.run_folder / "dsnd.lock").write_text(f"{os.getpid()}\n")
    (world.folder / "state" / "intent.pending.new").write_bytes(b"{half")
    world.start_card()
    after = world.status()
    assert (after.engine_pid, after.generation) == (before.engine_pid, before.generation)
    again = world.dsn("card", "start", str(world.folder / "card.toml"), check=False)
    assert (again.returncode, f"dsnd with pid {after.daemon_pid}" in again.stderr) == (1, True)


def test_an_engine_that_does_not_start_is_told_of_and_tried_again(world: World, engine: Path) -> None:
    path = world.folder / "two.yaml"
    path.write_text(TWO)
    world.dsn("apply", str(path))
    for _ in range(2):
        before = world.status()
        os.kill(before.engine_pid, signal.SIGKILL)
        assert until(lambda pid=before.engine_pid: world.status().engine_state == "forwarding"
              and world.status().engine_pid != pid)  # type: ignore[misc]  # fmt: skip
    assert "in a row" in world.status().last_fault
    engine.write_text("#!/bin/sh\necho no memory today\nexit 1\n")
    try:
        os.kill(world.status().engine_pid, signal.SIGKILL)
        assert until(lambda: "tried again in" in world.status().last_fault)
        found = world.status()
        assert found.engine_state == "restarting"
        assert "no memory today" in found.last_fault
        shown = world.dsn("card", "status").stdout
        assert "last fault" in shown
        flows = world.dsn("show", "flows", check=False)
        assert flows.returncode == 3
        assert "packet engine" in flows.stderr
        assert world.dsn("apply", str(path), check=False).returncode == 3
    finally:
        restore(engine)
    assert until(lambda: world.status().engine_state == "forwarding")
    assert len(json.loads(world.dsn("show", "tables", "vnic", "--json").stdout)) >= 1


FULL_DISK = """
set -e
mkdir -p {state} && mount -t tmpfs -o size=64k,mode=700 none {state}
dsn card start {folder}/card.toml --state {state} >/dev/null
dsn apply {folder}/one.yaml >/dev/null
dsn card status --json > before.json
dsn apply {folder}/large.yaml 2> refused.txt && exit 9 || echo $? > refused.code
ls {state} > left.txt
dsn card status --json > after.json
dsn apply {folder}/two.yaml > two.txt
dsn card stop > /dev/null
"""


def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path) -> None:
    """A tmpfs of 64 kB in a mount namespace holds the state; the intent is larger."""
    (tmp_path / "card.toml").write_text('board = "twin"\n[ports]\nhost0 = "replay"\n')
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(TWO)
    (tmp_path / "large.yaml").write_text(TWO + "# as long as it takes\n" * 5000)
    script = FULL_DISK.format(folder=shlex.quote(str(tmp_path)), state=shlex.quote(str(tmp_path / "state")))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "DSN_RUN": str(tmp_path / "run"), "PATH": path}
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "refused.code").read_text() == "1\n"
    refused = (tmp_path / "refused.txt").read_text()
    assert "FULL: state folder" in refused
    assert "No space left on device" in refused
    assert "nothing was changed" in refused
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("before.json", "after.json"))
    assert (before["generation"], before["engine_tag"]) == (after["generation"], after["engine_tag"])
    assert (tmp_path / "left.txt").read_text().split() == ["card", "intent.good", "seed", "state.lock"]
    assert "generation" in (tmp_path / "two.txt").read_text()


def test_a_socket_that_nobody_listens_on_is_no_card(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(run / "dsnd.sock"))
    (tmp_path / "card.toml").write_text('board = "twin"\n[ports]\nhost0 = "replay"\n')
    environment = {**os.environ, "DSN_RUN": str(run)}
    dsn = str(Path(sys.executable).parent / "dsn")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([dsn, *words], env=environment, capture_output=True, text=True, check=False, timeout=120)

    assert call("card", "status").returncode == 3
    assert call("card", "start", str(tmp_path / "card.toml"), "--state", str(tmp_path / "state")).returncode == 0
    try:
        assert call("card", "status").returncode == 0
    finally:
        assert call("card", "stop").returncode == 0
