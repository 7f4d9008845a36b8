"""The contract, spoken to a running engine: a loader, writers and a reader over its sockets."""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

from hal.authority import Holder
from hal.errors import ErrorKind, HalError
from hal.packet import arguments
from hal.packet.contract import (
    Capabilities,
    Counters,
    Cursor,
    Event,
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
    OutcomeKind,
    PacketIn,
    PacketResult,
    Snapshot,
    Staged,
    Trace,
)
from hal.packet.dpdk import answers, commit, wire
from hal.packet.dpdk.counters import read_counters
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.dpdk.link import Link, sealed_memfd
from hal.packet.dpdk.load import drop_writers, load_parts, name_writers
from hal.packet.dpdk.wire import Verb
from hal.packet.schema.classes import row_classes
from hal.packet.schema.registry import Schema, schema

REPLAY_AT_ONCE = 1024
"""Packets in one replay request: the control thread runs them, so a long capture is cut into pieces."""


class _Connection:
    """A link with its greeting read: names for numbers, and who is there."""

    def __init__(self, path: Path, ours: Schema) -> None:
        self.link = Link(path)
        try:
            reply = self.link.ask(Verb.HELLO)
            version = int.from_bytes(reply.body[:4], sys.byteorder)  # another one's greeting may be shorter
            if version != wire.VERSION:
                reply.close()
                raise HalError(
                    ErrorKind.UNSUPPORTED, "engine", field="protocol version", got=version, limit=str(wire.VERSION),
                    fix="Use the dsn that it was started with, or load it anew: dsn card stop, dsn card start.",
                )  # fmt: skip
            self.hello = reply.structure(wire.Hello)
            self.dictionary = Dictionary(reply.data(), ours)
        except BaseException:
            self.link.close()
            raise
        self.link.tables = self.dictionary.tables


class EngineWriter:
    """Authority over the tables of one owner."""

    def __init__(self, run: Path, owner: str, ours: Schema) -> None:
        self._path = run / f"write-{owner}.sock"
        self._schema = ours
        try:
            self._connection = _Connection(self._path, ours)
        except HalError as error:
            if error.kind is not ErrorKind.LOST:
                raise
            with _Connection(run / "read.sock", ours).link:  # it lives: no card has to be started
                # Looked for behind its answer: while it is being loaded, owners appear one by one.
                owners = sorted(path.stem.removeprefix("write-") for path in run.glob("write-*.sock"))
            if owner in owners or not owners:
                raise
            limit = "one of " + ", ".join(owners)
            raise HalError(ErrorKind.DENIED, f"writer {owner}", limit=limit, fix="Name it at load.") from error
        self._owner = owner

    @property
    def owner(self) -> str:
        return self._owner

    @property
    def link(self) -> Link:
        return self._connection.link

    @property
    def life(self) -> int:
        """Of the engine that it is connected to."""
        return int(self._connection.hello.life)

    def close(self) -> None:
        self._connection.link.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):  # else it never was connected
            self.close()

    def reconnect(self) -> None:
        """Connect anew after LOST."""
        self.close()
        self._connection = _Connection(self._path, self._schema)

    def _send(
        self,
        verb: Verb,
        operations: Sequence[Operation],
        base: Generation | None,
        transaction: int | None,
        tag: str,
        depends: Sequence[tuple[str, int]],
        names: Sequence[Name],
        lease_ns: int,
    ) -> wire.Committed:
        arguments.check_commit(operations, base, transaction, depends, names)
        arguments.check_words(tag, names)
        sections = commit.pack(operations, depends, names, self._connection.dictionary)
        head = wire.Commit(
            transaction if transaction is not None else secrets.randbits(64),
            wire.ANY_BASE if base is None else base,
            lease_ns, len(sections.heads), 0, wire.fixed(tag, 128), 0 if base is None else base.life,
        )  # fmt: skip
        fd = sealed_memfd(sections.bytes())
        try:
            answer = self._connection.link.ask(verb, head, [fd])
            if len(answer.body) < ctypes.sizeof(wire.Committed):  # not CORRUPT, after which nothing would have changed
                raise HalError(
                    ErrorKind.LOST, "answer of the engine", got=f"{len(answer.body)} bytes",
                    fix="Ask outcome(transaction) what became of it.",
                )  # fmt: skip
            return answer.structure(wire.Committed)
        finally:
            os.close(fd)

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
        """See `hal.packet.contract.Writer.commit`."""
        answer = self._send(Verb.COMMIT, operations, base, transaction, tag, depends, names, 0)
        return Generation(answer.generation, self.life)

    def outcome(self, transaction: int) -> Outcome:
        arguments.check_transaction(transaction)
        answer = self._connection.link.ask(Verb.OUTCOME, wire.OutcomeAsk(transaction)).structure(wire.OutcomeAnswer)
        kind = OutcomeKind(answer.kind)
        error = ""
        if kind is OutcomeKind.REFUSED:
            error = str(self._connection.link.error(ErrorKind(answer.error_kind), answer.error))
        committed = kind is OutcomeKind.COMMITTED
        return Outcome(kind, Generation(answer.generation, self.life) if committed else None, error)

    def stage(
        self,
        operations: Sequence[Operation],
        *,
        base: Generation | None = None,
        tag: str = "",
        lease_ns: int = 10_000_000_000,
        names: Sequence[Name] = (),
    ) -> EngineStaged:
        arguments.check_lease(lease_ns)
        answer = self._send(Verb.STAGE, operations, base, None, tag, (), names, lease_ns)
        return EngineStaged(self, int(answer.number))

    def forget(self, which: FlowFilter) -> int:
        arguments.check_filter(which)
        reply = self._connection.link.ask(Verb.FORGET, answers.flows_ask(which))
        return int(reply.structure(wire.Number).number)


