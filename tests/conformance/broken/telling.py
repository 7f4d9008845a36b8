"""Wrong about what it tells: tags, events, what rows count, packets at ports that nobody loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    LONGEST_FRAME,
    Counters,
    Cursor,
    Event,
    EventKind,
    Events,
    PacketIn,
    PacketResult,
    RowCounters,
    Snapshot,
    Staged,
    Trace,
)
from hal.packet.model.counters import CounterSet, EventRing, Uses
from hal.packet.model.meters import Meters
from hal.packet.model.path import PathShard
from hal.packet.model.store import Version
from hal.packet.model.tables import Tables
from hal.packet.model.twin import Twin, TwinShard
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "tags_are_per_owner")
class OneTag(Twin):
    """every owner is told the last commit's tag"""

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        found = super().snapshot(tables)
        return replace(found, tags=dict.fromkeys(found.tags, found.tag))


class Cut(EventRing):
    """Cuts the data of some events to 95 bytes."""

    kind: ClassVar[EventKind]

    def add(self, now: int, kind: EventKind, table: str = "", identity: int = 0, data: str = "") -> None:
        if kind is self.kind:
            data = data.encode()[:95].decode(errors="ignore")
        super().add(now, kind, table, identity, data)


@breaks(BREAKS, "tags_are_told_whole")
class CutTags(Cut):
    """events of commits have 95 bytes of a tag"""

    kind = EventKind.COMMIT


class Reordered(EventRing):
    """Reads some of its events in another order."""

    def order(self, events: tuple[Event, ...]) -> Iterable[Event]:
        raise NotImplementedError

    def read(self, cursor: Cursor | None) -> Events:
        found = super().read(cursor)
        return replace(found, events=tuple(self.order(found.events)))


@breaks(BREAKS, "a_ring_that_went_round_is_in_order")
class Wrapped(Reordered):
    """a ring that went round is read from its first place on, but for the last event"""

    def order(self, events: tuple[Event, ...]) -> Iterable[Event]:
        if not events or events[0].number == 1 or len(events) < 300:  # not a whole ring, however short
            return events
        half = len(events) // 2
        return (*events[half:-1], *events[:half], events[-1])


@breaks(BREAKS, "commits_and_logs_are_in_order")
class ByKind(Reordered):
    """logs are read behind commits, whatever came first"""

    def order(self, events: tuple[Event, ...]) -> Iterable[Event]:
        commits = any(event.kind is EventKind.COMMIT for event in events)
        return sorted(events, key=lambda event: commits and event.kind is EventKind.RULE_LOG)


@breaks(BREAKS, "what_packets_cause_is_in_order")
class LimitsLast(Reordered):
    """limits are read behind logs, whatever came first"""

    def order(self, events: tuple[Event, ...]) -> Iterable[Event]:
        return sorted(events, key=lambda event: event.kind is EventKind.FLOW_LIMIT)


@breaks(BREAKS, "logged_packets_are_told_whole")
class CutPackets(Cut):
    """events of rules have 95 bytes of what the packet was"""

    kind = EventKind.RULE_LOG


@breaks(BREAKS, "logs_have_a_limit")
class EndlessLogs(Twin):
    """whatever is logged in a private shard is told"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        class Other(TwinShard):
            def replay(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
                found = []
                for packet in packets:
                    self._path.ledger.logs = Meters()
                    found += super().replay([packet], witness)
                return found

        shard = super().shard(*arguments, **more)
        shard.__class__ = Other
        return shard


@breaks(BREAKS, "rows_count_where_it_is_declared")
class PoliciesCount(CounterSet):
    """policies count what their rules do"""

    def hit(self, table: str, identity: int) -> None:
        super().hit(table, identity)
        super().hit("firewall_policy", 1)


@breaks(BREAKS, "rows_that_decided_nothing_count_nothing")
class OnlyWhatCounted(CounterSet):
    """entries are told that have counted something"""

    def read(self, tables: Tables, ports: Iterable[int], uses: Uses) -> Counters:
        found = super().read(tables, ports, uses)
        return replace(found, rows={place: row for place, row in found.rows.items() if row != RowCounters()})


@breaks(BREAKS, "unknown_ports_have_no_vnic")
class KnownPorts(PathShard):
    """packets at a port beyond those that were loaded are refused, unless a witness looks"""

    def run(self, packet: PacketIn, witness: bool = False) -> PacketResult:
        if not witness and packet.port > max(self.ports.configs):
            raise HalError(ErrorKind.INVALID, "packet", field="port", got=packet.port)
        return super().run(packet, witness)


@breaks(BREAKS, "frames_and_times_have_an_end")
class NoEnd(PathShard):
    """what is longer than the longest frame is cut"""

    def run(self, packet: PacketIn, witness: bool = False) -> PacketResult:
        return super().run(replace(packet, data=packet.data[:LONGEST_FRAME]), witness)


@breaks(BREAKS, "unknown_ports_are_traced")
class TracesKnownPorts(Twin):
    """a trace of a packet at a port that wasn't loaded is refused"""

    def trace(self, packet: PacketIn, staged: Staged | None = None) -> Trace:
        if packet.port not in {port.config.number for port in self.capabilities().ports}:
            raise HalError(ErrorKind.INVALID, "packet", field="port", got=packet.port)
        return super().trace(packet, staged)


@breaks(BREAKS, "flow_counts_are_the_vnics")
class ForgetsShares(PathShard):
    """connections of a vNIC that is out count no more when it comes back"""

    def use(self, version: Version) -> None:
        super().use(version)
        for connection in self.flows:
            if connection.share and self.tables.get("vnic", connection.share[0]) is None:
                self.flows.rekey(connection, connection.keys[1], None)


@breaks(BREAKS, "commits_are_told")
class NoGeneration(EventRing):
    """commits are told without their generation"""

    def add(self, now: int, kind: EventKind, table: str = "", identity: int = 0, data: str = "") -> None:
        super().add(now, kind, table, 0 if kind is EventKind.COMMIT else identity, data)


@breaks(BREAKS, "events_are_read_on")
class LastAgain(EventRing):
    """the last event that was read is read again, as long as the ring is far from its end"""

    def read(self, cursor: Cursor | None) -> Events:
        found = super().read(cursor)
        if self._last > 100:
            return found
        earlier = Cursor(max(0, cursor - 1), cursor.life) if cursor is not None else None
        return replace(super().read(earlier), missed=found.missed)


@breaks(BREAKS, "a_cursor_of_another_life_begins_anew")
class SilentLife(EventRing):
    """of a cursor only the number counts, as far as there are events"""

    def read(self, cursor: Cursor | None) -> Events:
        if isinstance(cursor, Cursor) and cursor.life != self.life:
            cursor = Cursor(min(cursor, self._last), self.life)
        return super().read(cursor)


@breaks(BREAKS, "a_cursor_is_one_that_was_given")
class EndlessCursor(EventRing):
    """a cursor beyond the last event is the last one's"""

    def read(self, cursor: Cursor | None) -> Events:
        if isinstance(cursor, Cursor) and cursor.life == self.life and cursor > self._last:
            cursor = Cursor(self._last, cursor.life)
        return super().read(cursor)


@breaks(BREAKS, "late_readers_learn_what_they_missed")
class OneLess(EventRing):
    """one less is missed than was"""

    def read(self, cursor: Cursor | None) -> Events:
        found = super().read(cursor)
        return replace(found, missed=max(0, found.missed - 1))


__all__ = ["BREAKS"]
