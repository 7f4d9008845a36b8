"""A captured frame, read as far as it can be: for words about it, and to tell who sent it. Never raises.

No judge of packets: what is malformed is told as far as it could be read, the card says what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from hal.packet.schema.rows import MAPPED, unpack_address, unpack_mac

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_PROTOCOLS: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMP6: "icmpv6"}
_FLAGS: Final = ("fin", "syn", "rst", "psh", "ack", "urg")
_IPV4, _ARP, _VLAN, _IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
_OPTIONS: Final = (0, 43, 60, 135)
"""Extension headers whose length is in units of 8 bytes beyond the first (RFC 8200 4, RFC 6275)."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_ERRORS: Final = {ICMP: (3, 4, 5, 11, 12), ICMP6: (1, 2, 3, 4)}
_ECHO: Final = {ICMP: (0, 8), ICMP6: (128, 129)}


class Talk(NamedTuple):
    """Whose packet to whom: addresses as text; of an echo both ports are its identifier, without ports 0."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int

    @property
    def back(self) -> Talk:
        """Of what answers it."""
        return Talk(self.protocol, self.destination, self.destination_port, self.source, self.source_port)


@dataclass(frozen=True)
class Seen:
    """What a frame shows.

    Args:
        talk: None where it is no IP, or too short.
        offset, more: of a fragment, in bytes, and whether others follow; (0, False): whole.
        payload: behind the IP and extension headers.
    """

    source_mac: str
    destination_mac: str
    vlan: int
    ethertype: int
    body: bytes
    talk: Talk | None = None
    ttl: int = 0
    offset: int = 0
    more: bool = False
    identification: int = 0
    payload: bytes = b""

    @property
    def is_fragment(self) -> bool:
        return self.more or self.offset > 0

    @property
    def flags(self) -> int:
        """TCP's flags; 0 where there are none."""
        shown = self.talk is not None and self.talk.protocol == TCP and not self.offset and len(self.payload) >= 14
        return self.payload[13] if shown else 0

    @property
    def quoted(self) -> Talk | None:
        """Of an ICMP error: the packet that it is about."""
        if self.talk is None or self.offset or not self.payload:
            return None
        if self.payload[0] not in _ERRORS.get(self.talk.protocol, ()):
            return None
        kind = _IPV6 if self.talk.protocol == ICMP6 else _IPV4
        return _ip(Seen(self.source_mac, self.destination_mac, 0, kind, self.payload[8:])).talk


def read(data: bytes) -> Seen | None:
    """What a frame shows; None for one without an Ethernet header."""
    if len(data) < 14:
        return None
    at, vlan = 12, 0
    if data[12:14] == b"\x81\x00" and len(data) >= 18:
        at, vlan = 16, int.from_bytes(data[14:16], "big") & 0xFFF
    kind = int.from_bytes(data[at : at + 2], "big")
    return _ip(Seen(unpack_mac(data[6:12]), unpack_mac(data[:6]), vlan, kind, data[at + 2 :]))


def _ip(seen: Seen) -> Seen:
    body = seen.body
    if seen.ethertype == _IPV4 and len(body) >= 20:
        field = int.from_bytes(body[6:8], "big")
        protocol, ends = body[9], (MAPPED + body[12:16], MAPPED + body[16:20])
        offset, more, number = (field & 0x1FFF) * 8, bool(field & 0x2000), int.from_bytes(body[4:6], "big")
        ttl, payload = body[8], body[(body[0] & 15) * 4 :]
    elif seen.ethertype == _IPV6 and len(body) >= 40:
        ends = (body[8:24], body[24:40])
        ttl = body[7]
        protocol, offset, more, number, payload = _extensions(body[6], body[40:])
    else:
        return seen
    source, destination = (unpack_address(end) for end in ends)
    ports = (0, 0) if offset else _ports(protocol, payload)
    talk = Talk(protocol, source, ports[0], destination, ports[1])
    return Seen(seen.source_mac, seen.destination_mac, seen.vlan, seen.ethertype, body, talk, ttl, offset, more,
                number, payload)  # fmt: skip


def _extensions(protocol: int, payload: bytes) -> tuple[int, int, bool, int, bytes]:
    """Past IPv6's extension headers: the transport, the fragment's offset, more and identification, the rest."""
    offset, more, number = 0, False, 0
    while len(payload) >= 8 and not offset:
        if protocol in _OPTIONS:
            size = (payload[1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            size = (payload[1] + 2) * 4
        elif protocol == _FRAGMENT:
            size, field = 8, int.from_bytes(payload[2:4], "big")
            offset, more, number = field & 0xFFF8, bool(field & 1), int.from_bytes(payload[4:8], "big")
        else:
            break
        protocol, payload = payload[0], payload[size:]
    return protocol, offset, more, number, payload


def _ports(protocol: int, payload: bytes) -> tuple[int, int]:
    if protocol in (TCP, UDP) and len(payload) >= 4:
        return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    if protocol in _ECHO and len(payload) >= 6 and payload[0] in _ECHO[protocol]:
        return (int.from_bytes(payload[4:6], "big"),) * 2
    return 0, 0


# --- in words ------------------------------------------------------------------------------------------------------


def protocol_word(number: int) -> str:
    return _PROTOCOLS.get(number, str(number))


def end(address: str, port: int) -> str:
    """An address and a port, if there is one."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def frame_words(data: bytes) -> str:
    """A frame in a few words, as far as it can be read. Never raises."""
    seen = read(data)
    if seen is None:
        return f"{len(data)} bytes"
    vlan = f" vlan {seen.vlan}" if data[12:14] == b"\x81\x00" and len(data) >= 18 else ""
    head = f"{seen.source_mac} > {seen.destination_mac}{vlan}, {len(data)} bytes"
    if seen.talk is not None:
        return f"{head}, {_ip_words(seen, seen.talk)}"
    if seen.ethertype == _ARP and len(seen.body) >= 28:
        asked = ".".join(str(byte) for byte in seen.body[24:28])
        return f"{head}, ARP {'request' if seen.body[7] == 1 else 'reply'} for {asked}"
    return f"{head}, EtherType 0x{seen.ethertype:04x}"


def _ip_words(seen: Seen, talk: Talk) -> str:
    more = ""
    ports = (talk.source_port, talk.destination_port) if talk.protocol in (TCP, UDP) else (0, 0)
    if not seen.offset:
        if talk.protocol == TCP and len(seen.payload) >= 14:
            more = "".join(f" {name}" for bit, name in enumerate(_FLAGS) if seen.flags >> bit & 1)
        if talk.protocol in (ICMP, ICMP6) and len(seen.payload) >= 2:
            more = f" type {seen.payload[0]} code {seen.payload[1]}"
    if seen.is_fragment:
        # Only the first one holds ports.
        which = f"later fragment at byte {seen.offset}" if seen.offset else "first fragment"
        more += f", {which} of id {seen.identification}{'' if seen.more else ', the last'},"
    source, destination = end(talk.source, ports[0]), end(talk.destination, ports[1])
    return f"{protocol_word(talk.protocol)} {source} > {destination}{more} ttl {seen.ttl}"
