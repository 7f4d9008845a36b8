"""What a board is: facts in `board.toml`, and a builder that names the backends."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hal.authority import NOBODY, Holder
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend

BOARDS = Path(__file__).parent / "boards"


@dataclass(frozen=True)
class BoardFacts:
    """What is known of a board without touching it.

    Args:
        name: the folder's name, as `card.toml` says it.
        description: one sentence.
        packet: the kind of packet engine.
        devices: kinds of port devices it can open, as `PortConfig.device` begins.
        root: whether its engine needs root at start.
        max_workers: packet threads it may have.
    """

    name: str
    description: str
    packet: str
    devices: tuple[str, ...]
    root: bool
    max_workers: int


class PacketProcess(Protocol):
    """The life of a packet engine, apart from what it forwards."""

    def adopt(self) -> Backend | None:
        """The engine that already runs here, or None."""

    def launch(self) -> Backend:
        """Start one. Raises HalError(BUSY) where one runs."""

    def pid(self) -> int | None:
        """Its process id; None where it has no process of its own."""

    def started_ns(self) -> int:
        """When the engine that was adopted or launched last was started, whoever started it, in nanoseconds of
        CLOCK_BOOTTIME; it stays so once that has ended. 0 before the first."""

    def alive(self) -> bool:
        """Whether it still runs."""

    def take_up(self, port: int, interface: int, namespace: int, claim: int) -> None:
        """The running engine's port with this number, whose interface was deleted, goes on with the one of this index
        in the same network namespace, whose cookie that is, and the engine holds the descriptor of the claim on it too.
        Raises HalError: UNSUPPORTED where it has no such ports."""

    def kill(self) -> None:
        """End its process at once, whatever it is doing. Nothing where it has none of its own, or none runs."""


@dataclass(frozen=True)
class Hardware:
    """What a board builds: the card's parts, each behind its contract."""

    facts: BoardFacts
    packet: PacketProcess
    how_ended: Callable[[], str] = lambda: ""
    """What ended the engine that isn't alive any more, in words: "signal SIGSEGV"; "" where nobody knows."""


@dataclass(frozen=True)
class EngineSettings:
    """How a card's owner wants its packet engine run.

    Args:
        program: its program; None: the board's own.
        user: whom it becomes, by name or number; "": one of its own without any rights.
        memory_mb: for packets and devices; None: the program's own choice.
        writers: owner -> who, besides root, may write his tables.
        readers: who, besides root, may read.
    """

    program: Path | None = None
    user: str = ""
    memory_mb: int | None = None
    writers: Mapping[str, Holder] = field(default_factory=dict)
    readers: Holder = NOBODY

    @property
    def opened(self) -> bool:
        """Whether anybody but root may open one of its sockets."""
        return self.readers.anybody or any(holder.anybody for holder in self.writers.values())


Builder = Callable[[BoardFacts, Path, EngineSettings], Hardware]


def board_names() -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in BOARDS.glob("*/board.toml")))


def facts(name: str) -> BoardFacts:
    """The facts of a board. Raises HalError(INVALID) for one that isn't there."""
    if name not in board_names():
        raise HalError(ErrorKind.INVALID, "card.toml", field="board", got=repr(name), limit=", ".join(board_names()))
    data = tomllib.loads((BOARDS / name / "board.toml").read_text())
    return BoardFacts(
        name=name,
        description=data["description"],
        packet=data["packet"],
        devices=tuple(data["devices"]),
        root=data["root"],
        max_workers=data["max_workers"],
    )


def build(name: str, run: Path, settings: EngineSettings | None = None) -> Hardware:
    """The hardware of a board. Nothing is started.

    Args:
        name: of the board.
        run: its run folder.
        settings: how its packet engine is run; None: as the board does it.

    Raises:
        HalError: INVALID for a board that isn't there, or an engine that the board can't run.
    """
    known = facts(name)
    builder: Builder = importlib.import_module(f"board_support.boards.{name}.build").build
    return builder(known, run, settings or EngineSettings())
