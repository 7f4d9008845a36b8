"""The daemon without its process: what it does with engines that live, die, or hold something else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from board_support.board import Hardware, facts
from hal.errors import ErrorKind, HalError
from hal.packet.contract import EventKind, PacketIn, Verdict
from hal.packet.derive import sync
from hal.packet.model import Twin
from sdk.api.applied import Applied
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.card import Card
from sdk.dsnd.store import Store, StoredIntent
from services.core.intent import Intent, Source, load
from services.core.objects import IntentError
from services.core.service import discover
from tests.tools import daemon
from tests.tools.daemon import CONFIG, ONE, TWO, rows, whole
from tests.tools.process import Process
from tests.tools.until import until


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
    monkeypatch.setattr(daemon, "CONFIG", replace(CONFIG, owners={"agent": ("next_hop",)}))
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
    monkeypatch.setattr(daemon, "CONFIG", replace(CONFIG, owners={"agent": ("next_hop",)}))
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
    assert until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 1
    assert card.backend.snapshot().tag == applied.digest
    assert card.life.starts == 2


def test_while_it_is_dead_callers_are_told_so(process: Process, start: Callable[[], Card]) -> None:
    card = start()
    process.refuse = 1_000
    process.engine = None
    assert until(lambda: card.life.state == "restarting")
    with pytest.raises(HalError, match="LOST: packet engine"):
        _ = card.backend
    process.refuse = 0
    assert until(lambda: card.life.state == "forwarding")


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
    assert until(lambda: Store(tmp_path).pending() is None)
    wanted = whole(TWO if takes else ONE)
    assert Store(tmp_path).good() == StoredIntent(wanted)
    assert card.holding is not None
    assert card.holding.intent == StoredIntent(wanted)
    assert rows(card, "vnic") == int(takes)


def _forwards_again(process: Process, card: Card, launches: int) -> bool:
    return process.launches == launches and card.life.state == "forwarding"


def test_an_engine_that_dies_again_and_again_is_told_of(process: Process, start: Callable[[], Card]) -> None:
    card = start()
    for number in (2, 3):
        process.engine = None
        assert until(partial(_forwards_again, process, card, number))
    assert "the second time in a row" in card.life.fault
    process.refuse = 1_000_000
    process.engine = None
    assert until(lambda: "tried again in" in card.life.fault)
    assert "INVALID: engine: got exit 1" in card.life.fault
    assert card.life.state == "restarting"
    process.refuse = 0
    assert until(lambda: card.life.state == "forwarding")


def test_an_engine_that_dies_again_is_waited_for_ever_longer(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until one has lived for long: its death is a first one."""
    card, said = start(), list[str]()
    monkeypatch.setattr(card, "_log", said.append)

    def waited() -> float:
        """Seconds from a death to the next engine, behind those that the log tells."""
        begin, launches = time.monotonic(), process.launches
        process.engine = None
        assert until(lambda: process.launches > launches and card.life.state == "forwarding")
        return time.monotonic() - begin

    monkeypatch.setattr(card, "_backoff", Backoff(first_s=0.1, most_s=0.3, settled_s=3600))
    for wanted in (0.1, 0.2, 0.3, 0.3):
        assert waited() >= wanted
        assert any(line.endswith(f"started again in {wanted:.2f} s") for line in said), said
        said.clear()
    monkeypatch.setattr(card, "_backoff", Backoff(first_s=0.1, most_s=0.3, settled_s=0))
    waited()
    assert any(line.endswith("started again in 0.10 s") for line in said), said


AGES = [(30, r"3\d\.\d s"), (181, r"3 min \d+ s"), (7500, "2 h 5 min"), (3 * 86400 + 7200, "3 d 2 h")]


@pytest.mark.parametrize(("seconds", "words"), AGES)
def test_the_age_of_an_adopted_engine_is_its_own(
    process: Process, start: Callable[[], Card], tmp_path: Path, seconds: int, words: str
) -> None:
    """Not the time since it was adopted: nobody thinks that an engine of three days died at its start."""
    start()
    process.born_ns -= seconds * 10**9
    card = start()
    assert process.launches == 1
    process.engine = None
    assert until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert until(lambda: re.fullmatch(f"died after {words}", Store(tmp_path).last_fault().words))


def test_who_is_awaited_is_told_in_status_and_by_an_event(process: Process, tmp_path: Path) -> None:
    told: list[tuple[EventKind, str]] = []
    owners = {"a": ("next_hop",), "b": ("fdb",)}
    card = Card(Hardware(facts("twin"), process), replace(CONFIG, owners=owners, awaited=tuple(owners)), discover(),
                Store(tmp_path), lambda _: None, tell=lambda kind, words: told.append((kind, words)))  # fmt: skip
    card.begin()
    try:
        assert told == [(EventKind.OWNER_AWAITED, "a, b")]
        assert card.faults().words == "nothing is forwarded: a, b of [owners] have yet to commit"
        card.backend.writer("a").commit([])
        assert card.faults().words == "nothing is forwarded: b of [owners] has yet to commit"
        card.backend.writer("b").commit([])
        assert card.faults().words == ""
        process.engine = None
        assert until(lambda: process.launches == 2 and card.life.state == "forwarding")
        assert [words for kind, words in told if kind is EventKind.OWNER_AWAITED] == ["a, b"] * 2
        assert until(
            lambda: card.faults().words.startswith("nothing is forwarded: a, b of [owners] have yet to commit; died")
        )
    finally:
        card.let_go()


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
            assert until(lambda: process.launches == 2 and card.life.state == "forwarding")
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
    assert until(stopped.is_set)
    card.let_go()  # waits for the keeper
    assert (process.launches, card.life.state) == (1, "stopped")


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
