"""The daemon's API under clients that rest, an engine that doesn't answer, and errors that nobody foresaw."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from board_support.board import Hardware, facts
from hal.errors import ErrorKind, HalError
from hal.packet.contract import FlowFilter, Insert, LoadConfig, Outcome, PacketIn, PortConfig
from hal.packet.describe import build, parse
from hal.packet.model.twin import TwinWriter
from hal.packet.schema.rows import as_rows
from hal.packet.stages.route._generated import BlackholeRoute
from sdk.api import card_pb2 as pb
from sdk.api import card_pb2_grpc, problems
from sdk.api.client import GrpcCard, IntentText
from sdk.cli.daemon_card import DaemonCard
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.card import Card
from sdk.dsnd.collector import Collector
from sdk.dsnd.naming import named
from sdk.dsnd.patience import Probe, Streams
from sdk.dsnd.server import CardServicer, serve
from sdk.dsnd.store import Store
from services.core.objects import IntentError
from services.core.service import discover
from tests.tools.process import Process
from tests.tools.until import until

CONFIG = LoadConfig(ports=(PortConfig(0, "host0", "replay"),), owners={"my-agent": ("route", "next_hop")})
INTENT = [IntentText("a.yaml", b"kind: Vrf\nname: blue\n")]
PACKET = PacketIn(bytes(60), 0, 1)


@dataclass
class Served:
    """A card behind its API, and what its daemon logged."""

    card: Card
    process: Process
    socket: Path
    log: list[str]
    api: GrpcCard


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    log: list[str] = []
    process = Process()
    card = Card(Hardware(facts("twin"), process), CONFIG, discover(), Store(tmp_path / "state"), log.append,
                Backoff(first_s=0.01, most_s=0.02))  # fmt: skip
    card.probe = Probe(0.5)
    card.begin()
    collector = Collector(lambda: card.backend)
    servicer = CardServicer(card, collector, lambda: None, log.append, Streams(most=8, rest_s=2.0))
    server = serve(servicer, tmp_path / "s")
    with closing(GrpcCard(tmp_path / "s")) as api:
        yield Served(card, process, tmp_path / "s", log, api)
    server.stop(0).wait()
    card.let_go()


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Ends what a test left waiting."""
    event = threading.Event()
    yield event
    event.set()


def resting(api: GrpcCard, ended: threading.Event, told: list[HalError]) -> threading.Thread:
    """A client that opens a replay and sends nothing."""

    def requests() -> Iterator[pb.ReplayRequest]:
        ended.wait(60)
        yield from ()

    def run() -> None:
        try:
            for _ in api._card.Replay(requests(), timeout=60):
                pass
        except Exception as error:  # noqa: BLE001 - as the client's own methods do
            try:
                problems.raise_for(error, "here")  # type: ignore[arg-type]
            except HalError as found:
                told.append(found)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_clients_that_rest_block_nobody_and_are_ended(served: Served, ended: threading.Event) -> None:
    told: list[HalError] = []
    threads = [resting(served.api, ended, told) for _ in range(30)]
    with closing(GrpcCard(served.socket, timeout=5)) as other:
        assert other.status().engine_state == "forwarding"
        assert other.apply(INTENT).generation
    assert until(lambda: len(told) == 30)
    assert {(error.kind, error.got) for error in told} <= {
        (ErrorKind.BUSY, "8 streams open"),
        (ErrorKind.BUSY, "Concurrent RPC limit exceeded!"),
        (ErrorKind.TIMEOUT, "it ended a stream that rested too long"),
    }
    assert [error.kind for error in told].count(ErrorKind.TIMEOUT) == 8
    results, _ = served.api.replay([PACKET])  # there is room again
    assert len(results) == 1
    for thread in threads:
        thread.join(5)


