"""A card as somebody's own agent holds it: rows in, words out, over any backend.

with packet.connect() as card:
    mine = card.writer("my-agent", [NextHop, Route])
    hop = NextHop(id=1, port=card.port("uplink0"), address="192.0.2.1")
    print(mine.sync(hop, tag="feed 12:00"))
    print(card.trace("tcp 10.1.0.20:40000 > 203.0.113.9:443", port="host1"))
"""

from __future__ import annotations

import difflib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from hal.errors import ErrorKind, HalError
from hal.packet import derive
from hal.packet.contract import (
    Backend,
    Counters,
    Cursor,
    Delete,
    Events,
    Flow,
    FlowFilter,
    Generation,
    Name,
    Neighbour,
    Operation,
    Outcome,
    PacketIn,
    PacketResult,
    Shard,
    Snapshot,
    Staged,
    Step,
    StepKind,
    Trace,
    Writer,
)
from hal.packet.describe import packet_in, parse, sender
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row, Rows, as_rows

__all__ = ["Card", "CardWriter", "Replayed", "Traced", "wall_time"]

COMES_BACK = (ErrorKind.LOST, ErrorKind.TIMEOUT)
"""Kinds of error of an engine that is being restarted."""


@dataclass(frozen=True)
class _InWords:
    """How a packet's steps are told: with names of rows and stages."""

    names: Snapshot
    schema: Schema

    def told(self, result: PacketResult) -> Iterator[str]:
        for step in result.steps:
            if words := self._step(step):
                yield "  " + words
        yield f"  {result.verdict.name}" + (f" {result.reason}" if result.reason else "")

    def _step(self, step: Step) -> str:
        match step.kind:
            case StepKind.STAGE:
                known = step.value < len(self.schema.stages)
                return f"stage {self.schema.stages[step.value].name}" if known else "a stage that isn't known here"
            case StepKind.MATCH:
                return f"  {step.table} {self._called(step)}"
            case StepKind.MISS:
                return f"  {step.table}: nothing matches"
            case StepKind.SEND:
                return f"send to {self._called(step)}"
            case StepKind.REEVALUATE:
                return "tables have changed: decided again"
        return ""

    def _called(self, step: Step) -> str:
        name = self.names.names.get((step.table, step.id))
        if name is None:
            return str(step.id)
        return f"{name.text} ({name.file}:{name.line})" if name.file else name.text


@dataclass(frozen=True)
class Replayed:
    """A packet's result with what it takes to tell it in words: `str()` of it does."""

    result: PacketResult
    names: Snapshot
    schema: Schema

    def __str__(self) -> str:
        return "\n".join(_InWords(self.names, self.schema).told(self.result))

    def to_dict(self) -> dict[str, Any]:
        return _result(self.result)


@dataclass(frozen=True)
class Traced:
    """A trace with what it takes to tell it in words: `str()` of it does."""

    trace: Trace
    names: Snapshot
    schema: Schema

    def __str__(self) -> str:
        words = _InWords(self.names, self.schema)
        lines = [f"generation {self.trace.generation}"]
        if self.trace.flow and self.trace.installed:
            lines.append(f"installed: connection {self.trace.flow.id}, generation {self.trace.flow.generation}")
            lines += words.told(self.trace.installed)
        else:
            lines.append("installed: no connection")
        lines.append("now:")
        lines += words.told(self.trace.now)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "generation": self.trace.generation,
            "flow": self.trace.flow.to_dict() if self.trace.flow else None,
            "installed": _result(self.trace.installed) if self.trace.installed else None,
            "now": _result(self.trace.now),
        }


def _result(result: PacketResult) -> dict[str, Any]:
    return {
        "verdict": result.verdict.name,
        "reason": result.reason,
        "outputs": [{"port": output.port, "data": output.data.hex()} for output in result.outputs],
        "steps": [
            {"kind": step.kind.name, "table": step.table, "id": step.id, "value": step.value} for step in result.steps
        ],
    }


def _denied(table: str, limit: str, got: str, fix: str) -> HalError:
    return HalError(ErrorKind.DENIED, f"table {table}", limit=limit, got=got, fix=fix, table=table)


RETRY_SECONDS = 0.1


def wall_time(time_ns: int) -> datetime:
    """When that was, in UTC: a time that this machine's engine told of an event or a connection. Such times count from
    the machine's start (CLOCK_BOOTTIME), so that they never jump when the clock is set."""
    ago = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time_ns
    return datetime.now(UTC) - timedelta(microseconds=ago / 1000)


