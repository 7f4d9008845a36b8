"""Commits: who may write what, all or nothing, one generation after another.

What is asked first decides what is answered: authority (DENIED), staleness (STALE), the rows' own fields, ids, room
(FULL), keys, references. Nothing is changed before everything was asked. Writers may be of several threads: they take
turns, and whoever asks for an outcome waits for the commit that is on its way.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hal.errors import ErrorKind, HalError
from hal.packet.arguments import check_words
from hal.packet.contract import (
    FILE_BYTES,
    LONGEST_LEASE_NS,
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
from hal.packet.model.draft import Draft, Names, Version, invalid
from hal.packet.model.tables import Record, Tables, TableVersion
from hal.packet.schema.registry import Schema

__all__ = ["DEFAULT_OWNER", "OUTCOMES", "Draft", "Stage", "Store", "Version", "entries_of", "invalid"]

OUTCOMES = 1024
DEFAULT_OWNER = "dsnd"


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
        self.lock = threading.RLock()
        """Held by who commits, from the first look at the tables to the generation's being told."""
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
        self._check_words(tag, names)
        with self.lock:
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
                self._remember(owner, transaction, Outcome(OutcomeKind.REFUSED, error=str(error)))
                raise
            self._remember(owner, transaction, Outcome(OutcomeKind.COMMITTED, self.current_generation))
            return self.generation

    def outcome(self, owner: str, transaction: int) -> Outcome:
        with self.lock:
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
        self._check_words(tag, names)
        if not 0 <= lease_ns <= LONGEST_LEASE_NS:
            raise HalError(
                ErrorKind.INVALID,
                "staged commit",
                field="lease_ns",
                limit=f"0..{LONGEST_LEASE_NS}",
                got=lease_ns,
                fix="Stage it again when it ends.",
            )
        with self.lock:
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
        with self.lock:
            if stage is not self._staged.get(stage.owner) or self._now() >= stage.ends_ns:
                raise HalError(ErrorKind.STALE, "staged commit", limit="its lease", fix="Stage it again.")
            if stage.version.tables.generation != self.generation + 1:
                stage.version = self._build(stage.owner, stage.operations, stage.base, stage.tag, (), stage.names)
            return stage.version

    def make(self, stage: Stage) -> int:
        """Commit what was staged. Refused, it is gone too."""
        with self.lock:
            try:
                version = self.staged_version(stage)
            finally:
                self._end(stage)
            self._make(stage.owner, version)
            return self.generation

    def drop(self, stage: Stage) -> None:
        with self.lock:
            self._end(stage)

    def _end(self, stage: Stage) -> None:
        if stage is self._staged.get(stage.owner):
            del self._staged[stage.owner]

    def _remember(self, owner: str, transaction: int, outcome: Outcome) -> None:
        outcomes = self._outcomes[owner]
        outcomes[transaction] = outcome
        while len(outcomes) > OUTCOMES:
            outcomes.popitem(last=False)

    def _make(self, owner: str, version: Version) -> None:
        before, self.current = self.current, version
        rows = version.tables.versions.items()
        if version.names is not before.names or any(one is not before.tables.versions[name] for name, one in rows):
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
        for table in [_table_of(one) for one in operations] + [name.table for name in names]:
            self._check_owner(owner, table)
        self._check_base(owner, base, depends)
        return self._drafted(owner, operations, tag, names)

    def _drafted(self, owner: str | None, operations: Sequence[Operation], tag: str, names: Sequence[Name]) -> Version:
        """The next generation, if what is in it may be. Without an owner it is nobody's commit."""
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
        check_words(tag, names)

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
