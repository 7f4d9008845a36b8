"""From a frame to a packet: steps 2 to 10 of docs/forwarding.md, as far as the bytes alone say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hal.packet.model.options import IllegalLengthError, walk
from hal.packet.model.rows import Entry
from hal.packet.model.stage import ICMP, ICMP6, TCP, UDP, Header, Told
from hal.packet.schema.rows import MAPPED

ARP_TYPE, IPV4_TYPE, VLAN_TYPE, IPV6_TYPE = 0x0806, 0x0800, 0x8100, 0x86DD
TAG_TYPES = (VLAN_TYPE, 0x88A8, 0x9100)
BROADCAST = b"\xff" * 6
ZERO_MAC = bytes(6)
LINK_CONTROL = bytes.fromhex("0180c20000")
"""Addresses that begin so and end in 00 to 0f bridges keep to themselves (IEEE 802.1Q 8.6.3)."""
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ND_TYPES = range(133, 138)
ECHO_REQUEST = {ICMP: 8, ICMP6: 128}
ECHO_REPLY = {ICMP: 0, ICMP6: 129}
ROUTER_ADVERTISEMENT, REDIRECT = 134, 137
ICMP_ERRORS = {ICMP: (3, 11, 12), ICMP6: (1, 2, 3, 4)}


class Tell(NamedTuple):
    """The ICMP error that a dropped packet's sender is told: type and code by family, and what its second word says.
    `resets`: to TCP it is a RST instead. `living`: the packet is of a connection that lives, which is too large for it
    now and then: that is told apart from all else."""

    v4: tuple[int, int]
    v6: tuple[int, int]
    value: int = 0
    resets: bool = False
    living: bool = False


UNREACHABLE = {
    Told.NOTHING: None,
    Told.REFUSED: Tell(v4=(3, 13), v6=(1, 1), resets=True),
    Told.NO_ROUTE: Tell(v4=(3, 0), v6=(1, 0)),
    Told.NO_HOST: Tell(v4=(3, 1), v6=(1, 3)),
}
"""Destination unreachable, as a stage says (RFC 1812 5.2.7.1, RFC 4443 3.1)."""

HOST_UNREACHABLE = Tell(v4=(3, 1), v6=(1, 3))
"""Nobody answers for the address of whoever is next on the way (RFC 1812 5.2.7.1, RFC 4861 7.2.2)."""


class Ask(NamedTuple):
    """The ACK that asks whether a TCP segment was meant (RFC 5961): it has these numbers."""

    sequence: int
    acknowledgement: int
    window: int


class Dropped(Exception):
    """The packet ends here; `tell` is what its sender is told, if anything."""

    def __init__(self, reason: str, tell: Tell | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tell = tell


@dataclass(frozen=True)
class Frame:
    """An Ethernet frame, its VLAN tag taken off. `payload` is what follows the EtherType, padding included."""

    destination: bytes
    source: bytes
    vlan: int
    ethertype: int
    payload: bytes
    size: int
    """Bytes as it came, tag included."""


@dataclass(frozen=True)
class Fragment:
    """A piece of the fragmentable part of a datagram: what follows its IPv4 header (RFC 791 2.3), or its IPv6 fragment
    header, extension headers among it (RFC 8200 4.5).

    Args:
        offset: of the piece, in bytes of this part.
        more: others follow.
        begin: where in this packet the piece begins.
        before: bytes that IPv4's total length, or IPv6's payload length, counts before this part when it is whole.
    """

    identification: int
    offset: int
    more: bool
    begin: int
    before: int


@dataclass
class Packet:
    """An IP packet on its way. `ip` is the datagram without padding; `transport` is where its transport begins."""

    frame: Frame
    vnic: Entry
    routed: bool
    ip: bytes
    version: int
    source: bytes
    destination: bytes
    ttl: int
    protocol: int
    transport: int
    fragment: Fragment | None = None
    has_fragment_header: bool = False
    """IPv6 with a fragment header, be it an atomic one (RFC 6946)."""
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = 0
    flags: int = 0
    offer: int | None = None
    """The window scale that a SYN offers, at most 14."""
    signed: bool = False
    """A SYN that has a signature: TCP-MD5 or TCP-AO (RFC 2385, 5925)."""
    now: int = 0

    @property
    def payload(self) -> bytes:
        """The transport header and what follows it."""
        return self.ip[self.transport :]

    def end_of(self, fragment: Fragment) -> int:
        """Where its piece ends, in bytes of the fragmentable part."""
        return fragment.offset + len(self.ip) - fragment.begin

    @property
    def to_group(self) -> bool:
        """Sent to a group MAC, broadcast among them."""
        return bool(self.frame.destination[0] & 1)

    @property
    def is_multicast(self) -> bool:
        """Sent to an IP multicast address (RFC 1112 4, RFC 4291 2.7)."""
        return self.destination[12] >> 4 == 14 if self.version == 4 else self.destination[0] == 0xFF

    @property
    def is_first(self) -> bool:
        """True for a first fragment."""
        return self.fragment is not None and self.fragment.offset == 0

    @property
    def is_later(self) -> bool:
        return self.fragment is not None and self.fragment.offset > 0

    @property
    def is_icmp(self) -> bool:
        return self.protocol == (ICMP if self.version == 4 else ICMP6)

    @property
    def is_nd(self) -> bool:
        """Neighbour or router discovery, by its type alone."""
        return (
            self.version == 6
            and self.protocol == ICMP6
            and not self.is_later
            and len(self.payload) > 0
            and self.payload[0] in ND_TYPES
        )

    @property
    def ports(self) -> tuple[int, int]:
        """Of a packet to a group, whose transport isn't parsed; (0, 0) where they aren't there."""
        return (word(self.payload, 0), word(self.payload, 2)) if len(self.payload) >= 4 else (0, 0)

    @property
    def is_icmp_error(self) -> bool:
        return self.is_icmp and not self.is_later and self.icmp_type in ICMP_ERRORS[self.protocol]

    @property
    def bare_syn(self) -> bool:
        return self.protocol == TCP and self.flags & (SYN | ACK) == SYN

    def header(self) -> Header:
        return Header(
            self.frame.source,
            self.frame.destination,
            self.protocol,
            self.source,
            self.destination,
            self.source_port,
            self.destination_port,
            self.icmp_type,
        )


def word(data: bytes, offset: int, size: int = 2) -> int:
    return int.from_bytes(data[offset : offset + size], "big")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(word(data + b"\0", offset) for offset in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def parse_frame(data: bytes) -> Frame:
    """Step 2: Ethernet and one 802.1Q tag."""
    if len(data) < 14:
        raise Dropped("ethernet_truncated")
    destination, source, kind = data[:6], data[6:12], word(data, 12)
    if destination.startswith(LINK_CONTROL) and destination[5] < 16:
        raise Dropped("link_control")
    if source == ZERO_MAC or source[0] & 1:
        raise Dropped("ethernet_source_invalid")
    vlan, start = 0, 14
    if kind == VLAN_TYPE:
        if len(data) < 18:
            raise Dropped("ethernet_truncated")
        vlan, kind, start = word(data, 14) & 0xFFF, word(data, 16), 18
        if kind in TAG_TYPES:
            raise Dropped("vlan_nested")
    elif kind in TAG_TYPES:
        raise Dropped("vlan_nested")
    if kind < 0x0600:
        raise Dropped("llc")
    return Frame(destination, source, vlan, kind, data[start:], len(data))


def parse_ip(frame: Frame, vnic: Entry, routed: bool, now: int) -> Packet:
    """Steps 4 and 6: the IP header and what stands between it and the transport."""
    if frame.ethertype not in (IPV4_TYPE, IPV6_TYPE):
        raise Dropped("ethertype_unsupported")
    packet = _parse_ipv4(frame, vnic, routed) if frame.ethertype == IPV4_TYPE else _parse_ipv6(frame, vnic, routed)
    packet.now = now
    return packet


def _parse_ipv4(frame: Frame, vnic: Entry, routed: bool) -> Packet:
    data = frame.payload
    if len(data) < 20:
        raise Dropped("ipv4_truncated")
    size, total = (data[0] & 15) * 4, word(data, 2)
    if data[0] >> 4 != 4 or size < 20 or total < size:
        raise Dropped("ipv4_header")
    if size > len(data) or total > len(data):
        raise Dropped("ipv4_truncated")
    if checksum(data[:size]):
        raise Dropped("ipv4_checksum")
    _check_options(data[20:size])
    offset, more = (word(data, 6) & 0x1FFF) * 8, bool(data[6] & 0x20)
    return Packet(
        frame,
        vnic,
        routed,
        ip=data[:total],
        version=4,
        source=MAPPED + data[12:16],
        destination=MAPPED + data[16:20],
        ttl=data[8],
        protocol=data[9],
        transport=size,
        fragment=Fragment(word(data, 4), offset, more, size, size) if offset or more else None,
    )


WINDOW_SCALE, LARGEST_SCALE = 3, 14  # RFC 7323 2.2, 2.3
SIGNATURES = {19: range(16, 17), 29: range(2, 39)}  # kinds, and bytes of their values: RFC 2385 3.0, RFC 5925 2.2
SOURCE_ROUTES = (131, 137)
REFUSED_OPTIONS = (7, 68, 11, 12, 82, 136, 142, 145, 147, 149, 151, 152)
"""Record route, timestamp, and what is obsolete: RFC 7126 4 advises to drop these."""


def _check_options(options: bytes) -> None:
    """RFC 791 3.1. What nobody knows is left alone (RFC 1812 5.2.4)."""
    try:
        for kind, _ in walk(options):
            if kind in SOURCE_ROUTES:
                raise Dropped("source_route")
            if kind in REFUSED_OPTIONS:
                raise Dropped("ipv4_option_refused")
    except IllegalLengthError:
        raise Dropped("ipv4_options") from None


def _parse_ipv6(frame: Frame, vnic: Entry, routed: bool) -> Packet:
    data = frame.payload
    if len(data) < 40:
        raise Dropped("ipv6_truncated")
    length, following = word(data, 4), data[6]
    if data[0] >> 4 != 6 or (length == 0 and following == 0):
        raise Dropped("ipv6_header")
    if 40 + length > len(data):
        raise Dropped("ipv6_truncated")
    ip = data[: 40 + length]
    walked = walk_extensions(ip)
    return Packet(
        frame,
        vnic,
        routed,
        ip=ip,
        version=6,
        source=ip[8:24],
        destination=ip[24:40],
        ttl=ip[7],
        protocol=walked.protocol,
        transport=walked.transport,
        fragment=walked.fragment,
        has_fragment_header=walked.has_fragment_header,
    )


HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS)
MOST_EXTENSIONS, MOST_EXTENSION_BYTES = 8, 256
REFUSED_ROUTING = (0, 1, 3)
"""Routing types that RFC 5095 and RFC 9288 3.5.2.5 drop; RFC 5095 4.2 lets all others pass."""
JUMBO_PAYLOAD, HOME_ADDRESS = 0xC2, 0xC9


class Walked(NamedTuple):
    """What an IPv6 header's chain leads to: the transport protocol, and where in the packet it begins."""

    protocol: int
    transport: int
    fragment: Fragment | None
    has_fragment_header: bool


