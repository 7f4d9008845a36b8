"""Sequences of packets, times, commits and looks: twin and engine say the same.

The twin is what is watched for new ways, so an input is new where the specification takes another branch; the engine,
with sanitizers, is a process of its own. An input is a story of the property tests (ten bytes a command), or, where its
first byte is odd, frames of any bytes on their universe: port, pause, length, bytes.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.python import run

if TYPE_CHECKING:
    from hal.packet.contract import PacketIn
    from tests.property.commands import Command
    from tests.property.compare import Pair

COMMAND = struct.Struct("<5H")
FRAME = struct.Struct("<BBH")
MOST = 60
"""Commands or frames of an input."""
_STANDS: list[int] = []
"""The beginning whose tables are committed and untouched: frames want nothing else, and commits cost most of a try."""
_ENGINE = "DSN_FUZZ_ENGINE"
"""Run folder of the engine that a fuzzing process asks."""


def modules() -> None:
    """Import what is fuzzed."""
    import hal.packet.model  # noqa: F401
    from tests.property import compare  # noqa: F401


@cache
def _pair() -> Pair:
    from hal.packet.dpdk import connect
    from hal.packet.model import Twin
    from tests.property.compare import Pair
    from tests.property.universe import LOAD

    twin, other = Twin(), connect(Path(os.environ[_ENGINE]))
    for backend in (twin, other):
        backend.load(LOAD)
        backend.start()
    return Pair(twin, other)


def commands(data: bytes) -> list[Command]:
    """The story that an input stands for."""
    whole = len(data) // COMMAND.size * COMMAND.size
    found = COMMAND.iter_unpack(data[:whole])
    return [(first, a % 4096, b % 4096, c % 4096, d % 4096) for first, a, b, c, d in found][:MOST]


def story_bytes(story: list[Command]) -> bytes:
    """The input of a story."""
    return b"\0" + b"".join(COMMAND.pack(*(number & 0xFFFF for number in command)) for command in story[:MOST])


def frames_bytes(setting: int, frames: list[tuple[int, int, bytes]]) -> bytes:
    """The input of frames: (number of the port, pause, bytes)."""
    parts = [FRAME.pack(port, pause, len(data)) + data for port, pause, data in frames[:MOST]]
    return bytes((1, setting)) + b"".join(parts)


def one(data: bytes) -> None:
    """Try one input. Raises Differs."""
    from tests.property.compare import Coverage, play

    if data[:1] and data[0] & 1:
        _frames(data[1:])
    elif story := commands(data[1:]):
        _STANDS.clear()
        play(_pair(), story, Coverage())


def _frames(data: bytes) -> None:
    from tests.property import compare
    from tests.property.commands import STARTS, Kind, Story
    from tests.property.universe import tables

    pair, coverage = _pair(), compare.Coverage()
    start = data[0] % len(STARTS) if data else 0
    if [start] != _STANDS:
        pair.clear()
        compare.commit(pair, {}, tables(Story(STARTS[start]).setting), coverage)
        _STANDS[:] = [start]
    shards = pair.shards(pickup=bool(data) and data[0] >= 128)
    try:
        compare.send(shards, list(_packets(data[1:])), coverage, Kind.BEND, "frames of any bytes")
        compare.look(shards, coverage)
    finally:
        for shard in shards:
            shard.close()


def _packets(data: bytes) -> Iterator[PacketIn]:
    from hal.packet.contract import PacketIn
    from tests.property.teller import SECOND, WAITS
    from tests.property.universe import PORTS

    now, at = SECOND, 0
    for _ in range(MOST):
        if at + FRAME.size > len(data):
            return
        port, pause, size = FRAME.unpack_from(data, at)
        at += FRAME.size
        now += WAITS[pause % len(WAITS)] if pause & 128 else 1000
        yield PacketIn(data[at : at + size], PORTS[port % len(PORTS)], now)
        at += size


def mutate(data: bytes, source: random.Random) -> bytes:
    """Commands come, go, change places or one number; frames get other bytes from libFuzzer itself."""
    if not data or data[0] & 1:
        return data
    story = commands(data[1:]) or [(0, 0, 0, 0, 0)]
    place = source.randrange(len(story))
    drawn = tuple(source.randrange(source.choice((8, 64, 4096))) for _ in range(5))
    match source.randrange(5):
        case 0:
            story.insert(place, (drawn[0], drawn[1], drawn[2], drawn[3], drawn[4]))
        case 1 if len(story) > 1:
            story.pop(place)
        case 2:
            other = source.randrange(len(story))
            story[place], story[other] = story[other], story[place]
        case 3:
            story[place:place] = story[max(0, place - source.randrange(1, 9)) : place]
        case _:
            changed = list(story[place])
            number = source.randrange(5)
            changed[number] = drawn[number]
            story[place] = (changed[0], changed[1], changed[2], changed[3], changed[4])
    return story_bytes(story)


def main() -> int:
    """Start the engine, and in a process of its own what asks it."""
    from tests.tools import engine

    with tempfile.TemporaryDirectory(prefix="dsn-fuzz-") as folder, engine.running(Path(folder) / "run"):
        environment = os.environ | {_ENGINE: str(Path(folder) / "run")}
        child = subprocess.Popen([sys.executable, "-m", "tests.fuzz.same", *sys.argv[1:]], env=environment)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: child.send_signal(signal.SIGINT))
        return child.wait()


if __name__ == "__main__":
    if _ENGINE in os.environ:
        run("same", modules, one, mutate)
    else:
        sys.exit(main())
