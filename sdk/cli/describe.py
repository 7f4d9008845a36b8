"""A packet in words becomes a frame: "tcp 10.1.0.20:40000 > 203.0.113.9:443".

PROTO SRC[:PORT] > DST[:PORT] [syn] [ack] [fin] [rst] [type NAME] [id N] [ttl N] [bytes N] [vlan N] [from MAC] [to MAC]

TCP without flags is a SYN, ICMP without a type an echo request. MACs and the VLAN come from the tables: what a
well-behaved sender with this source address would use. An IPv6 address with a port is written [2001:db8::a]:443.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hal.errors import ErrorKind, HalError
from hal.packet.contract import PacketIn, Snapshot
from hal.packet.frame._generated import Vnic
from hal.packet.schema.declare import NONE_ID
from hal.packet.schema.rows import pack_address, pack_mac
from hal.packet.stages.bridge._generated import Subnet, VnicAddress
from services.core import formats
from services.core.formats import FormatError
from services.firewall.grammar import ICMP_TYPES

PATTERN: Final = (
    "PROTO SRC[:PORT] > DST[:PORT] [syn] [ack] [fin] [rst] [type NAME] [id N] [ttl N] [bytes N] [vlan N] "
    "[from MAC] [to MAC]"
)
_FLAGS: Final = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32}
_WITH_NUMBER: Final = {"id": (0, 65535), "ttl": (0, 255), "bytes": (0, 9000), "vlan": (0, 4094)}
ROUTER_MAC: Final = "02:00:5e:00:53:01"
"""The source MAC of a packet that comes from an uplink: some router's."""
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


@dataclass(frozen=True)
class Description:
    """A packet as described. Empty MACs and a VLAN of None: as the tables say."""

    protocol: int
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    icmp_type: int = 0
    identifier: int = 1
    ttl: int = 64
    size: int = 0
    vlan: int | None = None
    source_mac: str = ""
    destination_mac: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_v6(self) -> bool:
        return ":" in self.source


def _refused(text: str, message: str, limit: str = PATTERN, fix: str = "") -> HalError:
    return HalError(ErrorKind.INVALID, f"packet {text!r}", got=message, limit=limit, fix=fix)


def parse(text: str) -> Description:
    """A packet from its words. Raises HalError(INVALID)."""
    found = re.fullmatch(r"\s*(\S+)\s+(\S+)\s*>\s*(\S+)((?:\s+\S+)*)\s*", text)
    if not found:
        raise _refused(text, "no packet")
    try:
        return _parsed(text, found)
    except FormatError as error:
        raise _refused(text, error.message, limit=error.limit or PATTERN, fix=error.fix) from None


def _parsed(text: str, found: re.Match[str]) -> Description:
    word = found[1].lower()
    source, source_port = _end(found[2])
    destination, destination_port = _end(found[3])
    if (":" in source) != (":" in destination):
        raise _refused(text, "IPv4 and IPv6", limit="one family")
    icmp = ICMP6 if ":" in source else ICMP
    protocol = icmp if word == "icmp" else formats.protocol_number(word)
    if protocol in (TCP, UDP) and (source_port is None or destination_port is None):
        fix = f"Write {word} {found[2]}:40000 > {found[3]}:80, an IPv6 address in brackets."
        raise _refused(text, "a port is missing", limit="a port at both ends", fix=fix)
    if protocol not in (TCP, UDP) and not source_port is destination_port is None:
        raise _refused(text, f"{word} with a port", limit="ports for tcp and udp")
    flags = 0
    packet = Description(protocol, source, destination, source_port or 0, destination_port or 0)
    packet = replace(packet, icmp_type=128 if packet.is_v6 else 8)
    words = iter(found[4].lower().split())
    for option in words:
        if option in _FLAGS and protocol == TCP:
            flags |= _FLAGS[option]
        else:
            packet = _option(text, packet, option, words)
    return replace(packet, flags=flags or _FLAGS["syn"])


def _option(text: str, packet: Description, option: str, words: Iterator[str]) -> Description:
    value = next(words, "") if option in (*_WITH_NUMBER, "type", "from", "to") else ""
    if option in _WITH_NUMBER:
        number = formats.number(value, *_WITH_NUMBER[option], f"{option}")
        match option:
            case "id":
                return replace(packet, identifier=number)
            case "ttl":
                return replace(packet, ttl=number)
            case "bytes":
                return replace(packet, size=number)
            case _:
                return replace(packet, vlan=number)
    if option == "type" and packet.protocol in (ICMP, ICMP6):
        known = ICMP_TYPES.get(value, (None, None))[1 if packet.is_v6 else 0]
        return replace(packet, icmp_type=known if known is not None else formats.number(value, 0, 255, "a type"))
    if option == "from":
        return replace(packet, source_mac=formats.mac(value))
    if option == "to":
        return replace(packet, destination_mac=_any_mac(value))
    raise _refused(text, f"{option!r} at the end")


def _any_mac(text: str) -> str:
    """A destination may be a group."""
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        raise FormatError(f"{text!r} is not a MAC", limit="as 02:00:00:00:00:0a")
    return text


def _end(text: str) -> tuple[str, int | None]:
    """An address, and its port or None."""
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(.*))?", text)
    if bracketed:
        head, port = bracketed[1], bracketed[2]
    elif text.count(":") == 1:
        head, _, port = text.partition(":")
    else:
        head, port = text, None
    return formats.address(head), None if port is None else formats.number(port, 0, 65535, "a port")


