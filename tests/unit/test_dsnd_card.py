"""The daemon without its process: what it does with engines that live, die, or hold something else."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from board_support.board import Hardware, facts
from hal.errors import ErrorKind, HalError
from hal.packet.contract import LoadConfig, PacketIn, PortConfig, Verdict
from hal.packet.derive import SyncResult, sync
from hal.packet.model import Twin
from sdk.api import card_pb2 as pb
from sdk.api.applied import Applied
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.card import Card
from sdk.dsnd.collector import Collector
from sdk.dsnd.server import CardServicer
from sdk.dsnd.store import Store, StoredIntent
from sdk.dsnd.tables import Tables
from services.core.intent import Intent, Source, load
from services.core.objects import IntentError
from services.core.plan import Plan
from services.core.service import discover
from tests.tools.process import Process
from tests.unit.test_dsnd_store import IN_ITS_PLACE, a_folder

CONFIG = LoadConfig(ports=tuple(PortConfig(number, name, "replay") for number, name in enumerate(("host0", "uplink0"))))
ONE = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
"""
TWO = (
    ONE
    + """
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10]}
"""
)


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def start(process: Process, tmp_path: Path) -> Iterator[Callable[[], Card]]:
    """Starts a daemon on the test's engine and state; the one before it is let go as if it had been killed."""
    cards: list[Card] = []

    def begin() -> Card:
        for card in cards:
            card.let_go()
        card = Card(Hardware(facts("twin"), process), CONFIG, discover(), Store(tmp_path), lambda _: None,
                    Backoff(first_s=0.01, most_s=0.02))  # fmt: skip
        cards.append(card)
        card.begin()
        return card

    yield begin
    for card in cards:
        card.let_go()


def whole(text: str) -> tuple[tuple[str, str, str], ...]:
    return (("", "a.yaml", text),)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def rows(card: Card, table: str) -> int:
    return len(card.backend.snapshot([table]).rows(table))


def test_a_new_daemon_adopts_the_engine_and_changes_nothing(process: Process, start: Callable[[], Card]) -> None:
    applied = start().apply(whole(TWO))
    second = start()
    assert process.launches == 1
    assert second.holding is not None
    assert (second.holding.generation, second.holding.intent.digest) == (applied.generation, applied.digest)
    assert second.backend.snapshot().generation == applied.generation