def test_an_engine_that_does_not_answer_is_said_to(
    served: Served, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = served.process.engine
    assert twin is not None
    snapshot, capabilities = twin.snapshot, twin.capabilities
    monkeypatch.setattr(twin, "snapshot", lambda *words: ended.wait(60) and snapshot(*words))
    monkeypatch.setattr(twin, "capabilities", lambda: ended.wait(60) and capabilities())
    begin = time.monotonic()
    for _ in range(3):
        status = served.api.status()
        assert status.engine_state == "does not answer"
        assert status.last_fault.startswith("TIMEOUT: packet engine: got no answer, limit 0.5 s.")
    with pytest.raises(HalError) as caught:
        served.api.apply(INTENT)
    assert (caught.value.kind, caught.value.what) == (ErrorKind.TIMEOUT, "packet engine")
    assert time.monotonic() - begin < 10
    ended.set()
    assert until(lambda: served.api.status().engine_state == "forwarding")
    assert served.api.apply(INTENT).generation


def test_what_nobody_foresaw_is_logged_and_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("seven")

    monkeypatch.setattr(served.card, "apply", fail)
    monkeypatch.setattr(served.card, "steady", fail)
    with caplog.at_level(logging.DEBUG):
        for name, call in (("Apply", lambda: served.api.apply(INTENT)), ("GetFlows", served.api.flows)):
            with pytest.raises(HalError) as caught:
                call()
            assert str(caught.value) == (
                f"LOST: {name} of dsnd: got ZeroDivisionError: seven. "
                "Read dsnd.log, and look what became of it: dsn card status."
            )
            assert served.log[-1].startswith(f"{name} failed:\nTraceback (most recent call last):")
            assert served.log[-1].endswith("ZeroDivisionError: seven")
    assert "Exception calling application" not in caplog.text
    assert served.api.status().engine_state == "forwarding"


def test_the_keeper_outlives_what_nobody_foresaw(served: Served) -> None:
    served.process.failing = [ZeroDivisionError("eight") for _ in range(3)]
    assert until(lambda: sum("the keeper failed" in line and "eight" in line for line in served.log) == 3)
    served.process.engine = None
    assert until(lambda: served.process.launches == 2 and served.card.life.state == "forwarding")


def test_connections_are_forgotten_over_one_writer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = served.process.engine
    assert twin is not None
    monkeypatch.setattr(twin, "writer", lambda *_: pytest.fail("another writer"))
    for _ in range(3):
        assert served.api.forget(FlowFilter(id=1)) == 0


def test_dsn_plans_with_what_dsnd_plans_with(served: Served) -> None:
    served.api.apply(INTENT)
    with closing(DaemonCard(served.socket)) as client:
        theirs = client.planning()
    ours = served.card.tables.context()
    assert theirs.owners == {"route": "my-agent", "next_hop": "my-agent"}
    assert replace(theirs, installed={}) == replace(ours, installed={})
    for table, parts in ours.installed.items():
        assert [rows.data.tobytes() for rows in theirs.installed[table]] == [rows.data.tobytes() for rows in parts]
    assert ours.installed["vrf"]


def test_rows_of_stages_that_are_not_installed_are_shown(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.api.apply(INTENT)
    ours = served.api.snapshot(["vrf"])
    monkeypatch.setattr("sdk.api.client.row_classes", dict)
    theirs = served.api.snapshot(["vrf"])
    assert [(str(row), row.to_dict()) for row in theirs.rows("vrf")] == [
        (str(row), row.to_dict()) for row in ours.rows("vrf")
    ]
    assert ours.rows("vrf")
    assert type(theirs.rows("vrf")[0]) is not type(ours.rows("vrf")[0])


def test_objects_say_what_is_pending_until_the_engine_says(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose answer never came: what was asked for has no generation yet, and why it isn't told as applied."""
    generation = served.api.apply(INTENT).generation
    commit, outcome, answers = TwinWriter.commit, TwinWriter.outcome, threading.Event()

    def lose(*words: Any, **more: Any) -> int:
        commit(*words, **more)
        raise HalError(ErrorKind.TIMEOUT, "commit")

    def late(*words: Any) -> Outcome:
        if not answers.is_set():
            raise HalError(ErrorKind.TIMEOUT, "outcome")
        return outcome(*words)

    monkeypatch.setattr(TwinWriter, "commit", lose)
    monkeypatch.setattr(TwinWriter, "outcome", late)
    more = IntentText("b.yaml", b"kind: Vrf\nname: green\n")
    with pytest.raises(HalError) as caught:
        served.api.apply([*INTENT, more])
    assert caught.value.kind is ErrorKind.TIMEOUT
    pending = served.card.store.pending()
    assert pending is not None
    told = served.api.objects()
    (green,) = (one for one in told if one.name == "green")
    assert (green.applied_generation, green.wanted_generation, green.status) == (0, generation + 1, "{}")
    assert green.reason == f"intent {pending.digest} was committed, and the engine hasn't said yet whether it holds"
    others = [one for one in told if one is not green]
    assert [one for one in others if one.reason or one.wanted_generation != one.applied_generation] == []
    assert generation in {one.applied_generation for one in others}
    answers.set()
    assert until(lambda: served.card.store.pending() is None)
    told = served.api.objects()
    found = {one.name: (one.wanted_generation, one.applied_generation, one.reason) for one in told}
    assert found.pop("green") == (generation + 1, generation + 1, "")
    assert {(wanted - applied, reason) for wanted, applied, reason in found.values()} == {(0, "")}


def mistakes(many: int) -> bytes:
    """An intent in which each of so many objects names a field that there isn't."""
    return "".join(f"---\nkind: Vrf\nname: v{n}\nspec: {{wrong{n}: {'x' * 80}}}\n" for n in range(many)).encode()


def test_all_that_is_wrong_comes_over_the_socket(served: Served) -> None:
    with pytest.raises(IntentError) as caught:
        served.api.apply([IntentText("a.yaml", mistakes(200))])
    told = caught.value.problems
    assert [(one.object, one.field, one.position.line) for one in told] == [
        (f"Vrf v{n}", f"wrong{n}", 4 * n + 4) for n in range(200)
    ]
    assert str(told[-1]).splitlines()[1].endswith("spec: {wrong199: " + "x" * 80 + "}")
    told_of = {one.name: one.reason for one in served.api.objects()}
    assert told_of["v0"].startswith("the last apply was refused: a.yaml:4:")
    assert told_of["v1"].startswith("the last apply was refused: a.yaml:8:")


@pytest.mark.parametrize("name", ["a.yaml", "\N{SNOWMAN}" * 2000])
def test_who_takes_no_more_than_grpc_does_is_told_what_fits(served: Served, name: str) -> None:
    """A client with gRPC's limits, that reads the call's details alone or the metadata too."""
    with grpc.insecure_channel(f"unix:{served.socket}") as channel:
        request = pb.ApplyRequest(files=[pb.IntentFile(name=name, text=mistakes(200))])
        with pytest.raises(grpc.RpcError) as caught:
            card_pb2_grpc.CardStub(channel).Apply(request, timeout=30)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(f"the intent is refused: {name[:60]}")
    sizes = [len(key) + len(value) for key, value in error.trailing_metadata()]
    assert sum(sizes) * 4 / 3 + 3 * len(error.details().encode()) < 8192
    with pytest.raises(IntentError) as told:
        problems.raise_for(error, "here")
    *some, last = told.value.problems
    assert some
    assert [one.field for one in some] == [f"wrong{n}" for n in range(len(some))]
    assert last.message == f"{200 - len(some)} more problems are not shown"


def test_an_error_too_long_for_metadata_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise HalError(ErrorKind.FULL, "table vrf", got="\N{SNOWMAN}" * 30_000, limit="few", fix="Take some out.")

    monkeypatch.setattr(served.card, "apply", fail)
    with pytest.raises(HalError) as caught:
        served.api.apply(INTENT)
    error = caught.value
    assert (error.kind, error.what, error.limit, error.fix) == (ErrorKind.FULL, "table vrf", "few", "Take some out.")
    assert str(error.got).startswith("\N{SNOWMAN}" * 100)
    assert str(error.got).endswith("…")


def test_a_replay_picks_up_where_it_is_asked_to(served: Served) -> None:
    """Also one without a packet is answered."""
    text = "kind: Subnet\nname: lan\nspec: {gateways: [10.1.0.1/24]}\n"
    for number in (1, 2):
        text += f"---\nkind: Vnic\nname: v{number}\nspec: {{port: host0, by_mac: true, mac: 02:00:00:00:00:0{number}, "
        text += f"subnet: lan, addresses: [10.1.0.2{number}], policy: open}}\n"
    text += "---\nkind: FirewallPolicy\nname: open\nspec: {rules: {a: allow any from any to any, "
    text += "b: allow out any from any to any}}\n"
    served.api.apply([IntentText("a.yaml", text.encode())])
    frame = build(parse("tcp 10.1.0.21:1 > 10.1.0.22:80 ack"), "02:00:00:00:00:01", "02:00:00:00:00:02", 0)
    packet = PacketIn(frame, 0, 1)
    for pickup, reason in ((True, ""), (False, "tcp_no_session")):
        (result,), flows = served.api.replay([packet], pickup=pickup)
        assert (result.reason, len(flows)) == (reason, int(pickup))
    assert served.api.replay([]) == ([], [])


def test_what_others_need_is_refused_by_name(served: Served) -> None:
    """An agent's route lies in a VRF: taken out of the intent, it is told by its name and line, not by its hash."""
    vrf = "kind: Vrf\nname: keep\n---\nkind: Vrf\nname: blue\n"
    applied = served.api.apply([IntentText("a.yaml", vrf.encode())]).generation
    blue = next(key[1] for key, name in served.api.snapshot().names.items() if name.text == "blue")
    served.card.backend.writer("my-agent").commit(
        [Insert(rows) for rows in as_rows([BlackholeRoute(id=1, vrf=blue, prefix="0.0.0.0/0")])]
    )
    assert served.api.status().generation == applied + 1
    with pytest.raises(HalError) as caught:
        served.api.apply([IntentText("a.yaml", b"kind: Vrf\nname: keep\n")])
    assert str(caught.value) == (
        "INVALID: table vrf blue (a.yaml:5): got 1 rows that refer to it, limit no row that refers to it. "
        "Keep it, or have my-agent take the entry out first."
    )
    with closing(DaemonCard(served.socket)) as card:
        found = {one.name: one for one in card.objects()}
    assert (found["keep"].applied, found["keep"].asked, found["keep"].reason) == (applied, applied, "")
    assert (found["blue"].applied, found["blue"].asked) == (applied, applied + 1)
    assert found["blue"].reason == f"the last apply was refused: {caught.value}"


def test_an_entry_that_refers_is_told_by_name_too(served: Served) -> None:
    """In an engine's words; what isn't known by name stays as it was."""
    served.api.apply([IntentText("a.yaml", b"kind: Subnet\nname: lan\nspec: {gateways: [10.1.0.1/24]}\n")])
    backend, names = served.card.backend, {one.text: key for key, one in served.api.snapshot().names.items()}
    lan, gateway = names["lan"][1], names["lan/10.1.0.1"][1]
    words: dict[str, Any] = {"limit": "no row that refers to it", "fix": "Remove it.", "table": "subnet", "row": 0}
    got = f"table local_address id {gateway} refers to it"
    error = HalError(ErrorKind.INVALID, "table subnet", field="id", got=got, row_id=lan, **words)
    told = str(named(error, backend, (), {"local_address": "a", "route": "b"}))
    assert told.startswith(
        "INVALID: table subnet lan (a.yaml:2): got table local_address lan/10.1.0.1 (a.yaml:3) refers"
    )
    assert told.endswith(". Keep it, or have a take the entry out first.")
    assert str(named(error, backend, (), {})).endswith("refers to it. Remove it.")
    unknown = HalError(ErrorKind.INVALID, "table subnet", got="table vnic id 1 refers to it", row_id=1, **words)
    assert str(named(unknown, backend, (), {})) == str(unknown)


def test_the_socket_is_its_owners_alone(served: Served) -> None:
    """Its mode is the authority over the card: whatever the umask, nobody else opens it."""
    another = served.socket.with_name("another")
    before = os.umask(0)
    try:
        server = serve(CardServicer(served.card, Collector(lambda: served.card.backend), lambda: None, print), another)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.lstat().st_mode) for path in (served.socket, another)]
    server.stop(0).wait()
    assert modes == [0o600, 0o600]
