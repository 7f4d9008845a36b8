"""Neighbours on uplinks: asked for, confirmed, probed, given up (RFC 4861 7.3, for ARP too)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from hal.packet import contract
from hal.packet.contract import NeighbourState as State
from hal.packet.model.flows import SECOND
from hal.packet.model.parse import Dropped
from hal.packet.schema.rows import unpack_address

QUEUE_EACH, QUEUE_SHARE, QUEUE_ALL = 4, 32, 256
"""Packets that wait: for a neighbour, of those that came from a vNIC or uplink, in all."""
ROOM = 65536
"""Neighbours of a shard."""
TRIES = 3
AFRESH = 60 * SECOND
"""A confirmation is good for this long."""
RETRY = 10 * SECOND
"""Between two requests to one that failed."""
INTEREST = 60 * SECOND
"""One that failed is asked for as long after a packet needed it."""


class NeighbourKey(NamedTuple):
    uplink: int
    address: bytes


class Waiting(NamedTuple):
    """An IP packet, ready but for its MACs, and the vNIC it came from."""

    ip: bytes
    vnic: int


@dataclass
class Neighbour:
    state: State
    due_ns: int
    mac: bytes = b""
    tries: int = 1
    used: bool = False
    """REACHABLE: a packet went to it since it was confirmed."""
    needed_ns: int = 0
    """When a packet last was dropped for it."""
    queue: list[Waiting] = field(default_factory=list)


@dataclass
class Hooks:
    """What the neighbours ask of the shard they are in."""

    ask: Callable[[NeighbourKey], None]
    """Send a request."""
    send: Callable[[NeighbourKey, bytes, Waiting], None]
    """Send a packet that waited, to this MAC."""
    give_up: Callable[[Waiting], None]
    """Drop a packet that waited."""
    changed: Callable[[NeighbourKey, bool], None]
    """It failed (False), or one that had failed is there (True)."""
    watched: Callable[[NeighbourKey], bool]
    """True if a next hop has this address: it is asked for whether packets need it or not."""


class Neighbours:
    """The neighbours of one shard."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._known: dict[NeighbourKey, Neighbour] = {}

    def failed(self, key: NeighbourKey) -> bool:
        neighbour = self._known.get(key)
        return neighbour is not None and neighbour.state is State.FAILED

    def known(self, key: NeighbourKey) -> bool:
        return key in self._known

    def listed(self) -> list[contract.Neighbour]:
        """All that are known, as the contract tells them."""
        return [
            contract.Neighbour(key.uplink, unpack_address(key.address), one.state, one.mac.hex(":"))
            for key, one in sorted(self._known.items())
        ]

    def resolve(self, key: NeighbourKey, waiting: Waiting, now: int) -> bytes | None:
        """Its MAC; None where the packet waits for it from now on."""
        neighbour = self._known.get(key)
        if neighbour is None:
            self._check_room(waiting.vnic)
            if len(self._known) >= ROOM:
                raise Dropped("neighbour_queue_full")
            self._known[key] = Neighbour(State.INCOMPLETE, now + SECOND, queue=[waiting])
            self._hooks.ask(key)
            return None
        if neighbour.state is State.FAILED:
            neighbour.needed_ns = now
            raise Dropped("neighbour_unresolved")
        if neighbour.state is State.INCOMPLETE:
            if len(neighbour.queue) >= QUEUE_EACH:
                raise Dropped("neighbour_queue_full")
            self._check_room(waiting.vnic)
            neighbour.queue.append(waiting)
            return None
        neighbour.used = True
        return neighbour.mac

    def _check_room(self, vnic: int) -> None:
        """May one more packet from here wait?"""
        sources = [waiting.vnic for neighbour in self._known.values() for waiting in neighbour.queue]
        if sources.count(vnic) >= QUEUE_SHARE:
            raise Dropped("neighbour_queue_limit")
        if len(sources) >= QUEUE_ALL:
            raise Dropped("neighbour_queue_full")

    def confirm(self, key: NeighbourKey, mac: bytes, now: int) -> bool:
        """It said that it is there. False if it isn't known."""
        neighbour = self._known.get(key)
        if neighbour is None:
            return False
        was_failed = neighbour.state is State.FAILED
        waiting, neighbour.queue = neighbour.queue, []
        neighbour.state, neighbour.mac, neighbour.due_ns = State.REACHABLE, mac, now + AFRESH
        neighbour.used = False
        if was_failed:
            self._hooks.changed(key, True)
        for one in waiting:
            self._hooks.send(key, mac, one)
        return True

    def advance(self, now: int) -> None:
        """Run what is due, by due time, then uplink, then address."""
        while due := [(one.due_ns, key) for key, one in self._known.items() if one.due_ns <= now]:
            _, key = min(due)
            self._run(key, self._known[key], now)

    def next_due(self) -> int | None:
        return min((one.due_ns for one in self._known.values()), default=None)

    def _run(self, key: NeighbourKey, neighbour: Neighbour, now: int) -> None:
        match neighbour.state:
            case State.REACHABLE if neighbour.used:
                neighbour.state, neighbour.tries = State.PROBE, 1
                self._ask_again(key, neighbour, SECOND)
            case State.REACHABLE:
                del self._known[key]
            case State.INCOMPLETE | State.PROBE if neighbour.tries < TRIES:
                neighbour.tries += 1
                self._ask_again(key, neighbour, SECOND)
            case State.INCOMPLETE | State.PROBE:
                self._fail(key, neighbour)
            case State.FAILED:
                if self._hooks.watched(key) or neighbour.due_ns - neighbour.needed_ns < INTEREST:
                    self._ask_again(key, neighbour, RETRY)
                    if neighbour.due_ns <= now:  # requests that were missed aren't made up
                        neighbour.due_ns = now + RETRY
                else:
                    del self._known[key]
                    self._hooks.changed(key, True)

    def _ask_again(self, key: NeighbourKey, neighbour: Neighbour, wait: int) -> None:
        neighbour.due_ns += wait
        self._hooks.ask(key)

    def _fail(self, key: NeighbourKey, neighbour: Neighbour) -> None:
        waiting, neighbour.queue = neighbour.queue, []
        neighbour.state = State.FAILED
        neighbour.needed_ns = neighbour.due_ns
        neighbour.due_ns += RETRY
        self._hooks.changed(key, False)
        for one in waiting:
            self._hooks.give_up(one)

    def keep(self, there: Callable[[int], bool]) -> None:
        """Forget those whose uplink is gone; what waits for them is given up."""
        for key in sorted(key for key in self._known if not there(key.uplink)):
            neighbour = self._known.pop(key)
            for one in neighbour.queue:
                self._hooks.give_up(one)
