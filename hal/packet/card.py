"""A card as somebody's own agent holds it: rows in, words out, over any backend.

with packet.connect() as card:
    mine = card.writer("my-agent", [NextHop, Route])
    hop = NextHop(id=1, port=card.port("uplink0"), address="192.0.2.1")
    print(mine.sync(hop, tag="feed 12:00"))
    print(card.trace("tcp 10.1.0.20:40000 > 203.0.113.9:443", port="host1"))
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    PacketIn,
    PacketResult,
    Snapshot,
    Step,
    StepKind,
    Trace,
    Writer,
)
from hal.packet.describe import packet_in, parse, sender
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row, Rows

__all__ = ["Card", "CardWriter", "Traced"]


@dataclass(frozen=True)
class Traced:
    """A trace with what it takes to tell it in words: `str()` of it does."""

    trace: Trace
    names: Snapshot
    schema: Schema

    def __str__(self) -> str:
        lines = [f"generation {self.trace.generation}"]
        if self.trace.flow and self.trace.installed:
            lines.append(f"installed: connection {self.trace.flow.id}, generation {self.trace.flow.generation}")
            lines += self._told(self.trace.installed)
        else:
            lines.append("installed: no connection")
        lines.append("now:")
        lines += self._told(self.trace.now)
        return "\n".join(lines)

    def _told(self, result: PacketResult) -> Iterator[str]:
        for step in result.steps:
            if words := self._step(step):
                yield "  " + words
        yield f"  {result.verdict.name}" + (f" {result.reason}" if result.reason else "")

    def _step(self, step: Step) -> str:
        match step.kind:
            case StepKind.STAGE:
                return f"stage {self.schema.stages[step.value].name}"
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


class CardWriter:
    """Authority to write an owner's tables of a card."""

    def __init__(self, backend: Backend, writer: Writer, tables: Sequence[str]) -> None:
        self._backend = backend
        self._writer = writer
        self.tables = tuple(tables)

    @property
    def owner(self) -> str:
        return self._writer.owner

    def sync(self, *rows: Row | Rows, tag: str = "", names: Sequence[Name] = ()) -> derive.SyncResult:
        """Bring this owner's tables to exactly these rows; see `derive.sync`."""
        return derive.sync(self._writer, self._backend, *rows, tables=self.tables, tag=tag, names=names)

    def commit(self, operations: Sequence[Operation], **more: Any) -> Generation:
        """As `hal.packet.contract.Writer.commit`; DENIED for tables that this writer was not made for."""
        for one in operations:
            table = one.table if isinstance(one, Delete) else one.rows.row.LAYOUT.table.name
            if table not in self.tables:
                fix = "Make a writer with its row class."
                raise _denied(table, "one of " + ", ".join(self.tables), f"a writer of {self.owner}", fix)
        return self._writer.commit(operations, **more)


class Card:
    """A loaded backend. Leaving the `with` closes the connection to it, not the card.

    Args:
        backend: what it is over.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.backend.close()

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
        return CardWriter(self.backend, writer, tables)

    def trace(self, packet: str | bytes, port: str, time_ns: int = 0) -> Traced:
        """What a packet would meet on this port, described in words (see `hal.packet.describe`) or as a frame.
        Changes nothing."""
        number = self.port(port)
        if isinstance(packet, str):
            known = self.backend.snapshot(["vnic", "vnic_address", "subnet"])
            described = parse(packet)
            asked = packet_in(described, known, sender(described, known, port, {port: number}), time_ns)
        else:
            asked = PacketIn(packet, number, time_ns)
        trace = self.backend.trace(asked)
        results = [result for result in (trace.installed, trace.now) if result]
        met = {step.table for result in results for step in result.steps if step.table}
        return Traced(trace, self.backend.snapshot(sorted(met)), self.backend.capabilities().schema)

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