# --- where it comes from ------------------------------------------------------------------------------------------


def sender(packet: Description, snapshot: Snapshot, where: str, ports: Mapping[str, int]) -> Vnic:
    """The vNIC or uplink that a packet comes from: `where` names it or its port; else who has the source address.

    Raises:
        HalError: INVALID where that says nothing, or not one.
    """
    vnics = [row for row in snapshot.rows("vnic") if isinstance(row, Vnic)]
    if where:
        named = [row for row in vnics if _name(snapshot, row) == where]
        if not named:
            vlans = {packet.vlan} if packet.vlan is not None else {row.vlan for row in vnics}
            named = [row for row in vnics if ports.get(where) == row.port and row.vlan in vlans]
        if not named:
            known = sorted({_name(snapshot, row) for row in vnics} | set(ports))
            raise HalError(ErrorKind.INVALID, f"sender {where}", limit="one of " + ", ".join(known))
        if len(named) > 1:
            known = [_name(snapshot, row) for row in named]
            fix = f"Say --from {known[0]}."
            raise HalError(ErrorKind.INVALID, f"sender {where}", got=f"{len(named)} vNICs", fix=fix)
        return named[0]
    owners = {
        row.vnic
        for row in snapshot.rows("vnic_address")
        if isinstance(row, VnicAddress) and row.address == packet.source
    }
    found = [row for row in vnics if row.id in owners]
    if len(found) != 1:
        uplinks = [row for row in vnics if row.role == "uplink"]
        if not found and len(uplinks) == 1:
            return uplinks[0]
        got = f"{len(found)} vNICs have {packet.source}"
        raise HalError(ErrorKind.INVALID, "sender", got=got, fix="Say where the packet comes from: --from NAME.")
    return found[0]


def _name(snapshot: Snapshot, row: Vnic) -> str:
    named = snapshot.names.get(("vnic", row.id))
    return named.text if named is not None else str(row.id)


def packet_in(packet: Description, snapshot: Snapshot, vnic: Vnic, time_ns: int = 0) -> PacketIn:
    """The described packet as its sender would send it."""
    subnets = {row.id: row for row in snapshot.rows("subnet") if isinstance(row, Subnet)}
    source_mac = packet.source_mac or (ROUTER_MAC if vnic.role == "uplink" else str(vnic.mac))
    destination_mac = packet.destination_mac
    if not destination_mac and vnic.role == "uplink":
        destination_mac = str(vnic.mac)
    if not destination_mac:
        destination_mac = _next_hop_mac(packet, snapshot, vnic, subnets)
    vlan = vnic.vlan if packet.vlan is None else packet.vlan
    return PacketIn(frame(packet, source_mac, destination_mac, vlan), vnic.port, time_ns)


def _next_hop_mac(packet: Description, snapshot: Snapshot, vnic: Vnic, subnets: Mapping[int, Subnet]) -> str:
    """The MAC of the destination where it is in the sender's subnet, else the gateway's."""
    for row in snapshot.rows("vnic_address"):
        if isinstance(row, VnicAddress) and row.subnet == vnic.subnet and row.address == packet.destination:
            for other in snapshot.rows("vnic"):
                if other.id == row.vnic and isinstance(other, Vnic):
                    return str(other.mac)
    found = subnets.get(vnic.subnet) if vnic.subnet != NONE_ID else None
    return str(found.mac) if found is not None else "02:00:00:00:00:00"


# --- bytes --------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(packet: Description, source_mac: str, destination_mac: str, vlan: int) -> bytes:
    """The frame, whole with checksums, without FCS."""
    source, destination = pack_address(packet.source), pack_address(packet.destination)
    payload = _transport(packet, source, destination)
    if packet.is_v6:
        header = struct.pack(">IHBB", 6 << 28, len(payload), packet.protocol, packet.ttl) + source + destination
        kind = 0x86DD
    else:
        fields = (0x45, 0, 20 + len(payload), 1, 0x4000, packet.ttl, packet.protocol)
        start = struct.pack(">BBHHHBB", *fields)
        ends = source[12:] + destination[12:]
        header = start + struct.pack(">H", checksum(start + b"\0\0" + ends)) + ends
        kind = 0x0800
    tag = struct.pack(">HH", 0x8100, vlan) if vlan else b""
    return pack_mac(destination_mac) + pack_mac(source_mac) + tag + struct.pack(">H", kind) + header + payload


def _transport(packet: Description, source: bytes, destination: bytes) -> bytes:
    data = bytes(packet.size)
    ends = struct.pack(">HH", packet.source_port, packet.destination_port)
    match packet.protocol:
        case 6:
            acknowledged = 1 if packet.flags & _FLAGS["ack"] else 0
            body = ends + struct.pack(">IIBBHHH", 1, acknowledged, 0x50, packet.flags, 65535, 0, 0) + data
            at = 16
        case 17:
            body = ends + struct.pack(">HH", 8 + len(data), 0) + data
            at = 6
        case 1 | 58:
            body = struct.pack(">BBHHH", packet.icmp_type, 0, 0, packet.identifier, 1) + data
            at = 2
        case _:
            return data or bytes(8)
    if packet.protocol == ICMP:
        total = checksum(body)
    else:
        pseudo = source + destination if packet.is_v6 else source[12:] + destination[12:]
        total = checksum(pseudo + struct.pack(">II", len(body), packet.protocol) + body)
    if packet.protocol == UDP and total == 0:
        total = 0xFFFF
    return body[:at] + struct.pack(">H", total) + body[at + 2 :]
