"""Wrong about connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hal.packet.arguments import check_filter
from hal.packet.contract import (
    NONE_ID,
    EventKind,
    Flow,
    FlowFilter,
    LoadConfig,
    Neighbour,
    Output,
    PacketIn,
    PacketResult,
    Step,
    StepKind,
    TcpState,
    Trace,
)
from hal.packet.model.counters import EventRing
from hal.packet.model.flows import Connection, FlowTable, Share
from hal.packet.model.fragments import Fragments
from hal.packet.model.half_open import Kind, has_ended, is_half_open
from hal.packet.model.parse import Dropped, Packet, Tell
from hal.packet.model.path import PathShard
from hal.packet.model.path.deciding import Deciding
from hal.packet.model.path.ledger import Ledger
from hal.packet.model.path.limits import Limits
from hal.packet.model.path.meeting import By, Meeting
from hal.packet.model.path.told import Told
from hal.packet.model.rows import Entry
from hal.packet.model.stage import UDP, Drop, Witness
from hal.packet.model.store import Version
from hal.packet.model.twin import Twin, TwinShard
from tests.conformance.broken.parts import Breaks, Handle, breaks

BREAKS: Breaks = {}


class OtherFlows(Twin):
    """Its shards tell connections otherwise."""

    def tell(self, flow: Flow) -> Flow:
        raise NotImplementedError

    def shard(self, *arguments: Any, **more: Any) -> Any:
        twin = self

        class Other(TwinShard):
            def flows(self, which: FlowFilter | None = None) -> list[Flow]:
                return [twin.tell(flow) for flow in super().flows(which)]

        shard = super().shard(*arguments, **more)
        shard.__class__ = Other
        return shard


@breaks(BREAKS, "flows_are_told")
class NoEgress(OtherFlows):
    """connections are told to leave by where they come from"""

    def tell(self, flow: Flow) -> Flow:
        return replace(flow, egress=flow.ingress)


@breaks(BREAKS, "flows_without_ports")
class PortsOfEsp(OtherFlows):
    """protocols without ports have some"""

    def tell(self, flow: Flow) -> Flow:
        return replace(flow, source_port=7) if flow.protocol == 50 else flow


@breaks(BREAKS, "flows_tell_their_rules")
class EgressRules(OtherFlows):
    """rules on ingress aren't told"""

    def tell(self, flow: Flow) -> Flow:
        return replace(flow, rules=(flow.rules[0], NONE_ID))


@breaks(BREAKS, "flows_tell_their_operations")
class NoWords(OtherFlows):
    """op lists aren't told"""

    def tell(self, flow: Flow) -> Flow:
        return replace(flow, operations=((), ()))


@breaks(BREAKS, "tcp_is_followed")
class HalfClosed(OtherFlows):
    """a connection that both sides close is told as one that one side does"""

    def tell(self, flow: Flow) -> Flow:
        return replace(flow, tcp_state=TcpState.FIN_WAIT) if flow.tcp_state is TcpState.CLOSING else flow


@breaks(BREAKS, "flows_tell_who_decided")
class FirstGeneration(OtherFlows):
    """connections are told to be decided by the first generation"""

    def tell(self, flow: Flow) -> Flow:
        return replace(flow, generation=1)


