"""The daemon without its process: what it does with engines that live, die, or hold something else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from board_support.board import Hardware, facts
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, LoadConfig, PortConfig
from hal.packet.derive import sync
from hal.packet.model import Twin
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.card import Card
from sdk.dsnd.store import Store, StoredIntent
from services.core.objects import IntentError
from services.core.service import discover

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


class Process:
    """An engine's process that a test kills, and that outlives the daemons of a test."""

    def __init__(self) -> None:
        self.twin: Twin | None = None
        self.launches = 0
        self.refuse = 0

    def adopt(self) -> Backend | None:
        return self.twin

    def launch(self) -> Backend:
        if self.refuse:
            self.refuse -= 1
            raise HalError(ErrorKind.INVALID, "engine", got="exit 1")
        self.launches += 1
        self.twin = Twin()
        return self.twin

    def pid(self) -> int | None:
        return None

    def alive(self) -> bool:
        return self.twin is not None


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
    process.twin = None
    until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 1
    assert card.backend.snapshot().tag == applied.digest
    assert card.life.starts == 2


def test_while_it_is_dead_callers_are_told_so(process: Process, start: Callable[[], Card]) -> None:
    card = start()
    process.refuse = 1_000
    process.twin = None
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

    monkeypatch.setattr("sdk.dsnd.card.sync", refuse)
    with pytest.raises(HalError, match="FULL: table vnic"):
        card.apply(whole(TWO))
    assert (Store(tmp_path).good().digest, Store(tmp_path).pending()) == (applied.digest, None)


def test_a_lost_answer_is_asked_for(start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = start()

    def lost(*arguments: Any, **more: Any) -> None:
        sync(*arguments, **more)
        raise HalError(ErrorKind.LOST, "connection")

    monkeypatch.setattr("sdk.dsnd.card.sync", lost)
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
