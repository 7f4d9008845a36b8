"""*Established*, step 7 of docs/forwarding.md: the packet is rewritten and leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hal.packet.contract import StepKind, Verdict
from hal.packet.model import headers
from hal.packet.model.chain import own_mac
from hal.packet.model.flows import Connection
from hal.packet.model.neighbours import NeighbourKey, Neighbours, Waiting
from hal.packet.model.parse import ZERO_MAC, Dropped
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.wire import Wire
from hal.packet.model.rows import Entry

if TYPE_CHECKING:  # whose challenges are sent by this
    from hal.packet.model.path.meeting import Meeting


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
            mac = self._neighbours.resolve(key, Waiting(replace(packet, ip=ip), self._moment.now))
            if mac is None:
                return Verdict.QUEUE
            destination = mac
        self._wire.transmit(egress, _frame(egress, destination, source, ip))
        self._moment.witness.step(StepKind.SEND, "vnic", egress.id)
        return Verdict.PUNT if path.punts else Verdict.FORWARD

    def make(self, connection: Connection, direction: int, ip: bytes, kind: int) -> None:
        """Send what the card makes in the name of this direction's sender, the way that his packets take: whoever only
        says that he is the other one, from another MAC or interface, does not get it. Nothing leaves where there is no
        way, or where the neighbour on it is not known yet."""
        path, forth = connection.paths[direction], connection.paths[1 - direction]
        egress = path.egress
        if egress is None:
            return
        source, destination = forth.destination_mac, path.destination_mac
        if path.routed:
            source, destination = own_mac(self._moment.tables, egress) or ZERO_MAC, egress.mac
        if path.neighbour is not None:
            key = NeighbourKey(egress.id, path.neighbour)
            mac = self._neighbours.want(key, path.ingress.id, self._moment.now)
            if mac is None:
                return
            destination = mac
        self._wire.make(egress, _frame(egress, destination, source, ip), kind)


def _frame(egress: Entry, destination: bytes, source: bytes, ip: bytes) -> bytes:
    return headers.ethernet(destination, source, egress.vlan, headers.ethertype_of(ip), ip)
