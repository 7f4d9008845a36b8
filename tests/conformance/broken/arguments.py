"""Wrong about arguments: takes what no card could mean for something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hal.packet.contract import Flow, FlowFilter, Generation, PacketIn, PacketResult
from hal.packet.model.twin import Twin, TwinShard
from tests.conformance.broken.parts import Breaks, Handle, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "arguments_of_commits_are_judged")
class EndsAtNul(Twin):
    """of a tag is kept what stands before a NUL"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Cut(Handle):
            def commit(self, operations: Any, *, tag: Any = "", **more: Any) -> Generation:
                tag = tag.split("\0")[0] if isinstance(tag, str) else tag
                return self._writer.commit(operations, tag=tag, **more)

        return Cut(super().writer(owner))


@breaks(BREAKS, "a_lease_is_a_time")
class WholeLeases(Twin):
    """a lease is taken in whole nanoseconds"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Whole(Handle):
            def stage(self, operations: Any, *, lease_ns: Any = 10_000_000_000, **more: Any) -> Any:
                return self._writer.stage(operations, lease_ns=int(lease_ns), **more)

        return Whole(super().writer(owner))


@breaks(BREAKS, "filters_are_judged")
class PortsWrap(Twin):
    """of a port in a filter 16 bits count"""

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        if which is not None and which.source_port is not None:
            which = replace(which, source_port=which.source_port & 0xFFFF)
        return super().flows(which)


@breaks(BREAKS, "arguments_of_shards_are_judged")
class PacketsWrap(Twin):
    """of a packet's port 32 bits count"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        shard = super().shard(*arguments, **more)

        class Wraps(TwinShard):
            def replay(self, packets: Any, witness: bool = False) -> list[PacketResult]:
                return super().replay([_wrapped(packet) for packet in packets], witness)

        shard.__class__ = Wraps
        return shard


def _wrapped(packet: PacketIn) -> PacketIn:
    return replace(packet, port=packet.port & 0xFFFFFFFF) if isinstance(packet.port, int) else packet


@breaks(BREAKS, "a_closed_shard_is_lost")
class NeverClosed(Twin):
    """a closed shard answers on"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        shard = super().shard(*arguments, **more)
        vars(shard)["close"] = lambda: None
        return shard


__all__ = ["BREAKS"]
