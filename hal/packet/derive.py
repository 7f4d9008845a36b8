"""What follows from the contract: limits that a card's owner left open, and, from `commit` and reading, bringing
tables to wanted rows by difference and one commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    FILE_BYTES,
    Delete,
    Generation,
    Insert,
    LoadConfig,
    Modify,
    Name,
    Operation,
    Reader,
    Snapshot,
    Writer,
)
from hal.packet.schema.rows import Row, Rows, as_rows

ATTEMPTS = 8
"""How often a sync reads again after STALE before it gives up."""

SHARE = 4
"""What part of all connections a vNIC may open, and as many again may be opened to it, where nothing says otherwise:
with both used up, half of the table is left for others."""

Array = np.ndarray[Any, np.dtype[Any]]


def with_limits(config: LoadConfig) -> LoadConfig:
    """The same with a number where a limit on connections is 0. Pure."""
    share = min(max(1, config.connections * config.workers // SHARE), (1 << 32) - 1)
    return replace(
        config,
        flow_limit=config.flow_limit or share,
        inbound_flow_limit=config.inbound_flow_limit or share,
        half_open_limit=config.half_open_limit or max(1, share // 2),
    )


@dataclass(frozen=True)
class SyncResult:
    """What a sync came to: `changes` is table -> (added, changed, removed) for tables in which anything was."""

    generation: Generation
    changes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """What changed: "+1 next hop, -2 routes", or "no change"."""
        parts = [
            f"{sign}{count:,} {noun(table, count)}"
            for table, counts in self.changes.items()
            for sign, count in zip("+~-", counts, strict=True)
            if count
        ]
        return ", ".join(parts) or "no change"

    def __str__(self) -> str:
        return f"generation {self.generation}: {self.words}, {self.seconds:.1f} s"

    def to_dict(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "seconds": self.seconds,
            "changes": {
                table: {"added": added, "changed": changed, "removed": removed}
                for table, (added, changed, removed) in self.changes.items()
            },
        }


def noun(table: str, count: int) -> str:
    """A table's name as a word for `count` of its entries."""
    word = table.replace("_", " ")
    if count == 1:
        return word
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch")) else "s")


def _ids(parts: Sequence[Rows]) -> Array:
    return np.concatenate([rows.data["id"] for rows in parts]) if parts else np.zeros(0, np.uint64)


def _split(wanted: Rows, present: Sequence[Rows]) -> tuple[Array, Array]:
    """Indices into `wanted` of rows that are new to the table, and of those that are there but otherwise."""
    all_ids = _ids(present)
    new = ~np.isin(wanted.data["id"], all_ids) if len(all_ids) else np.ones(len(wanted.data), bool)
    changed = ~new
    for rows in present:
        if rows.row is not wanted.row or not len(rows.data):
            continue
        order = np.argsort(rows.data["id"], kind="stable")
        sorted_ids = rows.data["id"][order]
        place = np.searchsorted(sorted_ids, wanted.data["id"])
        place[place == len(sorted_ids)] = 0
        there = np.flatnonzero(sorted_ids[place] == wanted.data["id"])
        same = (wanted.raw()[there] == rows.raw()[order[place[there]]]).all(axis=1)
        changed[there[same]] = False
    return np.flatnonzero(new), np.flatnonzero(changed)


def difference(
    wanted: Mapping[str, Sequence[Rows]], present: Mapping[str, Sequence[Rows]], tables: Iterable[str]
) -> tuple[list[Operation], dict[str, tuple[int, int, int]]]:
    """(operations, table -> (added, changed, removed)) that bring `tables` from `present` to `wanted`. Pure."""
    removals: list[Operation] = []
    others: list[Operation] = []
    changes: dict[str, tuple[int, int, int]] = {}
    for table in tables:
        ours, theirs = wanted.get(table, ()), present.get(table, ())
        have = _ids(theirs)
        gone = have[~np.isin(have, _ids(ours))] if len(have) else have
        if len(gone):
            removals.append(Delete(table, gone))
        added = changed = 0
        for rows in ours:
            new, different = _split(rows, theirs)
            if len(new):
                others.append(Insert(rows if len(new) == len(rows.data) else rows.take(new)))
            if len(different):
                others.append(Modify(rows.take(different)))
            added += len(new)
            changed += len(different)
        if added or changed or len(gone):
            changes[table] = (added, changed, len(gone))
    return removals + others, changes


def _is_called(snapshot: Snapshot, name: Name) -> bool:
    """Whether the entry has this name already, as cards keep it."""
    file = name.file.encode()[-FILE_BYTES:].decode(errors="ignore")
    return snapshot.names.get((name.table, name.id)) == replace(name, file=file)


def sync(
    writer: Writer,
    reader: Reader,
    *rows: Row | Rows,
    tables: Iterable[str] | None = None,
    tag: str = "",
    names: Sequence[Name] = (),
    transaction: Callable[[], int | None] = lambda: None,
    depends: Sequence[tuple[str, int]] = (),
    base: Generation | None = None,
    attempts: int | None = None,
) -> SyncResult:
    """Bring tables of one owner to exactly these rows, by difference and one commit.

    Args:
        writer: of the owner.
        reader: of the same engine.
        rows: what the tables shall hold.
        tables: which tables; None: those that `rows` are of. One that no row is of is emptied.
        tag: kept with the generation. With rows, this owner's tag and these names as they are, nothing is committed.
        names: what people call entries; entries not named here keep theirs.
        transaction: gives each commit that is tried its transaction, another each time: who keeps the last can ask
            `outcome` for it after LOST or TIMEOUT.
        depends: (table, id) of rows of others that these build on.
        base: the generation that `rows` and `depends` were computed from; None: as the tables are read here.
        attempts: how often it is tried where others are faster, None: `ATTEMPTS`; with a base STALE is for the caller,
            who gives 1.

    Raises:
        HalError: as `commit`; STALE only after others were faster `attempts` times in a row.
    """
    begin = time.monotonic()
    wanted: dict[str, list[Rows]] = {}
    for part in as_rows(rows):
        wanted.setdefault(part.row.LAYOUT.table.name, []).append(part)
    chosen = tuple(wanted) if tables is None else tuple(tables)
    for table in wanted:
        if table not in chosen:
            raise HalError(ErrorKind.INVALID, f"table {table}", limit="one of " + ", ".join(chosen), table=table,
                           fix="Name it in tables=.")  # fmt: skip
    attempts = ATTEMPTS if attempts is None else attempts
    for attempt in range(attempts):
        snapshot = reader.snapshot(dict.fromkeys((*chosen, *(name.table for name in names))))
        operations, changes = difference(wanted, snapshot.tables, chosen)
        called = all(_is_called(snapshot, name) for name in names)
        if not operations and called and snapshot.tags.get(writer.owner, "") == tag:
            return SyncResult(snapshot.generation, {}, time.monotonic() - begin)
        try:
            generation = writer.commit(
                operations,
                base=snapshot.generation if base is None else base,
                transaction=transaction(),
                tag=tag,
                depends=depends,
                names=names,
            )
        except HalError as error:
            if error.kind is not ErrorKind.STALE or attempt == attempts - 1:
                raise
            continue
        return SyncResult(generation, changes, time.monotonic() - begin)
    raise HalError(ErrorKind.STALE, "sync", limit=f"{attempts} attempts")
