"""Wrong about the time: another clock, another unit."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import Cursor, EventKind, Events, Flow, FlowFilter, Staged
from hal.packet.model.counters import EventRing
from hal.packet.model.twin import Twin, TwinShard
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "commits_have_the_clocks_time")
class Microseconds(EventRing):
    """commits are told with microseconds"""

    def add(self, now: int, kind: EventKind, table: str = "", identity: int = 0, data: str = "") -> None:
        super().add(now // 1000 if kind is EventKind.COMMIT else now, kind, table, identity, data)


@breaks(BREAKS, "connections_have_the_clocks_time")
class SinceLoad(Twin):
    """connections through the ports tell their times from the start of another clock"""

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return [replace(one, created_ns=one.created_ns + 10**9) for one in super().flows(which)]


class ShiftedShard(TwinShard):
    """A shard whose events have the time of the machine, not that of the packets."""

    def events(self, cursor: Cursor | None = None) -> Events:
        found = super().events(cursor)
        return replace(found, events=tuple(replace(one, time_ns=one.time_ns + 10**12) for one in found.events))


@breaks(BREAKS, "shards_have_their_callers_time")
class ShiftedShards(Twin):
    """events of a private shard have another clock's time than its packets"""

    def shard(self, connections: int = 1024, staged: Staged | None = None, pickup: bool = False) -> TwinShard:
        made = super().shard(connections, staged, pickup)
        made.__class__ = ShiftedShard
        return made


__all__ = ["BREAKS"]
