"""Two opinions of a capture side by side, and where they differ."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hal.packet.contract import PacketResult, Verdict
from tests.opinions.capture import Capture, Frame

FLAGS = "FSRPAUEC"
FRAGMENT_HEADER = 44
AGAIN = "fragment_duplicate"
"""A fragment that came before is dropped alone: its datagram is none the worse."""


@dataclass(frozen=True)
class Opinion:
    """What both say of a packet, or of all fragments of a datagram: Linux puts them together before it judges.

    Args:
        number: of the frame in the capture; of a datagram that of its last.
        what: "tcp SA", "udp", "icmp 8", "icmp6 1", "47", "fragments": what it is.
        reason: why we drop it, of a datagram why the first of its fragments; "" where it is forwarded.
        theirs: it passes.
    """

    capture: str
    number: int
    what: str
    reason: str
    theirs: bool

    @property
    def differs(self) -> bool:
        return (self.reason == "") != self.theirs

    def __str__(self) -> str:
        ours, theirs = self.reason or "passes", "passes" if self.theirs else "is invalid"
        return f"{self.capture} #{self.number} {self.what}: ours {ours}, Linux's {theirs}"


def opinions(capture: Capture, ours: Sequence[PacketResult], theirs: Sequence[bool]) -> Iterator[Opinion]:
    """One for each packet, or datagram that came in fragments."""
    for numbers in _units(capture.frames):
        reasons = [ours[number].reason for number in numbers if ours[number].verdict is not Verdict.FORWARD]
        if len(numbers) > 1:
            reasons = [reason for reason in reasons if reason != AGAIN]
        what = _what(capture.frames[numbers[0]]) if len(numbers) == 1 else "fragments"
        passed = any(theirs[number] for number in numbers)
        yield Opinion(capture.name, numbers[-1], what, reasons[0] if reasons else "", passed)


def _units(frames: Sequence[Frame]) -> list[list[int]]:
    """Numbers of frames that are judged together, in the order in which the last of each came."""
    units: dict[object, list[int]] = {}
    for number, frame in enumerate(frames):
        units.setdefault(_datagram(frame) or number, []).append(number)
    return sorted(units.values(), key=lambda numbers: numbers[-1])


def _datagram(frame: Frame) -> tuple[object, ...] | None:
    """What the fragments of one datagram have in common; None: it is whole."""
    ip = frame.data[14:]
    if ip[0] >> 4 == 4:
        return (frame.side, ip[4:6], ip[9]) if struct.unpack_from(">H", ip, 6)[0] & 0x3FFF else None
    return (frame.side, ip[44:48]) if ip[6] == FRAGMENT_HEADER else None


def _what(frame: Frame) -> str:
    ip = frame.data[14:]
    v4 = ip[0] >> 4 == 4
    protocol, transport = (ip[9], ip[(ip[0] & 15) * 4 :]) if v4 else (ip[6], ip[40:])
    match protocol:
        case 6 if len(transport) < 14:
            return "tcp short"
        case 6:
            return f"tcp {''.join(letter for bit, letter in enumerate(FLAGS) if transport[13] >> bit & 1)}"
        case 17:
            return "udp"
        case 1 | 58 if transport:
            return f"icmp{'' if v4 else '6'} {transport[0]}"
        case _:
            return "fragments" if _datagram(frame) else str(protocol)