class CardWriter:
    """Authority to write an owner's tables of a card."""

    def __init__(self, card: Card, writer: Writer, tables: Sequence[str]) -> None:
        self._card = card
        self._writer = writer
        self.tables = tuple(tables)
        self.transaction: int | None = None
        """Of the last commit that was tried; `outcome` asks for it."""

    @property
    def owner(self) -> str:
        return self._writer.owner

    def sync(
        self,
        *rows: Row | Rows,
        tag: str = "",
        names: Sequence[Name] = (),
        depends: Sequence[tuple[str, int]] = (),
        base: Generation | None = None,
        transaction: int | None = None,
    ) -> derive.SyncResult:
        """Bring this owner's tables to exactly these rows; see `derive.sync`.

        Args:
            rows: of this writer's tables; a table that none is of is emptied.
            tag, names: as of a commit.
            depends: (table, id) of rows of others that these build on.
            base: the generation that rows, and what they depend on, were computed from.
            transaction: of the commit; None: a random one for each that is tried.

        Raises:
            HalError: as `commit`. Where others were faster it is tried again, unless `base` or `transaction` is given:
                then STALE is for the caller to compute anew. After LOST: `reconnect`, then `outcome`.
        """
        for part in as_rows(rows):
            self._check(part.row.LAYOUT.table.name)
        return derive.sync(
            self._writer, self._card.backend, *rows,
            tables=self.tables, tag=tag, names=names, depends=depends, base=base,
            transaction=lambda: self._number(transaction),
            attempts=None if base is None and transaction is None else 1,
        )  # fmt: skip

    def commit(self, operations: Sequence[Operation], *, transaction: int | None = None, **more: Any) -> Generation:
        """As `hal.packet.contract.Writer.commit`; DENIED for tables that this writer was not made for."""
        self._check_all(operations)
        return self._writer.commit(operations, transaction=self._number(transaction), **more)

    def stage(self, operations: Sequence[Operation], **more: Any) -> Staged:
        """As `hal.packet.contract.Writer.stage`: the result has `make` and `drop`; `Card.trace` and `Card.shard` look
        at it with `staged=`. DENIED as `commit`."""
        self._check_all(operations)
        return self._writer.stage(operations, **more)

    def outcome(self, transaction: int | None = None) -> Outcome:
        """What became of a transaction of this owner, of the last one without an argument. Behind LOST, `reconnect`
        first. Of a card that was started anew since it is UNKNOWN: nothing of it is there.

        Raises:
            HalError: INVALID where nothing was committed yet.
        """
        asked = self.transaction if transaction is None else transaction
        if asked is None:
            raise HalError(ErrorKind.INVALID, "outcome", field="transaction", limit="one that was committed",
                           fix="Commit first, or give its number.")  # fmt: skip
        return self._writer.outcome(asked)

    def forget(self, which: FlowFilter) -> int:
        """Take connections out of the flow table; returns how many."""
        return self._writer.forget(which)

    def reconnect(self, seconds: float = 60.0) -> None:
        """Connect anew after LOST, to the same engine or to one that was started since.

        Args:
            seconds: how long to wait for one that is loaded.

        Raises:
            HalError: LOST where there is none in time, DENIED where it was loaded without this owner.
        """
        deadline = time.monotonic() + seconds
        self._card.reconnect(seconds)
        while True:
            try:
                self._writer = self._card.backend.writer(self.owner)
                return
            except HalError as error:
                if error.kind not in COMES_BACK or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_SECONDS)
            self._card.reconnect(max(0.0, deadline - time.monotonic()))

    def _number(self, wanted: int | None) -> int:
        self.transaction = secrets.randbits(64) if wanted is None else wanted
        return self.transaction

    def _check_all(self, operations: Sequence[Operation]) -> None:
        for one in operations:
            self._check(one.table if isinstance(one, Delete) else one.rows.row.LAYOUT.table.name)

    def _check(self, table: str) -> None:
        if table not in self.tables:
            fix = "Make a writer with its row class."
            raise _denied(table, "one of " + ", ".join(self.tables), f"a writer of {self.owner}", fix)


