"""*Pick-up* of docs/forwarding.md: when TCP that began before anybody looked is taken up."""

from __future__ import annotations

from hal.packet.contract import EventKind
from hal.packet.model.counters import EventRing

FOREVER = 1 << 63


class PickUp:
    """The time in which mid-stream TCP may open its connection: `lasts_ns` from the first packet on, or FOREVER."""

    def __init__(self, lasts_ns: int, events: EventRing) -> None:
        self.until = FOREVER if lasts_ns == FOREVER else 0
        self.lasts_ns = lasts_ns
        self.began = False
        """A packet has come, or time has passed."""
        self._events = events
        self._told = False

    def advance(self, now: int) -> None:
        if not self.began and 0 < self.lasts_ns < FOREVER:
            self.until = now + self.lasts_ns
            self._told = True
            self._events.add(now, EventKind.PICKUP_BEGIN)
        self.began = True
        if self._told and now >= self.until:
            self._told = False
            self._events.add(now, EventKind.PICKUP_END)

    def goes_on(self, now: int) -> bool:
        return now < self.until
