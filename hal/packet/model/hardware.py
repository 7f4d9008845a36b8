"""Commits that hardware has to follow: what it is told, and what is true when it did not answer.

A commit is made once the hardware took it. Where nobody knows whether it did, it is read back; where it can't be, the
store is closed: whoever asks gets LOST until it can (TIMEOUT while it is late), and never an outcome that may be wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Insert, LoadConfig, Operation, Outcome, OutcomeKind
from hal.packet.model.store import Stage, Store, Version
from hal.packet.model.tables import Tables
from hal.packet.schema.registry import Schema
from hal.packet.schema.rows import Row, Rows, as_rows

UNSURE = (ErrorKind.LOST, ErrorKind.TIMEOUT)
"""Errors behind which the hardware may have taken a commit or not."""

Held = dict[tuple[str, int], tuple[int, bytes]]
"""(table, id) -> number of the action, bytes of the row."""


@dataclass(frozen=True)
class Change:
    """One row before and after a commit; None where it isn't there."""

    table: str
    id: int
    before: Row | None
    after: Row | None


class Hardware(Protocol):
    """What a backend writes; see `TablesBackend`."""

    def program(self, changes: Sequence[Change]) -> None: ...

    def held(self) -> Iterable[Row | Rows] | None: ...

    def decided(self) -> None: ...


@dataclass(frozen=True)
class Undecided:
    """A commit of which nobody knows whether the hardware took it."""

    owner: str
    transaction: int | None
    version: Version
    error: BaseException

    def refused(self) -> HalError:
        if isinstance(self.error, HalError):
            return self.error
        return HalError(ErrorKind.LOST, "hardware", got=f"{type(self.error).__name__}: {self.error}")


