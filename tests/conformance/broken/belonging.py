"""Wrong about packets that pass because of another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hal.packet.contract import Verdict
from hal.packet.model.chain import Chain
from hal.packet.model.keys import Key, scope_of
from hal.packet.model.parse import ICMP_ERRORS, Packet, quoted_tuple
from hal.packet.model.path import PathShard
from hal.packet.model.stage import TCP, Entry, Header, Tables
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "errors_go_to_who_sent_the_packet")
class ToAnybody(PathShard):
    """ICMP errors pass whoever they are sent to"""

    def _icmp_error(self, packet: Packet) -> Verdict:
        quoted = quoted_tuple(packet)
        return super()._icmp_error(replace(packet, destination=quoted[2]) if quoted else packet)


@breaks(BREAKS, "errors_are_about_packets_that_were")
class AboutNothing(PathShard):
    """ICMP errors pass whether a packet went before them or not"""

    def _icmp_error(self, packet: Packet) -> Verdict:
        quoted = quoted_tuple(packet)
        key = Key(scope_of(packet.vnic), packet.routed, *quoted) if quoted else None
        found = self.flows.find(key, self.now) if key else None
        if found is None:
            return super()._icmp_error(packet)
        connection, direction = found
        connection.packets[1 - direction] += 1
        try:
            return super()._icmp_error(packet)
        finally:
            connection.packets[1 - direction] -= 1


@breaks(BREAKS, "errors_are_not_spoofed")
class SpoofedErrors(Chain):
    """ICMP errors pass from any address"""

    def source_is_wrong(self, tables: Tables, header: Header, vnic: Entry) -> str:
        is_error = header.icmp_type in ICMP_ERRORS.get(header.protocol, ())
        return "" if is_error else super().source_is_wrong(tables, header, vnic)


@breaks(BREAKS, "errors_to_the_card_are_metered")
class FreeErrors(PathShard):
    """ICMP errors to the card count against no limit"""

    def _meter(self, packet: Packet, path: Any) -> None:
        if not packet.is_icmp_error:
            super()._meter(packet, path)


@breaks(BREAKS, "spoofed_replies_are_not_picked_up")
class SpoofedReplies(Chain):
    """replies are picked up from any address"""

    def source_is_wrong(self, tables: Tables, header: Header, vnic: Entry) -> str:
        return "" if header.protocol == TCP else super().source_is_wrong(tables, header, vnic)


@breaks(BREAKS, "fragments_begin_behind_their_header")
class FromTheTransport(PathShard):
    """fragments are measured from the transport header on"""

    def _receive_ip(self, packet: Packet) -> Verdict:
        if packet.fragment:
            packet.fragment = replace(packet.fragment, begin=packet.transport)
        return super()._receive_ip(packet)


@breaks(BREAKS, "datagrams_are_as_long_as_headers_say")
class BytesAlone(PathShard):
    """the IPv4 header counts nothing in how long a datagram may be"""

    def _receive_ip(self, packet: Packet) -> Verdict:
        if packet.fragment:
            packet.fragment = replace(packet.fragment, before=0)
        return super()._receive_ip(packet)
