"""The path of a packet, in the order of docs/forwarding.md."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    Counters,
    EventKind,
    LoadConfig,
    Output,
    PacketIn,
    PacketResult,
    StepKind,
    TcpState,
    Verdict,
)
from hal.packet.model import answers, headers
from hal.packet.model.chain import Chain, Decision, hash_of, own_mac
from hal.packet.model.counters import CounterSet, EventRing
from hal.packet.model.flows import Connection, FlowTable, Share, initial_state, track
from hal.packet.model.fragments import Fragments
from hal.packet.model.keys import Key, scope_of, worker_of
from hal.packet.model.meters import Meters
from hal.packet.model.neighbours import Hooks, NeighbourKey, Neighbours, Waiting
from hal.packet.model.ops import Path
from hal.packet.model.parse import (
    ACK,
    ARP_TYPE,
    BROADCAST,
    ECHO_REPLY,
    ECHO_REQUEST,
    IPV4_TYPE,
    IPV6_TYPE,
    RST,
    SYN,
    ZERO_MAC,
    Dropped,
    Fragment,
    Packet,
    check_addresses,
    is_link_local,
    parse_frame,
    parse_ip,
    parse_transport,
    quoted_tuple,
)
from hal.packet.model.ports import Ports
from hal.packet.model.rows import Entry
from hal.packet.model.stage import TCP, Drop, Header, Op, Witness
from hal.packet.model.store import Version
from hal.packet.model.tables import Tables
from hal.packet.model.words import decided_words
from hal.packet.schema.rows import MAPPED

FOREVER = 1 << 63
ICMP_ERROR, TCP_RST = 4, 5
"""Kinds of packets made, as `StepKind.MAKE` numbers them."""


@dataclass(frozen=True)
class Meeting:
    """The connection that a packet belongs to, and the direction it goes in."""

    connection: Connection
    direction: int


class PathShard:
    """Flows, fragments, neighbours, meters and counters, and the way of packets through them.

    Args:
        chain: the stages.
        config: limits.
        ports: where frames leave.
        version: the generation to begin with.
        connections: how many fit in each worker.
        pickup_ns: for how long, from the first packet on, mid-stream TCP may open its flow; FOREVER.
    """

    def __init__(
        self,
        chain: Chain,
        config: LoadConfig,
        ports: Ports,
        version: Version,
        *,
        connections: int,
        pickup_ns: int,
    ) -> None:
        self.chain = chain
        self.config = config
        self.ports = ports
        self.version = version
        self.now = 0
        self.counters = CounterSet()
        self.events = EventRing()
        self.flows = FlowTable(connections, config.workers, self._settle)
        self.fragments = Fragments()
        self.meters = Meters()
        self.neighbours = Neighbours(
            Hooks(self._ask, self._send_waiting, self._give_up, self._neighbour_changed, self._is_next_hop)
        )
        self.witness = Witness()
        self.pickup_until = FOREVER if pickup_ns == FOREVER else 0
        self._pickup_ns = pickup_ns
        self._began = False
        self._picking_up = False
        self._alive_changes = 0
        self._outputs: list[Output] = []
        self._vnic: Entry | None = None
        self._meeting: Meeting | None = None
        self._found: Connection | None = None
        self._at_limit: set[tuple[EventKind, int]] = set()

    @property
    def tables(self) -> Tables:
        return self.version.tables

    # --- from outside ------------------------------------------------------------------------------------------

    def use(self, version: Version) -> None:
        """The tables that packets see from now on."""
        if version is self.version:
            return
        before, self.version = self.tables, version
        self.counters.keep(lambda *row: 0 < before.born(*row) == self.tables.born(*row))
        self.neighbours.keep(self._is_uplink)

    def run(self, packet: PacketIn, witness: bool = False) -> PacketResult:
        """One packet, from the timers that are due before it to the frames that left."""
        self._outputs = []
        self._advance(packet.time_ns)
        self.witness = Witness()  # of this packet alone: what timers did is no step of it
        self.counters.engine["packets"] += 1
        if packet.port in self.ports.configs:
            self.counters.port(packet.port, "rx", len(packet.data))
        self._vnic = self._meeting = self._found = None
        try:
            verdict, reason = self._receive(packet), ""
        except Dropped as dropped:
            verdict, reason = Verdict.DROP, dropped.reason
            self._drop(reason, self._vnic.id if self._vnic else None)
        return PacketResult(verdict, reason, tuple(self._outputs), tuple(self.witness.steps) if witness else ())

    def advance(self, now: int) -> tuple[Output, ...]:
        """Let time pass without a packet; returns what timers sent."""
        self._outputs = []
        self.witness = Witness()
        self._advance(now)
        return tuple(self._outputs)

    def settle(self) -> None:
        """Add what connections have counted so far to the rows that allowed them."""
        for connection in self.flows:
            self._settle(connection)

    def read_counters(self) -> Counters:
        self.counters.engine["flows_now"] = len(self.flows.matching(None, self.now))
        return self.counters.read(self.tables, self.ports.configs)

    @property
    def installed(self) -> Connection | None:
        """The connection that the last packet found installed."""
        return self._found

    def clone(self) -> PathShard:
        """Another shard in the same state, over the same tables and ports."""
        shared = (self.chain, self.config, self.ports, self.version)
        return copy.deepcopy(self, {id(one): one for one in shared})

    # --- what is alive (stage.Network) -------------------------------------------------------------------------

    def link(self, port: int) -> bool:
        return self.ports.link(port)

    def failed(self, uplink: int, address: bytes) -> bool:
        return self.neighbours.failed(NeighbourKey(uplink, address))

    # --- for answers.py ----------------------------------------------------------------------------------------

    def make(self, vnic: Entry, frame: bytes, kind: int) -> None:
        """Send a frame that the card made. Where it can't be sent it is nobody's drop."""
        self.witness.step(StepKind.MAKE, value=kind)
        try:
            self._transmit(vnic, frame)
        except Dropped:
            return

    def answer(self, packet: Packet, ip: bytes, kind: int) -> None:
        """Send an IP packet that the card made to the sender of a packet."""
        frame = packet.frame
        self.make(
            packet.vnic,
            headers.ethernet(frame.source, frame.destination, frame.vlan, headers.ethertype_of(ip), ip),
            kind,
        )

    def confirm(self, uplink: Entry, address: bytes, mac: bytes) -> bool:
        """A neighbour said that it is there; False if nobody asked for it."""
        return self.neighbours.confirm(NeighbourKey(uplink.id, address), mac, self.now)

    def lowest_local(self, vnic: Entry, like: bytes, link_local: bool = False) -> bytes | None:
        """The numerically lowest `local_address` of the vNIC's subnet, of the family of `like`."""
        found = [
            local.address
            for local in self.tables.select("local_address", subnet=vnic.subnet)
            if local.address.startswith(MAPPED) == like.startswith(MAPPED)
            and (link_local or not is_link_local(local.address))
        ]
        return min(found, default=None)

    # --- steps 1 to 15 -----------------------------------------------------------------------------------------

    def _receive(self, arrived: PacketIn) -> Verdict:
        if self.tables.generation == 0:
            raise Dropped("not_configured")
        frame = parse_frame(arrived.data)
        vnic = self.tables.exact("vnic", arrived.port, frame.vlan, frame.source)
        vnic = vnic or self.tables.exact("vnic", arrived.port, frame.vlan, ZERO_MAC)
        if vnic is None:
            raise Dropped("vnic_unknown")
        self._vnic = vnic
        self.counters.vnic(vnic.id, "rx", frame.size)
        if frame.ethertype == ARP_TYPE:
            return answers.take_arp(self, frame, vnic)
        if frame.ethertype not in (IPV4_TYPE, IPV6_TYPE):
            raise Dropped("ethertype_unsupported")
        routed = frame.destination == own_mac(self.tables, vnic)
        packet = parse_ip(frame, vnic, routed, self.now)
        if frame.destination == BROADCAST:
            raise Dropped("broadcast")
        if frame.destination[0] & 1:
            if packet.is_nd:
                return answers.take_nd(self, packet)
            raise Dropped("multicast")
        check_addresses(packet)
        verdict = self._receive_ip(packet)
        if packet.fragment and packet.is_first and self._meeting:
            meeting = self._meeting
            self.fragments.remember(packet, packet.fragment, meeting.connection, meeting.direction)
        return verdict

    def _receive_ip(self, packet: Packet) -> Verdict:
        """Steps 9 to 15."""
        if packet.fragment:
            self.fragments.check(packet, packet.fragment)
            if packet.is_later:
                return self._later_fragment(packet, packet.fragment)
            self.fragments.check_first(packet, packet.fragment)
        parse_transport(packet)
        if packet.is_nd:
            return answers.take_nd(self, packet)
        vnic = packet.vnic
        if not packet.routed and (vnic.role == "uplink" or own_mac(self.tables, vnic) is None):
            raise Dropped("not_for_us")
        if packet.is_icmp:
            if packet.icmp_type == ECHO_REQUEST[packet.protocol] and self._is_to_card(packet):
                return answers.take_echo(self, packet)
            if packet.is_icmp_error:
                return self._icmp_error(packet)
            if packet.icmp_type not in (ECHO_REQUEST[packet.protocol], ECHO_REPLY[packet.protocol]):
                raise Dropped("icmp_type")
        key = key_of(packet)
        found = self.flows.find(key, self.now)
        return self._established(packet, *found, key) if found else self._first_packet(packet, key)

    def _is_to_card(self, packet: Packet) -> bool:
        local = self.tables.exact("local_address", packet.vnic.vrf, packet.destination)
        return packet.routed and local is not None

    def _later_fragment(self, packet: Packet, fragment: Fragment) -> Verdict:
        first = self.fragments.living(packet, fragment)
        if not self.flows.holds(first.connection, self.now):
            raise Dropped("fragment_no_first")
        self.fragments.follow(packet, fragment, first)
        connection, direction = first.connection, first.direction
        self._meet(connection, direction)
        self._decide_again_if_changed(connection, packet)
        if connection.keys[direction].scope != scope_of(packet.vnic):
            raise Dropped("fragment_no_first")
        path = self._checked(packet, connection, direction)
        self._meter(packet, path)
        self._count(packet, connection, direction)
        return self._send(packet, path)

    def _icmp_error(self, packet: Packet) -> Verdict:
        """To the connection of the packet that it quotes."""
        quoted = quoted_tuple(packet)
        key = Key(scope_of(packet.vnic), packet.routed, *quoted) if quoted else None
        found = self.flows.find(key, self.now) if key else None
        if found is None:
            raise Dropped("icmp_error_unrelated")
        connection, direction = found
        self._meet(connection, direction)
        self._decide_again_if_changed(connection, packet)
        if connection.keys[direction] != key:
            raise Dropped("icmp_error_unrelated")
        path = self._checked(packet, connection, direction)
        connection.count(direction, len(packet.ip))
        return self._send(packet, path)

    # --- established -------------------------------------------------------------------------------------------

    def _established(self, packet: Packet, connection: Connection, direction: int, key: Key) -> Verdict:
        self._meet(connection, direction)
        self._decide_again_if_changed(connection, packet)
        if connection.keys[direction] != key:
            return self._first_packet(packet, key)
        path = self._checked(packet, connection, direction)
        if packet.protocol == TCP:
            if packet.bare_syn and connection.tcp in (TcpState.TIME_WAIT, TcpState.CLOSED):
                self.flows.remove(connection)
                return self._first_packet(packet, key)
            self._track(packet, connection, direction)
        self._meter(packet, path)
        self._count(packet, connection, direction)
        return self._send(packet, path)

    def _meet(self, connection: Connection, direction: int) -> None:
        self._meeting = Meeting(connection, direction)
        self._found = connection
        self.witness.step(StepKind.FLOW, identity=connection.id, value=direction)

    def _decided_now(self) -> tuple[int, int]:
        return self.tables.generation, self._alive_changes + self.ports.changes

    def _decide_again_if_changed(self, connection: Connection, packet: Packet) -> None:
        """Step 2: an established connection obeys the tables as they are now."""
        if connection.decided == self._decided_now():
            return
        self.witness.step(StepKind.REEVALUATE, identity=connection.id)
        self.counters.engine["reevaluations"] += 1
        ingress = self.tables.get("vnic", connection.ingress)
        routed = connection.keys[0].routed
        header = connection.header
        if (
            ingress is None
            or scope_of(ingress) != connection.keys[0].scope
            or routed != (header.destination_mac == own_mac(self.tables, ingress))
        ):
            self.flows.remove(connection)
            raise Dropped("vnic_unknown")
        decision = self._decide(replace(header, source_mac=ingress.mac), ingress, routed)
        if isinstance(decision, Drop):
            self.flows.remove(connection)
            raise self._refusal(packet, decision)
        self._settle(connection)
        connection.egress = decision.egress.id
        connection.rules = decision.rules
        connection.counted = self._counted_rows(decision)
        connection.paths = self._paths(header, ingress, routed, decision)
        connection.decided = self._decided_now()
        reply = reply_key(connection.keys[0], decision.egress)
        share = share_of(ingress, decision.egress)
        if self.flows.is_taken(reply, connection, self.now):
            self.flows.remove(connection)
            raise Dropped("flow_table_full")
        if (reply, share) != (connection.keys[1], connection.share):
            self.flows.rekey(connection, reply, share)

    def _checked(self, packet: Packet, connection: Connection, direction: int) -> Path:
        """Steps 3 to 5: the path in this direction, if the packet may go it."""
        path = connection.paths[direction]
        if Op.CHECK_SOURCE_MAC in path.ops and packet.frame.source != packet.vnic.mac:
            raise Dropped("spoofed_mac")
        if not path.routed and packet.frame.destination != path.destination_mac:
            raise Dropped("mac_mismatch")
        self._check_size(packet, path)
        return path

    def _check_size(self, packet: Packet, path: Path) -> None:
        """Does it live long enough, and does it fit?"""
        if path.egress is None:
            raise Dropped(path.drop)
        is_v4 = packet.version == 4
        if path.routed and not path.to_card and packet.ttl <= 1:
            self._tell(packet, *((11, 0) if is_v4 else (3, 0)))
            raise Dropped("ttl_exceeded")
        if len(packet.ip) > path.egress.mtu:
            self._tell(packet, *((3, 4) if is_v4 else (2, 0)), value=path.egress.mtu)
            raise Dropped("mtu_exceeded")

    def _track(self, packet: Packet, connection: Connection, direction: int) -> None:
        closer = connection.first_to_close == direction
        state = track(connection.tcp, packet.flags, direction == 0, closer)
        if state is None:
            raise Dropped("tcp_state")
        if state is TcpState.FIN_WAIT and connection.tcp is not TcpState.FIN_WAIT:
            connection.first_to_close = direction
        connection.tcp = state
        self.witness.step(StepKind.STATE, identity=connection.id, value=state)

    def _meter(self, packet: Packet, path: Path) -> None:
        """What goes to the card's own programs is metered for the vNIC it comes from."""
        if not path.punts:
            return
        vnic = packet.vnic
        if not self.meters.take(vnic.id, vnic.punt_limit or self.config.punt_limit, self.now):
            self._note_limit(EventKind.PUNT_LIMIT, vnic.id)
            raise Dropped("punt_limit")
        self._at_limit.discard((EventKind.PUNT_LIMIT, vnic.id))

    def _count(self, packet: Packet, connection: Connection, direction: int) -> None:
        connection.last_ns = self.now
        connection.replied = connection.replied or direction == 1
        connection.count(direction, len(packet.ip))

    def _send(self, packet: Packet, path: Path) -> Verdict:
        """Step 7."""
        egress = path.egress
        if egress is None:
            raise Dropped(path.drop)
        ip = packet.ip
        source, destination = packet.frame.source, packet.frame.destination
        if path.routed:
            ip = ip if path.to_card else headers.decrement_ttl(ip)
            source, destination = own_mac(self.tables, egress) or ZERO_MAC, egress.mac
        if path.neighbour is not None:
            key = NeighbourKey(egress.id, path.neighbour)
            mac = self.neighbours.resolve(key, Waiting(ip, packet.vnic.id), self.now)
            if mac is None:
                return Verdict.QUEUE
            destination = mac
        frame = headers.ethernet(destination, source, egress.vlan, headers.ethertype_of(ip), ip)
        self._transmit(egress, frame)
        self.witness.step(StepKind.SEND, "vnic", egress.id)
        return Verdict.PUNT if path.punts else Verdict.FORWARD

    # --- first packets -----------------------------------------------------------------------------------------

    def _first_packet(self, packet: Packet, key: Key) -> Verdict:
        self._meeting = None
        header, vnic = packet.header(), packet.vnic
        picked_up = packet.protocol == TCP and not packet.bare_syn
        if picked_up and not self._may_pick_up(packet):
            raise Dropped("tcp_no_session")
        if packet.is_icmp and packet.icmp_type == ECHO_REPLY[packet.protocol]:
            raise Dropped("icmp_type")
        self.counters.engine["chain_walks"] += 1
        decision = self._decide(header, vnic, packet.routed)
        direction, ingress, keys = 0, vnic, (key, key)
        if isinstance(decision, Drop):
            backwards = self._decide_backwards(header, vnic, packet.routed) if picked_up else None
            if backwards is None:
                self._hit(decision.decided_by, header)
                raise self._refusal(packet, decision)
            header, ingress, decision = backwards
            direction = 1
            keys = (reply_key(key, ingress), key)
        else:
            keys = (key, reply_key(key, decision.egress))
        connection = Connection(
            id=0,
            worker=worker_of(hash_of(header, ingress.vrf), self.flows.workers),
            vrf=ingress.vrf,
            header=header,
            keys=list(keys),
            paths=self._paths(header, ingress, packet.routed, decision),
            ingress=ingress.id,
            egress=decision.egress.id,
            rules=decision.rules,
            counted=self._counted_rows(decision),
            share=share_of(ingress, decision.egress),
            decided=self._decided_now(),
            created_ns=self.now,
            last_ns=self.now,
            tcp=initial_state(packet.protocol, picked_up),
        )
        path = connection.paths[direction]
        self._check_size(packet, path)
        self._check_limits(connection)
        self._meter(packet, path)
        self._install(connection, direction, decision)
        if picked_up:
            self.counters.engine["pickups"] += 1
        self._count(packet, connection, direction)
        return self._send(packet, path)

    def _decide(self, header: Header, ingress: Entry, routed: bool) -> Decision | Drop:
        return self.chain.decide(header, ingress, routed, self.tables, self, self.witness)

    def _may_pick_up(self, packet: Packet) -> bool:
        return self.now < self.pickup_until and packet.flags & (ACK | SYN | RST) == ACK

    def _decide_backwards(self, header: Header, vnic: Entry, routed: bool) -> tuple[Header, Entry, Decision] | None:
        """Pick-up of a reply: the other side is the initiator, if its packets would be let through to here."""
        leave = self.chain.where(header, vnic, routed, self.tables, self)
        if isinstance(leave, Drop):
            return None
        initiator = leave.egress
        mirrored = header.reversed()
        if routed:
            own = own_mac(self.tables, initiator)
            mirrored = replace(mirrored, source_mac=initiator.mac, destination_mac=own or ZERO_MAC)
        decision = self._decide(mirrored, initiator, routed)
        if isinstance(decision, Drop) or scope_of(decision.egress) != scope_of(vnic):
            return None
        return mirrored, initiator, decision

    def _check_limits(self, connection: Connection) -> None:
        share = connection.share
        if share:
            row = self.tables.get("vnic", share[0])
            own = share[1] == "own"
            limit = (row.flow_limit if own else row.inbound_flow_limit) if row else 0
            limit = limit or (self.config.flow_limit if own else self.config.inbound_flow_limit)
            if self.flows.share_is_full(share, limit, self.now):
                self._note_limit(EventKind.FLOW_LIMIT, share[0])
                raise Dropped("flow_limit")
            self._at_limit.discard((EventKind.FLOW_LIMIT, share[0]))
        if self.flows.is_full(connection.worker, self.now):
            self._note_limit(EventKind.FLOW_TABLE_FULL, 0)
            raise Dropped("flow_table_full")
        self._at_limit.discard((EventKind.FLOW_TABLE_FULL, 0))
        if any(self.flows.is_taken(key, connection, self.now) for key in connection.keys):
            raise Dropped("flow_table_full")

    def _note_limit(self, kind: EventKind, vnic: int) -> None:
        """One event when a limit begins to bite, not one a packet."""
        if (kind, vnic) not in self._at_limit:
            self._at_limit.add((kind, vnic))
            self.events.add(self.now, kind, "vnic" if kind is not EventKind.FLOW_TABLE_FULL else "", vnic)

    def _install(self, connection: Connection, direction: int, decision: Decision) -> None:
        connection.id = self.flows.next_id()
        self.flows.add(connection)
        self._meeting = Meeting(connection, direction)
        self.witness.step(StepKind.INSTALL, identity=connection.id)
        self.counters.engine["flows_opened"] += 1
        for row in decision.rows:
            self._hit(row, connection.header)

    def _paths(self, header: Header, ingress: Entry, routed: bool, decision: Decision) -> list[Path]:
        """What both directions do."""
        egress = decision.egress
        to_card = "card" in (ingress.role, egress.role)
        there = Path(
            ingress,
            egress,
            decision.neighbour,
            routed,
            header.protocol,
            self.chain.ops(self.tables, ingress),
            header.destination_mac,
            to_card,
        )
        back = Path(
            egress,
            ingress,
            None,
            routed,
            header.protocol,
            self.chain.ops(self.tables, egress),
            header.source_mac,
            to_card,
        )
        if ingress.role == "uplink":
            back = self._way_back(header, back, egress)
        return [there, back]

    def _way_back(self, header: Header, back: Path, egress: Entry) -> Path:
        """Replies to an initiator on an uplink have a route lookup of their own."""
        mirrored = replace(
            header.reversed(),
            source_mac=egress.mac,
            destination_mac=own_mac(self.tables, egress) or ZERO_MAC,
        )
        leave = self.chain.where(mirrored, egress, True, self.tables, self)
        if isinstance(leave, Drop):
            return replace(back, egress=None, drop=leave.reason)
        if leave.egress.id == egress.id:
            return replace(back, egress=None, drop="same_interface")
        to_card = back.to_card or leave.egress.role == "card"
        return replace(back, egress=leave.egress, neighbour=leave.neighbour, to_card=to_card)

    # --- what the card tells -----------------------------------------------------------------------------------

    def _refusal(self, packet: Packet, drop: Drop) -> Dropped:
        """The end of a packet that the chain did not pass; the sender is told if the stage says so."""
        if drop.tell and packet.protocol != TCP:
            self._tell(packet, *((3, 13) if packet.version == 4 else (1, 1)))
        elif drop.tell and not packet.is_later and not packet.flags & RST:
            self.answer(packet, headers.reset(packet), TCP_RST)
        return Dropped(drop.reason)

    def _tell(self, packet: Packet, kind: int, code: int, value: int = 0) -> None:
        """An ICMP error to the sender of a packet, never about an ICMP error or a later fragment."""
        source = self.lowest_local(packet.vnic, packet.source)
        if source is None or packet.is_icmp_error or packet.is_later:
            return
        self.answer(packet, headers.icmp_error(packet, source, kind, code, value), ICMP_ERROR)

    # --- small things ------------------------------------------------------------------------------------------

    def _transmit(self, egress: Entry, frame: bytes) -> None:
        if not self.ports.link(egress.port):
            raise Dropped("port_down")
        if not self.ports.has_room(egress.port):
            self.counters.port_full(egress.port)
            raise Dropped("port_full")
        self._outputs.append(Output(egress.port, frame))
        self.counters.port(egress.port, "tx", len(frame))
        self.counters.vnic(egress.id, "tx", len(frame))

    def _drop(self, reason: str, vnic: int | None) -> None:
        self.counters.drop(reason, vnic)
        self.witness.step(StepKind.DROP, value=self.tables.schema.reason_numbers[reason])

    def _hit(self, row: Entry | None, header: Header) -> None:
        """A row decided a connection, or a first packet that was dropped."""
        if row is None:
            return
        if self.tables.schema.table(row.table).counts:
            self.counters.hit(row.table, row.id)
        if row.table == "firewall_rule" and row.log:
            words = decided_words(row.verdict, header)
            self.events.add(self.now, EventKind.RULE_LOG, row.table, row.id, words)

    def _counted_rows(self, decision: Decision) -> tuple[tuple[str, int, int], ...]:
        """The rows that get a connection's packets and bytes: each once, though it decided on both sides."""
        counting = (row for row in decision.rows if self.tables.schema.table(row.table).counts)
        return tuple((row.table, row.id, self.tables.born(row.table, row.id)) for row in counting)

    def _settle(self, connection: Connection) -> None:
        packets, size = connection.unsettled()
        for table, identity, born in connection.counted:
            if packets and self.tables.born(table, identity) == born:
                self.counters.traffic(table, identity, packets, size)

    def _advance(self, now: int) -> None:
        if now < self.now:
            raise HalError(ErrorKind.INVALID, "packet", field="time_ns", limit=f"{self.now} or later", got=now)
        if not self._began and 0 < self._pickup_ns < FOREVER:
            self.pickup_until = now + self._pickup_ns
            self._picking_up = True
            self.events.add(now, EventKind.PICKUP_BEGIN)
        self._began = True
        if self._picking_up and now >= self.pickup_until:
            self._picking_up = False
            self.events.add(now, EventKind.PICKUP_END)
        self.neighbours.advance(now)
        self.now = now

    def _is_uplink(self, identity: int) -> bool:
        vnic = self.tables.get("vnic", identity)
        return vnic is not None and vnic.role == "uplink"

    def _next_hops(self, key: NeighbourKey) -> tuple[Entry, ...]:
        uplink = self.tables.get("vnic", key.uplink)
        if uplink is None:
            return ()
        return self.tables.select("next_hop", port=uplink.port, vlan=uplink.vlan, address=key.address)

    def _is_next_hop(self, key: NeighbourKey) -> bool:
        return bool(self._next_hops(key))

    def _neighbour_changed(self, key: NeighbourKey, alive: bool) -> None:
        self._alive_changes += 1
        kind = EventKind.NEXT_HOP_UP if alive else EventKind.NEXT_HOP_DOWN
        for hop in self._next_hops(key):
            self.events.add(self.now, kind, "next_hop", hop.id)

    def _ask(self, key: NeighbourKey) -> None:
        answers.ask_neighbour(self, key)

    def _send_waiting(self, key: NeighbourKey, mac: bytes, waiting: Waiting) -> None:
        uplink = self.tables.get("vnic", key.uplink)
        if uplink is None:
            return
        ethertype = headers.ethertype_of(waiting.ip)
        try:
            self._transmit(uplink, headers.ethernet(mac, uplink.mac, uplink.vlan, ethertype, waiting.ip))
        except Dropped as dropped:
            self._drop(dropped.reason, waiting.vnic)

    def _give_up(self, waiting: Waiting) -> None:
        self._drop("neighbour_unresolved", waiting.vnic)


def key_of(packet: Packet) -> Key:
    return Key(
        scope_of(packet.vnic),
        packet.routed,
        packet.protocol,
        packet.source,
        packet.destination,
        packet.source_port,
        packet.destination_port,
    )


def reply_key(key: Key, egress: Entry) -> Key:
    """The key of the packets that come back."""
    return Key(
        scope_of(egress),
        key.routed,
        key.protocol,
        key.destination,
        key.source,
        key.destination_port,
        key.source_port,
    )


def share_of(ingress: Entry, egress: Entry) -> Share | None:
    """What a connection counts against."""
    if ingress.role == "vnic":
        return ingress.id, "own"
    return (egress.id, "inbound") if egress.role == "vnic" else None
