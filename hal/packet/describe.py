"""A packet in words becomes a frame: "tcp 10.1.0.20:40000 > 203.0.113.9:443".

    PROTO SRC[:PORT] > DST[:PORT] [syn] [ack] [fin] [rst] [psh] [urg] [flags SA] [seq N] [acks N] [type TYPE] [id N]
                                  [ttl N] [bytes N] [vlan N] [from MAC] [to MAC]

PROTO and TYPE are names or numbers; an IPv6 address with a port is written [2001:db8::a]:443. TCP without flags is a
SYN, ICMP without a type an echo request. MACs and the VLAN come from the tables: what a well-behaved sender with this
address would use. `len` is another word for `bytes`. Sequence numbers of TCP are those of a handshake that both sides
begin with 1, and of what comes right behind it, unless `seq` and `acks` (what it acknowledges) say otherwise.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from hal.errors import ErrorKind, HalError
from hal.packet.contract import PacketIn, Snapshot
from hal.packet.frame._generated import Vnic
from hal.packet.names import ICMP_TYPES, PROTOCOLS
from hal.packet.schema.declare import NONE_ID
from hal.packet.schema.rows import MAPPED, pack_address, pack_mac, unpack_address

PATTERN: Final = (
    "PROTO SRC[:PORT] > DST[:PORT] [syn] [ack] [fin] [rst] [flags SA] [seq N] [acks N] [type TYPE] [id N] [ttl N] "
    "[bytes N] [vlan N] [from MAC] [to MAC]"
)
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FLAGS: Final = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "U": 0x20}
FLAG_WORDS: Final = {"fin": "F", "syn": "S", "rst": "R", "psh": "P", "ack": "A", "urg": "U"}
NUMBERS: Final = {
    "id": ("identifier", 65535),
    "ttl": ("ttl", 255),
    "len": ("size", 9000),
    "bytes": ("size", 9000),
    "vlan": ("vlan", 4094),
    "seq": ("sequence", 0xFFFF_FFFF),
    "acks": ("acknowledgement", 0xFFFF_FFFF),
}
ROUTER_MAC: Final = "02:00:5e:00:53:01"
"""The source MAC of what comes from an uplink: some router's."""


@dataclass(frozen=True)
class Description:
    """A packet as described. Empty MACs and a VLAN of None: as the tables say. `size`: bytes of data."""

    protocol: int
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    icmp_type: int = 8
    identifier: int = 1
    ttl: int = 64
    size: int = 0
    vlan: int | None = None
    source_mac: str = ""
    destination_mac: str = ""
    sequence: int | None = None
    acknowledgement: int | None = None


def _refused(text: str, got: str, limit: str = PATTERN, fix: str = "") -> HalError:
    return HalError(ErrorKind.INVALID, f"packet {text!r}", got=got, limit=limit, fix=fix)


def parse(text: str) -> Description:
    """A packet from its words. Raises HalError(INVALID), saying which of them is wrong."""
    found = re.fullmatch(r"\s*(\S+)\s+(\S+)\s*>\s*(\S+)((?:\s+\S+)*)\s*", text)
    if not found:
        raise _refused(text, "no packet")
    word = found[1].lower()
    source, source_port = _end(text, found[2])
    destination, destination_port = _end(text, found[3])
    is_v6 = ":" in source
    if is_v6 != (":" in destination):
        raise _refused(text, "an IPv4 and an IPv6 address", limit="one family")
    protocol = _protocol(text, word, is_v6)
    has_ports = protocol in (TCP, UDP)
    if has_ports != (source_port is not None) or has_ports != (destination_port is not None):
        ends = ((source, source_port, 40000), (destination, destination_port, 80))
        given = [_written(address, (port or least) if has_ports else 0) for address, port, least in ends]
        got, limit = (
            ("no port", "a port at both ends") if has_ports else (f"{word} with a port", "ports for tcp and udp")
        )
        raise _refused(text, got, limit=limit, fix=f"Write {word} {given[0]} > {given[1]}.")
    packet = Description(protocol, source, destination, source_port or 0, destination_port or 0)
    packet = replace(packet, icmp_type=128 if is_v6 else 8)
    words = iter(found[4].lower().split())
    for option in words:
        packet = _option(text, packet, option, words)
    return packet if packet.flags or protocol != TCP else replace(packet, flags=FLAGS["S"])


