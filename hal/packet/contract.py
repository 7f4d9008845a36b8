"""The HAL contract for packet engines: what every backend promises, whatever forwards behind it.

Authority is split into three handles. Who holds a `Loader` opens ports and starts and stops forwarding; who holds a
`Writer` commits to the tables its owner name was given at `load`; who holds a `Reader` looks. `commit` is the one
required primitive; `hal.packet.derive` builds `sync` and the rest from it and from reading.

An argument that no card could mean is INVALID before anything is done: a number out of range, text with control
characters, a prefix that is none. `hal.packet.arguments` asks it for every backend.

Times of events and connections are nanoseconds of CLOCK_BOOTTIME, between what it says before their cause and behind
it. In a private shard they are the caller's, and so is the whole clock of a card that is moved by hand, as the twin's
is.

The sentences of this module, of `hal.packet.records` and of `hal.packet.reports` are the contract: each has a check in
`hal.conformance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from hal.packet.life import Cursor, Generation
from hal.packet.records import (
    FILE_BYTES,
    LATEST_NS,
    LONGEST_FRAME,
    LONGEST_LEASE_NS,
    MOST_SHARD_CONNECTIONS,
    NAME_BYTES,
    TAG_BYTES,
    Delete,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    Outcome,
    OutcomeKind,
    Output,
    PacketIn,
    PacketResult,
    PortConfig,
    PortState,
    Snapshot,
    Step,
    StepKind,
    TcpState,
    Verdict,
)
from hal.packet.reports import (
    BURSTS,
    LIMITS,
    LIMITS_A_SECOND,
    LOGS_PER_SECOND,
    Capabilities,
    Counters,
    Event,
    EventKind,
    Events,
    Flow,
    FlowFilter,
    LimitCounters,
    Neighbour,
    NeighbourState,
    RowCounters,
    Trace,
)
from hal.packet.schema.declare import NONE_ID

__all__ = [
    "BURSTS",
    "FILE_BYTES",
    "LATEST_NS",
    "LIMITS",
    "LIMITS_A_SECOND",
    "LOGS_PER_SECOND",
    "LONGEST_FRAME",
    "LONGEST_LEASE_NS",
    "MOST_SHARD_CONNECTIONS",
    "NAME_BYTES",
    "NONE_ID",
    "TAG_BYTES",
    "Capabilities",
    "Counters",
    "Cursor",
    "Delete",
    "Event",
    "EventKind",
    "Events",
    "Flow",
    "FlowFilter",
    "Generation",
    "Insert",
    "LimitCounters",
    "LoadConfig",
    "Loader",
    "Modify",
    "Name",
    "Neighbour",
    "NeighbourState",
    "Operation",
    "Outcome",
    "OutcomeKind",
    "Output",
    "PacketIn",
    "PacketResult",
    "PortConfig",
    "PortState",
    "Reader",
    "RowCounters",
    "Shard",
    "Snapshot",
    "Staged",
    "Step",
    "StepKind",
    "TcpState",
    "Trace",
    "Verdict",
    "Writer",
]


class Loader(Protocol):
    """Authority over the whole engine."""

    def load(self, config: LoadConfig) -> None:
        """Open ports and size tables. Raises BUSY once loaded, INVALID for what the configuration gets wrong."""

    def start(self) -> None:
        """Begin to move packets. Nothing is forwarded before the first commit, and the first of
        each awaited owner in this life of the card: drops count as `not_configured`."""

    def stop(self) -> None:
        """End forwarding and the engine itself."""


class Staged(Protocol):
    """A commit that is checked and built but not made; `trace` and `replay` can look at it. Dropped at its lease's
    end or with its connection."""

    def make(self) -> Generation:
        """Commit it; raises STALE if its owner's tables changed since it was staged."""

    def drop(self) -> None: ...


