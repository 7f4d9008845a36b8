"""What the CLI wants of a card, whoever answers: the daemon over gRPC, or a twin in this very process.

All values are the contract's own (`hal.packet.contract`) or the frozen ones below; errors are `HalError` and
`IntentError`, which crosses the wire as its problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

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

if TYPE_CHECKING:
    from sdk.api.applied import Applied
    from services.core.intent import Source
    from services.core.plan import Context


@dataclass(frozen=True)
class ObjectStatus:
    """An object and what became of it.

    Args:
        words: it in one line (a policy: a line for each rule).
        applied: the generation in which it was put in or last changed; 0 where it was asked for and isn't in force.
        asked: the same; where what was asked for last would change this object and isn't in force, the next one, at the
            earliest: others commit, too.
        reason: why they differ, "" if they don't: what is wrong with this object, or with the intent it came with.
        status: the object's status message as plain values (`services.core.plain`).
    """

    kind: str
    name: str
    words: str
    asked: int
    applied: int
    reason: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CardStatus:
    """The card as a whole: its board, daemon and engine (pids are 0 where there is none), and what they hold.

    Args:
        engine_state: "forwarding", "restarting" or "stopped".
        engine_tag, intent_digest: digest of the intent that the engine holds, and of the last good one on disk.
        last_fault: what is wrong now, or went wrong last, "" for nothing.
        last_fault_time: when, as RFC 3339 has it; "" for now.
    """

    board: str
    daemon_pid: int
    engine_pid: int
    engine_state: str
    generation: int
    engine_tag: str
    intent_digest: str
    engine_starts: int
    last_fault: str
    ports: Mapping[str, bool]
    """Port name -> it has link."""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Punt tap's port -> the network namespace that its programs are started in; none for taps that nobody has."""
    last_fault_time: str = ""

    def to_dict(self) -> dict[str, Any]:
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

    def planning(self) -> Context:
        """What intent is planned with for this card as it is now."""

    def apply(self, files: Sequence[Source], *, set_name: str = "") -> Applied:
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
        """Run packets through a shard of its own, which is gone afterwards. `pickup`: TCP may be picked up mid-stream
        in it, otherwise never."""

    def stop(self) -> str:
        """End the engine and the daemon; the intent stays on disk. Returns what was unusual about it, "" for
        nothing."""

    def close(self) -> None: ...
