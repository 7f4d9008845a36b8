"""What an agent has in hand on a card: its writer, a private shard, the way back to an engine that was started anew."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hal import packet
from hal.errors import ErrorKind, HalError
from hal.packet import Card, NextHop, Route, Vrf
from hal.packet.card import wall_time
from hal.packet.contract import (
    FlowFilter,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Name,
    OutcomeKind,
    PacketIn,
    PortConfig,
    Staged,
    Step,
    StepKind,
    Trace,
)
from hal.packet.dpdk import connect, start
from hal.packet.model import Twin
from hal.packet.schema.rows import as_rows
from tests.packets import world
from tests.tools.engines import SANITIZED

OWNERS = {"agent": ("next_hop", "route")}
HOP = NextHop(id=7, port=1, address="192.0.2.1")


def refused(kind: ErrorKind, call: object, match: str | None = None) -> HalError:
    assert callable(call)
    with pytest.raises(HalError, match=match) as caught:
        call()
    assert caught.value.kind is kind, caught.value
    return caught.value


@pytest.fixture
def card() -> Card:
    twin = Twin()
    twin.load(replace(world.CONFIG, owners={"agent": ("next_hop", "route", "next_hop_group", "next_hop_member")}))
    mine = ("next_hop", "route", "next_hop_group", "next_hop_member")
    rows = as_rows(world.rows())
    twin.writer().commit([Insert(some) for some in rows if some.row.LAYOUT.table.name not in mine])
    twin.start()
    return Card(twin)


def test_a_commit_can_be_asked_for(card: Card) -> None:
    mine = card.writer("agent", [NextHop])
    refused(ErrorKind.INVALID, mine.outcome, "Commit first")
    made = mine.sync(HOP, tag="one").generation
    assert (mine.outcome().kind, mine.outcome().generation) == (OutcomeKind.COMMITTED, made)
    mine.commit([], transaction=9)
    assert mine.transaction == 9
    assert mine.outcome(10).kind is OutcomeKind.UNKNOWN
    mine.sync(tag="two", transaction=11)
    assert mine.outcome(11).kind is OutcomeKind.COMMITTED


def test_what_is_staged_is_looked_at_and_made(card: Card) -> None:
    mine = card.writer("agent", [NextHop, Route])
    hop = NextHop(id=7, port=0, address="192.0.2.1")
    route = Route(id=9, vrf=world.VRF, prefix="203.0.113.0/24", next_hop=7)
    asked = "udp 10.1.0.20:1 > 203.0.113.1:2"
    staged = mine.stage([Insert(rows) for rows in as_rows([hop, route])])
    assert "no_route" in str(card.trace(asked, port="host0"))
    assert "no_route" not in str(card.trace(asked, port="host0", staged=staged))
    assert "no_route" not in str(card.replay([(asked, "host0")], staged=staged)[0])
    staged.make()
    assert "no_route" not in str(card.trace(asked, port="host0"))
    refused(ErrorKind.DENIED, lambda: mine.stage([Insert(Vrf(id=3).rows())]), "Make a writer with its row class")


def test_rows_of_others_are_refused_as_in_a_commit(card: Card) -> None:
    mine = card.writer("agent", [NextHop])
    error = refused(ErrorKind.DENIED, lambda: mine.sync(Vrf(id=3)), "Make a writer with its row class")
    assert error.table == "vrf"


def test_what_a_sync_builds_on_must_not_have_changed(card: Card) -> None:
    mine = card.writer("agent", [NextHop])
    base = card.snapshot(Vrf).generation
    depends = [("vrf", world.VRF)]
    mine.sync(HOP, base=base, depends=depends)
    read = card.snapshot(Vrf)
    dsnd = card.backend.writer()
    dsnd.commit([Modify(Vrf(id=world.VRF, punt_port=3).rows())])
    refused(ErrorKind.STALE, lambda: mine.sync(base=read.generation, depends=depends), "table vrf")
    mine.sync(base=card.snapshot(Vrf).generation, depends=depends)


def test_connections_build_up_in_a_replay_and_can_be_forgotten(card: Card) -> None:
    first, second = card.replay([("50 10.1.0.20 > 10.1.0.10", "host0")] * 2)
    assert "FORWARD" in str(first)
    assert "FORWARD" in str(second)
    assert [step.kind for step in second.result.steps][:1] == [StepKind.FLOW]
    assert second.to_dict()["verdict"] == "FORWARD"
    shard = card.shard()
    shard.replay([card.packet("50 10.1.0.20 > 10.1.0.10", "host0", 10**9)])
    assert len(shard.flows()) == 1
    assert card.writer("agent", [NextHop]).forget(FlowFilter()) == 0


def test_entries_are_found_by_name_once_they_are_there(card: Card) -> None:
    dsnd = card.backend.writer()
    error = refused(ErrorKind.TIMEOUT, lambda: card.ids(("vrf", "blue"), ("vrf", "red"), seconds=0.1), "no vrf blue")
    assert "dsn apply" in error.fix
    later = threading.Timer(0.2, lambda: dsnd.commit([], names=[Name("vrf", world.VRF, "blue")]))
    later.start()
    assert card.ids(("vrf", "blue"), seconds=20) == {("vrf", "blue"): world.VRF}
    later.join()


class Foreign(Twin):
    """A chain with a stage that this program doesn't know."""

    def trace(self, packet: PacketIn, staged: Staged | None = None) -> Trace:
        found = super().trace(packet, staged)
        steps = (Step(StepKind.STAGE, value=99), Step(StepKind.MATCH, "fenced_net", 3), *found.now.steps)
        return replace(found, now=replace(found.now, steps=steps))


