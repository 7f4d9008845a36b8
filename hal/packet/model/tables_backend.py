"""For authors of backends: tables that are kept and checked here, hardware that is told what changes.

Whatever the contract asks of commits (authority, staleness, fields, keys, references, capacity, outcomes, staging,
names, snapshots) is the twin's code. A backend says its name and writes `program`:

    class Card(TablesBackend):
        name = "acme"
        version = "0.1"

        def program(self, changes: Sequence[Change]) -> None:
            for change in changes:
                ...

It is at level "tables" of the conformance kit and declares the rest absent. A verb that it has beyond that, it defines,
and takes its name out of `absent`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Capabilities, Cursor, FlowFilter, LoadConfig
from hal.packet.model.store import Store, Version
from hal.packet.model.tables import Record, Tables, TableVersion
from hal.packet.model.twin import Twin, TwinWriter
from hal.packet.schema.rows import Row

__all__ = ["Change", "TablesBackend"]


@dataclass(frozen=True)
class Change:
    """One row before and after a commit; None where it isn't there."""

    table: str
    id: int
    before: Row | None
    after: Row | None


class _Store(Store):
    """A store that tells of a generation before it becomes current."""

    tell: Callable[[Tables, Tables], None]

    def _make(self, owner: str, version: Version) -> None:
        self.tell(self.current.tables, version.tables)
        super()._make(owner, version)


class _Writer(TwinWriter):
    def forget(self, which: FlowFilter) -> int:
        del which
        _refuse("forget")


class TablesBackend(Twin):
    """A backend at level "tables"; `program` is all that has to be written."""

    name = ""
    """What capabilities call it."""
    version = ""
    stages: tuple[str, ...] = ()
    """Stages that it has code for; profiles may name no others."""
    level = "tables"
    absent: tuple[str, ...] = ("counters", "events", "trace", "shard", "flows", "neighbours", "forget", "settle")

    def __init__(self, stages: Iterable[str] = ()) -> None:
        super().__init__(stages)
        self.chain._stages = {name: stage for name, stage in self.chain._stages.items() if name in self.stages}

    def program(self, changes: Sequence[Change]) -> None:
        """Bring the hardware from the rows before to those after, in one step, and return when packets see it.

        Raises:
            HalError: and leaves the hardware as it was; the commit is then refused with this error.
        """
        raise NotImplementedError

    # --- what follows from it ----------------------------------------------------------------------------------

    def load(self, config: LoadConfig) -> None:
        super().load(config)
        store = self.store
        store.__class__ = _Store
        vars(store).update(tell=self._tell, _now=time.monotonic_ns)

    def writer(self, owner: str = "dsnd") -> TwinWriter:
        return _Writer(self, super().writer(owner).owner)

    def capabilities(self) -> Capabilities:
        return replace(
            super().capabilities(),
            backend=self.name,
            version=self.version,
            level=self.level,
            absent=self.absent,
            stages=tuple(name for name in self.chain.names if name in self.stages),
        )

    def _tell(self, before: Tables, after: Tables) -> None:
        self.program(list(self._changes(before, after)))

    def _changes(self, before: Tables, after: Tables) -> Iterator[Change]:
        for table, new in after.versions.items():
            old = before.versions[table]
            if new is old:
                continue
            for identity in sorted({*old.rows, *new.rows}):
                was, is_now = old.rows.get(identity), new.rows.get(identity)
                if (was and was[:2]) != (is_now and is_now[:2]):
                    yield Change(table, identity, self._row(old, was), self._row(new, is_now))

    def _row(self, version: TableVersion, record: Record | None) -> Row | None:
        if record is None:
            return None
        row = self._rows[version.table.actions[record.action].row]
        return row.from_wire(np.frombuffer(record.data, row.LAYOUT.dtype)[0])

    def shard(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("shard")

    def trace(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("trace")

    def flows(self, *_: Any) -> NoReturn:
        _refuse("flows")

    def neighbours(self) -> NoReturn:
        _refuse("neighbours")

    def settle(self) -> NoReturn:
        _refuse("settle")

    def counters(self) -> NoReturn:
        _refuse("counters")

    def events(self, cursor: Cursor | None = None) -> NoReturn:
        del cursor
        _refuse("events")


def _refuse(verb: str) -> NoReturn:
    raise HalError(ErrorKind.UNSUPPORTED, verb, limit="what capabilities don't tell to be absent")
