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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Capabilities, Cursor, FlowFilter, LoadConfig, Snapshot
from hal.packet.model.hardware import Change, HardwareStore
from hal.packet.model.stage import Stage
from hal.packet.model.store import Store
from hal.packet.model.twin import Twin, TwinWriter
from hal.packet.schema.rows import Row, Rows

__all__ = ["Change", "TablesBackend"]


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

    def program(self, changes: Sequence[Change]) -> None:
        """Bring the hardware from the rows before to those after, in one step, and return when packets see it.

        Called by one thread at a time, with what a commit changes and nothing else, deletions first.

        Raises:
            HalError: of any kind but LOST and TIMEOUT: it left the hardware as it was, and the commit is refused with
                this error. LOST, TIMEOUT and whatever isn't a HalError mean: nobody knows what the hardware did. Then
                `held` is asked; where it can't say, the card is closed: commits, outcomes and snapshots are LOST,
                or TIMEOUT where `held` is, until it can.
        """
        raise NotImplementedError

    def held(self) -> Iterable[Row | Rows] | None:
        """All rows that the hardware holds now; None: it can't be read back.

        Asked at `load`, where they become generation 1 of a card that runs already, and after `program` was lost:
        are they those after the commit, it was made; else the hardware is brought to those before it.

        Raises:
            HalError: LOST or TIMEOUT where it can't be reached now.
        """
        return None

    # --- what follows from it ----------------------------------------------------------------------------------

    def load(self, config: LoadConfig) -> None:
        super().load(config)
        self._hardware.adopt()
        self.live.use(self.store.current)

    def writer(self, owner: str = "dsnd") -> TwinWriter:
        return _Writer(self, super().writer(owner).owner)

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        self._hardware.look()
        return super().snapshot(tables)

    def capabilities(self) -> Capabilities:
        return replace(
            super().capabilities(),
            backend=self.name,
            version=self.version,
            level=self.level,
            absent=self.absent,
            stages=tuple(name for name in self.chain.names if name in self.stages),
        )

    def _with_code(self, stages: Mapping[str, Stage]) -> Mapping[str, Stage]:
        return {name: stage for name, stage in stages.items() if name in self.stages}

    def _new_store(self, config: LoadConfig) -> Store:
        """A store that tells the hardware. Leases are counted by the machine's clock: no packets bring one."""
        self._hardware = HardwareStore(self.schema, config, self.chain.refuse, time.monotonic_ns, self, self._rows)
        return self._hardware

    def decided(self) -> None:
        """A commit that was lost has turned out to be made."""
        self._committed()

    def shard(self, *_: object, **__: object) -> NoReturn:
        _refuse("shard")

    def trace(self, *_: object, **__: object) -> NoReturn:
        _refuse("trace")

    def flows(self, *_: object) -> NoReturn:
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
