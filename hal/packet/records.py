"""The values of the contract: what its verbs, in `hal.packet.contract`, take and give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from hal.packet.life import Generation
from hal.packet.schema.rows import Row, Rows

if TYPE_CHECKING:
    import numpy as np

# --- loading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PortConfig:
    """A port to open.

    Args:
        number: 0-65534, unique; what rows call it.
        name: as intent calls it.
        device: what it is: "linux:IFNAME", "tap:IFNAME" (a punt tap; both may end in "@NAMESPACE"), "null", "ring",
            "pcap:IN,OUT", "dpdk:DEVARGS", or "replay" (no device: packets come by replay only).
        mtu: longest IP packet in bytes, 1280-9216.
        mac: the device's MAC where it has one of its own, else "".
    """

    number: int
    name: str
    device: str
    mtu: int = 1500
    mac: str = ""


@dataclass(frozen=True)
class LoadConfig:
    """Everything that is fixed before the first commit; none of it is ever part of one.

    Args:
        ports: the ports.
        owners: owner -> the tables it writes. A table has one owner; tables named nowhere belong to "dsnd".
        awaited: owners without whose rows nothing may be forwarded, among those that are named in `owners`.
        capacities: table -> entries that fit, of all its actions together, where it isn't the declared capacity.
        workers: packet threads, 1-64.
        connections: connections (both directions count as one) that fit in each worker.
        pickup_ns: for how long after start a mid-stream TCP segment may open its flow; 0: never.
        flow_limit, inbound_flow_limit, punt_limit: defaults for vNICs whose row says 0. Of the first two 0 means a
            quarter of what fits in all workers, so that a flood takes its own share only. Who has no more than such a
            number takes a free place only while fewer than half as many connections count for it as places are free.
            What has ended makes way for what is opened: TCP, and UDP and echo that were one exchange so far. Behind
            that, in the share that is full, what nobody has answered does, the oldest first, TCP last.
        new_flow_limit, half_open_limit: defaults as well, the first a second. Of the second 0 means an eighth of what
            fits in all workers. Half of what a vNIC may open, and of what may be opened to it, is the most that it
            means, and one the least.
        fragment_limit: a default, too: fragmented datagrams of a vNIC that a worker remembers; 0: a part of all it can.
        icmp_limit, challenge_limit: defaults, a second, of what the card makes for a vNIC.
    """

    ports: tuple[PortConfig, ...] = ()
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    awaited: tuple[str, ...] = ()
    capacities: Mapping[str, int] = field(default_factory=dict)
    workers: int = 1
    connections: int = 65536
    pickup_ns: int = 60_000_000_000
    flow_limit: int = 0
    inbound_flow_limit: int = 0
    punt_limit: int = 1000
    new_flow_limit: int = 100_000
    half_open_limit: int = 0
    fragment_limit: int = 0
    icmp_limit: int = 1000
    challenge_limit: int = 4096


@dataclass(frozen=True)
class PortState:
    """A port as it is now. `wakes`: it can wake a sleeping engine; otherwise the engine polls."""

    config: PortConfig
    link: bool
    wakes: bool


# --- writing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Insert:
    """Rows whose ids and keys are new to the table."""

    rows: Rows


@dataclass(frozen=True, eq=False)
class Modify:
    """Rows whose ids are in the table; all fields, the key and the action included, become these. Counters stay.
    In a full table they are never FULL: they take no room."""

    rows: Rows


@dataclass(frozen=True, eq=False)
class Delete:
    """Ids (uint64 array of shape (n,)) to take out of a table."""

    table: str
    ids: np.ndarray[Any, np.dtype[np.uint64]]


Operation = Insert | Modify | Delete


TAG_BYTES, NAME_BYTES, FILE_BYTES = 127, 63, 127


@dataclass(frozen=True)
class Name:
    """What a person calls an entry: `text` (at most 63 bytes), from `file` (its last 127 bytes) at `line`."""

    table: str
    id: int
    text: str
    file: str = ""
    line: int = 0


class OutcomeKind(IntEnum):
    COMMITTED = 1
    REFUSED = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Outcome:
    """What became of a transaction: COMMITTED as `generation`, REFUSED with `error` (its words), or UNKNOWN."""

    kind: OutcomeKind
    generation: Generation | None = None
    error: str = ""


LONGEST_LEASE_NS = 60_000_000_000
MOST_SHARD_CONNECTIONS = 1 << 20


# --- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The tables of one generation: table -> its rows, one `Rows` an action present, ordered by id.

    Args:
        tag: of this generation, whoever committed it.
        tags: owner -> the tag of its own last commit, whatever others committed since; none of one that never did.
        left_out: table -> how many of its rows are missing here, being of a form that this program has no class for.
    """

    generation: Generation
    tag: str
    tables: Mapping[str, tuple[Rows, ...]]
    names: Mapping[tuple[str, int], Name] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def rows(self, table: str) -> list[Row]:
        """The typed rows of one table, ordered by id."""
        return sorted((row for rows in self.tables.get(table, ()) for row in rows), key=lambda row: row.id)


