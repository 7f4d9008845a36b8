"""What an ICMP error says, and of which packet."""

from __future__ import annotations

from typing import NamedTuple

from hal.packet.model.parse import ECHO_REPLY, ECHO_REQUEST, Dropped, Packet, walk_extensions, word
from hal.packet.model.stage import TCP, UDP
from hal.packet.schema.rows import MAPPED

CODES = {(4, 3): 16, (4, 11): 2, (4, 12): 3, (6, 3): 2}
"""How many codes a type of ICMP error has (RFC 792, 1122 3.2.2.1, 1812 5.2.7.1). New ones of IPv6 are for hosts to
judge (RFC 4890 4.3.1)."""
LEAST_MTU = {4: 68, 6: 1280}
"""RFC 791 3.2, RFC 8200 5."""


def check_error(packet: Packet) -> None:
    """Does an ICMP error say something that there is?"""
    kind, code, mtu = packet.icmp_type, packet.payload[1], word(packet.payload, 4, 4)
    if code >= CODES.get((packet.version, kind), 256):
        raise Dropped("icmp_type")
    if packet.version == 4:
        mtu &= 0xFFFF
        too_big = (kind, code) == (3, 4) and mtu != 0  # 0: a router of before RFC 1191
    else:
        too_big = kind == 2
    if too_big and mtu < LEAST_MTU[packet.version]:
        raise Dropped("icmp_error_invalid")


class Quoted(NamedTuple):
    """A packet that an ICMP error quotes, the other way round: as one that answers it would be."""

    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    """Of TCP, as it stands in the quoted packet; else 0."""


def quoted_packet(packet: Packet) -> Quoted | None:
    """What an ICMP error quotes, the other way round: protocol, source, destination and both ports as a packet that
    answers the quoted one would have them. None if it doesn't hold its IP header and 8 bytes, or says it has fewer.
    """
    quoted = packet.payload[8:]
    if packet.version == 4:
        size = (quoted[0] & 15) * 4 if quoted else 0
        if size < 20 or len(quoted) < size or quoted[0] >> 4 != 4 or word(quoted, 6) & 0x1FFF:
            return None
        length = word(quoted, 2)
        protocol, source, destination = quoted[9], MAPPED + quoted[12:16], MAPPED + quoted[16:20]
    else:
        if len(quoted) < 40 or quoted[0] >> 4 != 6:
            return None
        try:
            walked = walk_extensions(quoted)
        except Dropped:
            return None
        if walked.fragment and walked.fragment.offset:
            return None
        protocol, size, length = walked.protocol, walked.transport, 40 + word(quoted, 4)
        source, destination = quoted[8:24], quoted[24:40]
    transport = quoted[size:]
    if len(transport) < 8 or length < size + 8:
        return None
    source_port = destination_port = sequence = 0
    if protocol in (TCP, UDP):
        source_port, destination_port = word(transport, 0), word(transport, 2)
        sequence = word(transport, 4, 4) if protocol == TCP else 0
    elif protocol == packet.protocol:
        if transport[0] == ECHO_REQUEST[protocol]:
            source_port = word(transport, 4)
        elif transport[0] == ECHO_REPLY[protocol]:
            destination_port = word(transport, 4)
        else:
            return None
    return Quoted(protocol, destination, source, destination_port, source_port, sequence)
