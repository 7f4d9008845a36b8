"""What the CLI wants of a card, whoever answers: the daemon over gRPC, or a twin in this very process.

All values are the contract's own (`hal.packet.contract`) or the frozen ones below; errors are `HalError` and
`IntentError`, which crosses the wire as its problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hal.packet.contract import (
    Capabilities,
    Counters,
    Events,
    Flow,
    FlowFilter,
    PacketIn,
    PacketResult,
    Snapshot,
    Trace,
)
from services.core.intent import Source
from services.core.objects import Problem
from services.core.plan import Port


@dataclass(frozen=True)
class Applied:
    """An intent that the card has: committed as `generation`, on disk, with what is doubtful about it."""

    generation: int
    digest: str
    removed: int = 0
    changed: int = 0
    added: int = 0
    warnings: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return (
            f"generation {self.generation}: objects +{self.added} ~{self.changed} -{self.removed} ({self.digest[:12]})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "digest": self.digest,
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "warnings": [problem.to_dict() for problem in self.warnings],
        }


@dataclass(frozen=True)
class ObjectStatus:
    """An object and what became of it.

    Args:
        words: it in one line (a policy: a line for each rule).
        asked, applied: the generation that was asked for and the one that packets see.
        reason: why they differ, "" if they don't.
        status: the object's status message as plain values, by its proto3 JSON names.
        file, line: where it is written; "" and 0 for defaults.
    """

    kind: str
    name: str
    words: str
    asked: int
    applied: int
    reason: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "words": self.words,
            "asked": self.asked,
            "applied": self.applied,
            "reason": self.reason,
            "status": dict(self.status),
            "file": self.file,
            "line": self.line,
        }


@dataclass(frozen=True)
class CardStatus:
    """The card as a whole: its board, daemon and engine, and what they have. `problem`: what is wrong, or ""."""

    board: str
    daemon_pid: int
    engine_pid: int
    engine_uptime_s: float
    generation: int
    tag: str
    restarts: int = 0
    problem: str = ""
    ports: Mapping[str, str] = field(default_factory=dict)
    """Port name -> "up" or "down"."""

    def to_dict(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True)
class Replay:
    """What packets came to in a private shard, and the flows that they left in it."""

    results: tuple[PacketResult, ...]
    flows: tuple[Flow, ...] = ()


class CardClient(Protocol):
    """A card. Every call may raise HalError: LOST and TIMEOUT where nobody answers."""

    def status(self) -> CardStatus: ...

    def objects(self) -> Sequence[ObjectStatus]:
        """All objects, defaults included."""

    def intent(self) -> Sequence[Source]:
        """The files of the intent that is applied, as they were given."""

    def ports(self) -> Mapping[str, Port]:
        """The card's ports by name, for planning."""

    def apply(self, files: Sequence[Source], *, set_name: str = "", tag: str = "") -> Applied:
        """Make these files the whole intent, or the whole of one set. Raises IntentError if they are refused;
        returns when packets see it and it is on disk."""

    def capabilities(self) -> Capabilities: ...

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot: ...

    def flows(self, which: FlowFilter | None = None) -> Sequence[Flow]: ...

    def settle(self) -> None: ...

    def counters(self) -> Counters: ...

    def events(self, cursor: int = 0) -> Events: ...

    def trace(self, packet: PacketIn) -> Trace: ...

    def replay(self, packets: Sequence[PacketIn], *, witness: bool = True, pickup: bool = False) -> Replay:
        """Run packets through a shard of its own, which is gone afterwards."""

    def close(self) -> None: ...
