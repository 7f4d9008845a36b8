"""Wrong about shards, traces and witnesses."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hal.packet import arguments
from hal.packet.contract import Counters, EventKind, PacketIn, PacketResult, StepKind, Trace
from hal.packet.model.flows import FlowTable
from hal.packet.model.path import PathShard
from hal.packet.model.twin import Twin, TwinShard
from tests.conformance.broken.packets import Telling
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


class OtherShard(Twin):
    """Its shards replay otherwise."""

    def replay(self, shard: TwinShard, packets: Any, witness: bool) -> Any:
        raise NotImplementedError

    def shard(self, *arguments: Any, **more: Any) -> Any:
        twin = self

        class Other(TwinShard):
            def replay(self, packets: Any, witness: bool = False) -> Any:
                return twin.replay(self, packets, witness)

        shard = super().shard(*arguments, **more)
        shard.__class__ = Other
        return shard


@breaks(BREAKS, "replay_answers_in_order")
class Backwards(OtherShard):
    """without a witness results come last first"""

    def replay(self, shard: TwinShard, packets: Any, witness: bool) -> Any:
        results = TwinShard.replay(shard, packets, witness)
        return results if witness else results[::-1]


@breaks(BREAKS, "time_never_goes_back")
class Back(PathShard):
    """a packet from before is taken for one from now"""

    def _pass_time(self, now: int) -> None:
        super()._pass_time(max(now, self.now))


@breaks(BREAKS, "replay_is_repeatable")
class RandomIds(FlowTable):
    """connections have random ids"""

    def next_id(self) -> int:
        return random.getrandbits(60) + 1


@breaks(BREAKS, "shards_do_not_see_each_other")
class SharedCounters(Twin):
    """all shards count together"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        shard = super().shard(*arguments, **more)
        vars(shard._path.counters).update(vars(self).setdefault("shared", vars(shard._path.counters)))
        return shard


@breaks(BREAKS, "shards_leave_the_live_card_alone")
class CountsLive(Twin):
    """packets of shards count on the live card"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        shard = super().shard(*arguments, **more)
        shard._path.counters.engine = self.live.counters.engine
        return shard


@breaks(BREAKS, "shards_follow_the_tables")
class FirstTables(OtherShard):
    """the first replay in a shard meets the tables of when it was made"""

    def replay(self, shard: TwinShard, packets: Any, witness: bool) -> Any:
        arguments.check_packets(packets)
        path = shard._open()
        if path.pickup.began:
            return TwinShard.replay(shard, packets, witness)
        return [path.run(packet, witness) for packet in packets]


@breaks(BREAKS, "shards_tell_by_the_tables")
class TablesOfReplay(Twin):
    """shards tell what they counted by the tables of their last replay"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        class Other(TwinShard):
            def counters(self) -> Counters:
                return self._open().read_counters()

        shard = super().shard(*arguments, **more)
        shard.__class__ = Other
        return shard


@breaks(BREAKS, "shards_look_at_staged_commits")
class UnstagedShards(Twin):
    """shards don't look at staged commits"""

    def shard(self, connections: int = 1024, staged: Any = None, pickup: bool = False) -> Any:
        del staged
        return super().shard(connections, None, pickup)


@breaks(BREAKS, "traces_look_at_staged_commits")
class UnstagedTraces(Twin):
    """traces don't look at staged commits"""

    def trace(self, packet: PacketIn, staged: Any = None) -> Trace:
        del staged
        return super().trace(packet)


@breaks(BREAKS, "traces_tell_the_decision")
class NoTraceGeneration(Twin):
    """traces tell the first generation"""

    def trace(self, packet: PacketIn, staged: Any = None) -> Trace:
        return replace(super().trace(packet, staged), generation=1)


@breaks(BREAKS, "traces_change_nothing")
class TracesCount(Twin):
    """traces make events"""

    def trace(self, packet: PacketIn, staged: Any = None) -> Trace:
        self.live.events.add(0, EventKind.RULE_LOG)
        return super().trace(packet, staged)


def _other_values(result: PacketResult, kind: StepKind) -> PacketResult:
    steps = (replace(step, value=step.value + 1) if step.kind is kind else step for step in result.steps)
    return replace(result, steps=tuple(steps))


@breaks(BREAKS, "witnesses_tell_the_way")
class StagesFromOne(Telling):
    """stages are counted from one in witnesses"""

    def tell(self, result: PacketResult) -> PacketResult:
        return _other_values(result, StepKind.STAGE)


@breaks(BREAKS, "witnesses_tell_drops")
class ReasonsFromOne(Telling):
    """drop reasons are counted from one in witnesses"""

    def tell(self, result: PacketResult) -> PacketResult:
        return _other_values(result, StepKind.DROP)


@breaks(BREAKS, "no_witness_is_no_cost")
class AlwaysWitness(OtherShard):
    """steps are told to who didn't ask"""

    def replay(self, shard: TwinShard, packets: Any, witness: bool) -> Any:
        del witness
        return TwinShard.replay(shard, packets, True)


__all__ = ["BREAKS"]
