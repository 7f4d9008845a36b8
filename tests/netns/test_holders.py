"""Which socket one can open is the authority: asked by processes of other users, who have what card.toml gives them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hal import packet
from tests.netns.world import ROOT, World, without_a_trace

AGENT, OTHER, STRANGER, READ, CALL = 61300, 61301, 61302, 61310, 61311
"""Users and groups that no machine has; the first two are owners'."""

OWNERS = """
[owners]
my-agent = {tables = ["next_hop", "route"], user = 61300}
other = {tables = ["fdb"], group = "61301"}
"""

AS = """
import json, os, sys
from pathlib import Path
from hal import packet
from hal.errors import HalError
from hal.packet.contract import Delete, FlowFilter, Insert
from hal.packet.dpdk.engine import EngineWriter
from hal.packet.dpdk.link import Link
from hal.packet.dpdk import wire
from hal.packet.schema.registry import schema
from hal.packet.frame._generated import Vrf
from hal.packet.stages.bridge._generated import FdbEntry
from hal.packet.stages.route._generated import NextHop
from sdk.api.client import GrpcCard
run, uid, groups = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
schema()
os.setgroups(groups)
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
told = {}
def tried(name, act):
    try:
        told[name] = act()
    except HalError as error:
        told[name] = error.kind.name
    except OSError as error:
        told[name] = type(error).__name__
"""

SOCKETS = """
import socket
def opened(name, kind):
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.connect(str(run / name))
    return "open"
for name in ("load", "read", "write-dsnd", "write-my-agent", "write-other"):
    tried(name, lambda: opened(f"engine/{name}.sock", socket.SOCK_SEQPACKET))
tried("dsnd", lambda: opened("dsnd.sock", socket.SOCK_STREAM))
for name in ("engine/engine.log", "engine/engine.lock", "loaded.json", "dsnd.log", "../state", "engine"):
    tried(name, lambda: bool(os.listdir(run / name) if (run / name).is_dir() else (run / name).read_bytes()))
tried("change", lambda: (run / "engine/read.sock").unlink() or "gone")
print(json.dumps(told))
"""
DENIED = "PermissionError"
LOOKED_AT = ["load", "read", "write-dsnd", "write-my-agent", "write-other", "dsnd"]
LOOKED_AT += ["engine/engine.log", "engine/engine.lock", "loaded.json", "dsnd.log", "../state", "engine", "change"]
NOTHING = dict.fromkeys(LOOKED_AT, DENIED)
"""What a stranger can open."""


@pytest.fixture(scope="module")
def world(program: Path) -> Iterator[World]:
    """A card whose run folder other users can get to: those of tests are root's."""
    folder = Path(tempfile.mkdtemp(prefix="dsnh"))
    try:
        with without_a_trace(folder, program) as world:
            card = world.write_card(read_group=str(READ), api_group=str(CALL))
            card.write_text(card.read_text() + 'host0 = "null"\n' + OWNERS)
            folder.chmod(0o711)
            world.start_card()
            yield world
    finally:
        shutil.rmtree(folder)


def by(world: World, uid: int, groups: Sequence[int], code: str) -> Any:
    """What a process of that user prints."""
    command = [sys.executable, "-c", AS + code, str(world.run_folder), str(uid), json.dumps(list(groups))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def hops(world: World) -> list[int]:
    with packet.connect(str(world.run_folder / "engine")) as card:
        return [int(row.id) for row in card.backend.snapshot(["next_hop"]).rows("next_hop")]


def test_sockets_are_open_to_their_holders_and_to_nobody_else(world: World) -> None:
    engine = (world.run_folder / "engine" / "dpdk").stat().st_uid
    assert engine != 0
    for user, groups, has in (
        (STRANGER, (), ()),
        (engine, (), ()),
        (AGENT, (), ("write-my-agent",)),
        (AGENT, (READ,), ("write-my-agent", "read")),
        (OTHER, (), ("write-other",)),  # its group has the user's number
        (STRANGER, (OTHER,), ("write-other",)),
        (STRANGER, (READ,), ("read",)),
        (STRANGER, (CALL,), ("dsnd",)),
    ):
        assert by(world, user, groups, SOCKETS) == NOTHING | dict.fromkeys(has, "open"), (user, groups)


def test_an_agent_commits_its_own_table_and_no_other(world: World) -> None:
    code = """
tried("own", lambda: packet.connect(str(run / "engine")).writer("my-agent", [NextHop]).sync(
    NextHop(id=7, port=0, address="192.0.2.1")).generation)
tried("dsnd", lambda: packet.connect(str(run / "engine")).writer("dsnd", [Vrf]))
tried("other", lambda: packet.connect(str(run / "engine")).writer("other", [FdbEntry]))
tried("table", lambda: EngineWriter(run / "engine", "my-agent", schema()).commit([Insert(Vrf.array(id=[9]))]))
tried("stop", lambda: Link(run / "engine/load.sock").ask(wire.Verb.STOP))
tried("stop here", lambda: Link(run / "engine/write-my-agent.sock").ask(wire.Verb.STOP))
tried("card", lambda: GrpcCard(run / "dsnd.sock").stop())
print(json.dumps(told))
"""
    assert hops(world) == []
    told = by(world, AGENT, [READ], code)
    assert told.pop("own") > 0
    assert told == {"dsnd": "DENIED", "other": "DENIED", "table": "DENIED", "stop": "DENIED", "stop here": "DENIED",
                    "card": "DENIED"}, told  # fmt: skip
    assert hops(world) == [7]


def test_an_agent_that_may_not_read_writes_all_the_same(world: World) -> None:
    code = """
tried("connect", lambda: packet.connect(str(run / "engine")))
tried("commit", lambda: EngineWriter(run / "engine", "my-agent", schema()).commit([
    Insert(NextHop.array(id=[8], port=0, address="192.0.2.8"))]))
print(json.dumps(told))
"""
    told = by(world, AGENT, [], code)
    assert (told["connect"], told["commit"] > 0) == ("DENIED", True), told
    assert 8 in hops(world)


def test_who_may_call_calls_and_others_are_told(world: World) -> None:
    code = """
tried("status", lambda: GrpcCard(run / "dsnd.sock").status().engine_state)
print(json.dumps(told))
"""
    assert by(world, STRANGER, [CALL], code) == {"status": "forwarding"}
    program = str(Path(sys.executable).parent / "dsn")
    words = f"import os\nos.setgroups([])\nos.setuid({STRANGER})\nos.execv('{program}', ['dsn', 'card', 'status'])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False,
                          env={"DSN_RUN": str(world.run_folder)})  # fmt: skip
    assert (done.returncode, "DENIED: card" in done.stderr) == (1, True), done.stderr


