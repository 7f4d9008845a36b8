"""The order of steps for one packet: `PathShard.forward`. What a step does stands where it is called; what it means,
in the chapter of docs/forwarding.md that is named beside it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LATEST_NS, LONGEST_FRAME, Counters, LoadConfig, Output, PacketIn, PacketResult, Verdict
from hal.packet.model.chain import Chain, own_mac
from hal.packet.model.counters import CounterSet, EventRing
from hal.packet.model.flows import Connection, FlowTable
from hal.packet.model.fragments import Fragments
from hal.packet.model.neighbours import Neighbours
from hal.packet.model.parse import (
    ARP_TYPE,
    Dropped,
    Packet,
    Tell,
    check_addresses,
    parse_frame,
    parse_ip,
    parse_transport,
)
from hal.packet.model.path.alive import Alive
from hal.packet.model.path.answers import Answers
from hal.packet.model.path.challenges import Challenges
from hal.packet.model.path.checks import check_is_for_us, check_macs, check_size, vnic_of
from hal.packet.model.path.conflicts import Conflicts
from hal.packet.model.path.deciding import Deciding
from hal.packet.model.path.errors import Errors
from hal.packet.model.path.ledger import Ledger
from hal.packet.model.path.limits import Limits
from hal.packet.model.path.meeting import Meeting, Meetings
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.opening import Opening
from hal.packet.model.path.pickup import PickUp
from hal.packet.model.path.sending import Sending
from hal.packet.model.path.told import Told
from hal.packet.model.path.uses import uses_of
from hal.packet.model.path.whom import whom
from hal.packet.model.path.wire import Wire
from hal.packet.model.ports import Ports
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Witness
from hal.packet.model.store import Version
from hal.packet.model.tables import Tables


@dataclass
class Known:
    """What is known of a packet, step by step; whoever ends its way needs it."""

    vnic: Entry | None = None
    packet: Packet | None = None
    installed: Connection | None = None
    """The connection that it found."""


class PathShard:
    """One shard: flows, fragments, neighbours, meters and counters, and the way of packets through them.

    Args:
        chain: the stages.
        config: limits.
        ports: where frames leave.
        version: the generation to begin with.
        connections: how many fit in each worker.
        pickup_ns: for how long, from the first packet on, mid-stream TCP may open its flow; FOREVER.
    """

    def __init__(
        self, chain: Chain, config: LoadConfig, ports: Ports, version: Version, *, connections: int, pickup_ns: int
    ) -> None:
        self.chain = chain
        self.config = config
        self.ports = ports
        self.moment = moment = Moment(version)
        self.counters = CounterSet()
        self.events = EventRing()
        self.known = Known()
        self.pickup = PickUp(pickup_ns, self.events)
        self.wire = Wire(moment, ports, self.counters, self._may_tell)
        self.told = told = Told(moment, self.events, self.counters)
        self.alive = Alive(moment, ports, self.wire, self.events, told)
        self.ledger = Ledger(moment, self.counters, self.events)
        self.fragments = Fragments()
        self.flows = FlowTable(connections, config.workers, self.ledger.settle)
        self.sending = Sending(moment, self.wire, self.neighbours)
        challenges = Challenges(moment, config, told, self.sending)
        self.errors = Errors(moment, told)
        self.meetings = Meetings(moment, chain, self.flows, self.fragments, challenges, self.errors, self.pickup)
        self.answers = Answers(moment, chain, self.wire, self.neighbours, Conflicts(moment, self.wire, self.events))
        self.deciding = Deciding(moment, chain, self.alive, self.flows, self.ledger, self.counters)
        self.opening = Opening(moment, chain, self.deciding, self.flows, self.ledger, self.counters, self.pickup)
        self.limits = Limits(moment, config, self.flows, told, self.counters)

    # --- the way of a packet -----------------------------------------------------------------------------------------

    def forward(self, arrived: PacketIn, known: Known) -> Verdict:
        """All steps, in order. Each raises `Dropped` with one of the reasons named beside it, and that is the end.

        Numbers are those of *Order of checks*, of *Established* (E) and of *First packet* (F) in docs/forwarding.md.
        """
        tables = self.tables
        # What is it, and whose?
        if not self._is_configured():
            raise Dropped("not_configured")  # 1: not_configured
        frame = parse_frame(arrived.data)  # 2: ethernet_*, link_control, vlan_nested, llc
        vnic = known.vnic = vnic_of(tables, arrived.port, frame)  # 3: vnic_unknown
        self.counters.vnic(vnic.id, "rx", frame.size)
        if frame.ethertype == ARP_TYPE:
            return self.answers.arp(frame, vnic)  # 4, *ARP*: arp_*, spoofed_arp, address_conflict
        routed = frame.destination == own_mac(tables, vnic)  # 5
        packet = known.packet = parse_ip(
            frame, vnic, routed, self.now
        )  # 4, 6: ethertype_*, ipv*, source_route, fragment_tiny
        if packet.to_group:
            return self.answers.group(packet)  # 7, *Guard*: broadcast, multicast, group_*, nd_*, dhcp_guard, ...
        check_addresses(packet)  # 8: address_invalid, group_mismatch
        self.fragments.admit(packet)  # 9: fragment_*
        self.limits.fragment(packet, self.fragments)  # 9: fragment_limit

        # Is it for the card, or which connection does it belong to?
        meeting: Meeting | None
        anew: Meeting | None = None
        punt = None
        if packet.fragment and packet.is_later:
            meeting = self.meetings.by_first_fragment(packet, packet.fragment)  # *Fragments*: fragment_*
        else:
            parse_transport(packet)  # 10: l4_truncated, l4_header, fragment_tiny, tcp_*
            if packet.is_nd:
                return self.answers.nd(packet)  # 11: nd_*, spoofed_nd, ra_guard, redirect_guard
            check_is_for_us(tables, packet)  # 12: not_for_us
            if self.answers.is_pinged(packet):
                return self.answers.echo(packet)  # 13, *Echo*: address_conflict, spoofed_*, card_fragment, l4_checksum
            if packet.is_icmp_error:
                meeting = self.meetings.by_quote(packet)  # 14, *ICMP errors that pass*: icmp_*, l4_checksum, ...
            else:
                meeting = self.meetings.by_key(packet)  # 14, 15, E1: icmp_type, ra_guard, redirect_guard

        # An established connection obeys the tables as they are now ...
        if meeting:
            known.installed = meeting.connection
            self.deciding.again(meeting)  # E2: vnic_unknown, flow_table_full, dhcp_guard, no_decision, ...
            meeting = meeting.still()  # E2: fragment_no_first, icmp_error_unrelated
        if meeting:
            check_macs(meeting)  # E3: spoofed_mac, mac_mismatch
            check_size(meeting)  # E4, E5: ttl_exceeded, mtu_exceeded, or why there is no way back
            anew = meeting
            punt = self.limits.punt(meeting)  # E6: punt_limit
            meeting = self.meetings.follow(meeting)  # E6, *TCP*: tcp_state, tcp_window, tcp_challenged
        if not meeting:
            # ... and a first packet opens one, if the stages of its chain say so: both directions are installed.
            with self.flows.without(anew.connection if anew else None):
                # F1: tcp_no_session, icmp_type; F2: address_conflict, same_interface, ...
                meeting = self.opening.decide(packet, anew)
                check_size(meeting)  # F3: as E4, E5
                # F3: flow_limit, new_flow_limit, flow_table_full
                self.limits.check(meeting.connection, meeting.direction)
                punt = self.limits.punt(meeting)  # F3: punt_limit
                self.opening.install(meeting)  # F4

        # It passes.
        self.limits.meter(punt)  # E6
        meeting.count(self.now)  # E6
        self.flows.turned(meeting.connection)
        verdict = self.sending.send(meeting)  # E7, *Neighbours*: port_down, port_full, neighbour_*
        if packet.fragment and packet.is_first:
            share = whom(tables, packet)[1]  # *Fragments*
            self.fragments.remember(packet, packet.fragment, meeting.connection, meeting.direction, share)
        return verdict

    def _may_tell(self, packet: Packet, news: Tell) -> bool:
        return self.limits.may_tell(packet, news)

    def _is_configured(self) -> bool:
        """There is a commit, and one of each owner that is awaited."""
        return self.tables.generation > 0 and all(owner in self.moment.version.tags for owner in self.config.awaited)

    def run(self, arrived: PacketIn, witness: bool = False) -> PacketResult:
        """One packet, from the timers that are due before it to the frames that left."""
        if len(arrived.data) > LONGEST_FRAME:
            limit = f"{LONGEST_FRAME} bytes"
            raise HalError(ErrorKind.INVALID, "packet", field="data", limit=limit, got=len(arrived.data))
        self.wire.outputs = []
        self._pass_time(arrived.time_ns)
        steps = self.moment.witness = Witness()  # of this packet alone: what timers did is no step of it
        self.counters.engine["packets"] += 1
        if arrived.port in self.ports.configs:
            self.counters.port(arrived.port, "rx", len(arrived.data))
        self.known = known = Known()
        try:
            verdict, reason = self.forward(arrived, known), ""
        except Dropped as dropped:
            verdict, reason = Verdict.DROP, dropped.reason
            if known.packet and dropped.tell:
                self.wire.tell(known.packet, dropped.tell)
            self.wire.drop(reason, known.vnic.id if known.vnic else None)
        return PacketResult(verdict, reason, tuple(self.wire.outputs), tuple(steps.steps) if witness else ())

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self, now: int) -> tuple[Output, ...]:
        """Let time pass without a packet; returns what timers sent."""
        self.wire.outputs = []
        self.moment.witness = Witness()
        self._pass_time(now)
        return tuple(self.wire.outputs)

    def _pass_time(self, now: int) -> None:
        if now < self.now:
            raise HalError(ErrorKind.INVALID, "packet", field="time_ns", limit=f"{self.now} or later", got=now)
        if now > LATEST_NS:
            raise HalError(ErrorKind.INVALID, "packet", field="time_ns", limit="0..2^63 - 1", got=now)
        self.pickup.advance(now)
        self.moment.now = now  # what timers tell counts, and is dated, as of now
        self.neighbours.advance(now)

    # --- from outside ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.moment.now

    @property
    def tables(self) -> Tables:
        return self.moment.tables

    @property
    def neighbours(self) -> Neighbours:
        return self.alive.neighbours

    @property
    def installed(self) -> Connection | None:
        """The connection that the last packet found installed."""
        return self.known.installed

    def use(self, version: Version) -> None:
        """The tables that packets see from now on."""
        if version is self.moment.version:
            return
        before, self.moment.version = self.tables, version
        self.counters.keep(lambda *row: 0 < before.born(*row) == self.tables.born(*row))
        self.alive.keep_uplinks()

    def settle(self) -> None:
        """Add what connections have counted so far to the rows that allowed them; what has expired goes."""
        self.flows.sweep(self.now)
        self.fragments.expire(self.now)
        for connection in self.flows:
            self.ledger.settle(connection)

    def read_counters(self) -> Counters:
        self.counters.engine["flows_now"] = len(self.flows.matching(None, self.now))
        uses = uses_of(self.tables, self.config, self.flows, self.fragments, self.neighbours)
        return self.counters.read(self.tables, self.ports.configs, uses)

    def clone(self) -> Self:
        """Another shard in the same state, over the same tables and ports."""
        shared = (self.chain, self.config, self.ports, self.moment.version)
        return copy.deepcopy(self, {id(one): one for one in shared})
