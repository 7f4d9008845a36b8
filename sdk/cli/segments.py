"""Large segments in captures: what a host with segmentation offload hands to its device, and no wire carries.

tcpdump on such a host, or on its end of a veth, writes TCP and UDP packets of up to 64 kB. The card's Linux ports cut
them where they come in (docs/adr/0031), by what the kernel says of each; a capture doesn't say it. So here:

- a frame longer than any that the card takes was one, and so were all long ones of its sender to that end;
- so was a TCP segment with more payload than the other side announced to take (MSS, RFC 9293 3.7.1);
- any other frame is taken for what it looks like: longer than the MTU it is the card's to judge.

It is cut as the sender's stack would have done: to the MSS, or else to the MTU of where it came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hal.packet.contract import LONGEST_FRAME
from hal.packet.describe import checksum
from sdk.cli.frames import RST, SYN, TCP, UDP, Seen, Talk

_IPV4: Final = 0x0800
_FIN_PSH: Final = 0x09
_CWR: Final = 0x80


def announced(frames: Iterable[Seen | None]) -> dict[Talk, int]:
    """Whose TCP segments to whom -> how much payload the other side announced to take in its SYN."""
    found: dict[Talk, int] = {}
    for seen in frames:
        if seen is not None and seen.talk is not None and seen.flags & SYN and (most := _mss(seen.payload)):
            found[seen.talk.back] = most
    return found


def _mss(segment: bytes) -> int:
    """The option of a SYN, 0 where it has none."""
    options = segment[20 : (segment[12] >> 4) * 4] if len(segment) >= 20 else b""
    while len(options) >= 2 and options[0] != 0:
        if options[0] == 1:
            options = options[1:]
        elif options[0] == 2 and options[1] == 4 and len(options) >= 4:
            return int.from_bytes(options[2:4], "big")
        elif options[1] < 2:
            break
        else:
            options = options[options[1] :]
    return 0


def offloaded(frames: Iterable[tuple[bytes, Seen | None]], most: Mapping[Talk, int]) -> set[Talk]:
    """Who hands over large segments, to whom."""
    found = set()
    for data, seen in frames:
        if seen is None or seen.talk is None or (head := _head(seen)) is None:
            continue
        beyond = seen.talk.protocol == TCP and len(seen.payload) - head > most.get(seen.talk, len(seen.payload))
        if beyond or len(data) > LONGEST_FRAME:
            found.add(seen.talk)
    return found


def _head(seen: Seen) -> int | None:
    """Bytes of the transport header of what can be cut: whole TCP with payload, neither SYN nor RST, or UDP, right
    behind an IP header that tells the length that is there. None for all else."""
    if seen.talk is None or seen.is_fragment or len(seen.payload) < 20:
        return None
    four = seen.ethertype == _IPV4
    length = int.from_bytes(seen.body[2:4] if four else seen.body[4:6], "big") + (0 if four else 40)
    if length != len(seen.body) or (not four and seen.body[6] != seen.talk.protocol):
        return None
    if seen.talk.protocol == UDP:
        return 8
    head = (seen.payload[12] >> 4) * 4
    whole = seen.talk.protocol == TCP and 20 <= head < len(seen.payload) and not seen.flags & (SYN | RST)
    return head if whole else None


def cut(data: bytes, seen: Seen | None, mtu: int, most: int = 0) -> list[bytes]:
    """The frames that a wire would have carried of one; itself where it is none that is cut.

    Args:
        seen: the frame as it is read.
        mtu: longest IP packet of where it came in, in bytes.
        most: payload that the other side announced to take, 0 where it isn't known.
    """
    head = _head(seen) if seen is not None else None
    if seen is None or seen.talk is None or head is None:
        return [data]
    above = len(seen.body) - len(seen.payload)
    size = mtu - above - head
    if seen.talk.protocol == TCP and most:
        size = min(size, most - (head - 20))  # options are part of what is announced (RFC 6691)
    payload = seen.payload[head:]
    if size <= 0 or len(payload) <= size:
        return [data]
    link = data[: len(data) - len(seen.body)]
    parts = [(start, payload[start : start + size]) for start in range(0, len(payload), size)]
    return [
        link + _packet(seen, seen.talk.protocol, above, head, number, start, part, start + size >= len(payload))
        for number, (start, part) in enumerate(parts)
    ]


def _packet(
    seen: Seen, protocol: int, above: int, head: int, number: int, start: int, part: bytes, is_last: bool
) -> bytes:
    """The IP packet of one segment, whose payload begins at `start`."""
    ip, transport = bytearray(seen.body[:above]), bytearray(seen.payload[:head])
    length = head + len(part)
    if seen.ethertype == _IPV4:
        ip[2:4] = (above + length).to_bytes(2, "big")
        ip[4:6] = ((int.from_bytes(ip[4:6], "big") + number) & 0xFFFF).to_bytes(2, "big")
        ip[10:12] = b"\0\0"
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        ends = bytes(ip[12:20])
    else:
        ip[4:6] = (above - 40 + length).to_bytes(2, "big")
        ends = bytes(ip[8:40])
    at = 16
    if protocol == TCP:
        transport[4:8] = ((int.from_bytes(transport[4:8], "big") + start) & 0xFFFF_FFFF).to_bytes(4, "big")
        if not is_last:  # FIN and PSH belong to the last byte, CWR (RFC 3168 6.1.2) to the first segment
            transport[13] &= ~_FIN_PSH & 0xFF
        if number:
            transport[13] &= ~_CWR & 0xFF
    else:
        at = 6
        transport[4:6] = length.to_bytes(2, "big")
    transport[at : at + 2] = b"\0\0"
    pseudo = ends + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])
    total = checksum(pseudo + bytes(transport) + part)
    transport[at : at + 2] = (total or 0xFFFF).to_bytes(2, "big")
    return bytes(ip + transport) + part
