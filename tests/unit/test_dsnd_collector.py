"""Events are collected over restarts of the engine, numbered on, and a late reader learns what it missed."""

from __future__ import annotations

from typing import cast

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend, Cursor, Event, EventKind, Events
from sdk.dsnd.collector import Collector


class Source:
    """An engine's events."""

    def __init__(self, count: int, missed: int = 0) -> None:
        self.some = [Event(number, 0, EventKind.COMMIT, data=f"{id(self)}") for number in range(1, count + 1)]
        self.missed = missed

    def events(self, cursor: Cursor | None = None) -> Events:
        new = tuple(event for event in self.some if event.number >= max(cursor or 0, 1))
        missed = self.missed if cursor is None else 0
        return Events(new, missed, Cursor(len(self.some) + 1, 1))


class Holder:
    """What the daemon has for an engine now."""

    def __init__(self) -> None:
        self.source: Source | None = None

    def __call__(self) -> Backend:
        if self.source is None:
            raise HalError(ErrorKind.LOST, "packet engine")
        return cast("Backend", self.source)


def test_numbers_go_on_when_the_engine_is_another() -> None:
    holder = Holder()
    collector = Collector(holder)
    holder.source = Source(3)
    assert [event.number for event in collector.read().events] == [1, 2, 3]
    holder.source = None
    assert len(collector.read().events) == 3
    holder.source = Source(2)
    events = collector.read(cursor=4)
    assert [event.number for event in events.events] == [4, 5]
    assert (events.missed, events.cursor) == (0, 6)


def test_the_daemons_own_events_come_between_two_engines() -> None:
    holder = Holder()
    collector = Collector(holder)
    holder.source = Source(2)
    collector.collect()
    holder.source = None
    collector.tell(EventKind.ENGINE_DIED, "after 3.0 s")
    holder.source = Source(1)
    kinds = [(event.number, event.kind.name) for event in collector.read().events]
    assert kinds == [(1, "COMMIT"), (2, "COMMIT"), (3, "ENGINE_DIED"), (4, "COMMIT")]


def test_a_late_reader_learns_what_it_missed() -> None:
    holder = Holder()
    holder.source = Source(10)
    collector = Collector(holder, capacity=4)
    events = collector.read(cursor=3)
    assert [event.number for event in events.events] == [7, 8, 9, 10]
    assert events.missed == 4


def test_what_the_engine_itself_lost_counts_as_missed() -> None:
    holder = Holder()
    holder.source = Source(2, missed=5)
    events = Collector(holder).read(cursor=1)
    assert [event.number for event in events.events] == [6, 7]
    assert events.missed == 5


def test_logs_push_no_other_event_out() -> None:
    holder = Holder()
    collector = Collector(holder, capacity=4)
    source = holder.source = Source(1)
    source.some += [Event(number, 0, EventKind.RULE_LOG) for number in range(2, 50)]
    seen = collector.read()
    assert [(one.number, one.kind) for one in seen.events] == [
        (1, EventKind.COMMIT),
        *((number, EventKind.RULE_LOG) for number in range(46, 50)),
    ]
    assert seen.missed == 44
