"""What tests of several files begin with: an engine's process; a daemon's card without its process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from board_support.board import Hardware, facts
from hal.packet.dpdk.engine import Engine
from sdk.dsnd.backoff import Backoff
from sdk.dsnd.card import Card
from sdk.dsnd.store import Store
from services.core.service import discover
from tests.tools import daemon
from tests.tools.control import loaded
from tests.tools.engine import running
from tests.tools.process import Process


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Run folder of an engine that is up."""
    with running(tmp_path / "run"):
        yield tmp_path / "run"


@pytest.fixture
def card(run: Path) -> Iterator[Engine]:
    """The same, loaded."""
    with loaded(run) as engine:
        yield engine


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
        card = Card(Hardware(facts("twin"), process), daemon.CONFIG, discover(), Store(tmp_path), lambda _: None,
                    Backoff(first_s=0.01, most_s=0.02))  # fmt: skip
        cards.append(card)
        card.begin()
        return card

    yield begin
    for card in cards:
        card.let_go()
