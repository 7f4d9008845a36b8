"""Events as a person reads them: the last ones, of some kinds, by the clock on the wall, each once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from hal.packet.contract import Event, EventKind
from sdk.cli.witness import Speaker
from services.core.plain import id_text

HOPS = (EventKind.NEXT_HOP_DOWN, EventKind.NEXT_HOP_UP)
PORTS = (EventKind.PORT_DOWN, EventKind.PORT_UP)


def booted_ns() -> int:
    """When the engine's clock, which counts from the machine's start and while it sleeps, was 0: ns since 1970. To ten
    milliseconds: the two clocks are read one after the other, and an event asked for twice has one time."""
    return round(time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME), -7)


class Reader:
    """Chooses among events as they come, over several reads.

    Args:
        kinds: only these; all where there are none.
        booted: what the engine's times count from, in ns since 1970.
    """

    def __init__(self, speaker: Speaker, kinds: Sequence[str] = (), booted: int | None = None) -> None:
        self._speaker = speaker
        self._kinds = {EventKind[kind.upper()] for kind in kinds}
        self._booted = booted_ns() if booted is None else booted
        self._hops: dict[int, EventKind] = {}

    def choose(self, events: Iterable[Event]) -> Iterator[Event]:
        """Those of the kinds asked for. Each worker keeps neighbours of its own and says that a next hop is down or
        up; what another has said before is left out."""
        for one in events:
            if one.kind in HOPS:
                before, self._hops[one.id] = self._hops.get(one.id), one.kind
                if before is one.kind:
                    continue
            if not self._kinds or one.kind in self._kinds:
                yield one

    def when(self, one: Event) -> datetime:
        """Local time."""
        return datetime.fromtimestamp((self._booted + one.time_ns) / 1e9).astimezone()

    def about(self, one: Event) -> str:
        """What it is about: a port or an entry by its name; "" where it is about nothing."""
        if one.kind in PORTS:
            return self._speaker.port(one.id)
        return self._speaker.entry(one.table, one.id) if one.table else ""

    def words(self, one: Event) -> str:
        """In one line."""
        when = self.when(one).strftime("%Y-%m-%d %H:%M:%S.%f")
        return " ".join(
            part for part in (str(one.number), when, one.kind.name.lower(), self.about(one), one.data) if part
        )

    def value(self, one: Event) -> dict[str, Any]:
        """As plain values. The id is a text: JSON's numbers hold 53 bits."""
        return {
            "number": one.number,
            "time": self.when(one).isoformat(),
            "time_ns": one.time_ns,
            "kind": one.kind.name,
            "table": one.table,
            "id": id_text(one.id),
            "about": self.about(one),
            "data": one.data,
        }
