"""Wrong about packets that tables alone decide."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from hal.packet.contract import PacketIn, PacketResult, Verdict
from hal.packet.model import headers
from hal.packet.model.chain import Chain
from hal.packet.model.counters import CounterSet
from hal.packet.model.neighbours import NeighbourKey, Neighbours
from hal.packet.model.parse import Dropped, is_link_local
from hal.packet.model.path import PathShard, wire
from hal.packet.model.path.limits import Limits, Punt
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.path.order import Known
from hal.packet.model.path.sending import Sending
from hal.packet.model.path.wire import Wire
from hal.packet.model.stage import UDP, Context, Drop, Entry, Header, Pass, Stage, Witness
from hal.packet.model.stage import Verdict as Judged
from hal.packet.model.store import Store, Version
from hal.packet.model.tables import Tables, TableVersion
from hal.packet.model.twin import Twin
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "nothing_passes_before_the_first_commit")
class OtherReason(PathShard):
    """before the first commit drops are of unknown vNICs"""

    def forward(self, arrived: PacketIn, known: Known) -> Verdict:
        if self.tables.generation == 0:
            raise Dropped("vnic_unknown")
        return super().forward(arrived, known)


@breaks(BREAKS, "nothing_passes_without_an_awaited_owner")
class WaitsForNobody(PathShard):
    """it forwards without those that are awaited"""

    def forward(self, arrived: PacketIn, known: Known) -> Verdict:
        config, self.config = self.config, replace(self.config, awaited=())
        try:
            return super().forward(arrived, known)
        finally:
            self.config = config


def _with(meeting: Meeting, ip: bytes) -> Meeting:
    return replace(meeting, packet=replace(meeting.packet, ip=ip))


@breaks(BREAKS, "bridges_in_a_subnet")
class BridgedTtl(Sending):
    """bridged packets lose a hop"""

    def send(self, meeting: Meeting) -> Verdict:
        if not meeting.path.routed:
            meeting = _with(meeting, headers.decrement_ttl(meeting.packet.ip))
        return super().send(meeting)


@breaks(BREAKS, "routes_between_subnets")
class EndlessHops(Sending):
    """routed IPv6 packets keep their hop limit"""

    def send(self, meeting: Meeting) -> Verdict:
        ip = meeting.packet.ip
        if meeting.path.routed and meeting.packet.version == 6:
            meeting = _with(meeting, ip[:7] + bytes((ip[7] + 1,)) + ip[8:])
        return super().send(meeting)


def _tables(other: type[Tables]) -> type[Store]:
    """A store whose generations have other tables."""

    class Other(Store):
        def _make(self, owner: str, version: Version) -> None:
            version.tables.__class__ = other
            super()._make(owner, version)

    return Other


class ShortestFirst(Tables):
    """Routes by their shortest prefix."""

    def longest(self, table: str, *key: Any) -> Any:
        version = self.versions[table]
        turned = TableVersion(version.table)
        turned.rows, turned.keys = version.rows, version.keys
        for length in sorted(version.lengths):
            turned.lengths.clear()
            turned.lengths[length] = 1
            if found := Tables(self.schema, 0, {table: turned}).longest(table, *key):
                return found
        return None


@breaks(BREAKS, "the_longest_prefix_decides")
class Shortest(_tables(ShortestFirst)):  # type: ignore[misc]
    """the shortest prefix decides"""


@breaks(BREAKS, "drops_have_reasons")
class Uncounted(CounterSet):
    """drops for unknown MACs are told and not counted"""

    def drop(self, reason: str, vnic: int | None) -> None:
        if reason != "bridge_unknown_mac":
            super().drop(reason, vnic)


class Making(Wire):
    """Makes other packets of one kind."""

    kind = 0

    def other(self, frame: bytes) -> bytes:
        raise NotImplementedError

    def make(self, vnic: Any, frame: bytes, kind: int) -> None:
        super().make(vnic, self.other(frame) if kind == self.kind else frame, kind)


@breaks(BREAKS, "answers_arp")
class PaddedArp(Making):
    """ARP is padded"""

    kind = wire.ARP

    def other(self, frame: bytes) -> bytes:
        return frame.ljust(60, b"\0")


@breaks(BREAKS, "answers_neighbour_discovery")
class NoOption(Making):
    """advertisements tell no MAC"""

    kind = wire.ND

    def other(self, frame: bytes) -> bytes:
        return frame[:-8]


@breaks(BREAKS, "answers_echo")
class OtherData(Making):
    """echo replies carry other data than was sent"""

    kind = wire.ECHO

    def other(self, frame: bytes) -> bytes:
        return frame[:-1] + b"!"


@breaks(BREAKS, "tells_icmp_errors")
class ShortQuote(Making):
    """ICMP errors quote a byte less"""

    kind = wire.ICMP_ERROR

    def other(self, frame: bytes) -> bytes:
        return frame[:-1]


@breaks(BREAKS, "tells_resets")
class NoAck(Making):
    """RST acknowledges nothing"""

    kind = wire.TCP_RST

    def other(self, frame: bytes) -> bytes:
        return frame[:47] + b"\x04" + frame[48:]


@breaks(BREAKS, "asks_who_may_be_forged")
class SaysMore(Making):
    """a challenge acknowledges more than its receiver has"""

    kind = wire.TCP_CHALLENGE

    def other(self, frame: bytes) -> bytes:
        return frame[:45] + bytes([frame[45] + 1]) + frame[46:]


@breaks(BREAKS, "packets_wait_for_neighbours")
class LosesWaiting(Neighbours):
    """packets that wait for a neighbour are lost"""

    def hear(self, key: NeighbourKey, mac: bytes | None, now: int, *, solicited: bool, override: bool) -> bool:
        if key in self._known:
            self._known[key].queue.clear()
        return super().hear(key, mac, now, solicited=solicited, override=override)


class Telling(PathShard):
    """Tells results otherwise."""

    def tell(self, result: PacketResult) -> PacketResult:
        raise NotImplementedError

    def run(self, packet: PacketIn, witness: bool = False) -> PacketResult:
        return self.tell(super().run(packet, witness))


@breaks(BREAKS, "timers_run_before_packets")
class TimersLast(Telling):
    """what timers send is told behind what the packet sends"""

    def tell(self, result: PacketResult) -> PacketResult:
        return replace(result, outputs=result.outputs[::-1])


@breaks(BREAKS, "punts_to_the_card")
class PuntedTtl(Sending):
    """packets to the card lose a hop"""

    def send(self, meeting: Meeting) -> Verdict:
        if meeting.path.punts:
            meeting = _with(meeting, headers.decrement_ttl(meeting.packet.ip))
        return super().send(meeting)


@breaks(BREAKS, "punts_are_limited")
class OneLimit(Limits):
    """every vNIC has the default limit of packets to the card"""

    def _punt_of(self, meeting: Meeting, rate: int) -> Punt:
        return super()._punt_of(meeting, self._config.punt_limit)


@breaks(BREAKS, "a_profile_is_an_order")
class ByNumber(Chain):
    """stages are passed in the order of their numbers"""

    def stages(self, tables: Tables, vnic: Any, direction: Any) -> Any:
        yield from sorted(super().stages(tables, vnic, direction), key=lambda one: one[0])


class LastOfEqual(Tables):
    """Rules of equal priority from the last to the first."""

    def ordered(self, table: str, group: int) -> Any:
        return tuple(sorted(super().ordered(table, group), key=lambda rule: (rule.priority, -rule.id)))


@breaks(BREAKS, "the_first_rule_decides")
class LastRule(_tables(LastOfEqual)):  # type: ignore[misc]
    """of equal priority the last rule decides"""


class RoutesLinkLocal(Stage):
    """Route that takes IPv4 link-local sources for others."""

    says_where = True

    def __init__(self, whole: Stage) -> None:
        self._whole = whole

    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Judged:
        if header.version == 4 and is_link_local(header.source):
            header = replace(header, source=header.source[:12] + bytes((10, 1, 0, 11)))
        return self._whole.decide(header, context, tables, witness)


@breaks(BREAKS, "link_local_addresses_are_not_routed")
class LinkLocal(Twin):
    """packets from link-local IPv4 addresses are routed"""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.chain._stages = {**self.chain._stages, "route": RoutesLinkLocal(self.chain._stages["route"])}


class AnyAddress(Stage):
    """Antispoof that looks at MACs alone, of UDP."""

    def __init__(self, whole: Stage) -> None:
        self._whole = whole
        self.ops = whole.ops

    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Judged:
        judged = self._whole.decide(header, context, tables, witness)
        spoofed = isinstance(judged, Drop) and judged.reason == "spoofed_address"
        return Pass() if spoofed and header.protocol == UDP else judged

    def check_source(self, header: Header, vnic: Entry, tables: Tables) -> str:
        return self._whole.check_source(header, vnic, tables)


@breaks(BREAKS, "spoofed_packets_are_dropped")
class Spoofs(Twin):
    """UDP from any address"""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.chain._stages = {**self.chain._stages, "antispoof": AnyAddress(self.chain._stages["antispoof"])}


@breaks(BREAKS, "packets_obey_when_commit_returns")
class LatePackets(Twin):
    """after fifteen generations the first packets behind a commit meet the tables from before"""

    def _version(self, staged: Any) -> Version:
        now = super()._version(staged)
        before: Version = vars(self).get("seen", now)
        vars(self)["seen"] = now
        return before if now.tables.generation > 15 else now


@breaks(BREAKS, "vnics_are_counted")
class BytesOfIp(CounterSet):
    """bytes of vNICs are counted without Ethernet"""

    def vnic(self, identity: int, direction: str, size: int) -> None:
        super().vnic(identity, direction, size - 14)


@breaks(BREAKS, "ports_are_counted")
class SentUncounted(CounterSet):
    """what leaves by a port isn't counted"""

    def port(self, number: int, direction: str, size: int) -> None:
        if direction == "rx":
            super().port(number, direction, size)


@breaks(BREAKS, "packets_see_one_generation")
class TableByTable(Store):
    """subnets change first, then the rest"""

    def _make(self, owner: str, version: Version) -> None:
        old, new = self.current.tables, version.tables
        if self.generation and old.versions["subnet"] is not new.versions["subnet"]:
            half = Tables(self.schema, new.generation, {**old.versions, "subnet": new.versions["subnet"]})
            self.current = Version(half, self.current.tag, self.current.names, self.current.tags)
            time.sleep(0.001)
        super()._make(owner, version)


@breaks(BREAKS, "deleted_vnics_are_gone")
class OtherNobody(PathShard):
    """what comes from a vNIC that was taken out isn't for us"""

    def forward(self, arrived: PacketIn, known: Known) -> Verdict:
        try:
            return super().forward(arrived, known)
        except Dropped as dropped:
            if dropped.reason == "vnic_unknown" and arrived.port == 2:
                raise Dropped("not_for_us") from None
            raise


__all__ = ["BREAKS"]
