"""Wrong about packets that pass because of another one."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from hal.packet.model.chain import Chain, Decision
from hal.packet.model.fragments import Fragments
from hal.packet.model.icmp_errors import quoted_packet
from hal.packet.model.keys import Key, scope_of
from hal.packet.model.parse import ICMP_ERRORS, Packet
from hal.packet.model.path.errors import Errors
from hal.packet.model.path.limits import Limits, Punt
from hal.packet.model.path.meeting import By, Meeting, Meetings
from hal.packet.model.stage import TCP, UDP, Drop, Entry, Header, Leave, Network, Tables, Witness
from tests.conformance.broken.parts import Breaks, breaks

BREAKS: Breaks = {}


@breaks(BREAKS, "errors_go_to_who_sent_the_packet")
class ToAnybody(Meetings):
    """ICMP errors pass whoever they are sent to"""

    def by_quote(self, packet: Packet) -> Meeting:
        quoted = quoted_packet(packet)
        return super().by_quote(replace(packet, destination=quoted.destination) if quoted else packet)


@breaks(BREAKS, "errors_are_about_packets_that_were")
class AboutNothing(Meetings):
    """ICMP errors pass whether a packet went before them or not"""

    def by_quote(self, packet: Packet) -> Meeting:
        quoted = quoted_packet(packet)
        key = Key(scope_of(packet.vnic), packet.routed, *quoted[:5]) if quoted else None
        found = self._flows.find(key, self._moment.now) if key else None
        if found is None:
            return super().by_quote(packet)
        connection, direction = found
        connection.packets[1 - direction] += 1
        try:
            return super().by_quote(packet)
        finally:
            connection.packets[1 - direction] -= 1


@breaks(BREAKS, "errors_are_not_spoofed")
class SpoofedErrors(Chain):
    """vNICs' ICMP errors pass from any address"""

    def source_is_wrong(self, tables: Tables, header: Header, vnic: Entry) -> str:
        is_error = header.icmp_type in ICMP_ERRORS.get(header.protocol, ())
        return "" if is_error and vnic.role == "vnic" else super().source_is_wrong(tables, header, vnic)


@breaks(BREAKS, "errors_about_one_connection_are_limited")
class AnyNumber(Errors):
    """as many ICMP errors about UDP pass as come"""

    def take(self, packet: Packet, key: Key) -> None:
        if key.protocol != UDP:
            super().take(packet, key)


@breaks(BREAKS, "errors_count_before_their_number")
class OnlyWhatFits(Meetings):
    """ICMP errors that quote a wrong number take nothing"""

    def by_quote(self, packet: Packet) -> Meeting:
        with mock.patch.object(self._errors, "take"):
            meeting = super().by_quote(packet)
        self._errors.take(packet, meeting.key)
        return meeting


@breaks(BREAKS, "errors_to_the_card_are_metered")
class FreeErrors(Limits):
    """ICMP errors to the card count against no limit"""

    def punt(self, meeting: Meeting) -> Punt | None:
        return super().punt(meeting) if meeting.by is not By.QUOTE else None


@breaks(BREAKS, "spoofed_replies_are_not_picked_up")
class SpoofedReplies(Chain):
    """replies are picked up from any address"""

    def source_is_wrong(self, tables: Tables, header: Header, vnic: Entry) -> str:
        return "" if header.protocol == TCP else super().source_is_wrong(tables, header, vnic)


@breaks(BREAKS, "nobody_outside_is_one_of_us")
class AnybodyOutside(Chain):
    """connections are opened by an uplink from a vNIC's address"""

    def decide(
        self, header: Header, ingress: Entry, routed: bool, tables: Tables, network: Network, witness: Witness
    ) -> Decision | Drop:
        judged = super().decide(header, ingress, routed, tables, network, witness)
        leave = self.where(header, ingress, routed, tables, network)
        if isinstance(leave, Leave) and isinstance(judged, Drop) and judged.reason == "address_conflict":
            return Decision(leave.egress, leave.neighbour, (None, None))
        return judged


@breaks(BREAKS, "nobody_outside_is_one_of_us")
class SaidOutside(Chain):
    """echo requests and ICMP errors come by an uplink from a vNIC's address"""

    def source_is_wrong(self, tables: Tables, header: Header, vnic: Entry) -> str:
        reason = super().source_is_wrong(tables, header, vnic)
        return "" if reason == "address_conflict" else reason


@breaks(BREAKS, "fragments_begin_behind_their_header")
class FromTheTransport(Fragments):
    """fragments are measured from the transport header on"""

    def admit(self, packet: Packet) -> None:
        if packet.fragment:
            packet.fragment = replace(packet.fragment, begin=packet.transport)
        super().admit(packet)


@breaks(BREAKS, "datagrams_are_as_long_as_headers_say")
class BytesAlone(Fragments):
    """the IPv4 header counts nothing in how long a datagram may be"""

    def admit(self, packet: Packet) -> None:
        if packet.fragment:
            packet.fragment = replace(packet.fragment, before=0)
        super().admit(packet)
