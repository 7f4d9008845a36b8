"""Captures of one or more connections between `a` and `b`, as the router between them sees them."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdk.cli import capture as pcap
from tests.opinions.wiring import side_of

KEPT = Path(__file__).with_name("corpus.tar.xz")


@dataclass(frozen=True)
class Frame:
    """A frame as it came to the router: when, in nanoseconds since the first one, and whose it is, 0 or 1."""

    time_ns: int
    side: int
    data: bytes


@dataclass(frozen=True)
class Capture:
    """A name, like `linux/half-close-v6-3`, and frames in order."""

    name: str
    frames: Sequence[Frame]


def keep(captures: Iterable[Capture], path: Path = KEPT) -> None:
    """Write a file with captures, each a member NAME.pcap. The same captures give the same bytes."""
    with lzma.open(path, "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for capture in sorted(captures, key=lambda one: one.name):
            data = pcap.write([pcap.Frame(frame.data, frame.time_ns) for frame in capture.frames])
            member = tarfile.TarInfo(f"{capture.name}.pcap")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def kept(path: Path = KEPT) -> Iterator[Capture]:
    """The captures of such a file, by name."""
    with lzma.open(path) as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            yield of_pcap(member.name.removesuffix(".pcap"), stream.read())


def of_pcap(name: str, data: bytes) -> Capture:
    """A capture from a file's bytes. Raises HalError: it is none; ValueError: a frame is neither a's nor b's."""
    return Capture(name, [Frame(one.time_ns, side_of(one.data), one.data) for one in pcap.parse(data, name)])


def by_folder(captures: Iterable[Capture]) -> Mapping[str, list[Capture]]:
    found: dict[str, list[Capture]] = {}
    for capture in captures:
        found.setdefault(capture.name.split("/")[0], []).append(capture)
    return found
