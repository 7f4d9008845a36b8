"""One generation and the next: rows taken out and put in, with what has to hold of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Name
from hal.packet.model.check import Bytes, column
from hal.packet.model.tables import Record, Tables, TableVersion, is_unique
from hal.packet.schema.declare import Match, Table, Type
from hal.packet.schema.layout import layout
from hal.packet.schema.rows import Rows

Names = dict[tuple[str, int], Name]


@dataclass(frozen=True)
class Version:
    """Everything that one generation is."""

    tables: Tables
    tag: str = ""
    """Of the generation, whoever committed it."""
    names: Names = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    """Owner -> that of its own last commit."""
    written: Mapping[str, AbstractSet[int]] = field(default_factory=dict)
    """Table -> ids that its commit wrote; all others are what they were in the generation before."""


def invalid(table: str, **more: Any) -> HalError:
    return HalError(ErrorKind.INVALID, f"table {table}", table=table, **more)


class Draft:
    """The next generation while it is being made: tables are copied when they are first touched."""

    def __init__(self, before: Version, generation: int, capacities: Mapping[str, int]) -> None:
        self._before = before
        self._generation = generation
        self._capacities = capacities
        self._touched: dict[str, TableVersion] = {}
        self._written: dict[str, set[int]] = {}
        self._schema = before.tables.schema

    def _read(self, table: str) -> TableVersion:
        return self._touched.get(table) or self._before.tables.versions[table]

    def _write(self, table: str) -> TableVersion:
        if table not in self._touched:
            self._touched[table] = self._before.tables.versions[table].copy()
        return self._touched[table]

    def _count(self, table: Table, action: int, data: Bytes, sign: int) -> None:
        """Add the references that these rows make to the counts of what they refer to, or take them off."""
        form = layout(table, table.actions[action])
        for slot in form.slots:
            if slot.type is not Type.ID or slot.field is None or not len(data):
                continue
            references = self._write(slot.field.ref).references
            for identity, count in Counter(column(data, slot).tolist()).items():
                references[identity] += sign * count
                if not references[identity]:
                    del references[identity]

    def _lengths(self, version: TableVersion, data: Bytes, sign: int) -> None:
        """Count the prefix lengths that a table matched by longest prefix has."""
        if version.table.match is not Match.LPM or not len(data):
            return
        form = layout(version.table, version.table.actions[0])
        slot = next(slot for slot in form.slots if slot.name == version.table.key[-1].name + "_len")
        for length, count in Counter(column(data, slot).tolist()).items():
            version.lengths[length] += sign * count
            if not version.lengths[length]:
                del version.lengths[length]

    def has(self, table: str, identity: int) -> bool:
        return identity in self._read(table).rows

    def remove(self, table: str, ids: Sequence[int]) -> None:
        if not ids:
            return
        version = self._write(table)
        self._written.setdefault(table, set()).update(ids)
        gone: dict[int, list[bytes]] = {}
        key_end = layout(version.table, version.table.actions[0]).key_end
        for identity in ids:
            record = version.rows.pop(identity)
            version.keys.pop(record.data[8:key_end], None)
            gone.setdefault(record.action, []).append(record.data)
        for action, records in gone.items():
            data = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), -1)
            self._lengths(version, data, -1)
            self._count(version.table, action, data, -1)

    def put(self, rows: Rows, data: Bytes) -> None:
        """Rows that are new, or whose older selves were removed. Keys may clash until `finish` has looked."""
        if not len(data):
            return
        table = rows.row.LAYOUT.table
        action = table.actions.index(rows.row.LAYOUT.action)
        version = self._write(table.name)
        size, blob = rows.row.LAYOUT.size, data.tobytes()
        ids = column(data, rows.row.LAYOUT.slots[0]).tolist()
        self._written.setdefault(table.name, set()).update(ids)
        for place, identity in enumerate(ids):
            older = self._before.tables.born(table.name, identity)
            data_of_one = blob[place * size : (place + 1) * size]
            version.rows[identity] = Record(action, data_of_one, self._generation, older or self._generation)
        self._lengths(version, data, +1)
        self._count(table, action, data, +1)

    def check_room(self) -> None:
        for name, version in self._touched.items():
            if len(version.rows) > self._capacities[name]:
                raise HalError(
                    ErrorKind.FULL,
                    f"table {name}",
                    limit=f"{self._capacities[name]} entries",
                    got=f"{len(version.rows)} entries",
                    fix="Remove entries, or load with a larger capacity.",
                    table=name,
                )

    def check_keys(self, rows: Rows, data: Bytes) -> None:
        table = rows.row.LAYOUT.table
        if not is_unique(table) or not len(data):
            return
        version = self._write(table.name)
        ids = column(data, rows.row.LAYOUT.slots[0]).tolist()
        end, size, blob = rows.row.LAYOUT.key_end, rows.row.LAYOUT.size, data.tobytes()
        for place, identity in enumerate(ids):
            key = blob[place * size + 8 : place * size + end]
            other = version.keys.setdefault(key, identity)
            if other != identity:
                raise invalid(
                    table.name,
                    field=", ".join(part.name for part in table.key),
                    limit="a key that no other row has",
                    got=f"that of id {other}",
                    row=place,
                    row_id=identity,
                )

    def check_references(self, rows: Rows, data: Bytes) -> None:
        form = rows.row.LAYOUT
        for slot in form.slots:
            if slot.type is not Type.ID or slot.field is None:
                continue
            values = column(data, slot)
            there = self._read(slot.field.ref).rows
            missing = [one for one in sorted(set(values.tolist())) if one not in there]
            missing = [one for one in missing if not (slot.field.optional and one == (1 << 64) - 1)]
            if missing:
                place = int(np.argmax(np.isin(values, np.array(missing, np.uint64))))
                raise invalid(
                    form.table.name,
                    field=slot.name,
                    limit=f"an id of table {slot.field.ref}",
                    got=int(values[place]),
                    row=place,
                    row_id=int(column(data, form.slots[0])[place]),
                )

    def check_removed(self, removed: Iterable[tuple[str, int]]) -> None:
        for table, identity in removed:
            count = self._read(table).references[identity]
            if count:
                raise invalid(
                    table,
                    field="id",
                    row_id=identity,
                    limit="no row that refers to it",
                    got=f"{count} rows that refer to it",
                    fix="Remove or change those in the same commit.",
                )

    def finish(self, owner: str | None, tag: str, names: Names, tags: Mapping[str, str]) -> Version:
        """The next generation; without an owner nobody's last tag is another one."""
        versions = {**self._before.tables.versions, **self._touched}
        tags = tags if owner is None else {**tags, owner: tag}
        return Version(Tables(self._schema, self._generation, versions), tag, names, tags, self._written)
