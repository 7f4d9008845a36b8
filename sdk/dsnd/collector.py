"""Events of the engine, collected into a ring of the daemon's own, which outlives restarts of the engine."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from heapq import merge

from hal.errors import HalError
from hal.packet.contract import Backend, Cursor, Event, EventKind, Events

CAPACITY = 65536
EVERY_SECONDS = 0.25


class Collector:
    """Reads the engine's events as they come and numbers them anew, ascending by one for as long as the daemon lives.

    Args:
        backend: gives the engine as it is now; raises HalError while there is none.
    """

    def __init__(self, backend: Callable[[], Backend], capacity: int = CAPACITY) -> None:
        self._backend = backend
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._logs: deque[Event] = deque(maxlen=capacity)  # apart: who sends what a rule logs pushes nothing else out
        self._next = 1
        self._source: Backend | None = None
        self._cursor: Cursor | None = None
        self._life = secrets.randbelow((1 << 64) - 1) + 1
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def collect(self) -> None:
        """Take what is new. A new engine is read from its beginning."""
        with self._lock:
            try:
                backend = self._backend()
                if backend is not self._source:
                    self._source, self._cursor = backend, None
                while True:
                    page = backend.events(self._cursor)
                    self._next += page.missed
                    for event in page.events:
                        ring = self._logs if event.kind is EventKind.RULE_LOG else self._ring
                        ring.append(replace(event, number=self._next))
                        self._next += 1
                    self._cursor = page.cursor
                    if not page.events:
                        break
            except HalError:
                return  # it is being restarted; the next round sees the new one

    def tell(self, kind: EventKind, words: str) -> None:
        """An event of the daemon's own, of this moment."""
        with self._lock:
            self._ring.append(Event(self._next, time.clock_gettime_ns(time.CLOCK_BOOTTIME), kind, data=words))
            self._next += 1

    def read(self, cursor: int = 0) -> Events:
        """Events from `cursor` on, those of this moment included."""
        self.collect()
        with self._lock:
            both = merge(self._ring, self._logs, key=lambda event: event.number)
            some = [event for event in both if event.number >= cursor]
            between = range(max(cursor, 1), self._next)
            return Events(tuple(some), len(between) - len(some), Cursor(self._next, self._life))

    def _run(self) -> None:
        while not self._ending.wait(EVERY_SECONDS):
            self.collect()
