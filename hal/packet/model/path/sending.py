"""*Established*, step 7 of docs/forwarding.md: the packet is rewritten and leaves."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import StepKind, Verdict
from hal.packet.model import headers
from hal.packet.model.chain import own_mac
from hal.packet.model.neighbours import NeighbourKey, Neighbours, Waiting
from hal.packet.model.parse import ZERO_MAC, Dropped
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.wire import Wire


class Sending:
    """Sends what passed, or has it wait for its neighbour."""

    def __init__(self, moment: Moment, wire: Wire, neighbours: Neighbours) -> None:
        self._moment = moment
        self._wire = wire
        self._neighbours = neighbours

    def send(self, meeting: Meeting) -> Verdict:
        """Raises Dropped: `port_down`, `port_full`, and what *Neighbours* says of one that does not answer."""
        packet, path = meeting.packet, meeting.path
        egress = path.egress
        if egress is None:
            raise Dropped(path.drop)
        ip = packet.ip
        source, destination = packet.frame.source, packet.frame.destination
        if path.routed:
            ip = ip if path.to_card else headers.decrement_ttl(ip)
            source, destination = own_mac(self._moment.tables, egress) or ZERO_MAC, egress.mac
        if path.neighbour is not None:
            key = NeighbourKey(egress.id, path.neighbour)
            mac = self._neighbours.resolve(key, Waiting(replace(packet, ip=ip)), self._moment.now)
            if mac is None:
                return Verdict.QUEUE
            destination = mac
        self._wire.transmit(egress, headers.ethernet(destination, source, egress.vlan, headers.ethertype_of(ip), ip))
        self._moment.witness.step(StepKind.SEND, "vnic", egress.id)
        return Verdict.PUNT if path.punts else Verdict.FORWARD