class Writer(Protocol):
    """Authority to write the tables of one owner."""

    @property
    def owner(self) -> str: ...

    def commit(
        self,
        operations: Sequence[Operation],
        *,
        base: Generation | None = None,
        transaction: int | None = None,
        tag: str = "",
        depends: Sequence[tuple[str, int]] = (),
        names: Sequence[Name] = (),
    ) -> Generation:
        """Apply all operations in one step that every packet sees whole or not at all, and return its generation
        (ascending by one) when packets see it.

        Their order means nothing: only the tables before and after count. An empty commit is a generation too.

        Args:
            operations: what changes.
            base: the generation this was computed from, as `commit` or `snapshot` gave it; None for whatever is
                there. A plain number is INVALID: it doesn't say of which life of the card it is.
            transaction: 64-bit id to ask `outcome` with; None: a random one.
            tag: opaque text (at most 127 bytes) kept with the generation.
            depends: (table, id) of rows of others that this builds on. One that was taken out has changed, though it
                was put back.
            names: what people call entries.

        Raises:
            HalError: INVALID (a field out of range, non-zero padding, bits beyond a prefix's length, an id that
                exists (Insert) or doesn't (Modify, Delete), a key used twice, a reference to nothing, a row taken
                out that others refer to, two writes to one id), FULL, STALE (this owner's tables, or a row in
                `depends`, changed since `base`, or it is of another life of the card, or still to come), DENIED
                (another owner's table), UNSUPPORTED (a stage without code), CORRUPT: after all of these nothing
                changed. LOST or TIMEOUT: `outcome` knows. Where several things are wrong, any of them is told.
        """

    def outcome(self, transaction: int) -> Outcome:
        """What became of a transaction of this owner, whichever of its writers asks; asked within its next 1,024
        commits UNKNOWN means: nothing of it is or will be applied. A card that was started anew knows nothing of
        before, and holds nothing of it."""

    def stage(
        self,
        operations: Sequence[Operation],
        *,
        base: Generation | None = None,
        tag: str = "",
        lease_ns: int = 10_000_000_000,
        names: Sequence[Name] = (),
    ) -> Staged:
        """Check and build a commit without making it. Raises as `commit`; BUSY while another of this owner is staged,
        and then says whose and for how long. What other owners stage keeps nobody from staging or committing.

        A lease of more than 60 s is INVALID: an owner's writers wait for the one of them that staged.
        """

    def forget(self, which: FlowFilter) -> int:
        """Take connections out of the flow table; returns how many."""


class Shard(Protocol):
    """A private place to run packets through: own flows, neighbours, meters and counters, empty at first; the shared
    tables of the generation that is current at each call, and the caller's clock."""

    def replay(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
        """Run packets, in order, through the very path that live traffic takes."""

    def flows(self, which: FlowFilter | None = None) -> list[Flow]: ...

    def neighbours(self) -> list[Neighbour]: ...

    def settle(self) -> None: ...

    def counters(self) -> Counters: ...

    def events(self, cursor: Cursor | None = None) -> Events: ...

    def close(self) -> None:
        """Let go of it. Closed once more it stays so; whatever else is asked of it is LOST."""


class Reader(Protocol):
    """Authority to look."""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot: ...

    def flows(self, which: FlowFilter | None = None) -> list[Flow]: ...

    def neighbours(self) -> list[Neighbour]:
        """What each worker knows of those on uplinks, ordered by uplink, address as 16 bytes, and worker."""

    def settle(self) -> None:
        """Add what sessions have counted so far to rules and objects, then return."""

    def counters(self) -> Counters: ...

    def events(self, cursor: Cursor | None = None) -> Events: ...

    def capabilities(self) -> Capabilities: ...

    def trace(self, packet: PacketIn, staged: Staged | None = None) -> Trace:
        """Changes nothing, on the installed state; with `staged`, on the tables as they would be."""

    def shard(self, connections: int = 1024, staged: Staged | None = None, pickup: bool = False) -> Shard:
        """A private shard for 1 to 1,048,576 connections. `pickup`: within it the time after start never ends;
        otherwise it is over."""


class Backend(Loader, Reader, Protocol):
    """A whole card as one holder of all authority sees it: what a conformance kit is handed."""

    def writer(self, owner: str = "dsnd") -> Writer: ...

    def close(self) -> None: ...