def walk_extensions(ip: bytes) -> Walked:
    """Through the extension headers (RFC 8200 4). Raises Dropped where they are against the rules."""
    following, place, fragment, fragmented = ip[6], 40, None, False
    count = 0
    while following in EXTENSIONS:
        # A first fragment has the whole chain (RFC 7112 5).
        cut = "fragment_tiny" if fragment else "ipv6_extension"
        twice = (following == HOP_BY_HOP and count) or (following == FRAGMENT and fragmented)
        if count == MOST_EXTENSIONS or twice:
            raise Dropped("ipv6_extension")
        if place + 8 > len(ip):
            raise Dropped(cut)
        size = {FRAGMENT: 8, AUTHENTICATION: (ip[place + 1] + 2) * 4}.get(following, (ip[place + 1] + 1) * 8)
        if place + size - 40 > MOST_EXTENSION_BYTES:
            raise Dropped("ipv6_extension")
        if place + size > len(ip):
            raise Dropped(cut)
        _check_extension(following, ip[place : place + size])
        if following == FRAGMENT:
            fragmented = True
            offset, more = word(ip, place + 2) & 0xFFF8, bool(ip[place + 3] & 1)
            if offset or more:
                fragment = Fragment(word(ip, place + 4, 4), offset, more, place + 8, place - 40)
        following, place, count = ip[place], place + size, count + 1
        if fragment and fragment.offset:
            break
    return Walked(following, place, fragment, fragmented)