def test_readers_cannot_keep_root_out(world: World) -> None:
    """Connections and private shards are bounded for others than who started the engine."""
    code = """
links, kinds = [], []
for _ in range(60):
    try:
        links.append(Link(run / "engine/read.sock"))
        links[-1].ask(wire.Verb.HELLO).close()
    except HalError as error:
        links.pop()
        kinds.append(str(error))
told["connections"] = len(links)
told["why"] = sorted(set(kinds))
shards, full = [], []
for link in links[:20]:
    try:
        shards.append(link.ask(wire.Verb.SHARD, wire.ShardAsk(16, 0, 0)).structure(wire.Number).number)
    except HalError as error:
        full.append(str(error))
told["shards"] = len(shards)
told["full"] = sorted(set(full))
tried("another's", lambda: links[0].ask(wire.Verb.SETTLE, shard=shards[1]))
links[0].ask(wire.Verb.SHARD_CLOSE, wire.Number(shards[1])).close()
tried("its own", lambda: links[1].ask(wire.Verb.SETTLE, shard=shards[1]).close())
print(json.dumps(told), flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", AS + code, str(world.run_folder), str(STRANGER), json.dumps([READ])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reader:
        assert reader.stdout is not None
        assert json.loads(reader.stdout.readline()) == {
            "connections": 48,
            "why": ["BUSY: socket: limit 48 connections of others than who started the engine. Close one."],
            "shards": 8,
            "full": ["FULL: shard: limit 8 at a time of others than who started the engine. Close one."],
            "another's": "INVALID",
            "its own": None,
        }
        with packet.connect(str(world.run_folder / "engine")) as card:
            for _ in range(4):
                card.backend.shard().close()
        reader.communicate()


def test_a_changed_card_toml_counts_for_an_engine_that_is_adopted(world: World) -> None:
    daemon, engine = world.pids()
    card = world.folder / "card.toml"
    before = card.read_text()
    subprocess.run(["kill", "-9", str(daemon)], check=True)
    card.write_text(before.replace("user = 61300", f"user = {STRANGER}").replace(f"read_group = {READ}", ""))
    world.start_card()
    assert world.pids()[1] == engine
    assert by(world, AGENT, [READ], SOCKETS) == NOTHING
    assert by(world, STRANGER, [READ], SOCKETS) == NOTHING | {"write-my-agent": "open"}
    subprocess.run(["kill", "-9", str(world.pids()[0])], check=True)
    card.write_text(before)
    world.start_card()
    assert by(world, AGENT, [READ], SOCKETS) == NOTHING | {"write-my-agent": "open", "read": "open"}


def test_a_card_without_these_words_is_roots(world: World) -> None:
    world.stop_card()
    card = world.folder / "card.toml"
    before = card.read_text()
    card.write_text(before.split("[owners]")[0].replace(f"read_group = {READ}", "").replace(f"api_group = {CALL}", ""))
    shutil.rmtree(world.run_folder)
    world.start_card()
    assert world.run_folder.stat().st_mode & 0o777 == 0o700
    assert set(by(world, STRANGER, [READ, CALL], SOCKETS).values()) == {DENIED}
    world.stop_card()
    card.write_text(before.replace("user = 61300", 'user = "no-such-user"'))
    start = ("card", "start", str(card), "--state", str(world.folder / "state"))
    refused = world.dsn(*start, check=False)
    assert refused.returncode == 1
    assert refused.stderr == (
        "dsn: INVALID: card.toml, field owners.my-agent.user: got no-such-user, limit a user of this machine, or a "
        "number. Make it (useradd --system), or name one that is there.\n"
    )
    card.write_text(before)
    world.start_card()
