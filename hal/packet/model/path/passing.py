"""What every packet of a connection passes, the first one too: steps 3 to 7 of *Established* in docs/forwarding.md."""

from __future__ import annotations

from hal.packet.contract import EventKind, StepKind, TcpState, Verdict
from hal.packet.model import headers
from hal.packet.model.chain import own_mac
from hal.packet.model.flows import Connection, track
from hal.packet.model.neighbours import NeighbourKey, Waiting
from hal.packet.model.ops import Path
from hal.packet.model.parse import ZERO_MAC, Dropped, Packet
from hal.packet.model.path.state import State
from hal.packet.model.stage import Op


class Passing(State):
    """Checks, TCP, meters, counting, and the frame that leaves."""

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