@breaks(BREAKS, "the_chain_is_walked_once")
class Directions(Twin):
    """witnesses of private shards tell the initiator's direction as 1"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        class Other(TwinShard):
            def replay(self, packets: Sequence[PacketIn], witness: bool = False) -> list[PacketResult]:
                found = super().replay(packets, witness)
                return [replace(one, steps=tuple(map(_other_way, one.steps))) for one in found]

        shard = super().shard(*arguments, **more)
        shard.__class__ = Other
        return shard


def _other_way(step: Step) -> Step:
    return replace(step, value=1 - step.value) if step.kind is StepKind.FLOW else step


@breaks(BREAKS, "replies_need_no_rule")
class RepliesJudged(Deciding):
    """replies are judged as if they began"""

    def again(self, meeting: Meeting) -> None:
        packet, tables = meeting.packet, self._moment.tables
        if meeting.direction == 1 and meeting.by is By.KEY and meeting.connection.decided == self.decided_now:
            judged = self._chain.decide(packet.header(), packet.vnic, packet.routed, tables, self._alive, Witness())
            if isinstance(judged, Drop):
                raise Dropped(judged.reason)
        super().again(meeting)


@breaks(BREAKS, "shards_pick_up_where_asked")
class PickUpEnds(Twin):
    """in a shard with pick-up the time for it ends after a minute"""

    def shard(self, connections: int = 1024, staged: Any = None, pickup: bool = False) -> Any:
        shard = super().shard(connections, staged, pickup)
        if pickup:
            shard._path.pickup.until = 60_000_000_000
        return shard


@breaks(BREAKS, "pick_up_ends")
class LongPickUp(Twin):
    """live, the time for pick-up is ten times what load says"""

    def load(self, config: LoadConfig) -> None:
        super().load(config)
        self.live.pickup.lasts_ns *= 10


@breaks(BREAKS, "established_packets_obey_new_rules")
class RepliesStay(Deciding):
    """packets of replies obey the rules from before"""

    def again(self, meeting: Meeting) -> None:
        if meeting.packet.vnic.id == meeting.connection.ingress:
            super().again(meeting)


@breaks(BREAKS, "established_packets_obey_new_routes")
class WaysStay(Deciding):
    """a connection that is decided again goes where it went"""

    def again(self, meeting: Meeting) -> None:
        paths = meeting.connection.paths
        super().again(meeting)
        meeting.connection.paths = paths


@breaks(BREAKS, "flows_expire")
class LateExpiry(FlowTable):
    """connections are told a moment after their end"""

    def matching(self, which: FlowFilter | None, now: int) -> list[Connection]:
        return super().matching(which, now - 1)


@breaks(BREAKS, "flows_are_limited")
class SilentLimit(Limits):
    """a limit on more connections than one bites without an event"""

    def bites(self, kind: EventKind, share: Share) -> None:
        if kind is not EventKind.FLOW_LIMIT or len(self._flows) == 1:
            super().bites(kind, share)


@breaks(BREAKS, "limits_are_told_once_in_ten_seconds")
class ToldTooOften(Told):
    """each refusal by a limit is told"""

    def bites(self, kind: EventKind, share: Share) -> None:
        self._told_ns.clear()
        super().bites(kind, share)


@breaks(BREAKS, "new_flows_a_second_are_limited")
class OneBucketForAll(Limits):
    """as many connections a second as the card says, whatever the row"""

    def _limit(self, row: Entry | None, name: str) -> int:
        return super()._limit(None if name == "new_flow_limit" else row, name)


@breaks(BREAKS, "the_oldest_half_open_makes_way")
class NewestGoes(Limits):
    """the newest handshake makes way for another"""

    def _make_way(self, connection: Connection, share: Share, limit: int) -> None:
        if self._flows.half_open(connection).count(share, Kind.HANDSHAKE) >= limit:
            self._told.refuses("half_open_limit", share)
            own = [one for one in self._flows if is_half_open(one) and one.share == share]
            self._evict(max(own, key=lambda one: one.id))


@breaks(BREAKS, "handshakes_leave_half")
class HandshakesFillIt(Limits):
    """as many handshakes as half_open_limit says, however few connections may be"""

    def _make_way(self, connection: Connection, share: Share, limit: int) -> None:
        row = self._moment.tables.get("vnic", share[0])
        super()._make_way(connection, share, self._limit(row, "half_open_limit"))


@breaks(BREAKS, "what_has_ended_makes_way")
class NewestEndedGoes(Limits):
    """of TCP that has ended that makes way which began last"""

    def _evict(self, connection: Connection) -> None:
        closed = [one for one in self._flows if one.talk and has_ended(one) and one.share == connection.share]
        super()._evict(max(closed, key=lambda one: one.id) if connection in closed else connection)


@breaks(BREAKS, "what_nobody_answers_makes_way")
class HandshakesGoFirst(Limits):
    """of what nobody has answered handshakes go in front of all other"""

    MAKE_WAY = (Kind.ENDED, Kind.HANDSHAKE, Kind.UNANSWERED)


@breaks(BREAKS, "one_exchange_makes_way")
class AnsweredItLives(FlowTable):
    """what was answered lives, though it was one exchange"""

    def turned(self, connection: Connection) -> None:
        connection.exchange = False
        super().turned(connection)


@breaks(BREAKS, "remembered_fragments_are_limited")
class FragmentsForAll(Fragments):
    """one more fragmented datagram of a vNIC is remembered than may be"""

    def most(self, share: Share, role: str, limit: int) -> int:
        return super().most(share, role, limit) + 1


@breaks(BREAKS, "what_the_card_makes_is_limited")
class EndlessErrors(Limits):
    """senders of dropped packets are told, however many there are"""

    def may_tell(self, packet: Packet, news: Tell) -> bool:
        super().may_tell(packet, news)
        return True


@breaks(BREAKS, "inbound_flows_are_limited")
class NoInboundLimit(Limits):
    """uplinks open connections of other protocols than TCP without limit"""

    def check(self, connection: Connection, direction: int) -> None:
        if connection.share is None or connection.share[1] == "own" or connection.talk:
            super().check(connection, direction)


@breaks(BREAKS, "as_many_connections_fit")
class OneLess(FlowTable):
    """one connection less fits than was asked for"""

    def free(self, worker: int) -> int:
        return super().free(worker) - (self._capacity > 1)


@breaks(BREAKS, "flows_are_filtered")
class AnyDestination(FlowTable):
    """filters don't look at the destination"""

    def matching(self, which: FlowFilter | None, now: int) -> list[Connection]:
        return super().matching(which and replace(which, destination=None), now)


@breaks(BREAKS, "flows_are_forgotten")
class RemembersTcp(Twin):
    """TCP is not forgotten"""

    def writer(self, owner: str = "dsnd") -> Any:
        live = self.live

        class Remembering(Handle):
            def forget(self, which: FlowFilter) -> int:
                check_filter(which)
                found = live.flows.matching(which, live.now)
                for one in found:
                    if one.header.protocol == UDP:
                        live.flows.remove(one)
                return len(found)

        return Remembering(super().writer(owner))