class HardwareStore(Store):
    """A store whose generations become current when the hardware has taken them.

    Args:
        schema, config, refuse, now: as `Store` has them.
        hardware: told of each commit.
        classes: row class name -> class.
    """

    def __init__(
        self,
        schema: Schema,
        config: LoadConfig,
        refuse: Callable[[Tables], None],
        now: Callable[[], int],
        hardware: Hardware,
        classes: Mapping[str, type[Row]],
    ) -> None:
        super().__init__(schema, config, refuse, now)
        self._hardware = hardware
        self._classes = classes
        self._undecided: Undecided | None = None
        self._asked: int | None = None

    def adopt(self) -> None:
        """Begin with what the hardware holds already. Raises HalError for rows that no commit could have put there."""
        rows = self._hardware.held()
        operations = [Insert(one) for one in as_rows(rows or ()) if len(one)]
        if operations:
            self.current = self._drafted(None, operations, "", ())
            self._refuse(self.current.tables)

    def look(self) -> None:
        """Raises LOST or TIMEOUT while nobody knows which generation packets see."""
        if self._undecided is None:
            return
        with self.lock:
            if self._undecided is not None and self._decide():
                self._hardware.decided()

    def commit(self, owner: str, operations: Sequence[Operation], *, transaction: int | None, **more: Any) -> int:
        with self.lock:
            self.look()
            self._asked = random.SystemRandom().getrandbits(64) if transaction is None else transaction
            return super().commit(owner, operations, transaction=self._asked, **more)

    def stage(self, owner: str, operations: Sequence[Operation], **more: Any) -> Stage:
        with self.lock:
            self.look()
            return super().stage(owner, operations, **more)

    def make(self, stage: Stage) -> int:
        with self.lock:
            self.look()
            self._asked = None
            return super().make(stage)

    def outcome(self, owner: str, transaction: int) -> Outcome:
        with self.lock:
            self.look()
            return super().outcome(owner, transaction)

    def _remember(self, owner: str, transaction: int, outcome: Outcome) -> None:
        if self._undecided is None:
            super()._remember(owner, transaction, outcome)

    def _make(self, owner: str, version: Version) -> None:
        try:
            self._hardware.program(list(self._changes(version)))
        except BaseException as error:
            if isinstance(error, HalError) and error.kind not in UNSURE:
                raise
            undecided = self._undecided = Undecided(owner, self._asked, version, error)
            if not isinstance(error, Exception):
                raise
            if not self._decide():
                raise undecided.refused() from error
            return
        super()._make(owner, version)

    def _decide(self) -> bool:
        """Whether the commit that is undecided was made, by what the hardware holds; if it wasn't, the hardware holds
        afterwards what it held before. Raises LOST or TIMEOUT while that can't be said."""
        undecided = self._undecided
        if undecided is None:
            return True
        held = self._read_back(undecided)
        before, after = _held(self.current.tables), _held(undecided.version.tables)
        made = held == after
        if not made and held != before:
            self._bring_back(undecided, held, before)
        self._undecided = None
        outcome = Outcome(OutcomeKind.REFUSED, error=str(undecided.refused()))
        if made:
            super()._make(undecided.owner, undecided.version)
            outcome = Outcome(OutcomeKind.COMMITTED, self.current_generation)
        if undecided.transaction is not None:
            self._remember(undecided.owner, undecided.transaction, outcome)
        return made

    def _read_back(self, undecided: Undecided) -> Held:
        try:
            rows = self._hardware.held()
        except Exception as error:
            raise _closed(undecided, f"{type(error).__name__} when read back: {error}", error) from error
        if rows is None:
            raise _closed(undecided, "nothing: it can't be read back")
        return {
            (part.row.LAYOUT.table.name, int(record["id"])): (_action(part), record.tobytes())
            for part in as_rows(rows)
            for record in part.data
        }

    def _bring_back(self, undecided: Undecided, held: Held, before: Held) -> None:
        places = sorted({*held, *before}, key=lambda place: (place in before, place))
        changes = [self._change(*place, held.get(place), before.get(place)) for place in places]
        try:
            self._hardware.program([one for one in changes if one.before != one.after])
        except Exception as error:
            raise _closed(undecided, f"{type(error).__name__} when brought back: {error}", error) from error

    def _changes(self, version: Version) -> Iterator[Change]:
        """What the commit changes, by what it wrote: rows that go, then the others, each by table and id."""
        places = [(table, identity) for table, ids in version.written.items() for identity in ids]
        after, before = version.tables.versions, self.current.tables.versions
        for table, identity in sorted(places, key=lambda place: (place[1] in after[place[0]].rows, place)):
            was, is_now = before[table].rows.get(identity), after[table].rows.get(identity)
            if (was and was[:2]) != (is_now and is_now[:2]):
                yield self._change(table, identity, was and was[:2], is_now and is_now[:2])

    def _change(
        self, table: str, identity: int, before: tuple[int, bytes] | None, after: tuple[int, bytes] | None
    ) -> Change:
        return Change(table, identity, self._row(table, before), self._row(table, after))

    def _row(self, table: str, held: tuple[int, bytes] | None) -> Row | None:
        if held is None:
            return None
        action, data = held
        row = self._classes[self.schema.table(table).actions[action].row]
        return row.from_wire(np.frombuffer(data, row.LAYOUT.dtype)[0])


def _held(tables: Tables) -> Held:
    return {
        (table, identity): record[:2]
        for table, version in tables.versions.items()
        for identity, record in version.rows.items()
    }


def _action(rows: Rows) -> int:
    return rows.row.LAYOUT.table.actions.index(rows.row.LAYOUT.action)


def _closed(undecided: Undecided, got: str, error: BaseException | None = None) -> HalError:
    """LOST; TIMEOUT where `error` says that the hardware is there and doesn't answer in time."""
    late = isinstance(error, HalError) and error.kind is ErrorKind.TIMEOUT
    return HalError(
        ErrorKind.TIMEOUT if late else ErrorKind.LOST,
        "hardware",
        limit=f"what became of the commit that was lost ({undecided.refused()})",
        got=got,
        fix="Make it answer and ask again, or open the card anew; until then it is closed.",
    )
