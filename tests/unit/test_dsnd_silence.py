"""An engine that is stopped while a commit is on its way, and takes effect after everybody gave up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from board_support.board import Hardware, facts
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, FlowFilter, LoadConfig, PortConfig
from hal.packet.dpdk import link
from hal.packet.dpdk.engine import Engine, EngineWriter, connect
from sdk.cli.main import main
from sdk.dsnd.card import Card
from sdk.dsnd.collector import EVERY_SECONDS, Collector
from sdk.dsnd.patience import Probe
from sdk.dsnd.server import CardServicer, serve
from sdk.dsnd.store import Store, StoredIntent
from services.core.service import discover
from tests.tools.engine import running
from tests.tools.until import until

DEMO = str(Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "demo.yaml")
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

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def take_up(self, port: int, interface: int, namespace: int, claim: int) -> None:
        raise AssertionError("it has no interfaces")

    def started_ns(self) -> int:
        return self.engines[-1].started_ns

    def alive(self) -> bool:
        state = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"  # who started it waits for it


@pytest.fixture
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """An engine of the test's own. Parameter: the test kills it."""
    with running(tmp_path / "run", killed=getattr(request, "param", False)) as pid:
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


def stop_in_the_next_commit(process: Process, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.5) -> None:
    """The engine stops just before the commit is sent, and nobody waits longer for its answer."""
    commit = EngineWriter.commit

    def stopped(self: EngineWriter, *arguments: Any, **more: Any) -> int:
        monkeypatch.setattr(EngineWriter, "commit", commit)
        monkeypatch.setattr(link, "QUICK_SECONDS", seconds)
        self._connection.link._timeout = seconds
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
    assert until(lambda: store.good() == TWO and store.pending() is None)
    assert until(lambda: card.holding is not None and card.holding.intent == TWO)
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


@pytest.mark.parametrize("process", [True], ids=["killed"], indirect=True)
def test_a_stop_does_not_wait_for_an_apply_that_the_engine_keeps_waiting(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = begun(process, tmp_path / "state")
    card.apply(ONE.files)
    stop_in_the_next_commit(process, monkeypatch, seconds=60)
    monkeypatch.setattr("sdk.dsnd.card.END_SECONDS", 2.0)
    card.probe = Probe(0.5)
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(card.apply, TWO.files)
        assert until(lambda: Store(tmp_path / "state").pending() == TWO)
        begin = time.monotonic()
        assert card.stop_engine() == "the engine was killed: no answer within 0.5 s"
        assert time.monotonic() - begin < 10
        error = applied.exception(10)
    assert isinstance(error, HalError)
    assert error.kind is ErrorKind.LOST
    assert not process.alive()
    assert card.life.state == "stopped"
    assert Store(tmp_path / "state").good() == ONE


@pytest.mark.parametrize("call", ["forget", "apply"])
def test_while_a_commit_hangs_on_a_stopped_engine_others_are_told_soon(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    card = begun(process, tmp_path / "state")
    card.apply(ONE.files)
    stop_in_the_next_commit(process, monkeypatch, seconds=60)
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(card.apply, TWO.files)
        assert until(lambda: Store(tmp_path / "state").pending() == TWO)
        begin = time.monotonic()
        with pytest.raises(HalError) as caught:
            card.forget(FlowFilter()) if call == "forget" else card.apply(ONE.files)
        assert time.monotonic() - begin < 6
        who = "another call" if call == "forget" else "another apply"
        assert str(caught.value) == (
            f"BUSY: packet engine: got {who} holds it; the engine, pid {process.pid()}, is stopped (T), limit 2 s. "
            f"Continue it: kill -CONT {process.pid()}; or dsn card stop."
        )
        os.kill(process.pid(), signal.SIGCONT)
        assert applied.result(30).digest == TWO.digest
    assert card.apply(ONE.files).digest == ONE.digest
    card.let_go()


ASKED = (
    ("show", "tables"),
    ("show", "tables", "vrf"),
    ("show", "objects"),
    ("show", "flows"),
    ("show", "counters"),
    ("show", "drops"),
    ("show", "events"),
    ("plan", DEMO),
    ("apply", DEMO),
    ("trace", "udp 10.1.0.10:5000 > 198.51.100.10:53"),
)


def test_each_command_says_soon_that_the_engine_does_not_answer(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else waits for it: the daemon's own reader of events does."""
    monkeypatch.setenv("DSN_RUN", str(tmp_path))
    card = begun(process, tmp_path / "state")
    card.probe = Probe(1.0)
    collector = Collector(lambda: card.backend)
    collector.begin()
    server = serve(CardServicer(card, collector, lambda: None, lambda _: None), tmp_path / "dsnd.sock")
    runner = CliRunner()
    try:
        assert runner.invoke(main, ["show", "tables"]).exit_code == 0
        os.kill(process.pid(), signal.SIGSTOP)
        time.sleep(2 * EVERY_SECONDS)
        for words in ASKED:
            begin = time.monotonic()
            told = runner.invoke(main, list(words))
            took = time.monotonic() - begin
            assert (told.exit_code, told.stdout) == (3, ""), (words, told.output)
            assert "TIMEOUT: packet engine: got no answer" in told.stderr, (words, told.stderr)
            assert "ps: T is stopped" in told.stderr
            assert took < 8, words
        os.kill(process.pid(), signal.SIGCONT)
        assert until(lambda: runner.invoke(main, ["show", "tables"]).exit_code == 0)
    finally:
        os.kill(process.pid(), signal.SIGCONT)
        server.stop(0).wait()
        collector.end()
        card.let_go()
