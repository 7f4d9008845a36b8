"""What the path keeps between packets, how time passes in it, what it counts and tells, and how frames leave."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LATEST_NS, LOGS_PER_SECOND, Counters, EventKind, LoadConfig, Output, StepKind
from hal.packet.model import answers, headers
from hal.packet.model.chain import Chain, Decision
from hal.packet.model.counters import CounterSet, EventRing
from hal.packet.model.flows import Connection, FlowTable, Share
from hal.packet.model.fragments import Fragments
from hal.packet.model.meters import Meters
from hal.packet.model.neighbours import Hooks, NeighbourKey, Neighbours, Waiting
from hal.packet.model.parse import RST, Dropped, Packet, is_link_local
from hal.packet.model.ports import Ports
from hal.packet.model.rows import Entry
from hal.packet.model.stage import TCP, Drop, Header, Witness
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


class State:
    """Flows, fragments, neighbours, meters and counters of one shard; what its layers above stand on.

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
        self.version = version
        self.now = 0
        self.counters = CounterSet()
        self.events = EventRing()
        self.flows = FlowTable(connections, config.workers, self._settle)
        self.fragments = Fragments()
        self.meters: Meters[int] = Meters()
        self.logs: Meters[Share] = Meters()
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

    # --- from outside ------------------------------------------------------------------------------------------------

    def use(self, version: Version) -> None:
        """The tables that packets see from now on."""
        if version is self.version:
            return
        before, self.version = self.tables, version
        self.counters.keep(lambda *row: 0 < before.born(*row) == self.tables.born(*row))
        self.neighbours.keep(self._is_uplink)

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

    def clone(self) -> Self:
        """Another shard in the same state, over the same tables and ports."""
        shared = (self.chain, self.config, self.ports, self.version)
        return copy.deepcopy(self, {id(one): one for one in shared})

    # --- what is alive (stage.Network) -------------------------------------------------------------------------------

    def link(self, port: int) -> bool:
        return self.ports.link(port)

    def failed(self, uplink: int, address: bytes) -> bool:
        return self.neighbours.failed(NeighbourKey(uplink, address))

    # --- for answers.py ----------------------------------------------------------------------------------------------

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

    # --- what is told to senders -------------------------------------------------------------------------------------

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

    # --- frames that leave, what counts ------------------------------------------------------------------------------

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

    def _note_limit(self, kind: EventKind, vnic: int) -> None:
        """One event when a limit begins to bite, not one a packet."""
        if (kind, vnic) not in self._at_limit:
            self._at_limit.add((kind, vnic))
            self.events.add(self.now, kind, "vnic" if kind is not EventKind.FLOW_TABLE_FULL else "", vnic)

    def _hit(self, row: Entry | None, header: Header, share: Share) -> None:
        """A row decided a connection, or a first packet that was dropped; what it logs counts against `share`."""
        if row is None:
            return
        if self.tables.schema.table(row.table).counts:
            self.counters.hit(row.table, row.id)
        if row.table == "firewall_rule" and row.log:
            if not self.logs.take(share, LOGS_PER_SECOND, self.now):
                self.counters.engine["logs_suppressed"] += 1
                return
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

    # --- time --------------------------------------------------------------------------------------------------------

    def _advance(self, now: int) -> None:
        if now < self.now:
            raise HalError(ErrorKind.INVALID, "packet", field="time_ns", limit=f"{self.now} or later", got=now)
        if now > LATEST_NS:
            raise HalError(ErrorKind.INVALID, "packet", field="time_ns", limit="0..2^63 - 1", got=now)
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

    # --- neighbours --------------------------------------------------------------------------------------------------

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
