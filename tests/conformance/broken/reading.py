"""Wrong about what is read, about whose tables changed, and about what is derived."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from hal.conformance.checks import deriving
from hal.errors import ErrorKind, HalError
from hal.packet import derive
from hal.packet.contract import (
    Delete,
    Generation,
    Modify,
    Outcome,
    OutcomeKind,
    Snapshot,
)
from hal.packet.model.store import Store, Version
from hal.packet.model.twin import Twin
from hal.packet.schema.rows import Row, Rows
from tests.conformance.broken.parts import Break, Breaks, Handle, breaks, stale

BREAKS: Breaks = {}


# --- snapshots ---------------------------------------------------------------------------------------------------


@breaks(BREAKS, "a_fresh_card_is_empty")
class NotEmpty(Twin):
    """a card that was never committed to has a tag"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        return replace(found, tag="fresh") if found.generation == 0 else found


@breaks(BREAKS, "rows_come_back_as_committed")
class NoSeed(Twin):
    """the seed isn't read"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        return replace(found, tables={name: () if name == "seed" else rows for name, rows in found.tables.items()})


@breaks(BREAKS, "commit_returns_when_it_is_made")
class Late(Twin):
    """after ten generations the first reading behind a commit sees the one before"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        now = super().snapshot(tables)
        before = vars(self).get("before", now)
        vars(self)["before"] = now
        return before if now.generation > 10 and before.generation != now.generation else now


@breaks(BREAKS, "rows_are_ordered")
class Unordered(Twin):
    """routes that drop are read in descending order"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        turned = tuple(
            rows.take(np.arange(len(rows))[::-1]) if rows.row.__name__ == "BlackholeRoute" else rows
            for rows in found.tables.get("route", ())
        )
        return replace(found, tables={**found.tables, "route": turned} if turned else found.tables)


class OtherRows(Twin):
    """Its snapshots answer `rows` otherwise."""

    def answer(self, snapshot: Snapshot, table: str) -> list[Row]:
        raise NotImplementedError

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        twin = self

        class Other(Snapshot):
            def rows(self, table: str) -> list[Row]:
                return twin.answer(found, table)

        return Other(found.generation, found.tag, found.tables, found.names, found.tags)


@breaks(BREAKS, "typed_rows_are_ordered")
class UnorderedRows(OtherRows):
    """rows of three or more actions' rows aren't merged by id"""

    def answer(self, snapshot: Snapshot, table: str) -> list[Row]:
        rows = snapshot.rows(table)
        return rows[::-1] if len(snapshot.tables.get(table, ())) == 2 and len(rows) == 3 else rows


@breaks(BREAKS, "a_snapshot_stays")
class Living(OtherRows):
    """rows that were deleted vanish from what was read before"""

    def answer(self, snapshot: Snapshot, table: str) -> list[Row]:
        return [row for row in snapshot.rows(table) if row.id in self.store.current.tables.versions[table].rows]


@breaks(BREAKS, "a_part_may_be_read")
class AllOrOne(Twin):
    """asked for several tables it reads all"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        names = None if tables is None else list(tables)
        return super().snapshot(None if names and len(names) > 1 else names)


@breaks(BREAKS, "a_snapshot_is_of_one_generation")
class TwoReadings(Twin):
    """tables are read first, generation and tag a moment later"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        time.sleep(0.0005)
        later = self.store.current
        return replace(found, generation=self.store.current_generation, tag=later.tag, tags=later.tags)


@breaks(BREAKS, "nothing_known_is_left_out")
class LeavesOut(Twin):
    """rows that were read are told to be missing"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        return replace(found, left_out={"vrf": 1} if found.tables.get("vrf") else {})


# --- whose tables changed ----------------------------------------------------------------------------------------


