"""The property tests' small universe as the bytes that its LOAD and COMMITs are, for targets in C.

python -m tests.fuzz.universe      writes build/engine-fuzz/universe.bin
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from hal.packet.contract import Operation
from hal.packet.dpdk.commit import pack
from hal.packet.dpdk.dictionary import Dictionary
from hal.packet.dpdk.load import load_parts
from hal.packet.schema.registry import schema
from hal.packet.schema.rows import Row
from tests.fuzz.targets import BUILD
from tests.property.commands import STARTS, Story
from tests.property.universe import LOAD, difference, tables

CHANGES = 40


def memfds() -> Iterator[tuple[int, bytes]]:
    """(number of sections, bytes): the LOAD's, the first COMMIT's, then pairs of one that changes what the first made
    and one that changes it back."""
    yield 0, load_parts(LOAD)[0]
    source = random.Random(10)
    story = Story(STARTS[0])
    first = tables(story.setting)
    yield _commit({}, first)
    for number in range(CHANGES):
        # In turn, so that each kind of change is among them.
        now = tables(story.change(number, source.randrange(4096), source.randrange(4096), source.randrange(4096)))
        yield _commit(first, now)
        yield _commit(now, first)


def _commit(old: dict[tuple[str, int], Row], new: dict[tuple[str, int], Row]) -> tuple[int, bytes]:
    ours = schema(own_only=True)
    operations: list[Operation] = difference(old, new)
    sections = pack(operations, (), (), Dictionary(ours.to_json().encode(), ours))
    return len(sections.heads), b"".join(bytes(memoryview(part).cast("B")) for part in sections.bytes())


def write(folder: Path) -> None:
    """Write them where the targets look for them, unless they are there already."""
    content = b"".join(struct.pack("=II", count, len(data)) + data + bytes(-len(data) % 8) for count, data in memfds())
    path = folder / "universe.bin"
    if not path.is_file() or path.read_bytes() != content:
        new = path.with_suffix(".new")  # who runs has the old one mapped
        new.write_bytes(content)
        new.replace(path)


if __name__ == "__main__":
    write(BUILD)
