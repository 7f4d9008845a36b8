"""The bench that checks work at: opens cards, commits to them, holds refusals to "nothing changed"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hal.conformance.check import equal, expect, raises
from hal.conformance.device import Device, waits
from hal.conformance.traffic import ShardTraffic, Traffic, WireTraffic
from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    Backend,
    Capabilities,
    Delete,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    Shard,
    Staged,
    Writer,
)
from hal.packet.schema.classes import row_classes
from hal.packet.schema.registry import Schema
from hal.packet.schema.registry import schema as find_schema
from hal.packet.schema.rows import Row, Rows, as_rows

__all__ = ["OTHER", "PAUSE_SECONDS", "Bench", "Card", "State", "delete", "insert", "modify"]

PORTS = ((0, "uplink0"), (1, "host0"), (2, "host1"), (3, "host2"), (9, "punt0"))
ENTRIES = 1024
"""Capacity of each table unless a check says otherwise: small cards open fast."""
PAUSE_SECONDS = 0.0005
"""How often a thread commits or looks while another one does. Two that never rest would slow each other down a lot."""
OTHER = "other-agent"
"""A second owner, of the tables of routes."""
OTHERS_TABLES = ("next_hop", "next_hop_group", "next_hop_member", "route")


def insert(*rows: Row | Rows) -> list[Operation]:
    return [Insert(one) for one in as_rows(rows)]


def modify(*rows: Row | Rows) -> list[Operation]:
    return [Modify(one) for one in as_rows(rows)]


def delete(table: str, *ids: int) -> list[Operation]:
    return [Delete(table, np.array(ids, np.uint64))]


@dataclass(frozen=True)
class State:
    """All that a commit may change, by value."""

    generation: int
    tag: str
    tags: Mapping[str, str]
    tables: Mapping[str, Mapping[int, tuple[str, bytes]]]
    """Table -> id -> row class and bytes."""
    names: Mapping[tuple[str, int], Name]


class Card:
    """A loaded card."""

    def __init__(self, device: Device, backend: Backend, schema: Schema, classes: Mapping[str, type[Row]]) -> None:
        self.device = device
        self.backend = backend
        self.schema = schema
        self.classes = classes
        self._writers: dict[str, Writer] = {}
        self._shards: list[Shard] = []

    @property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities()

    @cached_property
    def absent(self) -> tuple[str, ...]:
        return self.capabilities.absent

    @property
    def waits(self) -> bool:
        """Its time passes as the clock on the wall does: no `replay`, and nobody wrote `Device.advance`."""
        return waits(self.device, self.absent)

    def writer(self, owner: str = "dsnd") -> Writer:
        if owner not in self._writers:
            self._writers[owner] = self.backend.writer(owner)
        return self._writers[owner]

    def commit(self, *operations: Sequence[Operation], owner: str = "dsnd", **more: Any) -> Generation:
        """Commit these lists of operations as one; `more` as `Writer.commit` has it."""
        return self.writer(owner).commit([one for some in operations for one in some], **more)

    def stage(self, *operations: Sequence[Operation], owner: str = "dsnd", **more: Any) -> Staged:
        return self.writer(owner).stage([one for some in operations for one in some], **more)

    def state(self) -> State:
        now = self.backend.snapshot()
        tables = {
            table: {int(record["id"]): (rows.row.__name__, record.tobytes()) for rows in parts for record in rows.data}
            for table, parts in now.tables.items()
        }
        held = {name: rows for name, rows in tables.items() if rows}
        return State(now.generation, now.tag, dict(now.tags), held, dict(now.names))

    def generation(self, number: int) -> Generation:
        """One of this life of the card."""
        return Generation(number, self.backend.snapshot([]).generation.life)

    def ids(self, table: str) -> list[int]:
        parts = self.backend.snapshot([table]).tables.get(table, ())
        return sorted(identity for rows in parts for identity in rows.data["id"].tolist())

    def refuses(
        self,
        kinds: ErrorKind | tuple[ErrorKind, ...],
        what: str,
        call: Callable[[], Any],
        **place: Any,
    ) -> HalError:
        """`call` is refused as one of `kinds`, and the tables are afterwards what they were. `place`: what the error
        has to name (table, field, row, row_id)."""
        before = self.state()
        error = raises(kinds, call, what)
        after = self.state()
        expect(after == before, f"{what} was refused, but something changed: {_difference(before, after)}")
        for name, wanted in place.items():
            equal(getattr(error, name), wanted, f"{what}: `{name}` of the error ({error})")
        return error

    def refuses_commit(
        self,
        kinds: ErrorKind | tuple[ErrorKind, ...],
        what: str,
        *operations: Sequence[Operation],
        place: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> HalError:
        return self.refuses(kinds, what, lambda: self.commit(*operations, **more), **(place or {}))

    def shard(self, *arguments: Any, **more: Any) -> Shard:
        """`Reader.shard`, closed when the check is over."""
        self._shards.append(self.backend.shard(*arguments, **more))
        return self._shards[-1]

    def close(self) -> None:
        while self._shards:
            self._shards.pop().close()

    def traffic(self, connections: int = 1024, **more: Any) -> Traffic:
        """A way to send packets: a private shard, or the ports where there is no `replay`."""
        wire = self.device.wire(self.backend)
        if "shard" in self.absent and wire is not None:
            return WireTraffic(self.backend, wire, lambda nanos: self.device.advance(self.backend, nanos))
        return ShardTraffic(self.shard(connections=connections, **more))

    def live(self) -> WireTraffic:
        """The ports. Only for checks that need "wire"."""
        wire = self.device.wire(self.backend)
        if wire is None:
            raise HalError(ErrorKind.UNSUPPORTED, "device of the kit", field="wire", limit="one")
        return WireTraffic(self.backend, wire, lambda nanos: self.device.advance(self.backend, nanos))

    def now_ns(self) -> int:
        """What the clock says that the card goes by."""
        return self.device.now_ns(self.backend)

    def advance(self, nanos: int) -> None:
        self.device.advance(self.backend, nanos)


class Bench:
    """Opens cards for one check and closes them behind it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._open: list[Backend] = []
        self._cards: list[Card] = []

    @cached_property
    def schema(self) -> Schema:
        return find_schema(self.device.stages)

    @cached_property
    def classes(self) -> dict[str, type[Row]]:
        return row_classes(self.device.stages)

    def config(self, **more: Any) -> LoadConfig:
        """A small card with five ports; tables of routes belong to `OTHER` where `owners` isn't given."""
        capacities = {table.name: min(table.capacity, ENTRIES) for table in self.schema.tables}
        capacities.update(more.pop("capacities", {}))
        ports = tuple(self.device.port(number, name) for number, name in PORTS)
        return LoadConfig(**{"ports": ports, "capacities": capacities, "connections": 1024, "pickup_ns": 0, **more})

    def unloaded(self) -> Backend:
        backend = self.device.open()
        self._open.append(backend)
        return backend

    def card(self, start: bool = True, **more: Any) -> Card:
        """A fresh card, loaded with `config(**more)`."""
        backend = self.unloaded()
        backend.load(self.config(**more))
        if start:
            backend.start()
        self._cards.append(Card(self.device, backend, self.schema, self.classes))
        return self._cards[-1]

    def shared(self, **more: Any) -> Card:
        """A fresh card on which `OTHER` owns the tables of routes."""
        return self.card(owners={OTHER: OTHERS_TABLES}, **more)

    def close(self) -> None:
        while self._cards:
            self._cards.pop().close()
        while self._open:
            self.device.close(self._open.pop())


def _difference(before: State, after: State) -> str:
    parts = []
    if before.generation != after.generation:
        parts.append(f"generation {before.generation} became {after.generation}")
    if before.tag != after.tag:
        parts.append(f"tag {before.tag!r} became {after.tag!r}")
    if before.tags != after.tags:
        parts.append(f"tags {before.tags} became {after.tags}")
    for table in sorted({*before.tables, *after.tables}):
        old, new = before.tables.get(table, {}), after.tables.get(table, {})
        changed = sorted(id_ for id_ in {*old, *new} if old.get(id_) != new.get(id_))
        parts += [f"table {table} id {id_}" for id_ in changed[:3]]
    if before.names != after.names:
        parts.append("names")
    return ", ".join(parts)
