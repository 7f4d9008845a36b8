"""*Order of checks* of docs/forwarding.md: the way of a packet from the port to its connection."""

from __future__ import annotations

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LONGEST_FRAME, PacketIn, PacketResult, Verdict
from hal.packet.model import answers
from hal.packet.model.chain import own_mac
from hal.packet.model.keys import Key, scope_of
from hal.packet.model.parse import (
    ARP_TYPE,
    BROADCAST,
    ECHO_REPLY,
    ECHO_REQUEST,
    IPV4_TYPE,
    IPV6_TYPE,
    ZERO_MAC,
    Dropped,
    Packet,
    check_addresses,
    parse_frame,
    parse_ip,
    parse_transport,
)
from hal.packet.model.path.established import Established
from hal.packet.model.stage import Witness


class PathShard(Established):
    """Flows, fragments, neighbours, meters and counters, and the way of packets through them.

    Args:
        chain: the stages.
        config: limits.
        ports: where frames leave.
        version: the generation to begin with.
        connections: how many fit in each worker.
        pickup_ns: for how long, from the first packet on, mid-stream TCP may open its flow; FOREVER.
    """

    def run(self, packet: PacketIn, witness: bool = False) -> PacketResult:
        """One packet, from the timers that are due before it to the frames that left."""
        if len(packet.data) > LONGEST_FRAME:
            limit = f"{LONGEST_FRAME} bytes"
            raise HalError(ErrorKind.INVALID, "packet", field="data", limit=limit, got=len(packet.data))
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

    # --- steps 1 to 15 -----------------------------------------------------------------------------------------------

    def _receive(self, arrived: PacketIn) -> Verdict:
        if self.tables.generation == 0 or any(owner not in self.version.tags for owner in self.config.awaited):
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