class EngineStaged:
    """A staged commit of an engine; its number is what `trace` and `replay` look at.

    It holds its writer: a writer that nobody holds closes its connection, and with that what was staged by it.
    """

    def __init__(self, writer: EngineWriter, number: int) -> None:
        self._writer = writer
        self.number = number

    def make(self) -> Generation:
        made = self._writer.link.ask(Verb.MAKE, wire.Number(self.number)).structure(wire.Committed)
        return Generation(made.generation, self._writer.life)

    def drop(self) -> None:
        self._writer.link.ask(Verb.UNSTAGE, wire.Number(self.number)).close()


def _number_of(staged: Staged | None) -> int:
    """What the engine calls it; 0: none."""
    if staged is None:
        return 0
    if not isinstance(staged, EngineStaged):
        raise HalError(ErrorKind.INVALID, "staged commit", limit="one of this engine", got=type(staged).__name__)
    return staged.number


class _Looking:
    """What can be read of the live engine (shard 0) and of a private shard alike."""

    def __init__(self, link: Link, dictionary: Dictionary, number: int) -> None:
        self._link = link
        self._dictionary = dictionary
        self._number = number

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        arguments.check_filter(which)
        result: list[Flow] = []
        ask = answers.flows_ask(which or FlowFilter())
        while True:
            reply = self._link.ask(Verb.FLOWS, ask, shard=self._number)
            page = reply.structure(wire.Page)
            result += [answers.flow(one) for one in wire.records(wire.FlowRecord, reply.data(), page.count)]
            if page.cursor == 0:
                break
            ask.cursor = page.cursor
        if which is not None and which.id is not None:
            result = [answers.flow_with_words(one, self._words(which.id)) for one in result]
        return result

    def _words(self, flow: int) -> bytes:
        reply = self._link.ask(Verb.FLOW, answers.flows_ask(FlowFilter(id=flow)), shard=self._number)
        return reply.data()[ctypes.sizeof(wire.FlowRecord) :]

    def neighbours(self) -> list[Neighbour]:
        records: list[wire.NeighbourRecord] = []
        cursor = 0
        while True:
            reply = self._link.ask(Verb.NEIGHBOURS, wire.Number(cursor), shard=self._number)
            page = reply.structure(wire.Page)
            records += wire.records(wire.NeighbourRecord, reply.data(), page.count)
            cursor = page.cursor
            if cursor == 0:
                return answers.neighbours(records)

    def settle(self) -> None:
        self._link.ask(Verb.SETTLE, shard=self._number).close()

    def counters(self) -> Counters:
        return read_counters(self._link.ask(Verb.COUNTERS, shard=self._number).data(), self._dictionary)

    def events(self, cursor: Cursor | None = None) -> Events:
        arguments.check_cursor(cursor)
        ask = wire.Cursor(cursor, cursor.life) if cursor is not None else wire.Cursor()
        reply = self._link.ask(Verb.EVENTS, ask, shard=self._number)
        page = reply.structure(wire.Page)
        some = tuple(
            Event(one.number, one.time_ns, EventKind(one.kind), self._dictionary.table_name(one.table), one.id,
                  wire.text(one.data))
            for one in wire.records(wire.EventRecord, reply.data(), page.count)
        )  # fmt: skip
        return Events(some, int(page.missed), Cursor(page.cursor, page.life), bool(page.lost))