# --- packets -----------------------------------------------------------------------------------------------------


class Verdict(IntEnum):
    """What became of a packet that came in."""

    FORWARD = 1
    """Sent on, to another vNIC or uplink."""
    DROP = 2
    """Dropped, counted under its reason."""
    CONSUME = 3
    """Taken in by the engine: ARP, neighbour discovery and echo for its own addresses."""
    QUEUE = 4
    """Waits for a neighbour to answer."""
    PUNT = 5
    """Given to the card's own programs."""


class TcpState(IntEnum):
    """States of a tracked connection, named after RFC 9293 3.3.2; NONE where it isn't TCP."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECEIVED = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSING = 5
    TIME_WAIT = 6
    CLOSED = 7


class StepKind(IntEnum):
    """What a witness says; `table`/`id` name the row concerned, `value` is the kind's own number."""

    STAGE = 1
    """The stage (number in `value`) begins."""
    MATCH = 2
    """A row matched."""
    MISS = 3
    """No row of the table matched."""
    FLOW = 4
    """An installed flow was found; `id` is its connection's, value 0 the initiator's direction, 1 the reply's."""
    REEVALUATE = 5
    """The flow was decided under older tables: the chain runs again."""
    INSTALL = 6
    """A connection was installed; `id` is its."""
    DROP = 7
    """Dropped; value is the reason's number."""
    SEND = 8
    """Sent to the vNIC or uplink `id` (table vnic)."""
    MAKE = 9
    """The card made a packet of its own; value: 1 ARP, 2 ND, 3 ICMP echo, 4 ICMP error, 5 TCP RST,
    6 TCP challenge ACK."""
    STATE = 10
    """The connection's TCP state; value is a `TcpState`."""


@dataclass(frozen=True)
class Step:
    kind: StepKind
    table: str = ""
    id: int = 0
    value: int = 0


# In bytes: an IP packet of the longest MTU behind an Ethernet header with two tags.
LONGEST_FRAME = 9238
# It leaves room for every time-out behind it; 292 years of a machine's uptime: a running card counts from its start.
LATEST_NS = 2**63 - 1


@dataclass(frozen=True)
class PacketIn:
    """A frame that arrives: `data` from the destination MAC on, without FCS, at `time_ns` (never going back). At a
    `port` that was not loaded no vNIC is declared: the frame is dropped as `vnic_unknown`. Longer than 9,238 bytes or
    later than 2^63 - 1 ns it is INVALID."""

    data: bytes
    port: int
    time_ns: int


@dataclass(frozen=True)
class Output:
    """A frame that left by a port."""

    port: int
    data: bytes


@dataclass(frozen=True)
class PacketResult:
    """What a packet caused. `outputs` holds all frames that left because of it, its own first, and before it those
    that timers due by then sent."""

    verdict: Verdict
    reason: str = ""
    outputs: tuple[Output, ...] = ()
    steps: tuple[Step, ...] = ()