def _written(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _protocol(text: str, word: str, is_v6: bool) -> int:
    if word.isdecimal():
        return _number(text, word, "PROTO", 255)
    known = {"icmp": ICMP6 if is_v6 else ICMP, "icmp6": ICMP6, "icmpv6": ICMP6, **PROTOCOLS}
    if word not in known:
        limit = "one of " + ", ".join(["icmp", "tcp", "udp", "icmp6", *sorted({*PROTOCOLS} - {"tcp", "udp"}), "0-255"])
        raise _refused(text, word, limit=limit, fix=_near(word, known))
    return known[word]


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"Did you mean {near[0]}?" if near else ""


def _option(text: str, packet: Description, option: str, words: Iterator[str]) -> Description:
    if option in FLAG_WORDS and packet.protocol == TCP:
        return replace(packet, flags=packet.flags | FLAGS[FLAG_WORDS[option]])
    value = next(words, "")
    if option == "type" and packet.protocol in (ICMP, ICMP6):
        return replace(packet, icmp_type=_type(text, packet, value))
    if option == "flags" and packet.protocol == TCP and value and set(value.upper()) <= set(FLAGS):
        return replace(packet, flags=sum(FLAGS[letter] for letter in set(value.upper())))
    if option in NUMBERS:
        name, high = NUMBERS[option]
        changed: dict[str, Any] = {name: _number(text, value, option, high)}
        return replace(packet, **changed)
    if option in ("from", "to"):
        try:
            pack_mac(value)
        except ValueError as error:
            raise _refused(text, value, limit=str(error)) from None
        changed = {"source_mac" if option == "from" else "destination_mac": value}
        return replace(packet, **changed)
    known = [*FLAG_WORDS, *NUMBERS, "flags", "type", "from", "to"]
    raise _refused(text, f"{option} {value}".strip(), fix=_near(option, [one for one in known if one != option]))


def _type(text: str, packet: Description, value: str) -> int:
    if value not in ICMP_TYPES:
        if value.isdecimal():
            return _number(text, value, "type", 255)
        limit = ", ".join(ICMP_TYPES) + " or 0-255"
        raise _refused(text, f"type {value}".strip(), limit=limit, fix=_near(value, ICMP_TYPES))
    number = ICMP_TYPES[value][1 if packet.protocol == ICMP6 else 0]
    if number is None:
        raise _refused(text, f"type {value}", limit=f"a type of {'ICMPv6' if packet.protocol == ICMP6 else 'ICMP'}")
    return number


def _number(text: str, value: str, name: str, high: int) -> int:
    # Python reads no number of more than 4,300 digits.
    if not (re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= high):
        raise _refused(text, f"{name} {value}".strip(), limit=f"{name} 0..{high}")
    return int(value)


def _end(text: str, end: str) -> tuple[str, int | None]:
    """An address, and its port or None."""
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(.*))?", end)
    if bracketed:
        address, port = bracketed[1], bracketed[2]
    elif end.count(":") == 1:
        address, _, port = end.partition(":")
    else:
        address, port = end, None
    try:
        address = unpack_address(pack_address(address))
    except ValueError as error:
        raise _refused(text, end, limit=str(error)) from None
    return address, None if port is None else _number(text, port, "port", 65535)


# --- who sends it, to whom ---------------------------------------------------------------------------------------


def sender(packet: Description, snapshot: Snapshot, where: str, ports: Mapping[str, int]) -> Vnic:
    """The vNIC or uplink that a packet comes from.

    Args:
        snapshot: with the tables vnic and vnic_address.
        where: a vNIC, an uplink or a port, by name; "": who has the source address, else the only uplink.
        ports: name -> number.

    Raises:
        HalError: INVALID where that says nothing, or not one.
    """
    vnics = [row for row in snapshot.rows("vnic") if isinstance(row, Vnic)]
    found = vnics
    if where:
        found = [row for row in vnics if _name(snapshot, row) == where]
        if not found and where not in ports:
            known = sorted({_name(snapshot, row) for row in vnics} | set(ports))
            raise HalError(ErrorKind.INVALID, f"sender {where}", limit="one of " + ", ".join(known),
                           fix=_near(where, known))  # fmt: skip
        found = found or [row for row in vnics if row.port == ports[where] and packet.vlan in (None, row.vlan)]
        if not found:
            raise HalError(ErrorKind.INVALID, f"port {where}", limit="a vNIC or uplink",
                           fix="Name another port, or another VLAN.")  # fmt: skip
    owners = {row.to_dict()["vnic"] for row in snapshot.rows("vnic_address")
              if row.to_dict()["address"] == packet.source}  # fmt: skip
    owning = [row for row in found if row.id in owners]
    uplinks = [row for row in found if row.role == "uplink"]
    found = owning or (found if where else uplinks)
    if packet.source_mac:
        found = [row for row in found if str(row.match_mac) == packet.source_mac] or found
    if len(found) == 1:
        return found[0]
    if not where:
        got = f"{packet.source}, an address of {len(owning)} vNICs"
        fix = "Say where the packet comes from: --from NAME."
        raise HalError(ErrorKind.INVALID, "sender", got=got, limit="one vNIC, or one uplink for all others", fix=fix)
    names = ", ".join(_name(snapshot, row) for row in found)
    raise HalError(
        ErrorKind.INVALID,
        f"sender {where}",
        limit=f"one vNIC with the address {packet.source}",
        got=f"vNICs {names}",
        fix="Name one of them, or its source address, or `vlan N`, or `from MAC`.",
    )