class EngineShard(_Looking):
    """A private shard in the engine; it goes with its connection."""

    def __init__(self, run: Path, ours: Schema, connections: int, stage: int, pickup: bool) -> None:
        connection = _Connection(run / "read.sock", ours)
        try:
            reply = connection.link.ask(Verb.SHARD, wire.ShardAsk(connections, int(pickup), stage))
        except BaseException:
            connection.link.close()
            raise
        self._stage = stage
        super().__init__(connection.link, connection.dictionary, int(reply.structure(wire.Number).number))

    def replay(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
        arguments.check_packets(packets)
        result: list[PacketResult] = []
        for begin in range(0, len(packets), REPLAY_AT_ONCE):
            some = packets[begin : begin + REPLAY_AT_ONCE]
            ask = wire.ReplayAsk(self._stage, len(some), int(witness))
            result += _replay(self._link, self._dictionary, Verb.REPLAY, ask, some, self._number)
        return result

    def close(self) -> None:
        self._link.close()


def _replay(
    link: Link,
    dictionary: Dictionary,
    verb: Verb,
    ask: wire.ReplayAsk,
    packets: Sequence[PacketIn],
    shard: int,
) -> list[PacketResult]:
    fd = sealed_memfd(answers.pack_packets(packets), "dsn-packets")
    try:
        reply = link.ask(verb, ask, [fd], shard=shard)
    finally:
        os.close(fd)
    return answers.results(reply.data(), int(reply.structure(wire.Page).count), dictionary)


class Engine(_Looking):
    """A running engine, for a holder of all authority: `hal.packet.contract.Backend`.

    Args:
        run: its run folder.
        more: packages of stages outside this tree.
        holders: owner -> who, besides root, may write his tables once it is loaded.

    Raises:
        HalError: LOST where no engine answers, DENIED where its sockets may not be opened.
    """

    def __init__(self, run: Path, more: Iterable[str] = (), holders: Mapping[str, Holder] | None = None) -> None:
        self.run = run
        self._holders = dict(holders or {})
        self._more = tuple(more)
        self._schema = schema(self._more)
        self._read = _Connection(run / "read.sock", self._schema)
        self._writers: WeakSet[EngineWriter] = WeakSet()  # one that nobody holds any more closes itself
        self._loader: Link | None = None
        super().__init__(self._read.link, self._read.dictionary, 0)

    @property
    def pid(self) -> int:
        return int(self._read.hello.pid)

    @property
    def started_ns(self) -> int:
        """When it was started, in nanoseconds of CLOCK_BOOTTIME."""
        return int(self._read.hello.started_ns)

    def hello(self) -> wire.Hello:
        """The greeting, asked anew: generation, tag, whether it is loaded and running."""
        reply = self._link.ask(Verb.HELLO)
        hello = reply.structure(wire.Hello)
        reply.close()
        return hello

    def _load_link(self) -> Link:
        if self._loader is None:
            self._loader = _Connection(self.run / "load.sock", self._schema).link
        return self._loader

    def load(self, config: LoadConfig) -> None:
        arguments.check_awaited(config)
        for table in (*config.capacities, *(table for tables in config.owners.values() for table in tables)):
            self._dictionary.table_number(table)  # refused by name here: the engine knows no tables but its own
        body, fds = load_parts(config, self.run, self._holders)
        memfd = sealed_memfd([body], "dsn-load")
        try:
            self._load_link().ask(Verb.LOAD, b"", [memfd, *fds]).close()
            name_writers(self.run)
        finally:
            drop_writers(self.run)
            for fd in (memfd, *fds):
                os.close(fd)

    def start(self) -> None:
        self._load_link().ask(Verb.START).close()

    def stop(self) -> None:
        self._load_link().ask(Verb.STOP).close()

    def take_up(self, port: int, interface: int, namespace: int, claim: int) -> None:
        """A port whose interface was deleted goes on with another one of the same network namespace; nothing else of
        the card changes.

        Args:
            port: its number.
            interface: the other one's index.
            namespace: the cookie of the network namespace in which it is that (SO_NETNS_COOKIE).
            claim: a descriptor that the engine keeps for as long as the port has the interface; the caller closes his.

        Raises:
            HalError: INVALID for a port or interface that isn't there or lies in another namespace, BUSY where
                the port still has one, UNSUPPORTED where it is no Linux interface, or the engine is an older one.
        """
        self._load_link().ask(Verb.TAKE_UP, wire.TakeUp(port, interface, namespace), [claim]).close()

    def writer(self, owner: str = "dsnd") -> EngineWriter:
        writer = EngineWriter(self.run, owner, self._schema)
        self._writers.add(writer)
        return writer

    @property
    def writer_links(self) -> tuple[Link, ...]:
        """The connections of all writers that were handed out."""
        return tuple(writer.link for writer in self._writers)

    def close(self) -> None:
        """Let go of the engine, which goes on."""
        for writer in list(self._writers):
            writer.close()
        if self._loader is not None:
            self._loader.close()
        self._link.close()

    @cached_property
    def _classes(self) -> dict[str, Any]:
        return row_classes(self._more)

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        bits = 0
        for table in tables or ():
            bits |= 1 << self._dictionary.table_number(table)
        nothing = tables is not None and not bits  # 0 means all to the engine: one table is read and left out
        reply = self._link.ask(Verb.SNAPSHOT, wire.SnapshotAsk(1 if nothing else bits))
        found = commit.unpack(reply.structure(wire.Committed), reply.data(), self._dictionary, self._classes,
                              int(self._read.hello.life))  # fmt: skip
        return replace(found, tables={}, names={}) if nothing else found

    def capabilities(self) -> Capabilities:
        return answers.capabilities(self._link.ask(Verb.CAPABILITIES).data(), self._schema)

    def trace(self, packet: PacketIn, staged: Staged | None = None) -> Trace:
        arguments.check_packets([packet])
        number = _number_of(staged)
        ask = wire.ReplayAsk(number, 1, 1)
        installed, now = _replay(self._link, self._dictionary, Verb.TRACE, ask, [packet], 0)
        flow: Flow | None = None
        found = installed if installed is not None else None
        if found is not None:
            ids = [step.id for step in found.steps if step.kind.name == "FLOW"]
            flows = self.flows(FlowFilter(id=ids[0])) if ids else []
            flow = flows[0] if flows else None
        return Trace(int(self.hello().generation), flow, found if flow else None, now)

    def shard(self, connections: int = 1024, staged: Staged | None = None, pickup: bool = False) -> EngineShard:
        arguments.check_shard(connections)
        return EngineShard(self.run, self._schema, connections, _number_of(staged), pickup)


def connect(
    run: Path | str = "/run/dsn/engine", more: Iterable[str] = (), holders: Mapping[str, Holder] | None = None
) -> Engine:
    """Connect to the engine in this run folder. Raises HalError(LOST) where none answers."""
    return Engine(Path(run), more, holders)