class Card:
    """A loaded backend. Leaving the `with` closes the connection to it, not the card.

    Args:
        backend: what it is over.
        again: connects to it anew; None: it can't be lost.
    """

    def __init__(self, backend: Backend, again: Callable[[], Backend] | None = None) -> None:
        self.backend = backend
        self._again = again

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.backend.close()

    def reconnect(self, seconds: float = 60.0) -> None:
        """Connect anew after LOST, to the same engine or to one that was started since. What was read of the one
        before stays as it is; writers have a `reconnect` of their own.

        Args:
            seconds: how long to wait for one that is loaded.

        Raises:
            HalError: LOST or TIMEOUT where there is none in time.
        """
        if self._again is None:
            return
        deadline = time.monotonic() + seconds
        while True:
            try:
                loaded = _loaded(self._again())
                self.backend.close()
                self.backend = loaded
                return
            except HalError as error:
                if error.kind not in COMES_BACK or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_SECONDS)

    def ids(self, *wanted: tuple[str, str], seconds: float = 0.0) -> dict[tuple[str, str], int]:
        """(table, name) -> id of entries by what people call them, as an agent needs of rows that `dsnd` writes.

        Args:
            wanted: (table, name): ("vnic", "web").
            seconds: how long to wait until all of them are there.

        Raises:
            HalError: TIMEOUT naming those that aren't there in time.
        """
        tables = list(dict.fromkeys(table for table, _ in wanted))
        deadline = time.monotonic() + seconds
        while True:
            known = {(one.table, one.text): one.id for one in self.backend.snapshot(tables).names.values()}
            missing = [one for one in wanted if one not in known]
            if not missing:
                return {one: known[one] for one in wanted}
            if time.monotonic() >= deadline:
                raise HalError(
                    ErrorKind.TIMEOUT, "card", got="no " + ", no ".join(" ".join(one) for one in missing),
                    limit=f"{seconds:g} s until they are there", fix="Apply an intent that has them: dsn apply.",
                )  # fmt: skip
            time.sleep(RETRY_SECONDS)

    def port(self, name: str) -> int:
        """The number of the port that intent calls so. Raises INVALID, with the nearest name."""
        numbers = {state.config.name: state.config.number for state in self.backend.capabilities().ports}
        if name not in numbers:
            near = difflib.get_close_matches(name, numbers, 1)
            raise HalError(
                ErrorKind.INVALID,
                f"port {name}",
                limit="one of " + ", ".join(numbers),
                fix=f"{near[0]} is meant?" if near else "",
            )
        return numbers[name]

    def writer(self, owner: str, rows: Iterable[type[Row]]) -> CardWriter:
        """Authority to write the tables of these row classes and no others.

        Raises:
            HalError: DENIED where the card was loaded without this owner, or with another one for one of the tables.
        """
        tables = list(dict.fromkeys(row.LAYOUT.table.name for row in rows))
        writer = self.backend.writer(owner)
        owners = self.backend.capabilities().owners
        for table in tables:
            if owners.get(table, owner) != owner:
                fix = "Name the owner of the table where the card is loaded."
                raise _denied(table, f"its owner {owners[table]}", owner, fix)
        return CardWriter(self, writer, tables)

    def packet(self, packet: str | bytes, port: str, time_ns: int = 0) -> PacketIn:
        """A packet that comes in by this port: described in words (see `hal.packet.describe`), as a well-behaved
        sender behind it would send it, or a frame as it is. Raises INVALID."""
        number = self.port(port)
        if not isinstance(packet, str):
            return PacketIn(packet, number, time_ns)
        known = self.backend.snapshot(["vnic", "vnic_address", "subnet"])
        described = parse(packet)
        return packet_in(described, known, sender(described, known, port, {port: number}), time_ns)

    def trace(self, packet: str | bytes, port: str, time_ns: int = 0, staged: Staged | None = None) -> Traced:
        """What a packet would meet on this port, on the tables as they are or as they would be with `staged`. Changes
        nothing."""
        trace = self.backend.trace(self.packet(packet, port, time_ns), staged)
        return Traced(trace, *self._words([result for result in (trace.installed, trace.now) if result]))

    def shard(self, connections: int = 1024, staged: Staged | None = None, pickup: bool = False) -> Shard:
        """A private shard, for packets of `packet()`: see `hal.packet.contract.Reader.shard`."""
        return self.backend.shard(connections, staged, pickup)

    def replay(
        self, packets: Sequence[tuple[str | bytes, str]], step_ns: int = 1_000_000, staged: Staged | None = None
    ) -> list[Replayed]:
        """Run packets, in order, through a private shard: connections build up from one to the next. Changes nothing.

        Args:
            packets: (described in words or a frame, name of the port that it comes in by).
            step_ns: from each to the next.
            staged: on the tables as they would be with it.
        """
        frames = [self.packet(packet, port, number * step_ns) for number, (packet, port) in enumerate(packets, 1)]
        shard = self.backend.shard(staged=staged)
        try:
            results = shard.replay(frames, witness=True)
        finally:
            shard.close()
        words = self._words(results)
        return [Replayed(result, *words) for result in results]

    def _words(self, results: Sequence[PacketResult]) -> tuple[Snapshot, Schema]:
        """What it takes to tell them: names of rows of tables that we know; of others a number is told."""
        schema = self.backend.capabilities().schema
        met = {step.table for result in results for step in result.steps}
        return self.backend.snapshot(sorted(met & schema.table_numbers.keys())), schema

    def snapshot(self, *rows: type[Row]) -> Snapshot:
        """The tables of these row classes as they are; all tables without any."""
        return self.backend.snapshot([row.LAYOUT.table.name for row in rows] or None)

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return self.backend.flows(which)

    def neighbours(self) -> list[Neighbour]:
        return self.backend.neighbours()

    def counters(self) -> Counters:
        """Counters, with what connections have counted so far settled."""
        self.backend.settle()
        return self.backend.counters()

    def events(self, cursor: Cursor | None = None) -> Events:
        return self.backend.events(cursor)


def _loaded(backend: Backend) -> Backend:
    """Raises HalError(LOST), and lets go of it, where it is yet to be loaded."""
    if backend.capabilities().workers:
        return backend
    backend.close()
    raise HalError(ErrorKind.LOST, "card", got="an engine that is yet to be loaded",
                   fix="Look what it waits for: dsn card status.")  # fmt: skip
