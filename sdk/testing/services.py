"""For authors of services: an intent on a twin, by the loader, planners and commit that `dsnd` has on a card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hal.packet import describe
from hal.packet.contract import PacketResult
from sdk.cli.twin_card import TwinCard, open_twin
from services.core.intent import Source, load
from services.core.objects import Problem
from services.core.plan import Context
from services.core.service import discover

__all__ = ["FILE", "Context", "TwinCard", "on_twin", "problems_of", "traced"]

FILE = "intent.yaml"
"""What problems call the text that a test gives."""


def problems_of(text: str, folders: Iterable[Path] = (), context: Context | None = None) -> tuple[Problem, ...]:
    """All that is wrong or doubtful with an intent.

    Args:
        folders: of services and stages that aren't installed, as `--with DIR` names them.
        context: the card's ports and sizes; None: every port that the intent names is there.
    """
    return load([Source(FILE, text.encode())], discover(folders), context).problems


@contextmanager
def on_twin(text: str, folders: Iterable[Path] = (), context: Context | None = None) -> Iterator[TwinCard]:
    """A twin that has this intent, and answers what `dsn` asks of a card: objects, tables, flows, traces, replays.

    Raises:
        IntentError: the intent is refused.
    """
    card = open_twin([Source(FILE, text.encode())], discover(folders), context)
    try:
        yield card
    finally:
        card.close()


def traced(card: TwinCard, packet: str, where: str = "") -> PacketResult:
    """What a packet in the words of `dsn trace` would meet now. `where`: the vNIC, uplink or port that it comes from.
    Raises HalError(INVALID) for words that describe none."""
    known = card.snapshot()
    ports = {port.config.name: port.config.number for port in card.capabilities().ports}
    described = describe.parse(packet)
    sender = describe.sender(described, known, where, ports)
    return card.trace(describe.packet_in(described, known, sender)).now
