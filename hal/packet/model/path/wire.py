"""Frames that leave: those that pass, those that the card makes, and what senders of dropped packets are told."""

from __future__ import annotations

from collections.abc import Callable

from hal.packet.contract import Output, StepKind
from hal.packet.model import headers
from hal.packet.model.chain import lowest_local
from hal.packet.model.counters import CounterSet
from hal.packet.model.parse import RST, Dropped, Packet, Tell
from hal.packet.model.path.moment import Moment
from hal.packet.model.ports import Ports
from hal.packet.model.rows import Entry
from hal.packet.model.stage import TCP

ARP, ND, ECHO, ICMP_ERROR, TCP_RST, TCP_CHALLENGE = range(1, 7)
"""Kinds of packets made, as `StepKind.MAKE` numbers them."""


class Wire:
    """The ports of a shard. `outputs` is what has left since it was last emptied."""

    def __init__(
        self, moment: Moment, ports: Ports, counters: CounterSet, may_tell: Callable[[Packet, Tell], bool]
    ) -> None:
        self.outputs: list[Output] = []
        self._moment = moment
        self._ports = ports
        self._counters = counters
        self._may_tell = may_tell

    def transmit(self, egress: Entry, frame: bytes) -> None:
        if not self._ports.link(egress.port):
            raise Dropped("port_down")
        if not self._ports.has_room(egress.port):
            self._counters.port_full(egress.port)
            raise Dropped("port_full")
        self.outputs.append(Output(egress.port, frame))
        self._counters.port(egress.port, "tx", len(frame))
        self._counters.vnic(egress.id, "tx", len(frame))

    def drop(self, reason: str, vnic: int | None) -> None:
        """A packet from this vNIC ends here."""
        self.lose(reason, vnic)
        self._moment.witness.step(StepKind.DROP, value=self._moment.tables.schema.reason_numbers[reason])

    def lose(self, reason: str, vnic: int | None) -> None:
        """The same of one that isn't the running packet: no step of that one."""
        self._counters.drop(reason, vnic)

    # --- packets that the card makes ---------------------------------------------------------------------------------

    def make(self, vnic: Entry, frame: bytes, kind: int) -> None:
        """Send a frame that the card made. Where it can't be sent it is nobody's drop."""
        self._moment.witness.step(StepKind.MAKE, value=kind)
        try:
            self.transmit(vnic, frame)
        except Dropped:
            return

    def answer(self, packet: Packet, ip: bytes, kind: int) -> None:
        """Send an IP packet that the card made to the sender of a packet."""
        frame = packet.frame
        made = headers.ethernet(frame.source, frame.destination, frame.vlan, headers.ethertype_of(ip), ip)
        self.make(packet.vnic, made, kind)

    def tell(self, packet: Packet, news: Tell) -> None:
        """Tell the sender of a dropped packet: never about an ICMP error, a later fragment or a RST."""
        if packet.is_later:
            return
        if news.resets and packet.protocol == TCP:
            if not packet.flags & RST and self._may_tell(packet, news):
                self.answer(packet, headers.reset(packet), TCP_RST)
            return
        source = lowest_local(self._moment.tables, packet.vnic, packet.source)
        if source is None or packet.is_icmp_error or not self._may_tell(packet, news):
            return
        kind, code = news.v4 if packet.version == 4 else news.v6
        self.answer(packet, headers.icmp_error(packet, source, kind, code, news.value), ICMP_ERROR)
