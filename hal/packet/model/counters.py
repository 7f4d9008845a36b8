"""Counters and events of one shard."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from hal.errors import ErrorKind, HalError
from hal.packet.arguments import check_cursor
from hal.packet.contract import (
    BURSTS,
    LIMITS,
    Counters,
    Cursor,
    Event,
    EventKind,
    Events,
    LimitCounters,
    RowCounters,
)
from hal.packet.model.tables import Tables

VNIC_COUNTERS = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops")
PORT_COUNTERS = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "tx_full")
ENGINE_COUNTERS = (
    "flows_opened",
    "flows_now",
    "chain_walks",
    "reevaluations",
    "pickups",
    "handovers",
    "packets",
    "logs_suppressed",
    "half_open_evicted",
    "icmp_suppressed",
    *BURSTS,
    "ended_evicted",
)
Uses = Mapping[int, Mapping[str, tuple[int, int]]]
"""Id of a row of table vnic -> limit -> used, most."""
NOTHING: Counter[str] = Counter()
EVENTS_KEPT = 4096
"""Of logs, and of all others."""


class CounterSet:
    """What one shard has counted. Those of rows that are gone are forgotten."""

    def __init__(self) -> None:
        self._drops: Counter[str] = Counter()
        self._vnics: dict[int, Counter[str]] = {}
        self._ports: dict[int, Counter[str]] = {}
        self._rows: dict[tuple[str, int], Counter[str]] = {}
        self._refused: dict[int, Counter[str]] = {}
        self.engine: Counter[str] = Counter()

    def drop(self, reason: str, vnic: int | None) -> None:
        self._drops[reason] += 1
        if vnic is not None:
            self._vnics.setdefault(vnic, Counter())["drops"] += 1

    def vnic(self, identity: int, direction: str, size: int) -> None:
        counters = self._vnics.setdefault(identity, Counter())
        counters[direction + "_packets"] += 1
        counters[direction + "_bytes"] += size

    def port(self, number: int, direction: str, size: int) -> None:
        counters = self._ports.setdefault(number, Counter())
        counters[direction + "_packets"] += 1
        counters[direction + "_bytes"] += size

    def port_full(self, number: int) -> None:
        self._ports.setdefault(number, Counter())["tx_full"] += 1

    def refuse(self, vnic: int, limit: str) -> None:
        """A limit of a vNIC has refused something."""
        self._refused.setdefault(vnic, Counter())[limit] += 1

    def hit(self, table: str, identity: int) -> None:
        self._rows.setdefault((table, identity), Counter())["hits"] += 1

    def traffic(self, table: str, identity: int, packets: int, size: int) -> None:
        counters = self._rows.setdefault((table, identity), Counter())
        counters["packets"] += packets
        counters["bytes"] += size

    def keep(self, lives: Callable[[str, int], bool]) -> None:
        """Forget what belongs to rows that don't live any more."""
        self._rows = {key: counted for key, counted in self._rows.items() if lives(*key)}
        self._vnics = {vnic: counted for vnic, counted in self._vnics.items() if lives("vnic", vnic)}
        self._refused = {vnic: counted for vnic, counted in self._refused.items() if lives("vnic", vnic)}

    @staticmethod
    def _counting(tables: Tables) -> Iterator[tuple[str, int]]:
        for table in tables.schema.tables:
            if table.counts:
                yield from ((table.name, identity) for identity in tables.versions[table.name].rows)

    def read(self, tables: Tables, ports: Iterable[int], uses: Uses) -> Counters:
        """All of it. `uses`: of each row of table vnic, what it uses of its limits."""
        vnics = tables.versions["vnic"].rows
        return Counters(
            drops={reason.name: self._drops[reason.name] for reason in tables.schema.reasons},
            vnics={vnic: _all(self._vnics.get(vnic), VNIC_COUNTERS) for vnic in sorted(vnics)},
            ports={port: _all(self._ports.get(port), PORT_COUNTERS) for port in ports},
            rows={
                key: RowCounters(**_all(self._rows.get(key), ("hits", "packets", "bytes")))
                for key in sorted({*self._counting(tables), *self._rows})
            },
            engine={name: self.engine[name] for name in ENGINE_COUNTERS},
            limits={
                (vnic, limit): LimitCounters(*uses[vnic].get(limit, (0, 0)), self._refused.get(vnic, NOTHING)[limit])
                for vnic in sorted(vnics)
                for limit in LIMITS
            },
        )


def _all(counted: Mapping[str, int] | None, names: Iterable[str]) -> dict[str, int]:
    return {name: (counted or {}).get(name, 0) for name in names}


class EventRing:
    """The latest events, numbered from 1 on. Logs, which packets make, push out each other and nothing else."""

    def __init__(self) -> None:
        self.life = random.SystemRandom().randrange(1, 1 << 64)
        self._logs: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._others: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._last = 0

    def add(self, now: int, kind: EventKind, table: str = "", identity: int = 0, data: str = "") -> None:
        self._last += 1
        ring = self._logs if kind is EventKind.RULE_LOG else self._others
        ring.append(Event(self._last, now, kind, table, identity, data))

    def read(self, cursor: Cursor | None) -> Events:
        """Events behind `cursor`, which is the number of the last one that was read, None at first.

        Raises:
            HalError: INVALID for one of ours that was never given.
        """
        check_cursor(cursor)
        lost = cursor is not None and cursor.life != self.life
        last = 0 if cursor is None or lost else int(cursor)
        if last > self._last:
            raise HalError(ErrorKind.INVALID, "events", field="cursor", limit=f"0..{self._last}", got=last)
        found = [event for event in (*self._others, *self._logs) if event.number > last]
        events = tuple(sorted(found, key=lambda event: event.number))
        return Events(events, self._last - last - len(events), Cursor(self._last, self.life), lost)