@breaks(BREAKS, "nothing_to_forget")
class ForgettingCommits(Twin):
    """forgetting nothing makes a generation"""

    def writer(self, owner: str = "dsnd") -> Any:
        class Committing(Handle):
            def forget(self, which: FlowFilter) -> int:
                return self._writer.forget(which) or 0 * self._writer.commit([])

        return Committing(super().writer(owner))


@breaks(BREAKS, "rules_count_hits")
class DropsDontHit(Ledger):
    """rules that drop and don't log count no hits"""

    def hit(self, row: Any, header: Any, share: Any) -> None:
        if row is None or row.table != "firewall_rule" or row.verdict != "drop" or row.log:
            super().hit(row, header, share)


@breaks(BREAKS, "settle_adds_up")
class SettlesAgain(PathShard):
    """connections with replies are counted again at each settle"""

    def settle(self) -> None:
        for connection in self.flows:
            if connection.replied:
                connection.settled = (0, 0)
        super().settle()


@breaks(BREAKS, "modify_keeps_counters")
class CountersGo(PathShard):
    """a modified rule counts from zero where connections have handed in what they counted"""

    def use(self, version: Version) -> None:
        old = self.tables.versions["firewall_rule"].rows
        new = version.tables.versions["firewall_rule"].rows
        if any(sum(connection.settled) for connection in self.flows):
            self.counters.keep(lambda table, one: table != "firewall_rule" or new.get(one) == old.get(one))
        super().use(version)


@breaks(BREAKS, "modify_keeps_what_is_not_settled")
class UnsettledGoes(PathShard):
    """what connections have not handed in when their rule is modified is lost"""

    def use(self, version: Version) -> None:
        old = self.tables.versions["firewall_rule"].rows
        super().use(version)
        new = self.tables.versions["firewall_rule"].rows
        if any(record[:2] != new[one][:2] for one, record in old.items() if one in new):
            for connection in self.flows:
                connection.unsettled()


@breaks(BREAKS, "modify_keeps_vnic_counters")
class VnicCountersGo(PathShard):
    """a modified vNIC counts from zero"""

    def use(self, version: Version) -> None:
        old, new = self.tables.versions["vnic"].rows, version.tables.versions["vnic"].rows
        super().use(version)
        self.counters.keep(lambda table, one: table != "vnic" or old[one][:2] == new[one][:2])


@breaks(BREAKS, "rules_log")
class NamelessLog(EventRing):
    """rules log without saying which of them it was"""

    def add(self, now: int, kind: EventKind, table: str = "", identity: int = 0, data: str = "") -> None:
        super().add(now, kind, table, 0 if kind is EventKind.RULE_LOG else identity, data)


@breaks(BREAKS, "neighbours_are_told")
class ByText(Twin):
    """neighbours are ordered by the text of their addresses"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        class Other(TwinShard):
            def neighbours(self) -> list[Neighbour]:
                return sorted(super().neighbours(), key=lambda one: one.address)

        shard = super().shard(*arguments, **more)
        shard.__class__ = Other
        return shard


@breaks(BREAKS, "shards_have_their_own_flows")
class FlowsOfAll(Twin):
    """the live card tells connections of shards"""

    def shard(self, *arguments: Any, **more: Any) -> Any:
        shard = super().shard(*arguments, **more)
        vars(self).setdefault("shards", []).append(shard)
        return shard

    def flows(self, which: FlowFilter | None = None) -> list[Flow]:
        return super().flows(which) + [flow for shard in vars(self).get("shards", []) for flow in shard.flows(which)]


@breaks(BREAKS, "traces_find_installed_flows")
class NoInstalled(Twin):
    """traces don't tell the connection that is there"""

    def trace(self, packet: PacketIn, staged: Any = None) -> Trace:
        return replace(super().trace(packet, staged), flow=None)


@breaks(BREAKS, "live_traffic_goes_the_same_way")
class PaddedLive(Twin):
    """live frames are padded"""

    def inject(self, packet: PacketIn) -> PacketResult:
        result = super().inject(packet)
        return replace(result, outputs=tuple(Output(out.port, out.data + b"\0") for out in result.outputs))


@breaks(BREAKS, "packets_move_from_start_to_stop")
class AlwaysRunning(Twin):
    """packets move before start and after stop"""

    def _check_running(self) -> None:
        pass


__all__ = ["BREAKS"]


@breaks(BREAKS, "floods_leave_room")
class WhoeverComesFirst(Limits):
    """who has no number of its own takes what is free, to the last place"""

    def _is_fair(self, share: Share | None) -> bool:
        return False


@breaks(BREAKS, "a_flood_takes_its_own_share")
class OneTakesAll(Twin):
    """a vNIC may open as many connections as fit"""

    def load(self, config: LoadConfig) -> None:
        all_of_them = config.connections * config.workers
        super().load(replace(config, flow_limit=config.flow_limit or all_of_them))