@breaks(BREAKS, "an_old_base_is_stale")
class PerTable(Store):
    """a base is held against the tables that the commit writes, not against all of its owner's"""

    def _build(self, owner: str, operations: Any, base: Any, *more: Any) -> Version:
        tables = {one.table if isinstance(one, Delete) else one.rows.row.LAYOUT.table.name for one in operations}
        if base and not more[1] and tables and not tables & (vars(self).get("last") or tables):
            base = None
        version = super()._build(owner, operations, base, *more)
        vars(self)["last"] = tables
        return version


@breaks(BREAKS, "a_current_base_is_not_stale")
class DeletesAreStale(Store):
    """what only deletes needs a base newer than the newest"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        if vars(self).get("deletes") and base is not None and base == self.generation:
            raise stale("base")
        super()._check_base(owner, base, depends)

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        vars(self)["deletes"] = operations and all(isinstance(one, Delete) for one in operations)
        return super()._build(owner, operations, *more)


@breaks(BREAKS, "a_base_is_judged_per_owner")
class FewOthers(Store):
    """after four commits of others a base is old"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        if base is not None and self.generation - base >= 4:
            raise stale("base")
        super()._check_base(owner, base, depends)


@breaks(BREAKS, "a_base_of_another_life_is_stale")
class OneLife(Store):
    """of a base only the number counts"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        ours = Generation(base, self.life) if base is not None else None
        super()._check_base(owner, ours, depends)


@breaks(BREAKS, "a_plain_number_is_no_base")
class NumbersAreBases(Twin):
    """a plain number that is a generation of this life is a base"""

    def writer(self, owner: str = "dsnd") -> Any:
        store = self.store

        class Numbers(Handle):
            def commit(self, operations: Any, *, base: Any = None, **more: Any) -> Generation:
                if type(base) is int and 0 < base <= store.generation:
                    base = Generation(base, store.life)
                return self._writer.commit(operations, base=base, **more)

        return Numbers(super().writer(owner))


@breaks(BREAKS, "an_empty_commit_makes_no_base_stale")
class EmptyIsChanged(Store):
    """a commit of nothing makes bases old"""

    def _make(self, owner: str, version: Version) -> None:
        super()._make(owner, version)
        self._changed[owner] = version.tables.generation


@breaks(BREAKS, "no_base_is_never_stale")
class OwnBase(Twin):
    """without a base the writer's own last commit is one, but for a commit with a transaction"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Remembering(Handle):
            last: Generation | None = None

            def commit(self, operations: Any, *, base: Generation | None = None, **more: Any) -> Generation:
                last = self.last if base is None and more.get("transaction") is None else base
                self.last = self._writer.commit(operations, base=last, **more)
                return self.last

        return Remembering(super().writer(owner))


@breaks(BREAKS, "a_refused_commit_makes_no_base_stale")
class RefusedIsChanged(Store):
    """a commit refused as INVALID makes bases old"""

    def commit(self, owner: str, operations: Any, **more: Any) -> int:
        try:
            return super().commit(owner, operations, **more)
        except HalError as error:
            if error.kind is ErrorKind.INVALID:
                self._changed[owner] = self.generation + 1
            raise

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        if base is not None:
            super()._check_base(owner, base, depends)


@breaks(BREAKS, "a_dependence_that_changed_is_stale")
class DependsOnBeing(Store):
    """of rows depended on only their having been there all the time counts"""

    def _went(self) -> set[tuple[str, int]]:
        found: set[tuple[str, int]] = self.__dict__.setdefault("rows that went", set())
        return found

    def _make(self, owner: str, version: Version) -> None:
        for table, old in self.current.tables.versions.items():
            self._went().update((table, one) for one in old.rows if one not in version.tables.versions[table].rows)
        super()._make(owner, version)

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        super()._check_base(owner, base, [row for row in depends if row in self._went()])


