"""Captures as a test hands them to ports and reads them back: classic ones, of this machine's byte order."""

from __future__ import annotations

import struct
from pathlib import Path


def write(path: Path, frames: list[bytes]) -> Path:
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(head + b"".join(struct.pack("=IIII", 0, 0, len(one), len(one)) + one for one in frames))
    return path


def read(path: Path) -> list[bytes]:
    data, at, frames = path.read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("=I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames
