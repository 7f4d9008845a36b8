"""Neighbours on uplinks: asked for, confirmed, probed, given up (RFC 4861 7.3, for ARP too)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from hal.packet import contract
from hal.packet.contract import NeighbourState as State
from hal.packet.model.parse import Dropped, Packet
from hal.packet.model.tracking import SECOND
from hal.packet.schema.rows import unpack_address

QUEUE_EACH, QUEUE_SHARE, QUEUE_ALL, QUEUE_MOST = 4, 32, 256, 512
"""Packets that wait: for a neighbour, of those that came from a vNIC or uplink, in all; in all where those beyond
QUEUE_ALL are the only ones of their vNIC."""
PATIENCE = 32 * SECOND // 1000
"""What waits may be pushed out by its own vNIC's share after this long: an answer takes milliseconds. So of a scan no
more than QUEUE_SHARE requests go out in it."""
ROOM = 65536
"""Neighbours of a shard."""
TRIES = 3
AFRESH = 60 * SECOND
"""A confirmation is good for this long."""
RETRY = 10 * SECOND
"""Between two requests to one that failed."""
LOCK = SECOND
"""Who has answered is where he said he is for this long, whatever others say."""
MORE_TRIES = 5
"""Requests to one that failed, before it is forgotten. Packets that go on coming for it change nothing: who scans must
not keep all that he asked for."""


class NeighbourKey(NamedTuple):
    uplink: int
    address: bytes


class Waiting(NamedTuple):
    """A packet whose `ip` is ready to leave; only the MACs are still those it came with."""

    packet: Packet
    since_ns: int
    """When it came."""

    @property
    def vnic(self) -> int:
        """The vNIC it came from."""
        identity: int = self.packet.vnic.id
        return identity


@dataclass
class Neighbour:
    state: State
    due_ns: int
    asker: int
    """Id of the vNIC whose packet made it known: it counts for that one until it is forgotten."""
    mac: bytes = b""
    before: bytes = b""
    """The MAC that it had when another one was taken; for as long as it may be taken back."""
    tries: int = 1
    """Requests since it was last heard of; of PROBE 0 where the first is to come when its LOCK ends."""
    used: bool = False
    """REACHABLE: a packet went to it since it was confirmed."""
    queue: list[Waiting] = field(default_factory=list)


@dataclass
class Hooks:
    """What the neighbours ask of the shard they are in."""

    ask: Callable[[NeighbourKey], None]
    """Send a request."""
    send: Callable[[NeighbourKey, bytes, Waiting], None]
    """Send a packet that waited, to this MAC."""
    give_up: Callable[[Waiting, str], None]
    """Drop a packet that waited, for this reason."""
    unreachable: Callable[[Waiting], None]
    """Tell the sender of a packet that nobody is there."""
    changed: Callable[[NeighbourKey, bool], None]
    """It failed (False), or one that had failed is there (True)."""
    watched: Callable[[NeighbourKey], bool]
    """True if a next hop has this address: it is asked for whether packets need it or not."""
    limited: Callable[[int, str], None]
    """A vNIC's share is used up, by the reason's name."""


class Neighbours:
    """The neighbours of one shard."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._known: dict[NeighbourKey, Neighbour] = {}
        self._asked: Counter[int] = Counter()
        """How many of them count for a vNIC."""
        self._waiting: list[Waiting] = []
        """All that wait, oldest first."""

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

    def resolve(self, key: NeighbourKey, waiting: Waiting) -> bytes | None:
        """Its MAC; None where the packet waits for it from now on."""
        neighbour = self._known.get(key)
        if neighbour is None or neighbour.state is State.INCOMPLETE:
            self._wait(key, neighbour, waiting)
            return None
        if neighbour.state is State.FAILED:
            self._hooks.unreachable(waiting)
            raise Dropped("neighbour_unresolved")
        neighbour.used = True
        return neighbour.mac

    def _wait(self, key: NeighbourKey, neighbour: Neighbour | None, waiting: Waiting) -> None:
        """It waits from now on. Raises Dropped: it may not."""
        vnic, queue = waiting.vnic, neighbour.queue if neighbour else []
        last = _pushed_out(queue, vnic) if len(queue) >= QUEUE_EACH else None
        own = None
        if (last is None or last.vnic != vnic) and self._sources().count(vnic) >= QUEUE_SHARE:
            own = self._oldest_of(vnic, key, waiting.since_ns)
        elif last is None:
            self._check_room(vnic)
        if neighbour is None:
            self._check_new(vnic)
        if own is not None:
            self._hooks.limited(vnic, "neighbour_queue_limit")
            self._push_out(own, "neighbour_queue_limit", key)
        if neighbour is None:
            neighbour = self._begin(key, vnic, waiting.since_ns)
        if last is not None and len(neighbour.queue) >= QUEUE_EACH:
            self._push_out(last, "neighbour_queue_full", key)
        neighbour.queue.append(waiting)
        self._waiting.append(waiting)

    def _oldest_of(self, vnic: int, key: NeighbourKey, now: int) -> Waiting:
        """What goes of a vNIC's full share, so that this neighbour is asked for. Where that is a next hop it goes at
        once: of these there are few, and who is flooded has to find his."""
        oldest = next(one for one in self._waiting if one.vnic == vnic)
        if now - oldest.since_ns < PATIENCE and not self._hooks.watched(key):
            self._hooks.limited(vnic, "neighbour_queue_limit")
            raise Dropped("neighbour_queue_limit")
        return oldest

    def _push_out(self, gone: Waiting, reason: str, instead: NeighbourKey) -> None:
        """It waits no more, as another packet is to wait for `instead`. A neighbour for which none waits any more is
        forgotten, but a next hop: what a scan asks for stays as little as what may wait."""
        key, neighbour = next((key, one) for key, one in self._known.items() if any(each is gone for each in one.queue))
        neighbour.queue = [one for one in neighbour.queue if one is not gone]
        self._leave([gone])
        self._hooks.give_up(gone, reason)
        if not neighbour.queue and key != instead and not self._hooks.watched(key):
            self._forget(key)

    def _leave(self, gone: list[Waiting]) -> list[Waiting]:
        """The same, which wait no more."""
        self._waiting = [one for one in self._waiting if not any(one is each for each in gone)]
        return gone

    def want(self, key: NeighbourKey, vnic: int, now: int) -> bytes | None:
        """Its MAC, for a packet that the card makes in the name of who is behind this vNIC: such a packet waits for
        nobody. None: it isn't known; it is asked for from now on, if there is room."""
        neighbour = self._known.get(key)
        if neighbour is None:
            with suppress(Dropped):
                self._check_new(vnic)
                self._begin(key, vnic, now)
            return None
        if neighbour.state in (State.INCOMPLETE, State.FAILED):
            return None
        neighbour.used = True
        return neighbour.mac

    def _check_new(self, vnic: int) -> None:
        """May one more become known, for a packet from here?"""
        if len(self._known) >= ROOM:
            raise Dropped("neighbour_queue_full")
        if self._asked[vnic] >= ROOM - len(self._known):
            self._hooks.limited(vnic, "neighbour_limit")
            raise Dropped("neighbour_limit")

    def _begin(self, key: NeighbourKey, vnic: int, now: int) -> Neighbour:
        """It becomes known, and is asked for."""
        self._known[key] = Neighbour(State.INCOMPLETE, now + SECOND, vnic)
        self._asked[vnic] += 1
        self._hooks.ask(key)
        return self._known[key]

    def uses(self) -> Callable[[int], tuple[tuple[int, int], tuple[int, int]]]:
        """Of a vNIC, neighbours and waiting packets that count for it now, and how many of each may."""
        waiting, room = Counter(self._sources()), ROOM - len(self._known)
        return lambda vnic: ((self._asked[vnic], room), (waiting[vnic], QUEUE_SHARE))

    def _sources(self) -> list[int]:
        """The vNICs that waiting packets came from."""
        return [waiting.vnic for waiting in self._waiting]

    def _check_room(self, vnic: int) -> None:
        """May one more packet wait in all?"""
        sources = self._sources()
        if len(sources) >= (QUEUE_ALL if vnic in sources else QUEUE_MOST):
            raise Dropped("neighbour_queue_full")

    def hear(self, key: NeighbourKey, mac: bytes | None, now: int, *, solicited: bool, override: bool) -> bool:
        """It said something of itself (RFC 4861 7.2.5; of ARP: RFC 826).

        Args:
            mac: its MAC; None where it says none.
            solicited: it says that it answers a request of ours. It is believed while one is out: then it hears us.
            override: the MAC replaces another one. Not that of who has answered within LOCK: the first of two who
                answer for one address stays, but for who had it before, and still answers.

        Returns: False if it isn't known, or says too little for one of whom nothing is known.
        """
        neighbour = self._known.get(key)
        if neighbour is None:
            return False
        nothing_known = neighbour.state in (State.INCOMPLETE, State.FAILED)
        if mac is None:
            if nothing_known:
                return False
            mac = neighbour.mac
        answers = solicited and _is_asked(neighbour, now)
        free = _locked_until(neighbour)
        if nothing_known or (neighbour.state is State.REACHABLE and free <= now):
            neighbour.before = b""
        if nothing_known:
            self._take(key, neighbour, mac, now, answers)
        elif mac == neighbour.mac:
            if answers:
                self._confirm(key, neighbour, mac, now)
        elif free > now:
            if not solicited:
                neighbour.state, neighbour.tries, neighbour.due_ns = State.PROBE, 0, free
            elif override:
                self._take_back(key, neighbour, mac, now)
        elif override:
            self._replace(key, neighbour, mac, now, answers)
        elif neighbour.state is State.REACHABLE:
            self._doubt(key, neighbour, neighbour.mac, now)
        return True

    def _take_back(self, key: NeighbourKey, neighbour: Neighbour, mac: bytes, now: int) -> None:
        """Somebody answers behind another one: it is its MAC again if it was before."""
        if mac == neighbour.before:
            neighbour.before = b""
            self._confirm(key, neighbour, mac, now)

    def _replace(self, key: NeighbourKey, neighbour: Neighbour, mac: bytes, now: int, answers: bool) -> None:
        """Another MAC is taken; the one before is remembered, of several the first."""
        if mac == neighbour.before:
            neighbour.before = b""
        elif not neighbour.before:
            neighbour.before = neighbour.mac
        self._take(key, neighbour, mac, now, answers)

    def _take(self, key: NeighbourKey, neighbour: Neighbour, mac: bytes, now: int, answers: bool) -> None:
        """This is its MAC from now on."""
        if answers:
            self._confirm(key, neighbour, mac, now)
        else:
            self._doubt(key, neighbour, mac, now)

    def _confirm(self, key: NeighbourKey, neighbour: Neighbour, mac: bytes, now: int) -> None:
        """It is REACHABLE."""
        was_failed = neighbour.state is State.FAILED
        neighbour.state, neighbour.mac, neighbour.due_ns = State.REACHABLE, mac, now + AFRESH
        neighbour.used = False
        if was_failed:
            self._hooks.changed(key, True)
        self._send_waiting(key, neighbour)

    def _doubt(self, key: NeighbourKey, neighbour: Neighbour, mac: bytes, now: int) -> None:
        """This is its MAC for now, and it is asked whether that is so: what RFC 4861 calls STALE, without the wait."""
        before, neighbour.state, neighbour.mac = neighbour.state, State.PROBE, mac
        if before in (State.REACHABLE, State.FAILED):
            neighbour.tries, neighbour.due_ns = 1, now + SECOND
            if before is State.FAILED:
                self._hooks.changed(key, True)
            self._hooks.ask(key)
        self._send_waiting(key, neighbour)

    def _send_waiting(self, key: NeighbourKey, neighbour: Neighbour) -> None:
        waiting, neighbour.queue = self._leave(neighbour.queue), []
        for one in waiting:
            self._hooks.send(key, neighbour.mac, one)

    def advance(self, now: int) -> None:
        """Run what is due, by due time, then uplink, then address."""
        while due := [(one.due_ns, key) for key, one in self._known.items() if one.due_ns <= now]:
            _, key = min(due)
            self._run(key, self._known[key], now)

    def _run(self, key: NeighbourKey, neighbour: Neighbour, now: int) -> None:
        match neighbour.state:
            case State.REACHABLE if neighbour.used:
                neighbour.state, neighbour.tries, neighbour.before = State.PROBE, 1, b""
                self._ask_again(key, neighbour, SECOND)
            case State.REACHABLE:
                self._forget(key)
            case State.INCOMPLETE | State.PROBE if neighbour.tries < TRIES:
                if neighbour.tries == 0:
                    neighbour.before = b""
                neighbour.tries += 1
                self._ask_again(key, neighbour, SECOND)
            case State.INCOMPLETE | State.PROBE:
                self._fail(key, neighbour)
            case State.FAILED:
                if neighbour.tries < MORE_TRIES or self._hooks.watched(key):
                    neighbour.tries = min(neighbour.tries + 1, MORE_TRIES)
                    self._ask_again(key, neighbour, RETRY)
                    if neighbour.due_ns <= now:  # requests that were missed aren't made up
                        neighbour.due_ns = now + RETRY
                else:
                    self._forget(key)
                    self._hooks.changed(key, True)

    def _forget(self, key: NeighbourKey) -> Neighbour:
        neighbour = self._known.pop(key)
        self._asked[neighbour.asker] -= 1
        return neighbour

    def _ask_again(self, key: NeighbourKey, neighbour: Neighbour, wait: int) -> None:
        neighbour.due_ns += wait
        self._hooks.ask(key)

    def _fail(self, key: NeighbourKey, neighbour: Neighbour) -> None:
        waiting, neighbour.queue = self._leave(neighbour.queue), []
        neighbour.state, neighbour.tries = State.FAILED, 0
        neighbour.due_ns += RETRY
        self._hooks.changed(key, False)
        for one in waiting:
            self._hooks.unreachable(one)
            self._hooks.give_up(one, "neighbour_unresolved")

    def keep(self, there: Callable[[int], bool]) -> None:
        """Forget those whose uplink is gone; what waits for them is given up."""
        for key in sorted(key for key in self._known if not there(key.uplink)):
            for one in self._leave(self._forget(key).queue):
                self._hooks.give_up(one, "neighbour_unresolved")


def _is_asked(neighbour: Neighbour, now: int) -> bool:
    """A request of ours went out within the last second, and nobody has answered it."""
    match neighbour.state:
        case State.FAILED:
            return neighbour.tries > 0 and now < neighbour.due_ns - RETRY + SECOND
        case State.REACHABLE:
            return False
        case _:
            return neighbour.tries > 0


def _locked_until(neighbour: Neighbour) -> int:
    """When others may say another MAC again, in nanoseconds; 0: they may."""
    match neighbour.state:
        case State.REACHABLE:
            return neighbour.due_ns - AFRESH + LOCK
        case State.PROBE if neighbour.tries == 0:
            return neighbour.due_ns
        case _:
            return 0


def _pushed_out(queue: list[Waiting], vnic: int) -> Waiting:
    """Who goes where one more comes from this vNIC: the oldest (RFC 4861 7.2.2) of those vNICs that would have most
    here, so that a flood pushes out nothing but its own."""
    sources = [one.vnic for one in queue]
    counts = {one: sources.count(one) + (one == vnic) for one in sources}
    most = max(counts.values())
    return next(one for one in queue if counts[one.vnic] == most)
