"""Connections: both directions under their keys, expiry, limits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hal.packet.contract import Flow, FlowFilter, TcpState
from hal.packet.model import stage
from hal.packet.model.half_open import HalfOpen, Kind
from hal.packet.model.keys import Key
from hal.packet.model.ops import Path
from hal.packet.model.parse import Dropped
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Header
from hal.packet.model.tcp import Talk
from hal.packet.model.tracking import SECOND, is_strict_between, tracking_of
from hal.packet.schema.rows import MAPPED, pack_prefix, unpack_address

if TYPE_CHECKING:  # it is of the package that this is used by
    from hal.packet.model.path.moment import Moment

TCP_TIMEOUTS: Mapping[TcpState, str] = {
    state: f"tcp_{state.name.lower()}" for state in TcpState if state is not TcpState.NONE
}
"""The field of `tracking` that says how long a TCP connection in this state lives."""

Share = tuple[int, str]
"""What a connection counts against: a vNIC's id, and "own" or "inbound"."""


@dataclass
class Connection:
    """Both directions of a connection. Index 0 of a pair is the initiator's direction."""

    id: int
    worker: int
    vrf: int
    header: Header
    keys: list[Key]
    paths: list[Path]
    ingress: int
    egress: int
    rules: tuple[int, int]
    counted: tuple[tuple[str, int, int], ...]
    """Rows that get its packets and bytes: table, id, and the generation that put it in."""
    share: Share | None
    decided: tuple[int, int]
    """Generation, and number of changes in what is alive, by which it was last decided."""
    moment: Moment = field(repr=False, compare=False)
    """The tables as they are."""
    created_ns: int
    last_ns: int
    talk: Talk | None = None
    """Of TCP."""
    challenged: int = 0
    """When it last counted as challenged: see `path/challenges.py`."""
    replied: bool = False
    exchange: bool = False
    """It was answered, and may be over: UDP of whose initiator nothing has come since, and echo, of which each request
    may be the last."""
    packets: list[int] = field(default_factory=lambda: [0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    settled: tuple[int, int] = (0, 0)

    @property
    def tracking(self) -> Entry:
        """How it is followed: as the vNIC says that it counts for, or where it comes from."""
        tables = self.moment.tables
        return tracking_of(tables, tables.get("vnic", self.share[0] if self.share else self.ingress))

    @property
    def is_strict(self) -> bool:
        """It is held to what TCP expects."""
        tables = self.moment.tables
        return is_strict_between(tables, tables.get("vnic", self.ingress), tables.get("vnic", self.egress))

    @property
    def tcp(self) -> TcpState:
        return self.talk.state if self.talk else TcpState.NONE

    @property
    def timeout_ns(self) -> int:
        match self.header.protocol:
            case stage.TCP:
                alone = self.talk is not None and self.talk.alone is not None
                is_met = alone and self.tcp is not TcpState.CLOSED
                which = TCP_TIMEOUTS[TcpState.SYN_RECEIVED if is_met else self.tcp]
            case stage.UDP:
                which = "udp_replied" if self.replied else "udp"
            case stage.ICMP | stage.ICMP6:
                which = "icmp"
            case _:
                which = "other"
        return int(getattr(self.tracking, which)) * SECOND

    def expired(self, now: int) -> bool:
        return now - self.last_ns >= self.timeout_ns

    def unsettled(self) -> tuple[int, int]:
        """Packets and bytes since it was last settled, both directions; they count as settled from now on."""
        total = sum(self.packets), sum(self.bytes)
        fresh = total[0] - self.settled[0], total[1] - self.settled[1]
        self.settled = total
        return fresh

    def heard(self, direction: int) -> None:
        """A packet has passed in this direction."""
        protocol = self.header.protocol
        if direction == 1 and not self.replied:
            self.replied = True
            self.exchange = protocol in (stage.UDP, stage.ICMP, stage.ICMP6)
        elif direction == 0 and protocol == stage.UDP:
            self.exchange = False

    def count(self, direction: int, size: int) -> None:
        self.packets[direction] += 1
        self.bytes[direction] += size

    def flow(self) -> Flow:
        header = self.header
        return Flow(
            id=self.id,
            worker=self.worker,
            vrf=self.vrf,
            protocol=header.protocol,
            source=unpack_address(header.source),
            destination=unpack_address(header.destination),
            source_port=header.source_port,
            destination_port=header.destination_port,
            ingress=self.ingress,
            egress=self.egress,
            tcp_state=self.tcp,
            generation=self.decided[0],
            created_ns=self.created_ns,
            last_ns=self.last_ns,
            timeout_ns=self.timeout_ns,
            packets=(self.packets[0], self.packets[1]),
            bytes=(self.bytes[0], self.bytes[1]),
            rules=self.rules,
            operations=(self.paths[0].words(), self.paths[1].words()),
        )


class FlowTable:
    """The connections of one shard.

    Args:
        capacity: connections that fit into each worker.
        workers: how many workers the owner arithmetic knows.
        ended: called with each connection that is taken out.
    """

    def __init__(self, capacity: int, workers: int, ended: Callable[[Connection], None]) -> None:
        self._by_key: dict[Key, tuple[Connection, int]] = {}
        self._by_id: dict[int, Connection] = {}
        self._capacity = capacity
        self._per_worker: Counter[int] = Counter()
        self._shares: Counter[Share] = Counter()
        self._here: Counter[tuple[int, Share | None]] = Counter()
        """Of each worker: connections by whom they count for."""
        self._half_open: defaultdict[int, HalfOpen] = defaultdict(HalfOpen)
        self._ended = ended
        self._next_id = 1
        self._earliest = 0
        """Before this none expires, as long as the tables are those of `_swept`."""
        self._swept = -1
        """Generation of the tables when all were last looked at."""
        self.workers = workers

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_id.values()))

    def clear(self) -> None:
        for connection in self:
            self.remove(connection)

    def find(self, key: Key, now: int) -> tuple[Connection, int] | None:
        """The living connection with this key, and the direction that the key is of."""
        found = self._by_key.get(key)
        if found and found[0].expired(now):
            self.remove(found[0])
            return None
        return found

    def holds(self, connection: Connection, now: int) -> bool:
        """True while it is in the table and not expired."""
        return connection.id in self._by_id and not connection.expired(now)

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def add(self, connection: Connection) -> None:
        self._by_id[connection.id] = connection
        self._per_worker[connection.worker] += 1
        self._enter(connection)
        self.half_open(connection).enter(connection)
        self._lives(connection)

    def remove(self, connection: Connection) -> None:
        if self._by_id.pop(connection.id, None) is None:
            return
        self._per_worker[connection.worker] -= 1
        self.half_open(connection).leave(connection)
        self._leave(connection)
        self._ended(connection)

    @contextmanager
    def without(self, connection: Connection | None) -> Iterator[None]:
        """What is done meanwhile replaces this connection, which is there no more; where it fails, it is again."""
        if connection is None:
            yield
            return
        self.remove(connection)
        try:
            yield
        except Dropped:
            self.add(connection)
            raise

    def is_taken(self, key: Key, by_other_than: Connection, now: int) -> bool:
        """True if another living connection has this key."""
        found = self.find(key, now)
        return found is not None and found[0] is not by_other_than

    def rekey(self, connection: Connection, reply: Key, share: Share | None) -> None:
        """Its replies come from elsewhere, and it counts against somebody else."""
        self._leave(connection)
        if share == connection.share:
            connection.keys[1] = reply
        else:
            self.half_open(connection).leave(connection)
            connection.keys[1], connection.share = reply, share
            self.half_open(connection).enter(connection)
        self._enter(connection)
        self._lives(connection)

    def half_open(self, connection: Connection) -> HalfOpen:
        """Of its worker those that may make way."""
        return self._half_open[connection.worker]

    def turned(self, connection: Connection) -> None:
        """A packet has passed: it may be half-open no more, have ended, or go on."""
        if connection.id in self._by_id:
            self.half_open(connection).turn(connection)
            self._lives(connection)

    def _enter(self, connection: Connection) -> None:
        for direction, key in enumerate(connection.keys):
            self._by_key[key] = (connection, direction)
        self._here[connection.worker, connection.share] += 1
        if connection.share:
            self._shares[connection.share] += 1

    def _leave(self, connection: Connection) -> None:
        for key in connection.keys:
            if self._by_key.get(key, (None, 0))[0] is connection:
                del self._by_key[key]
        self._here[connection.worker, connection.share] -= 1
        if connection.share:
            self._shares[connection.share] -= 1

    def _lives(self, connection: Connection) -> None:
        """What says how long it lives is another: its state, whom it counts for, when it was last used."""
        self._earliest = min(self._earliest, connection.last_ns + connection.timeout_ns)

    def sweep(self, now: int) -> None:
        """Take out what has expired. A limit that refuses asks for this with each packet: where none can have expired,
        none is looked at."""
        generation = next((one.moment.tables.generation for one in self._by_id.values()), self._swept)
        if generation == self._swept and now < self._earliest:
            return
        for connection in self:
            if connection.expired(now):
                self.remove(connection)
        ends = (one.last_ns + one.timeout_ns for one in self._by_id.values())
        self._swept, self._earliest = generation, min(ends, default=now)

    def share_is_full(self, share: Share, limit: int, now: int) -> bool:
        if self._shares[share] >= limit:
            self.sweep(now)
        return self._shares[share] >= limit

    def uses(self, share: Share) -> tuple[int, int]:
        """Connections of a share that haven't ended, and those of them that are TCP in its handshake."""
        ended, handshakes = (
            sum(one.count(share, kind) for one in self._half_open.values()) for kind in (Kind.ENDED, Kind.HANDSHAKE)
        )
        return self._shares[share] - ended, handshakes

    @property
    def capacity(self) -> int:
        """Connections that fit into all workers."""
        return self._capacity * self.workers

    def free(self, worker: int) -> int:
        """How many more fit into a worker."""
        return self._capacity - self._per_worker[worker]

    def has_room(self, worker: int, share: Share | None, now: int, *, fair: bool) -> bool:
        """Does one more of this share fit into the worker?

        Args:
            fair: it may only while fewer than half as many are there as places are free.
        """
        if not self._fits(worker, share, fair=fair):
            self.sweep(now)
        return self._fits(worker, share, fair=fair)

    def may_take_of_others(self, worker: int, share: Share | None, *, fair: bool) -> bool:
        """May what others have that is half-open or has ended go for one more of this share?

        Args:
            fair: it may only where they have at least half as many as places are free, and while fewer than half as
                many as both together count for the share.
        """
        free, theirs = self.free(worker), self._half_open[worker].of_others(share)
        return not fair or (2 * theirs >= free and 2 * self._here[worker, share] < free + theirs)

    def _fits(self, worker: int, share: Share | None, *, fair: bool) -> bool:
        free = self.free(worker)
        return free > 0 and not (fair and 2 * self._here[worker, share] >= free)

    def matching(self, which: FlowFilter | None, now: int) -> list[Connection]:
        living = sorted((c for c in self if not c.expired(now)), key=lambda c: c.id)
        return [connection for connection in living if which is None or matches(connection, which)]


def matches(connection: Connection, which: FlowFilter) -> bool:
    """True if everything holds that the filter gives."""
    header = connection.header
    return (
        which.id in (None, connection.id)
        and which.vrf in (None, connection.vrf)
        and which.vnic in (None, connection.ingress, connection.egress)
        and which.protocol in (None, header.protocol)
        and which.source_port in (None, header.source_port)
        and which.destination_port in (None, header.destination_port)
        and _within(header.source, which.source)
        and _within(header.destination, which.destination)
    )


def _within(address: bytes, prefix: str | None) -> bool:
    if prefix is None:
        return True
    packed, length = pack_prefix(prefix)
    # ::/0 is all of IPv6 and no more: where IPv4 lies in it is not asked for.
    if length < 96 and address.startswith(MAPPED):
        return False
    shift = 128 - length
    return int.from_bytes(address, "big") >> shift == int.from_bytes(packed, "big") >> shift