@breaks(BREAKS, "a_dependence_that_went_is_stale")
class DependsOnNothing(Store):
    """rows depended on that went are passed over"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        rows = self.current.tables.versions
        super()._check_base(owner, base, [(table, one) for table, one in depends if one in rows[table].rows])


@breaks(BREAKS, "a_dependence_that_stayed_is_not_stale")
class DependsOnTables(Store):
    """a whole table is depended on, not a row"""

    def _check_base(self, owner: str, base: Generation | None, depends: Any) -> None:
        rows = self.current.tables.versions
        super()._check_base(owner, base, [(table, one) for table, _ in depends for one in rows[table].rows] or depends)


@breaks(BREAKS, "outcome_of_a_commit")
class NoZero(Store):
    """transaction 0 is none"""

    def outcome(self, owner: str, transaction: int) -> Outcome:
        return super().outcome(owner, transaction) if transaction else Outcome(OutcomeKind.UNKNOWN)


@breaks(BREAKS, "outcome_of_a_refused_commit")
class NoWords(Store):
    """the words of a refusal are lost"""

    def outcome(self, owner: str, transaction: int) -> Outcome:
        found = super().outcome(owner, transaction)
        return replace(found, error="refused") if found.error else found


@breaks(BREAKS, "outcome_of_what_never_came")
class Guesses(Store):
    """a transaction after one that is known is taken to be that"""

    def outcome(self, owner: str, transaction: int) -> Outcome:
        found = super().outcome(owner, transaction)
        return found if found.kind is not OutcomeKind.UNKNOWN else super().outcome(owner, transaction - 1)


@breaks(BREAKS, "outcomes_are_per_owner")
class AnyonesOutcome(Store):
    """outcomes are anyone's"""

    def outcome(self, owner: str, transaction: int) -> Outcome:
        known = [super(AnyonesOutcome, self).outcome(one, transaction) for one in (owner, *self._outcomes)]
        return next((one for one in known if one.kind is not OutcomeKind.UNKNOWN), known[0])


@breaks(BREAKS, "outcomes_of_the_last_commits_are_kept")
class ThousandOutcomes(Store):
    """a thousand outcomes are kept, not 1,024"""

    def _remember(self, owner: str, transaction: int, outcome: Outcome) -> None:
        super()._remember(owner, transaction, outcome)
        while len(self._outcomes[owner]) > 1000:
            self._outcomes[owner].popitem(last=False)


@breaks(BREAKS, "a_transaction_needs_no_id")
class Counts(Store):
    """a transaction without id gets the next number"""

    def commit(self, owner: str, operations: Any, *, transaction: int | None, **more: Any) -> int:
        if transaction is None:
            transaction = vars(self)["next"] = vars(self).get("next", 20) + 1
            self._outcomes.setdefault(owner, OrderedDict()).pop(transaction, None)
        return super().commit(owner, operations, transaction=transaction, **more)


# --- what is derived ---------------------------------------------------------------------------------------------


def _deriving_without(table: str) -> Any:
    """`sync` that doesn't modify rows of a table."""
    whole = derive.difference

    def difference(*arguments: Any) -> Any:
        operations, changes = whole(*arguments)
        kept = [one for one in operations if not (isinstance(one, Modify) and _modified(one) == table)]
        return kept, changes

    return mock.patch.object(derive, "difference", difference)


def _modified(one: Modify) -> str:
    return one.rows.row.LAYOUT.table.name


def _deriving_from_rows() -> Any:
    """`sync` that looks only at tables of which it is given rows."""

    def sync(writer: Any, reader: Any, *rows: Row | Rows, tables: Any = None, **more: Any) -> Any:
        del tables
        return derive.sync(writer, reader, *rows, **more)

    return mock.patch.object(deriving, "sync", sync)


BREAKS["sync_brings_tables_to_rows"] = Break("sync changes no subnet", around=lambda: _deriving_without("subnet"))
BREAKS["sync_changes_actions"] = Break("sync changes no route", around=lambda: _deriving_without("route"))
BREAKS["sync_reads_again_after_stale"] = Break(
    "sync gives up at once", around=lambda: mock.patch.object(derive, "ATTEMPTS", 1)
)
BREAKS["sync_leaves_others_alone"] = Break("sync empties no table", around=_deriving_from_rows)


__all__ = ["BREAKS"]