def _name(snapshot: Snapshot, row: Vnic) -> str:
    named = snapshot.names.get(("vnic", row.id))
    return named.text if named is not None else str(row.id)


def packet_in(packet: Description, snapshot: Snapshot, vnic: Vnic, time_ns: int = 0) -> PacketIn:
    """The described packet as a well-behaved sender behind this vNIC or uplink would send it.

    Args:
        snapshot: with the tables vnic, vnic_address and subnet.

    Raises:
        HalError: INVALID where the tables don't say to which MAC.
    """
    source_mac = packet.source_mac or (ROUTER_MAC if vnic.role == "uplink" else str(vnic.mac))
    vlan = vnic.vlan if packet.vlan is None else packet.vlan
    destination_mac = packet.destination_mac or _next_mac(packet, snapshot, vnic)
    return PacketIn(build(packet, source_mac, destination_mac, vlan), vnic.port, time_ns)


def _next_mac(packet: Description, snapshot: Snapshot, vnic: Vnic) -> str:
    """The uplink's own MAC; of a vNIC: the destination's, where it is in its subnet, else the gateway's."""
    if vnic.role == "uplink":
        return str(vnic.mac)
    macs = {row.id: str(row.to_dict()["mac"]) for row in snapshot.rows("vnic")}
    for row in snapshot.rows("vnic_address"):
        fields = row.to_dict()
        if (fields["subnet"], fields["address"]) == (vnic.subnet, packet.destination):
            return macs[fields["vnic"]]
    gateway = next((str(row.to_dict()["mac"]) for row in snapshot.rows("subnet") if row.id == vnic.subnet), "")
    if vnic.subnet == NONE_ID or not gateway:
        raise HalError(
            ErrorKind.INVALID, f"vnic {_name(snapshot, vnic)}", field="subnet", limit="a subnet", fix="Give `to MAC`."
        )
    return gateway


# --- bytes ---------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def build(packet: Description, source_mac: str, destination_mac: str, vlan: int) -> bytes:
    """The frame, with its checksums, without FCS."""
    source, destination = pack_address(packet.source), pack_address(packet.destination)
    payload = _transport(packet, source, destination)
    if ":" in packet.source:
        header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([packet.protocol, packet.ttl])
        header, kind = header + source + destination, b"\x86\xdd"
    else:
        begin = (
            b"\x45\0" + (20 + len(payload)).to_bytes(2, "big") + b"\0\0\x40\0" + bytes([packet.ttl, packet.protocol])
        )
        ends = source[12:] + destination[12:]
        header, kind = begin + checksum(begin + ends).to_bytes(2, "big") + ends, b"\x08\0"
    tag = b"\x81\0" + vlan.to_bytes(2, "big") if vlan else b""
    return pack_mac(destination_mac) + pack_mac(source_mac) + tag + kind + header + payload


def _transport(packet: Description, source: bytes, destination: bytes) -> bytes:
    data = bytes(packet.size)
    ports = packet.source_port.to_bytes(2, "big") + packet.destination_port.to_bytes(2, "big")
    match packet.protocol:
        case 6:
            sequence = 1 if packet.flags & FLAGS["S"] else 2
            acknowledgement = 2 if packet.flags & FLAGS["A"] else 0
            sequence = sequence if packet.sequence is None else packet.sequence
            acknowledgement = acknowledgement if packet.acknowledgement is None else packet.acknowledgement
            numbers = sequence.to_bytes(4, "big") + acknowledgement.to_bytes(4, "big")
            body, place = ports + numbers + bytes([0x50, packet.flags]) + b"\xff\xff" + bytes(4) + data, 16
        case 17:
            body, place = ports + (8 + len(data)).to_bytes(2, "big") + bytes(2) + data, 6
        case 1 | 58:
            numbers = packet.identifier.to_bytes(2, "big") + b"\0\1"
            body, place = bytes([packet.icmp_type, 0, 0, 0]) + numbers + data, 2
        case _:
            return data or bytes(8)
    cover = b"" if packet.protocol == 1 else _pseudo_header(source, destination, packet.protocol, len(body))
    total = checksum(cover + body)
    if packet.protocol == 17 and total == 0:
        total = 0xFFFF
    return body[:place] + total.to_bytes(2, "big") + body[place + 2 :]


def _pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    cut = 12 if source.startswith(MAPPED) else 0
    return source[cut:] + destination[cut:] + length.to_bytes(4, "big") + protocol.to_bytes(4, "big")
