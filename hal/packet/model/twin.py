"""The twin: a whole card in this process, behind the same contract as the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet import arguments
from hal.packet.contract import (
    Capabilities,
    Counters,
    Cursor,
    EventKind,
    Events,
    Flow,
    FlowFilter,
    Generation,
    LoadConfig,
    Name,
    Neighbour,
    Operation,
    Outcome,
    Output,
    PacketIn,
    PacketResult,
    Snapshot,
    Staged,
    Trace,
)
from hal.packet.derive import with_limits
from hal.packet.model.chain import Chain, load_stages
from hal.packet.model.load import check_load
from hal.packet.model.path import FOREVER, PathShard
from hal.packet.model.ports import Ports
from hal.packet.model.stage import Stage as PathStage
from hal.packet.model.store import Stage, Store, Version, entries_of
from hal.packet.schema.classes import row_classes
from hal.packet.schema.registry import found_packages
from hal.packet.schema.registry import schema as find_schema
from hal.packet.schema.rows import Rows

VERSION = "1"
LEVEL = "stateful"
MISSING = HalError(ErrorKind.INVALID, "twin", limit="a loaded card", fix="Call load() first.")


@dataclass(frozen=True)
class TwinStaged:
    """A staged commit of the twin."""

    twin: Twin
    stage: Stage

    def make(self) -> Generation:
        return self.twin._make(self.stage)

    def drop(self) -> None:
        self.twin.store.drop(self.stage)


@dataclass(frozen=True)
class TwinWriter:
    """Authority to write the tables of one owner of the twin."""

    twin: Twin
    owner: str

    def commit(
        self,
        operations: Sequence[Operation],
        *,
        base: Generation | None = None,
        transaction: int | None = None,
        tag: str = "",
        depends: Sequence[tuple[str, int]] = (),
        names: Sequence[Name] = (),
    ) -> Generation:
        arguments.check_commit(operations, base, transaction, depends, names)
        store = self.twin.store
        with store.lock:
            store.commit(
                self.owner,
                operations,
                base=base,
                transaction=transaction,
                tag=tag,
                depends=depends,
                names=names,
            )
            return self.twin._committed()

    def outcome(self, transaction: int) -> Outcome:
        arguments.check_transaction(transaction)
        return self.twin.store.outcome(self.owner, transaction)

    def stage(
        self,
        operations: Sequence[Operation],
        *,
        base: Generation | None = None,
        tag: str = "",
        lease_ns: int = 10_000_000_000,
        names: Sequence[Name] = (),
    ) -> TwinStaged:
        arguments.check_commit(operations, base, None, (), names)
        arguments.check_lease(lease_ns)
        store = self.twin.store
        stage = store.stage(self.owner, operations, base=base, tag=tag, lease_ns=lease_ns, names=names)
        return TwinStaged(self.twin, stage)

    def forget(self, which: FlowFilter) -> int:
        arguments.check_filter(which)
        live = self.twin.live
        with self.twin.store.lock:
            found = live.flows.matching(which, live.now)
            for connection in found:
                live.flows.remove(connection)
        return len(found)


class TwinShard:
    """A private shard of the twin."""

    def __init__(self, twin: Twin, path: PathShard, staged: Stage | None) -> None:
        self._twin = twin
        self._path = path
        self._staged = staged
        self._closed = False

    def _open(self) -> PathShard:
        if self._closed:
            raise HalError(ErrorKind.LOST, "shard", got="closed", fix="Make another.")
        return self._path

    def _current(self) -> PathShard:
        """The path, on the tables as they are at this call: rows that are gone count no more."""
        self._open()
        self._path.use(self._twin._version(self._staged))
        return self._path

    def replay(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
        arguments.check_packets(packets)
        path = self._current()
        return [path.run(packet, witness) for packet in packets]

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        arguments.check_filter(which)
        path = self._current()
        return [connection.flow() for connection in path.flows.matching(which, path.now)]

    def neighbours(self) -> list[Neighbour]:
        return self._current().neighbours.listed()

    def settle(self) -> None:
        self._current().settle()

    def counters(self) -> Counters:
        return self._current().read_counters()

    def events(self, cursor: Cursor | None = None) -> Events:
        return self._open().events.read(cursor)

    def close(self) -> None:
        self._closed = True


class Twin:
    """A card in plain Python, from `load` to the last packet; satisfies `hal.packet.contract.Backend`.

    Time is what packets bring with them: nothing here reads a clock.

    Args:
        stages: packages of stages beside ours and the installed ones (what `--with DIR` names).
    """

    def __init__(self, stages: Iterable[str] = ()) -> None:
        more = tuple(stages)
        self.schema = find_schema(more)
        self.chain = Chain(self.schema, self._with_code(load_stages(tuple(found_packages(more)), self.schema)))
        self._rows = row_classes(more)
        self._config: LoadConfig | None = None
        self._running = False
        self._claimed: dict[str, str] = {}
        self._ports = Ports({})
        self._store: Store | None = None
        self._live: PathShard | None = None

    # --- loading -----------------------------------------------------------------------------------------------

    def load(self, config: LoadConfig) -> None:
        if self._config is not None:
            raise HalError(ErrorKind.BUSY, "twin", limit="loaded once", fix="Make another Twin.")
        check_load(config, self.schema)
        self._config = config = with_limits(config)
        self._ports = Ports({port.number: port for port in config.ports})
        self._store = self._new_store(config)
        self._live = self._path(config.connections, config.pickup_ns, self.store.current)

    def start(self) -> None:
        if self._config is None:
            raise MISSING
        self._running = True

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self.stop()

    # --- what a device would do --------------------------------------------------------------------------------

    def inject(self, packet: PacketIn) -> PacketResult:
        """A frame arrives at a port of the running card."""
        self._check_running()
        with self.store.lock:
            return self.live.run(packet)

    def advance(self, time_ns: int) -> tuple[Output, ...]:
        """Time passes without a packet; returns what timers sent."""
        self._check_running()
        with self.store.lock:
            return self.live.advance(time_ns)

    def set_link(self, port: int, up: bool) -> None:
        """Plug a port's cable in or out."""
        if self._ports.set_link(port, up):
            kind = EventKind.PORT_UP if up else EventKind.PORT_DOWN
            self.live.events.add(self.live.now, kind, identity=port)

    def set_room(self, port: int, room: bool) -> None:
        """Whether what takes frames off this port keeps up with them."""
        self._ports.set_room(port, room)

    # --- writing -----------------------------------------------------------------------------------------------

    def writer(self, owner: str = "dsnd") -> TwinWriter:
        """Authority over the tables of `owner`; one who owns no table is DENIED."""
        owners = sorted({*self.store.owners.values(), "dsnd"})
        if owner not in owners:
            raise HalError(
                ErrorKind.DENIED,
                f"writer {owner}",
                limit="one of " + ", ".join(owners),
                fix="Name it at load.",
            )
        return TwinWriter(self, owner)

    def claim(self, owner: str, tables: Iterable[str]) -> None:
        """Give tables to an owner, as `load` does; DENIED for one that somebody has asked for before."""
        for table in tables:
            self.schema.table(table)
            before = self._claimed.setdefault(table, owner)
            if before != owner:
                raise HalError(
                    ErrorKind.DENIED, f"table {table}", limit=f"its owner {before}", got=owner, table=table,
                    fix="Name the owner of the table where the card is loaded.",
                )  # fmt: skip
            self.store.owners[table] = owner

    # --- reading -----------------------------------------------------------------------------------------------

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        version = self.store.current
        names = [table.name for table in self.schema.tables] if tables is None else list(tables)
        found: dict[str, tuple[Rows, ...]] = {}
        for name in names:
            table = self.schema.table(name)
            parts = []
            for action, records in entries_of(version.tables.versions[name]):
                row = self._rows[table.actions[action].row]
                parts.append(Rows(row, np.frombuffer(b"".join(records), row.LAYOUT.dtype)))
            found[name] = tuple(parts)
        known = {key: name for key, name in version.names.items() if key[0] in found}
        made = Generation(version.tables.generation, self.store.life)
        return Snapshot(made, version.tag, found, known, version.tags)

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        arguments.check_filter(which)
        with self.store.lock:
            return [connection.flow() for connection in self.live.flows.matching(which, self.live.now)]

    def neighbours(self) -> list[Neighbour]:
        with self.store.lock:
            return self.live.neighbours.listed()

    def settle(self) -> None:
        with self.store.lock:
            self.live.settle()

    def counters(self) -> Counters:
        with self.store.lock:
            return self.live.read_counters()

    def events(self, cursor: Cursor | None = None) -> Events:
        with self.store.lock:
            return self.live.events.read(cursor)

    def capabilities(self) -> Capabilities:
        versions = self.store.current.tables.versions
        return Capabilities(
            backend="twin",
            version=VERSION,
            level=LEVEL,
            absent=(),
            stages=self.chain.names,
            schema=self.schema,
            workers=self.config.workers,
            connections=self.config.connections,
            ports=self._ports.states(),
            capacities=dict(self.store.capacities),
            occupancy={name: len(version.rows) for name, version in versions.items()},
            owners=dict(self.store.owners),
            awaited=tuple(one for one in self.config.awaited if one not in self.store.current.tags),
        )

    def trace(self, packet: PacketIn, staged: Staged | None = None) -> Trace:
        arguments.check_packets([packet])
        version = self._version(_stage_of(staged))
        packet = replace(packet, time_ns=max(packet.time_ns, self.live.now))
        with self.store.lock:
            met, now = self.live.clone(), self.live.clone()
        met.use(version)
        now.use(version)
        installed: PacketResult | None = met.run(packet, witness=True)
        connection = met.installed
        if connection is None:
            return Trace(version.tables.generation, None, None, now.run(packet, witness=True))
        flow = next((one for one in self.flows(FlowFilter(id=connection.id))), None)
        now.flows.clear()
        now.pickup.until = FOREVER
        return Trace(version.tables.generation, flow, installed, now.run(packet, witness=True))

    def shard(self, connections: int = 1024, staged: Staged | None = None, pickup: bool = False) -> TwinShard:
        arguments.check_shard(connections)
        stage = _stage_of(staged)
        return TwinShard(self, self._path(connections, FOREVER if pickup else 0, self._version(stage)), stage)

    # --- for who derives from it -------------------------------------------------------------------------------

    def _with_code(self, stages: Mapping[str, PathStage]) -> Mapping[str, PathStage]:
        """Of the stages that have a twin those that this card has."""
        return stages

    def _new_store(self, config: LoadConfig) -> Store:
        """The store of a card that is being loaded."""
        return Store(self.schema, config, self.chain.refuse, lambda: self.live.now)

    # --- for the handles ---------------------------------------------------------------------------------------

    @property
    def config(self) -> LoadConfig:
        if self._config is None:
            raise MISSING
        return self._config

    @property
    def store(self) -> Store:
        if self._store is None:
            raise MISSING
        return self._store

    @property
    def live(self) -> PathShard:
        if self._live is None:
            raise MISSING
        return self._live

    def _path(self, connections: int, pickup_ns: int, version: Version) -> PathShard:
        return PathShard(self.chain, self.config, self._ports, version, connections=connections, pickup_ns=pickup_ns)

    def _version(self, stage: Stage | None) -> Version:
        return self.store.staged_version(stage) if stage else self.store.current

    def _make(self, stage: Stage) -> Generation:
        with self.store.lock:
            self.store.make(stage)
            return self._committed()

    def _committed(self) -> Generation:
        version = self.store.current
        self.live.use(version)
        self.live.events.add(self.live.now, EventKind.COMMIT, identity=version.tables.generation, data=version.tag)
        return self.store.current_generation

    def _check_running(self) -> None:
        if not self._running:
            raise HalError(ErrorKind.INVALID, "twin", limit="a started card", fix="Call start() first.")


def _stage_of(staged: Staged | None) -> Stage | None:
    if staged is None:
        return None
    if not isinstance(staged, TwinStaged):
        raise HalError(ErrorKind.INVALID, "staged commit", limit="one of this twin", got=type(staged).__name__)
    return staged.stage