def _check_extension(number: int, header: bytes) -> None:
    """One extension header, whole."""
    if number == ROUTING and header[2] in REFUSED_ROUTING:
        raise Dropped("source_route")
    if number not in (HOP_BY_HOP, DESTINATION_OPTIONS):
        return
    place = 2
    while place < len(header):  # RFC 8200 4.2
        if header[place] in (JUMBO_PAYLOAD, HOME_ADDRESS):
            raise Dropped("ipv6_options")
        if header[place] == 0:
            place += 1
            continue
        place += 2 + header[place + 1] if place + 1 < len(header) else len(header) + 1
    if place > len(header):
        raise Dropped("ipv6_options")


IPV4_BAD_SOURCE = (0, 127, *range(224, 256))
IPV4_BAD_DESTINATION = (0, 127, *range(240, 256))
UNSPECIFIED = bytes(16)
LOOPBACK = bytes(15) + b"\x01"


def check_addresses(packet: Packet) -> None:
    """Step 8."""
    source, destination = packet.source, packet.destination
    if packet.version == 4:
        if source[12] in IPV4_BAD_SOURCE or destination[12] in IPV4_BAD_DESTINATION:
            raise Dropped("address_invalid")
    else:
        unspecified = source == UNSPECIFIED and not packet.is_nd
        if unspecified or source == LOOPBACK or source[0] == 0xFF or source.startswith(MAPPED):
            raise Dropped("address_invalid")
        if destination in (UNSPECIFIED, LOOPBACK) or destination.startswith(MAPPED):
            raise Dropped("address_invalid")
    if packet.is_multicast:
        raise Dropped("group_mismatch")


