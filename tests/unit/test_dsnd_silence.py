"""An engine that is stopped while a commit is on its way, and takes effect after everybody gave up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from board_support.board import Hardware, facts
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, LoadConfig, PortConfig
from hal.packet.dpdk import link
from hal.packet.dpdk.engine import Engine, EngineWriter, connect
from sdk.dsnd.card import Card
from sdk.dsnd.store import Store, StoredIntent
from services.core.service import discover
from tests.tools.engine import running

CONFIG = LoadConfig(ports=(PortConfig(0, "host0", "replay"),))
ONE, TWO = (StoredIntent((("", "a.yaml", f"kind: Vrf\nname: {name}\n"),)) for name in ("blue", "green"))


class Process:
    """An engine that a test started."""

    def __init__(self, run: Path, pid: int) -> None:
        self._run = run
        self._pid = pid
        self.engines: list[Engine] = []

    def adopt(self) -> Backend | None:
        engine = connect(self._run)
        self.engines.append(engine)
        return engine

    def launch(self) -> Backend:
        raise AssertionError("it runs")

    def pid(self) -> int:
        return self._pid

    def alive(self) -> bool:
        return True


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with running(tmp_path / "run") as pid:
        engine = connect(tmp_path / "run")
        engine.load(CONFIG)
        engine.start()
        engine.close()
        process = Process(tmp_path / "run", pid)
        yield process
        os.kill(pid, signal.SIGCONT)
        for one in process.engines:
            one.close()


def begun(process: Process, state: Path) -> Card:
    card = Card(Hardware(facts("software"), process), CONFIG, discover(), Store(state), lambda _: None)
    card.begin()
    return card


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stop_in_the_next_commit(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine stops just before the commit is sent, and nobody waits long for its answer."""
    commit = EngineWriter.commit

    def stopped(self: EngineWriter, *arguments: Any, **more: Any) -> int:
        monkeypatch.setattr(EngineWriter, "commit", commit)
        monkeypatch.setattr(link, "QUICK_SECONDS", 0.5)
        self._connection.link._timeout = 0.5
        os.kill(process.pid(), signal.SIGSTOP)
        return commit(self, *arguments, **more)

    monkeypatch.setattr(EngineWriter, "commit", stopped)


def test_a_late_commit_is_found_out(process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = begun(process, tmp_path / "state")
    store = Store(tmp_path / "state")
    card.apply(ONE.files)
    stop_in_the_next_commit(process, monkeypatch)
    with pytest.raises(HalError) as caught:
        card.apply(TWO.files)
    assert caught.value.kind is ErrorKind.TIMEOUT
    assert "dsn card status" in str(caught.value)
    assert (store.good(), store.pending()) == (ONE, TWO)
    os.kill(process.pid(), signal.SIGCONT)
    until(lambda: store.good() == TWO and store.pending() is None)
    until(lambda: card.holding is not None and card.holding.intent == TWO)
    assert card.backend.snapshot(["seed"]).tag == TWO.digest
    assert card.apply(TWO.files).summary == "no change"
    card.let_go()


def test_a_late_commit_is_found_out_by_the_next_dsnd(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = begun(process, tmp_path / "state")
    store = Store(tmp_path / "state")
    card.apply(ONE.files)
    stop_in_the_next_commit(process, monkeypatch)
    with pytest.raises(HalError):
        card.apply(TWO.files)
    card._ending.set()  # as if it had been killed there
    card._keeper.join()
    process.engines[0].close()
    assert (store.good(), store.pending()) == (ONE, TWO)
    os.kill(process.pid(), signal.SIGCONT)
    monkeypatch.setattr(link, "QUICK_SECONDS", 20.0)
    after = begun(process, tmp_path / "state")
    assert (store.good(), store.pending()) == (TWO, None)
    assert after.backend.snapshot(["seed"]).tag == TWO.digest
    after.let_go()
