"""What limits have refused, which of them have been told of, and when."""

from __future__ import annotations

from hal.packet.contract import EventKind
from hal.packet.model.counters import CounterSet, EventRing
from hal.packet.model.flows import Share
from hal.packet.model.path.moment import Moment
from hal.packet.model.tracking import SECOND

QUIET = 10 * SECOND
"""What goes on biting is told of again after this long: who floods must not push out what else was told."""
TABLE: Share = (0, "table")
"""Of what is told of no vNIC but of the whole table."""


class Told:
    """Counts and events of limits, of one shard."""

    def __init__(self, moment: Moment, events: EventRing, counters: CounterSet) -> None:
        self._moment = moment
        self._events = events
        self._counters = counters
        self._told_ns: dict[tuple[EventKind, Share], int] = {}

    def refuses(self, limit: str, share: Share) -> None:
        """A limit of this share has refused something, by the name of the reason."""
        vnic, which = share
        self._counters.refuse(vnic, f"inbound_{limit}" if which == "inbound" else limit)

    def bites(self, kind: EventKind, share: Share) -> None:
        """It is told that a limit of this share refuses something, or that something goes for it."""
        now = self._moment.now
        if now - self._told_ns.get((kind, share), now - QUIET) >= QUIET:
            self._told_ns[kind, share] = now
            self._events.add(now, kind, "vnic" if share is not TABLE else "", share[0])