def test_an_agent_that_committed_since_is_no_reason_to_load_anew(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's latest tag is the agent's; the daemon goes by its own."""
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", replace(CONFIG, owners={"agent": ("next_hop",)}))
    applied = start().apply(whole(TWO))
    assert process.engine is not None
    after = process.engine.writer("agent").commit([], tag="the agent's")
    second = start()
    assert second.backend.snapshot().generation == after
    assert second.holding is not None
    assert second.holding.intent.digest == applied.digest
    assert second.apply(whole(TWO)).generation == after


def test_a_pending_intent_that_the_engine_holds_becomes_good(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    first = start()
    first.apply(whole(ONE))
    pending = StoredIntent(whole(TWO))
    first.apply(pending.files)
    # As if it had been killed between the commit and the word that it is good.
    store = Store(tmp_path)
    store.begin(StoredIntent(whole(ONE)))
    store.confirm()
    store.begin(pending)
    second = start()
    assert store.good() == pending
    assert store.pending() is None
    assert rows(second, "vnic") == 1


def test_a_pending_intent_is_good_though_an_agent_committed_since(
    process: Process, start: Callable[[], Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine holds of the daemon's is told by the daemon's own tag, whoever came last."""
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", replace(CONFIG, owners={"agent": ("next_hop",)}))
    start().apply(whole(TWO))
    store = Store(tmp_path)
    store.begin(StoredIntent(whole(ONE)))
    store.confirm()
    store.begin(StoredIntent(whole(TWO)))
    assert process.engine is not None
    # The agent's tag is even that of the intent which was good before.
    after = process.engine.writer("agent").commit([], tag=StoredIntent(whole(ONE)).digest)
    second = start()
    assert (store.good(), store.pending()) == (StoredIntent(whole(TWO)), None)
    assert rows(second, "vnic") == 1
    assert second.backend.snapshot().generation == after


def test_a_pending_intent_that_never_reached_the_engine_is_dropped(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    start().apply(whole(ONE))
    store = Store(tmp_path)
    store.begin(StoredIntent(whole(TWO)))
    second = start()
    assert store.pending() is None
    assert store.good() == StoredIntent(whole(ONE))
    assert rows(second, "vnic") == 0


def test_an_engine_that_holds_something_else_is_brought_to_the_good_intent(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    start().apply(whole(TWO))
    store = Store(tmp_path)
    store.begin(StoredIntent(whole(ONE)))
    store.confirm()
    assert rows(start(), "vnic") == 0


def test_a_dead_engine_is_started_again_with_the_last_good_intent(process: Process, start: Callable[[], Card]) -> None:
    card = start()
    applied = card.apply(whole(TWO))
    process.refuse = 2
    process.engine = None
    until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 1
    assert card.backend.snapshot().tag == applied.digest
    assert card.life.starts == 2


def test_while_it_is_dead_callers_are_told_so(process: Process, start: Callable[[], Card]) -> None:
    card = start()
    process.refuse = 1_000
    process.engine = None
    until(lambda: card.life.state == "restarting")
    with pytest.raises(HalError, match="LOST: packet engine"):
        _ = card.backend
    process.refuse = 0
    until(lambda: card.life.state == "forwarding")


def test_a_bad_intent_changes_nothing(process: Process, start: Callable[[], Card], tmp_path: Path) -> None:
    card = start()
    applied = card.apply(whole(TWO))
    with pytest.raises(IntentError, match="did you mean gateways"):
        card.apply(whole(ONE.replace("gateways", "gatewais")))
    assert card.backend.snapshot().generation == applied.generation
    assert (Store(tmp_path).good().digest, Store(tmp_path).pending()) == (applied.digest, None)


def test_what_the_engine_refuses_is_not_pending_either(
    process: Process, start: Callable[[], Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = start()
    applied = card.apply(whole(ONE))

    def refuse(*_: Any, **__: Any) -> None:
        raise HalError(ErrorKind.FULL, "table vnic")

    monkeypatch.setattr("sdk.dsnd.tables.sync", refuse)
    with pytest.raises(HalError, match="FULL: table vnic"):
        card.apply(whole(TWO))
    assert (Store(tmp_path).good().digest, Store(tmp_path).pending()) == (applied.digest, None)


def test_a_lost_answer_is_asked_for(start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = start()

    def lost(*arguments: Any, **more: Any) -> None:
        sync(*arguments, **more)
        raise HalError(ErrorKind.LOST, "connection")

    monkeypatch.setattr("sdk.dsnd.tables.sync", lost)
    applied = card.apply(whole(TWO))
    assert card.backend.snapshot().generation == applied.generation
    assert Store(tmp_path).good().digest == applied.digest


def test_a_set_is_replaced_and_the_rest_stays(start: Callable[[], Card]) -> None:
    card = start()
    card.apply(whole(ONE))
    vnic = TWO.split("---")[1]
    card.apply((("", "v.yaml", vnic),), only_set="edge")
    assert (rows(card, "vnic"), rows(card, "subnet")) == (1, 1)
    card.apply((), only_set="edge")
    assert (rows(card, "vnic"), rows(card, "subnet")) == (0, 1)


class Silent:
    """An engine that takes a commit and doesn't say what became of it, until it is asked again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, takes: bool) -> None:
        self.answers = False
        self.takes = takes
        self.generation: int | None = None
        monkeypatch.setattr("sdk.dsnd.tables.sync", self.sync)
        monkeypatch.setattr("sdk.dsnd.tables.Tables.went_through", self.went_through)

    def sync(self, *arguments: Any, **more: Any) -> None:
        more["transaction"]()
        if self.takes:
            self.generation = sync(*arguments, **more).generation
        raise HalError(ErrorKind.TIMEOUT, "commit", limit="60 s")

    def went_through(self, *_: Any) -> int | None:
        if not self.answers:
            raise HalError(ErrorKind.TIMEOUT, "outcome", limit="60 s")
        return self.generation


@pytest.mark.parametrize("takes", [True, False])
def test_a_commit_without_an_answer_is_found_out_later(
    start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, takes: bool
) -> None:
    card = start()
    card.apply(whole(ONE))
    silent = Silent(monkeypatch, takes)
    with pytest.raises(HalError, match=r"TIMEOUT: packet engine.*it is found out as soon as the engine answers"):
        card.apply(whole(TWO))
    # Neither is taken for granted: both are on disk until the engine says.
    assert Store(tmp_path).good() == StoredIntent(whole(ONE))
    assert Store(tmp_path).pending() == StoredIntent(whole(TWO))
    with pytest.raises(HalError, match="TIMEOUT"):
        card.apply(whole(ONE))
    silent.answers = True
    until(lambda: Store(tmp_path).pending() is None)
    wanted = whole(TWO if takes else ONE)
    assert Store(tmp_path).good() == StoredIntent(wanted)
    assert card.holding is not None
    assert card.holding.intent == StoredIntent(wanted)
    assert rows(card, "vnic") == int(takes)


def test_a_damaged_pending_intent_is_dropped(start: Callable[[], Card], tmp_path: Path) -> None:
    applied = start().apply(whole(TWO))
    (tmp_path / "intent.pending").write_bytes(b"{")
    second = start()
    assert Store(tmp_path).pending() is None
    assert second.backend.snapshot().tag == applied.digest


def test_with_a_damaged_good_intent_a_running_engine_goes_on(start: Callable[[], Card], tmp_path: Path) -> None:
    applied = start().apply(whole(TWO))
    (tmp_path / "intent.good").write_bytes(b"{")
    second = start()
    assert second.backend.snapshot().tag == applied.digest
    assert rows(second, "vnic") == 1
    assert "CORRUPT: stored intent" in second.life.fault
    assert "Apply the whole intent again" in second.life.fault
    with pytest.raises(HalError, match="CORRUPT"):  # what the other sets hold nobody knows
        second.apply(whole(ONE), only_set="edge")
    second.apply(whole(ONE))
    assert second.life.fault == ""
    assert Store(tmp_path).good() == StoredIntent(whole(ONE))


def test_with_a_damaged_good_intent_a_new_engine_forwards_nothing(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    card = start()
    card.apply(whole(TWO))
    (tmp_path / "intent.good").write_bytes(b"{")
    process.engine = None
    until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 0
    assert "CORRUPT" in card.life.fault
    card.apply(whole(TWO))
    assert (rows(card, "vnic"), card.life.fault) == (1, "")


def _without_host0(monkeypatch: pytest.MonkeyPatch) -> None:
    """card.toml as of now lacks the port that the stored intent names."""
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", LoadConfig(ports=CONFIG.ports[1:]))


def test_a_stored_intent_whose_port_is_gone_forwards_nothing_until_the_next_apply(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = start().apply(whole(TWO))
    assert rows(start(), "vnic") == 1
    process.engine = None
    _without_host0(monkeypatch)
    card = start()
    assert card.life.state == "forwarding"
    assert (rows(card, "subnet"), rows(card, "vnic"), rows(card, "seed")) == (0, 0, 1)
    assert card.backend.snapshot().tag != before.digest
    for words in ("Vnic web", "field port", "host0", "Nothing is forwarded", "Apply an intent that fits"):
        assert words in card.life.fault
    assert Store(tmp_path).good() == StoredIntent(whole(TWO))  # who puts the port back has it again
    with pytest.raises(IntentError, match="host0"):
        card.apply(whole(ONE), only_set="edge")
    card.apply(whole(ONE))
    assert (rows(card, "subnet"), card.life.fault) == (1, "")
    assert Store(tmp_path).good() == StoredIntent(whole(ONE))


def test_with_the_port_back_the_stored_intent_holds_again(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG
    applied = start().apply(whole(TWO))
    process.engine = None
    _without_host0(monkeypatch)
    assert rows(start(), "vnic") == 0
    process.engine = None
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", config)
    card = start()
    assert (rows(card, "vnic"), card.backend.snapshot().tag, card.life.fault) == (1, applied.digest, "")


def test_a_running_engine_goes_on_with_a_stored_intent_that_does_not_plan_any_more(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = start().apply(whole(TWO))
    monkeypatch.setattr(Tables, "planned", _unplannable(Tables.planned))
    card = start()
    assert (process.launches, card.life.state) == (1, "forwarding")
    assert (rows(card, "vnic"), card.backend.snapshot().tag) == (1, applied.digest)
    for words in ("Vnic web", "stage gone is not there", "goes on with what it holds", "Apply an intent that fits"):
        assert words in card.life.fault
    card.apply(whole(ONE))
    assert (rows(card, "vnic"), card.life.fault) == (0, "")


def test_what_a_new_engine_refuses_of_the_stored_intent_is_told_and_not_forwarded(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    start().apply(whole(TWO))
    process.engine = None
    real = Tables.commit

    def commit(self: Tables, plan: Plan, digest: str, before: Plan | None) -> SyncResult:
        if "vnic" in plan.tables:
            raise HalError(ErrorKind.FULL, "table vnic", limit="memory")
        return real(self, plan, digest, before)

    monkeypatch.setattr(Tables, "commit", commit)
    card = start()
    assert rows(card, "subnet") == 0
    assert "FULL: table vnic" in card.life.fault
    card.apply(whole(ONE))
    assert (rows(card, "subnet"), card.life.fault) == (1, "")


def _unplannable(planned: Callable[..., Any]) -> Callable[..., Any]:
    """As `planned`, of a card without a stage that each vNIC asks for."""

    def without_stage(self: Tables, intent: StoredIntent, *context: Any) -> Any:
        read, objects, plan = planned(self, intent, *context)
        vnics = [one for one in objects if one.kind == "Vnic"]
        if vnics:
            raise IntentError([one.problem("stages", "stage gone is not there") for one in vnics])
        return read, objects, plan

    return without_stage


def test_a_full_disk_refuses_before_anything_changes(
    start: Callable[[], Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = start()
    applied = card.apply(whole(ONE))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(HalError, match=r"FULL: state folder .*No space left on device"):
            card.apply(whole(TWO))
    assert card.backend.snapshot().generation == applied.generation
    assert sorted(path.name for path in tmp_path.iterdir()) == ["intent.good", "seed"]
    card.apply(whole(TWO))
    assert rows(card, "vnic") == 1


def test_an_engine_that_dies_again_and_again_is_told_of(process: Process, start: Callable[[], Card]) -> None:
    card = start()
    for number in (2, 3):
        process.engine = None
        until(lambda: process.launches == number and card.life.state == "forwarding")  # noqa: B023
    assert "the second time in a row" in card.life.fault
    process.refuse = 1_000_000
    process.engine = None
    until(lambda: "tried again in" in card.life.fault)
    assert "INVALID: engine: got exit 1" in card.life.fault
    assert card.life.state == "restarting"
    process.refuse = 0
    until(lambda: card.life.state == "forwarding")


def test_two_who_apply_at_once_come_one_after_the_other(start: Callable[[], Card], tmp_path: Path) -> None:
    card = start()
    acknowledged: list[Applied] = []

    def apply_often(text: str) -> None:
        acknowledged.extend(card.apply(whole(f"{text}# {turn}\n")) for turn in range(5))

    threads = [threading.Thread(target=apply_often, args=(text,)) for text in (ONE, TWO)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    generations = [one.generation for one in acknowledged]
    assert len(set(generations)) == 10
    last = max(acknowledged, key=lambda one: one.generation)
    assert card.backend.snapshot().tag == Store(tmp_path).good().digest == last.digest


def test_after_its_end_nothing_is_applied(start: Callable[[], Card], tmp_path: Path) -> None:
    card = start()
    card.apply(whole(ONE))
    card.let_go()
    with pytest.raises(HalError, match="LOST: dsnd: got it is ending"):
        card.apply(whole(TWO))
    assert Store(tmp_path).good() == StoredIntent(whole(ONE))


def test_what_was_refused_is_wanted_and_said_why(start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the last apply is in force nowhere: it has no generation, and others may take the next one."""
    card = start()
    generation = card.apply(whole(ONE)).generation
    assert card.wanted() == (generation, "")
    with pytest.raises(IntentError):
        card.apply(whole(ONE.replace("gateways", "gatewais")))
    wanted, reason = card.wanted()
    assert wanted == 0
    assert reason.startswith(
        "the last apply was refused: a.yaml:4:8: error: Subnet shop, field gatewais: unknown field"
    )
    with monkeypatch.context() as patch:
        patch.setattr("sdk.dsnd.tables.sync", _full)
        with pytest.raises(HalError):
            card.apply(whole(TWO))
    assert card.wanted() == (0, "the last apply was refused: FULL: table vnic")
    served = CardServicer(card, Collector(lambda: card.backend), lambda: None, lambda _: None)
    told = list(served.GetObjects(pb.GetObjectsRequest(), cast("Any", None)))
    assert {(one.wanted_generation, one.applied_generation) for one in told} == {(0, generation)}
    assert {one.reason for one in told} == {card.wanted()[1]}
    generation = card.apply(whole(TWO)).generation
    assert card.wanted() == (generation, "")
    assert {one.reason for one in served.GetObjects(pb.GetObjectsRequest(), cast("Any", None))} == {""}


def _full(*_: Any, **__: Any) -> None:
    raise HalError(ErrorKind.FULL, "table vnic")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Makes the state folder one of a file system that is mounted read-only, for root too."""

    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    opened = os.open

    def only_read(path: Any, flags: int, *words: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and tmp_path in Path(path).parents:
            refuse(path)
        return opened(path, flags, *words, **more)

    def begin() -> None:
        monkeypatch.setattr(os, "open", only_read)
        for name in ("unlink", "rename", "replace"):
            monkeypatch.setattr(os, name, refuse)

    return begin


def test_a_state_folder_that_can_not_be_written_keeps_no_engine_down(
    process: Process, start: Callable[[], Card], read_only: Callable[[], None]
) -> None:
    applied = start().apply(whole(TWO))
    card = start()
    read_only()
    process.engine = None
    until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 1
    assert "Read-only" not in card.life.fault
    with pytest.raises(HalError, match=r"FULL: state folder .*: got Read-only file system, .* nothing was changed"):
        card.apply(whole(ONE))
    assert (card.backend.snapshot().tag, rows(card, "vnic")) == (applied.digest, 1)


@pytest.mark.parametrize("dead", [True, False], ids=["started", "adopted"])
@pytest.mark.parametrize("reached", [True, False], ids=["in force", "never sent"])
def test_a_pending_intent_that_can_not_be_removed_is_no_reason_not_to_start(
    process: Process,
    start: Callable[[], Card],
    tmp_path: Path,
    read_only: Callable[[], None],
    dead: bool,
    reached: bool,
) -> None:
    card = start()
    good = card.apply(whole(TWO))
    pending = StoredIntent(whole(ONE))
    Store(tmp_path).begin(pending)
    if reached:
        assert process.engine is not None
        sync(process.engine.writer("dsnd"), process.engine, *card.tables.planned(pending)[2].rows, tag=pending.digest)
    card.let_go()
    read_only()
    if dead:
        process.engine = None
    card = start()
    assert card.life.state == "forwarding"
    holds = pending.digest if reached and not dead else good.digest
    assert card.backend.snapshot().tag == holds
    assert card.holding is not None
    assert card.holding.intent.digest == holds
    assert Store(tmp_path).pending() == pending


def test_a_dead_engine_does_not_wait_for_an_apply_that_is_being_planned(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does who looks; and what was planned for the engine that died is planned again."""
    card = start()
    card.apply(whole(ONE))
    begun, go_on, planned = threading.Event(), threading.Event(), []

    def slowly(files: Sequence[Source], *words: Any) -> Intent:
        if b"web" in files[0].data:
            planned.append(process.launches)
            begun.set()
            assert go_on.wait(30)
        return load(files, *words)

    monkeypatch.setattr("sdk.dsnd.tables.load", slowly)
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(card.apply, whole(TWO))
        try:
            assert begun.wait(10)
            with card.steady() as backend:
                assert len(backend.snapshot(["subnet"]).rows("subnet")) == 1
            process.engine = None
            until(lambda: process.launches == 2 and card.life.state == "forwarding")
            assert (rows(card, "subnet"), rows(card, "vnic")) == (1, 0)
        finally:
            go_on.set()
        assert applied.result(10).digest == card.backend.snapshot().tag
    assert planned == [1, 2]
    assert rows(card, "vnic") == 1


def test_an_engine_that_is_stopped_as_it_would_be_started_again_stays_so(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop comes behind the wait and before the start."""
    card = start()
    wait, stopped = card._ending.wait, threading.Event()

    def waited(seconds: float) -> bool:
        if card.life.state != "restarting" or stopped.is_set():
            return wait(seconds)
        card.stop_engine()
        stopped.set()
        return False

    monkeypatch.setattr(card._ending, "wait", waited)
    process.engine = None
    until(stopped.is_set)
    card.let_go()  # waits for the keeper
    assert (process.launches, card.life.state) == (1, "stopped")


@pytest.mark.parametrize("damage", [*IN_ITS_PLACE, lambda path: path.write_bytes(b"[" * 200_000)])
@pytest.mark.parametrize("adopted", [True, False], ids=["adopted", "started"])
def test_no_damage_of_what_is_stored_keeps_the_card_down(
    process: Process, start: Callable[[], Card], tmp_path: Path, damage: Callable[[Path], None], adopted: bool
) -> None:
    start().apply(whole(TWO))
    for name in ("intent.good", "intent.pending"):
        (tmp_path / name).unlink(missing_ok=True)
        damage(tmp_path / name)
    if not adopted:
        process.engine = None
    card = start()
    assert card.life.state == "forwarding"
    assert rows(card, "vnic") == adopted  # what holds goes on; what can't be read is not forwarded
    assert "CORRUPT: stored intent" in card.life.fault
    process.engine = None
    until(lambda: process.launches == (2 if adopted else 3) and card.life.state == "forwarding")
    assert rows(card, "vnic") == 0
    if damage is a_folder:
        with pytest.raises(HalError, match=r"CORRUPT: stored intent .*: got a folder"):
            card.apply(whole(TWO))
        assert rows(card, "vnic") == 0
        return
    card.apply(whole(TWO))
    assert (rows(card, "vnic"), card.life.fault) == (1, "")
    assert Store(tmp_path).good() == StoredIntent(whole(TWO))


def test_an_engine_that_was_loaded_and_not_started_is_started(process: Process, start: Callable[[], Card]) -> None:
    """An earlier dsnd was killed in between."""
    twin = Twin()
    twin.load(CONFIG)
    process.engine = twin
    packet = PacketIn(bytes(60), 0, 1)
    with pytest.raises(HalError, match="a started card"):
        twin.inject(packet)
    card = start()
    assert (process.launches, card.life.state) == (0, "forwarding")
    assert twin.inject(packet).verdict is Verdict.DROP


def test_an_end_does_not_wait_for_an_apply_that_is_being_planned(
    start: Callable[[], Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked was told that dsnd is gone: what he asked for must not come about later."""
    card = start()
    card.apply(whole(ONE))
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*words: Any) -> Intent:
        begun.set()
        assert go_on.wait(30)
        return load(*words)

    monkeypatch.setattr("sdk.dsnd.tables.load", slowly)
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(card.apply, whole(TWO))
        try:
            assert begun.wait(10)
            card.let_go()
            assert not applied.done()
        finally:
            go_on.set()
        with pytest.raises(HalError, match="LOST: dsnd: got it is ending"):
            applied.result(10)
    assert (Store(tmp_path).good(), Store(tmp_path).pending()) == (StoredIntent(whole(ONE)), None)
    assert rows(card, "vnic") == 0
