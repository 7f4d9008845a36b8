"""Captures: classic pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), read strictly.

No library: the kept ones are large or silent about damage, and this is a screen of code that a fuzzer can hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LATEST_NS

ETHERNET: Final = 1
MAX_BYTES: Final = 1 << 30
MAX_FRAMES: Final = 2_000_000
"""Frames of a capture: each takes some 170 bytes of memory beside its own, so a gigabyte of empty ones took eleven."""
MAX_FRAME: Final = 262_144
"""Longest frame that a capture may hold: tcpdump's own limit."""
_CLASSIC: Final = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
_SECTION: Final = 0x0A0D0D0A
_INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6


@dataclass(frozen=True)
class Frame:
    """A captured frame. `interface`: the name of where it was seen, "" if the capture doesn't say."""

    data: bytes
    time_ns: int
    interface: str = ""


class _Cursor:
    """Bytes that are read from the front, never beyond their end."""

    def __init__(self, data: bytes, file: str) -> None:
        self.data, self.file, self.at = data, file, 0
        self.order = "<"

    def fault(self, message: str) -> HalError:
        return HalError(ErrorKind.CORRUPT, f"capture {self.file}", field=f"byte {self.at}", limit=message,
                        fix="Write it anew, with tcpdump -w.")  # fmt: skip

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise self.fault(f"{count} more bytes, there are {len(self.data) - self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        numbers: tuple[int, ...] = struct.unpack(self.order + form, self.take(struct.calcsize("<" + form)))
        return numbers

    @property
    def left(self) -> int:
        return len(self.data) - self.at


def read(path: Path) -> list[Frame]:
    """The frames of a capture file. Raises HalError: INVALID if it can't be read, CORRUPT, UNSUPPORTED."""
    try:
        with path.open("rb") as stream:  # a pipe or a device tells no size
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        fix = "Name a file that can be read."
        raise HalError(ErrorKind.INVALID, f"capture {path}", got=error.strerror, fix=fix) from error
    if len(data) > MAX_BYTES:
        raise HalError(ErrorKind.INVALID, f"capture {path}", got=f"more than {MAX_BYTES:,} bytes",
                       limit=f"{MAX_BYTES:,} bytes", fix="Take a part of it, with editcap or tcpdump -r.")  # fmt: skip
    return parse(data, str(path))


def parse(data: bytes, file: str = "-") -> list[Frame]:
    """The frames of a capture in memory. Raises HalError: CORRUPT or UNSUPPORTED."""
    cursor = _Cursor(data, file)
    if len(data) < 4:
        raise cursor.fault("a capture's header")
    if struct.unpack("<I", data[:4])[0] == _SECTION:
        return _in_time(_pcapng(cursor), file)
    for order in "<>":
        if struct.unpack(order + "I", data[:4])[0] in _CLASSIC:
            cursor.order = order
            return _in_time(_classic(cursor), file)
    raise cursor.fault("the magic number of pcap or pcapng")


def _in_time(frames: Iterator[Frame], file: str) -> list[Frame]:
    found = []
    for number, frame in enumerate(frames, 1):
        if number > MAX_FRAMES:
            fix = "Take a part of it, with editcap or tcpdump -r."
            raise HalError(ErrorKind.INVALID, f"capture {file}", got=f"more than {MAX_FRAMES:,} frames",
                           limit=f"{MAX_FRAMES:,} frames", fix=fix)  # fmt: skip
        if frame.time_ns > LATEST_NS:
            raise HalError(ErrorKind.CORRUPT, f"capture {file}", field=f"time of frame {number}",
                           got=f"{frame.time_ns} ns", limit="a time before the year 2262",
                           fix="Set its clock right, with editcap -t.")  # fmt: skip
        found.append(frame)
    return found


def _check_link(link: int, cursor: _Cursor) -> None:
    if link != ETHERNET:
        fix = "Capture on an Ethernet device, not on `any`."
        what = f"capture {cursor.file}"
        raise HalError(ErrorKind.UNSUPPORTED, what, field="link type", got=link, limit="1 (Ethernet)", fix=fix)


def _classic(cursor: _Cursor) -> Iterator[Frame]:
    unit = _CLASSIC[cursor.numbers("I")[0]]
    major, _minor, _zone, _figures, _snap, link = cursor.numbers("HHiIII")
    if major != 2:
        raise cursor.fault(f"version 2, not {major}")
    _check_link(link & 0x0FFFFFFF, cursor)
    while cursor.left:
        seconds, fraction, captured, length = cursor.numbers("IIII")
        yield Frame(_whole(cursor.take(_bounded(captured, cursor)), length, cursor), seconds * 10**9 + fraction * unit)


def _bounded(captured: int, cursor: _Cursor) -> int:
    if captured > MAX_FRAME:
        raise cursor.fault(f"a frame of at most {MAX_FRAME:,} bytes, not {captured:,}")
    return captured


def _whole(data: bytes, length: int, cursor: _Cursor) -> bytes:
    """Frames that were cut when captured would be dropped as truncated, and the trace would mislead."""
    if length > len(data):
        what, got, fix = f"capture {cursor.file}", f"{len(data)} of {length} bytes", "Capture with tcpdump -s 0."
        raise HalError(ErrorKind.UNSUPPORTED, what, field="snap length", got=got, limit="whole frames", fix=fix)
    return data


def _pcapng(cursor: _Cursor) -> Iterator[Frame]:
    interfaces: list[tuple[str, int, int]] = []
    clock = 0
    while cursor.left:
        kind = cursor.numbers("I")[0]
        if kind == _SECTION:
            magic = cursor.data[cursor.at + 4 : cursor.at + 8]
            orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
            if magic not in orders:
                raise cursor.fault("the byte-order magic of a section")
            cursor.order = orders[magic]
            interfaces = []
        total = cursor.numbers("I")[0]
        if total < 12 or total % 4:
            raise cursor.fault(f"a block length of 12 or more in fours, not {total}")
        body = _Cursor(cursor.take(total - 12), cursor.file)
        body.order = cursor.order
        if cursor.numbers("I")[0] != total:
            raise cursor.fault("the block's length again at its end")
        if kind == _INTERFACE:
            interfaces.append(_interface(body))
        elif kind in (_ENHANCED, _PACKET):
            # An old Packet Block has 16 bits for its interface, and 16 for what was lost.
            number = body.numbers("I")[0] if kind == _ENHANCED else body.numbers("HH")[0]
            high, low, captured, length = body.numbers("IIII")
            if number >= len(interfaces):
                raise cursor.fault(f"an interface below {len(interfaces)}, not {number}")
            name, numerator, denominator = interfaces[number]
            clock = (high << 32 | low) * numerator // denominator
            yield Frame(_whole(body.take(_bounded(captured, cursor)), length, cursor), clock, name)
        elif kind == _SIMPLE:
            if not interfaces:
                raise cursor.fault("an interface before the first packet")
            length = body.numbers("I")[0]
            captured = _bounded(min(length, body.left), cursor)
            yield Frame(_whole(body.take(captured), length, cursor), clock, interfaces[0][0])


def _interface(body: _Cursor) -> tuple[str, int, int]:
    """An interface's name, and nanoseconds a tick as a fraction."""
    link, _reserved, _snap = body.numbers("HHI")
    _check_link(link, body)
    name, ticks = "", 10**6
    while body.left:
        code, length = body.numbers("HH")
        value = body.take(length)
        body.take(-length % 4)
        if code == 0:
            break
        if code == 2:
            name = value.decode(errors="replace")
        elif code == 9 and length == 1:
            ticks = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
    return name, 10**9, ticks


def write(frames: list[Frame]) -> bytes:
    """A classic capture with nanoseconds, for tests and for what a trace sends."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, MAX_FRAME, ETHERNET)]
    for frame in frames:
        seconds, rest = divmod(frame.time_ns, 10**9)
        parts += [struct.pack("<IIII", seconds, rest, len(frame.data), len(frame.data)), frame.data]
    return b"".join(parts)