def is_link_local(address: bytes) -> bool:
    """fe80::/10 (RFC 4291 2.5.6), 169.254/16 (RFC 3927)."""
    return (address[0] == 0xFE and address[1] & 0xC0 == 0x80) or address.startswith(MAPPED + b"\xa9\xfe")


def parse_transport(packet: Packet) -> None:
    """Step 10: ports, ICMP type and TCP flags, if the transport header makes sense."""
    data, short = packet.payload, "fragment_tiny" if packet.fragment else "l4_truncated"
    if (packet.version, packet.protocol) in ((4, ICMP6), (6, ICMP)):
        raise Dropped("l4_header")
    if packet.protocol == TCP:
        _parse_tcp(packet, data, short)
    elif packet.protocol == UDP:
        if len(data) < 8:
            raise Dropped(short)
        packet.source_port, packet.destination_port = word(data, 0), word(data, 2)
        size = word(data, 4)
        if size < 8 or (not packet.fragment and size > len(data)) or packet.destination_port == 0:
            raise Dropped("l4_header")
    elif packet.is_icmp:
        if len(data) < 8:
            raise Dropped(short)
        packet.icmp_type = data[0]
        if packet.icmp_type == ECHO_REQUEST[packet.protocol]:
            packet.source_port = word(data, 4)
        elif packet.icmp_type == ECHO_REPLY[packet.protocol]:
            packet.destination_port = word(data, 4)


def _parse_tcp(packet: Packet, data: bytes, short: str) -> None:
    if len(data) < 20:
        raise Dropped(short)
    size = (data[12] >> 4) * 4
    if size < 20:
        raise Dropped("l4_header")
    if size > len(data):
        raise Dropped(short)
    packet.source_port, packet.destination_port, packet.flags = word(data, 0), word(data, 2), data[13]
    if packet.source_port == 0 or packet.destination_port == 0:
        raise Dropped("l4_header")
    flags = packet.flags
    if (flags & SYN and flags & (FIN | RST)) or (flags & FIN and flags & RST) or not flags & (SYN | RST | ACK):
        raise Dropped("tcp_flags")
    if flags & SYN:
        packet.offer, packet.signed = options_of_syn(data[20:size])


def options_of_syn(options: bytes) -> tuple[int | None, bool]:
    """The window scale among the options of a SYN (RFC 9293 3.1, RFC 7323 2.2 and 2.3; the last one counts), and
    whether there is a signature."""
    offer, signed = None, False
    try:
        for kind, value in walk(options):
            signed = signed or len(value) in SIGNATURES.get(kind, range(0))
            if kind == WINDOW_SCALE and len(value) == 1:
                offer = min(value[0], LARGEST_SCALE)
    except IllegalLengthError:
        raise Dropped("tcp_options") from None
    return offer, signed
