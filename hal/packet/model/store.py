"""Commits: who may write what, all or nothing, one generation after another.

What is asked first decides what is answered: authority (DENIED), staleness (STALE), the rows' own fields, ids, room
(FULL), keys, references. Nothing is changed before everything was asked.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    FILE_BYTES,
    LONGEST_LEASE_NS,
    NAME_BYTES,
    TAG_BYTES,
    Delete,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    Outcome,
    OutcomeKind,
)
from hal.packet.model.check import Bytes, check_rows, column
from hal.packet.model.tables import Record, Tables, TableVersion, is_unique
from hal.packet.schema.declare import Match, Table, Type
from hal.packet.schema.layout import layout
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Rows

OUTCOMES = 1024
DEFAULT_OWNER = "dsnd"

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


def invalid(table: str, **more: Any) -> HalError:
    return HalError(ErrorKind.INVALID, f"table {table}", table=table, **more)


class Draft:
    """The next generation while it is being made: tables are copied when they are first touched."""

    def __init__(self, before: Version, generation: int, capacities: Mapping[str, int]) -> None:
        self._before = before
        self._generation = generation
        self._capacities = capacities
        self._touched: dict[str, TableVersion] = {}
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
            ids, counts = np.unique(column(data, slot), return_counts=True)
            references = self._write(slot.field.ref).references
            for identity, count in zip(ids.tolist(), counts.tolist(), strict=True):
                references[identity] += sign * count
                if not references[identity]:
                    del references[identity]

    def _lengths(self, version: TableVersion, data: Bytes, sign: int) -> None:
        """Count the prefix lengths that a table matched by longest prefix has."""
        if version.table.match is not Match.LPM or not len(data):
            return
        form = layout(version.table, version.table.actions[0])
        slot = next(slot for slot in form.slots if slot.name == version.table.key[-1].name + "_len")
        lengths, counts = np.unique(column(data, slot), return_counts=True)
        for length, count in zip(lengths.tolist(), counts.tolist(), strict=True):
            version.lengths[length] += sign * count
            if not version.lengths[length]:
                del version.lengths[length]

    def has(self, table: str, identity: int) -> bool:
        return identity in self._read(table).rows

    def remove(self, table: str, ids: Sequence[int]) -> None:
        if not ids:
            return
        version = self._write(table)
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
        table = rows.row.LAYOUT.table
        action = table.actions.index(rows.row.LAYOUT.action)
        version = self._write(table.name)
        size, blob = rows.row.LAYOUT.size, data.tobytes()
        for place, identity in enumerate(column(data, rows.row.LAYOUT.slots[0]).tolist()):
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
        if not is_unique(table):
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
            missing = [one for one in np.unique(values).tolist() if one not in there]
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

    def finish(self, owner: str, tag: str, names: Names, tags: Mapping[str, str]) -> Version:
        versions = {**self._before.tables.versions, **self._touched}
        return Version(Tables(self._schema, self._generation, versions), tag, names, {**tags, owner: tag})


@dataclass
class Stage:
    """A commit that was checked and built, but not made."""

    owner: str
    operations: tuple[Operation, ...]
    tag: str
    names: tuple[Name, ...]
    base: Generation
    version: Version
    ends_ns: int


class Store:
    """The tables' history: the generation that is current, who owns which table, and what became of commits.

    Args:
        schema: all declared tables.
        config: capacities and owners.
        refuse: called with the tables of a generation to be; raises what else is wrong with them.
        now: the card's clock, for leases.
    """

    def __init__(
        self, schema: Schema, config: LoadConfig, refuse: Callable[[Tables], None], now: Callable[[], int]
    ) -> None:
        self.schema = schema
        self.current = Version(Tables(schema, 0, {table.name: TableVersion(table) for table in schema.tables}))
        self.capacities = {t.name: config.capacities.get(t.name, t.capacity) for t in schema.tables}
        self.owners = {table.name: DEFAULT_OWNER for table in schema.tables}
        for owner, tables in config.owners.items():
            self.owners.update(dict.fromkeys(tables, owner))
        self._refuse = refuse
        self._now = now
        self._changed: dict[str, int] = {}
        self._outcomes: dict[str, OrderedDict[int, Outcome]] = {}
        self._staged: dict[str, Stage] = {}
        self.life = random.SystemRandom().randrange(1, 1 << 64)

    @property
    def generation(self) -> int:
        return self.current.tables.generation

    @property
    def current_generation(self) -> Generation:
        """As it is told: with the life that it is of."""
        return Generation(self.generation, self.life)

    def commit(
        self,
        owner: str,
        operations: Sequence[Operation],
        *,
        base: Generation | None,
        transaction: int | None,
        tag: str,
        depends: Sequence[tuple[str, int]],
        names: Sequence[Name],
    ) -> int:
        outcomes = self._outcomes.setdefault(owner, OrderedDict())
        if transaction is None:
            transaction = random.SystemRandom().getrandbits(64)
        if not 0 <= transaction < 1 << 64 or transaction in outcomes:
            raise HalError(
                ErrorKind.INVALID,
                "commit",
                field="transaction",
                limit="a 64-bit number that this owner's last 1,024 commits didn't have",
                got=transaction,
            )
        try:
            self._make(owner, self._build(owner, operations, base, tag, depends, names))
        except HalError as error:
            self._remember(outcomes, transaction, Outcome(OutcomeKind.REFUSED, error=str(error)))
            raise
        self._remember(outcomes, transaction, Outcome(OutcomeKind.COMMITTED, self.current_generation))
        return self.generation

    def outcome(self, owner: str, transaction: int) -> Outcome:
        outcomes = self._outcomes.get(owner)
        return (outcomes and outcomes.get(transaction)) or Outcome(OutcomeKind.UNKNOWN)

    def stage(
        self,
        owner: str,
        operations: Sequence[Operation],
        *,
        base: Generation | None,
        tag: str,
        lease_ns: int,
        names: Sequence[Name],
    ) -> Stage:
        if not 0 <= lease_ns <= LONGEST_LEASE_NS:
            raise HalError(
                ErrorKind.INVALID,
                "staged commit",
                field="lease_ns",
                limit=f"0..{LONGEST_LEASE_NS}",
                got=lease_ns,
                fix="Stage it again when it ends.",
            )
        before = self._staged.get(owner)
        if before and self._now() < before.ends_ns:
            tenths = (before.ends_ns - self._now() + 99_999_999) // 100_000_000
            raise HalError(
                ErrorKind.BUSY,
                "staged commit",
                limit="one an owner at a time",
                got=f"another while {owner} holds one for {tenths // 10}.{tenths % 10} s more",
                fix="Make or drop the one that is staged, or wait for its end.",
            )
        version = self._build(owner, operations, base, tag, (), names)
        self._staged[owner] = Stage(
            owner, tuple(operations), tag, tuple(names), self.current_generation, version, self._now() + lease_ns
        )
        return self._staged[owner]

    def staged_version(self, stage: Stage) -> Version:
        """What the tables would be, over what other owners committed since. Raises STALE if it was dropped, made, its
        lease is over, or its owner committed since."""
        if stage is not self._staged.get(stage.owner) or self._now() >= stage.ends_ns:
            raise HalError(ErrorKind.STALE, "staged commit", limit="its lease", fix="Stage it again.")
        if stage.version.tables.generation != self.generation + 1:
            stage.version = self._build(stage.owner, stage.operations, stage.base, stage.tag, (), stage.names)
        return stage.version

    def make(self, stage: Stage) -> int:
        """Commit what was staged. Refused, it is gone too."""
        try:
            version = self.staged_version(stage)
        finally:
            self._end(stage)
        self._make(stage.owner, version)
        return self.generation

    def drop(self, stage: Stage) -> None:
        self._end(stage)

    def _end(self, stage: Stage) -> None:
        if stage is self._staged.get(stage.owner):
            del self._staged[stage.owner]

    def _remember(self, outcomes: OrderedDict[int, Outcome], transaction: int, outcome: Outcome) -> None:
        outcomes[transaction] = outcome
        while len(outcomes) > OUTCOMES:
            outcomes.popitem(last=False)

    def _make(self, owner: str, version: Version) -> None:
        self.current = version
        self._changed[owner] = version.tables.generation

    # --- checking and building -----------------------------------------------------------------------------------

    def _build(
        self,
        owner: str,
        operations: Sequence[Operation],
        base: Generation | None,
        tag: str,
        depends: Sequence[tuple[str, int]],
        names: Sequence[Name],
    ) -> Version:
        self._check_words(tag, names)
        for table in [_table_of(one) for one in operations] + [name.table for name in names]:
            self._check_owner(owner, table)
        self._check_base(owner, base, depends)
        written = [(one, check_rows(one.rows)) for one in operations if not isinstance(one, Delete)]
        modified, deleted = self._check_ids(operations, written)
        draft = Draft(self.current, self.generation + 1, self.capacities)
        for table, ids in (*modified.items(), *deleted.items()):
            draft.remove(table, ids)
        for one, data in written:
            draft.put(one.rows, data)
        draft.check_room()
        for one, data in written:
            draft.check_keys(one.rows, data)
        for one, data in written:
            draft.check_references(one.rows, data)
        removed = tuple((table, identity) for table, ids in deleted.items() for identity in ids)
        draft.check_removed(removed)
        version = draft.finish(owner, tag, self._names(draft, names, removed), self.current.tags)
        self._refuse(version.tables)
        return version

    def _check_words(self, tag: str, names: Sequence[Name]) -> None:
        if len(tag.encode()) > TAG_BYTES:
            raise HalError(ErrorKind.INVALID, "commit", field="tag", limit=f"{TAG_BYTES} bytes", got=tag)
        for name in names:
            if not 1 <= len(name.text.encode()) <= NAME_BYTES:
                raise invalid(name.table, field="name", limit=f"1..{NAME_BYTES} bytes", got=name.text, row_id=name.id)

    def _check_owner(self, owner: str, table: str) -> None:
        self.schema.table(table)
        if self.owners[table] != owner:
            raise HalError(
                ErrorKind.DENIED,
                f"table {table}",
                limit=f"its owner {self.owners[table]}",
                got=owner,
                fix="Name the owner of the table where the card is loaded.",
                table=table,
            )

    def _check_base(self, owner: str, base: Generation | None, depends: Sequence[tuple[str, int]]) -> None:
        base = self.current_generation if base is None else base
        stale = "Read the tables again and compute the commit from them."
        if base.life != self.life:
            raise HalError(
                ErrorKind.STALE, "commit", field="base", limit="a generation of this life of the card",
                got=f"generation {base} of another", fix=stale,
            )  # fmt: skip
        if self._changed.get(owner, 0) > base or base > self.generation:
            now = self._changed.get(owner, 0)
            raise HalError(
                ErrorKind.STALE,
                f"tables of {owner}",
                field="base",
                limit=f"generation {now}",
                got=base,
                fix=stale,
            )
        for table, identity in depends:
            self.schema.table(table)
            record = self.current.tables.versions[table].rows.get(identity)
            if record is None or record.generation > base:
                raise HalError(
                    ErrorKind.STALE,
                    f"table {table}",
                    limit=f"unchanged since generation {base}",
                    got="removed" if record is None else f"changed by generation {record.generation}",
                    fix=stale,
                    table=table,
                    row_id=identity,
                )

    def _check_ids(
        self, operations: Sequence[Operation], written: Sequence[tuple[Insert | Modify, Bytes]]
    ) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Ids modified and deleted, by table, if every id may be written so and is written once."""
        modified: dict[str, list[int]] = {}
        deleted: dict[str, list[int]] = {}
        seen: dict[str, set[int]] = {}
        bytes_of = {id(one): data for one, data in written}
        for one in operations:
            table = _table_of(one)
            if isinstance(one, Delete):
                ids = [int(identity) for identity in one.ids]
                deleted.setdefault(table, []).extend(ids)
            else:
                ids = column(bytes_of[id(one)], one.rows.row.LAYOUT.slots[0]).tolist()
                if isinstance(one, Modify):
                    modified.setdefault(table, []).extend(ids)
            there = self.current.tables.versions[table].rows
            known = seen.setdefault(table, set())
            for place, identity in enumerate(ids):
                self._check_id(table, place, identity, isinstance(one, Insert), there, known)
        return modified, deleted

    def _check_id(
        self, table: str, place: int, identity: int, new: bool, there: Mapping[int, Record], seen: set[int]
    ) -> None:
        if identity in seen:
            raise invalid(table, field="id", limit="one write a commit", got="a second one", row=place, row_id=identity)
        seen.add(identity)
        if new == (identity in there):
            raise invalid(
                table,
                field="id",
                limit="an id that is new" if new else f"an id of table {table}",
                got=identity,
                row=place,
                row_id=identity,
                fix="Modify the row that is there, or choose another id." if new else "",
            )

    def _names(self, draft: Draft, names: Sequence[Name], removed: Sequence[tuple[str, int]]) -> Names:
        if not names and not removed:
            return self.current.names
        result = dict(self.current.names)
        for key in removed:
            result.pop(key, None)
        for name in names:
            if not draft.has(name.table, name.id):
                raise invalid(
                    name.table,
                    field="name",
                    limit=f"an id of table {name.table}",
                    got=name.id,
                    row_id=name.id,
                )
            file = name.file.encode()[-FILE_BYTES:].decode(errors="ignore")
            result[name.table, name.id] = Name(name.table, name.id, name.text, file, name.line)
        return result


def _table_of(operation: Operation) -> str:
    return operation.table if isinstance(operation, Delete) else operation.rows.row.LAYOUT.table.name


def entries_of(version: TableVersion) -> list[tuple[int, list[bytes]]]:
    """Per action that is present: its number and its rows' bytes by ascending id."""
    found: dict[int, list[bytes]] = {}
    for identity in sorted(version.rows):
        record = version.rows[identity]
        found.setdefault(record.action, []).append(record.data)
    return sorted(found.items())