def test_a_trace_meets_tables_of_others_stages() -> None:
    twin = Foreign()
    twin.load(world.CONFIG)
    twin.writer().commit([Insert(rows) for rows in as_rows(world.rows())])
    told = str(Card(twin).trace("udp 10.1.0.20:1 > 10.1.0.10:2", port="host0"))
    assert "fenced_net 3" in told
    assert "a stage that isn't known here" in told


def _started(run: Path) -> int:
    """A loaded engine in this folder, as dsnd leaves it; its pid."""
    pid = start(run, binary=SANITIZED, log=run.parent / "log").pid
    engine = connect(run)
    engine.load(LoadConfig(ports=(PortConfig(0, "uplink0", "replay"),), owners=OWNERS))
    engine.writer().commit([Insert(Vrf(id=1).rows())])
    engine.start()
    engine.close()
    return pid


def _killed(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_an_agent_comes_back_to_an_engine_that_was_started_anew(tmp_path: Path) -> None:
    """The way that the words of LOST tell: connect again, ask, compute anew."""
    run = tmp_path / "run"
    pid = _started(run)
    try:
        with packet.connect(str(run)) as card:
            mine = card.writer("agent", [NextHop])
            base = mine.sync(NextHop(id=1, port=0, address="192.0.2.1"), tag="one").generation
            cursor = card.events().cursor
            told_at = wall_time(card.events().events[-1].time_ns)
            assert timedelta() <= datetime.now(UTC) - told_at < timedelta(minutes=5)
            _killed(pid)
            error = refused(ErrorKind.LOST, lambda: mine.commit([], base=base, transaction=4711))
            assert "(reconnect)" in error.fix
            refused(ErrorKind.LOST, lambda: mine.reconnect(0.3))
            begin = time.monotonic()
            again: list[int] = []
            starter = threading.Timer(0.5, lambda: again.append(_started(run)))
            starter.start()
            mine.reconnect(60)
            starter.join()
            pid = again[0]
            assert 0.3 < time.monotonic() - begin < 60
            assert mine.outcome().kind is OutcomeKind.UNKNOWN
            while card.snapshot(Vrf).generation < int(base):
                mine.commit([])
            refused(ErrorKind.STALE, lambda: mine.commit([], base=base, transaction=4711), "life")
            refused(ErrorKind.STALE, lambda: mine.commit([], base=Generation.of(base.token)), "life")
            told = card.events(cursor)
            assert (told.lost, told.events[0].number) == (True, 1)
            assert mine.sync(NextHop(id=1, port=0, address="192.0.2.1"), tag="one").changes == {"next_hop": (1, 0, 0)}
            assert card.snapshot(NextHop).rows("next_hop")
    finally:
        _killed(pid)
