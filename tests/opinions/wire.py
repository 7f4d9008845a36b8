"""A wire of our own between taps, since no kernel here has netem: it loses, reorders, doubles and delays frames."""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import select
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.opinions.taps import read_all

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND


@dataclass(frozen=True)
class Weather:
    """What happens to frames on a stretch of wire.

    Args:
        loss, reorder, double: share of frames, 0..1, each drawn for itself. One that is reordered comes `late_ms` after
            its time.
        delay_ms: drawn once for a connection and direction, between these two.
    """

    loss: float = 0.0
    reorder: float = 0.0
    double: float = 0.0
    delay_ms: tuple[float, float] = (0.0, 0.0)
    late_ms: float = 10.0


@dataclass(frozen=True)
class Stretch:
    """A part of the way of a frame.

    Args:
        at_end: what becomes of it there, with the time in nanoseconds; b"" ends it.
    """

    weather: Weather
    at_end: Callable[[bytes, int], bytes] = lambda frame, _now: frame


@dataclass(frozen=True)
class Way:
    """One direction of a wire: from a descriptor over stretches to another one."""

    source: int
    stretches: Sequence[Stretch]
    target: int


@dataclass
class Wire:
    """Ways that one thread serves.

    Args:
        seed: of what is drawn.
    """

    ways: Sequence[Way]
    seed: int
    sent: int = 0
    """Stretches that frames have begun, and of those how often one was lost, late, or doubled."""
    lost: int = 0
    late: int = 0
    doubled: int = 0
    refused: int = 0
    """Frames that the device at the end would not take."""
    _due: list[tuple[int, int, Way, int, bytes]] = field(default_factory=list)
    _count: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Frames move as long as this lasts."""
        stop = threading.Event()
        thread = threading.Thread(target=self._serve, args=(stop,), name="wire")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _serve(self, stop: threading.Event) -> None:
        self._draw = random.Random(self.seed)
        ways = {way.source: way for way in self.ways}
        with contextlib.closing(select.epoll()) as poll:
            for source in ways:
                poll.register(source, select.EPOLLIN)
            while not stop.is_set():
                wait = (self._due[0][0] - time.monotonic_ns()) / SECOND if self._due else 0.05
                for source, _ in poll.poll(min(max(wait, 0.0), 0.05)):
                    for frame in read_all(source):
                        self._set_out(ways[source], 0, frame, time.monotonic_ns())
                self._arrive(time.monotonic_ns())

    def _set_out(self, way: Way, number: int, frame: bytes, now: int) -> None:
        weather = way.stretches[number].weather
        draw = self._draw.random
        self.sent += 1
        if draw() < weather.loss:
            self.lost += 1
            return
        late = draw() < weather.reorder
        at = now + round(self._delay(way, number, frame) * MILLISECOND) + late * round(weather.late_ms * MILLISECOND)
        self.late += late
        twice = draw() < weather.double
        self.doubled += twice
        for _ in range(1 + twice):
            self._count += 1
            heapq.heappush(self._due, (at, self._count, way, number, frame))

    def _delay(self, way: Way, number: int, frame: bytes) -> float:
        low, high = way.stretches[number].weather.delay_ms
        if high == low:
            return low
        ends = frame[26:38] if frame[12:14] == b"\x08\x00" else frame[22:58]  # addresses and ports
        share = zlib.crc32(b"%d %d %d " % (self.seed, number, way.source) + ends) / 2**32
        return low + (high - low) * share

    def _arrive(self, now: int) -> None:
        due = self._due
        while due and due[0][0] <= now:
            at, _, way, number, frame = heapq.heappop(due)
            frame = way.stretches[number].at_end(frame, max(at, now))
            if not frame:
                continue
            if number + 1 < len(way.stretches):
                self._set_out(way, number + 1, frame, now)
                continue
            try:
                os.write(way.target, frame)
            except BlockingIOError:
                self.refused += 1
