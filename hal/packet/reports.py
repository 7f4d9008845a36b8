"""The values of the contract: what a card tells of itself when the verbs of `hal.packet.contract` ask it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from hal.packet.life import Cursor
from hal.packet.records import PacketResult, PortState, TcpState
from hal.packet.schema.registry import Schema


@dataclass(frozen=True)
class Flow:
    """A connection. Addresses and ports are those of the initiator's first packet; for ICMP echo the source port
    is its identifier; where a protocol has no ports they are 0."""

    id: int
    worker: int
    """Whose it is, both directions, by whichever port and VRF its packets come in."""
    vrf: int
    """That the initiator's packets come in by."""
    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    ingress: int
    """Id of the vNIC or uplink the initiator's packets come from."""
    egress: int
    """Id of the vNIC or uplink they leave to."""
    tcp_state: TcpState
    generation: int
    """The generation by which it was last decided."""
    created_ns: int
    last_ns: int
    timeout_ns: int
    packets: tuple[int, int]
    """From the initiator, to the initiator."""
    bytes: tuple[int, int]
    """IP bytes, from and to the initiator."""
    rules: tuple[int, int]
    """Id of the firewall rule on egress and on ingress; NONE_ID where none decided."""
    operations: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """The op lists of both directions, in words."""

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "tcp_state": self.tcp_state.name}


@dataclass(frozen=True)
class FlowFilter:
    """Connections for which everything that is given holds. Prefixes and ports match either end's role as named."""

    vrf: int | None = None
    vnic: int | None = None
    protocol: int | None = None
    source: str | None = None
    destination: str | None = None
    source_port: int | None = None
    destination_port: int | None = None
    id: int | None = None


class NeighbourState(IntEnum):
    """How far the card has come with a neighbour."""

    INCOMPLETE = 1
    """It was asked for and hasn't answered: packets to it wait."""
    REACHABLE = 2
    """It has answered: packets go to its MAC."""
    PROBE = 3
    """It is asked again whether it is there, and is used meanwhile."""
    FAILED = 4
    """It didn't answer three times: routes pass it over."""


@dataclass(frozen=True)
class Neighbour:
    """Somebody on an uplink whom a worker has asked for: `uplink` is the id of its row in table vnic, `mac` is "" until
    it has answered for the first time."""

    uplink: int
    address: str
    state: NeighbourState
    mac: str = ""
    worker: int = 0


@dataclass(frozen=True)
class RowCounters:
    """What an entry counted: hits (connections or first packets it decided), and packets and bytes after `settle`."""

    hits: int = 0
    packets: int = 0
    bytes: int = 0


class LimitCounters(NamedTuple):
    """What a vNIC, uplink or tap uses of one of its limits, of all workers together. `used` of `most`, as of the latest
    `settle`, what has ended not counted; of limits that are by the second `used` is 0, and where one holds for no
    such row `most` is. `refused`, at once: packets that were dropped for it, half-open connections that went, answers
    that weren't made."""

    used: int = 0
    most: int = 0
    refused: int = 0


LIMITS = (
    "flow_limit",
    "inbound_flow_limit",
    "new_flow_limit",
    "inbound_new_flow_limit",
    "half_open_limit",
    "inbound_half_open_limit",
    "fragment_limit",
    "inbound_fragment_limit",
    "icmp_limit",
    "inbound_icmp_limit",
    "punt_limit",
    "challenge_limit",
    "neighbour_limit",
    "neighbour_queue_limit",
    "first_packet_limit",
    "icmp_error_limit",
    "inbound_icmp_error_limit",
    "inbound_first_packet_limit",
)
# docs/forwarding.md, *What counts where*, has what each of them counts. The engine's are in the same order.
LIMITS_A_SECOND = frozenset(
    name for name in LIMITS if "new_flow" in name or "icmp" in name or name in ("punt_limit", "challenge_limit")
)


@dataclass(frozen=True)
class Counters:
    """Counters at one moment. `drops` by reason (all reasons are there), `vnics` by id (rx_packets, rx_bytes,
    tx_packets, tx_bytes, drops; rx is from the vNIC into the card, and so are the packets that were dropped), `ports`
    by number, `rows` by (table, id), of all entries of tables that are declared to count and no others, `limits` by (id
    of a row of table vnic, name), `engine` by name."""

    drops: Mapping[str, int]
    vnics: Mapping[int, Mapping[str, int]]
    ports: Mapping[int, Mapping[str, int]]
    rows: Mapping[tuple[str, int], RowCounters]
    engine: Mapping[str, int]
    limits: Mapping[tuple[int, str], LimitCounters] = field(default_factory=dict)
    # An engine of the release before may tell none.


# The histogram of bursts, in `Counters.engine`: how often workers took so many packets at a time, and fewer than twice
# as many. Workers alone take bursts: a shard's and the twin's are 0.
BURSTS = tuple(f"bursts_of_{1 << size}" for size in range(7))
LOGS_PER_SECOND = 100


class EventKind(IntEnum):
    COMMIT = 1
    PORT_UP = 2
    PORT_DOWN = 3
    RULE_LOG = 4
    NEXT_HOP_DOWN = 5
    NEXT_HOP_UP = 6
    FLOW_LIMIT = 7
    PUNT_LIMIT = 8
    PICKUP_BEGIN = 9
    PICKUP_END = 10
    FLOW_TABLE_FULL = 11
    NEW_FLOW_LIMIT = 12
    HALF_OPEN_LIMIT = 13
    FRAGMENT_LIMIT = 14
    ICMP_LIMIT = 15
    CHALLENGE_LIMIT = 16
    NEIGHBOUR_LIMIT = 17
    FIRST_PACKET_LIMIT = 18
    ADDRESS_CONFLICT = 32
    # These are of the card's daemon, beside its engine's: no backend tells of its own death.
    ENGINE_DIED = 64
    ENGINE_STARTED = 65
    INTERFACE_GONE = 66
    INTERFACE_ANEW = 67
    OWNER_AWAITED = 68


@dataclass(frozen=True)
class Event:
    """Something to tell: `number` ascends by one, `table`/`id` say about which row, `data` is the kind's own, never
    cut: a COMMIT's tag, the packet of a RULE_LOG. Of those a vNIC causes at most 100 a second, and as many at once: the
    rest are counted as `logs_suppressed` of `engine`."""

    number: int
    time_ns: int
    kind: EventKind
    table: str = ""
    id: int = 0
    data: str = ""


@dataclass(frozen=True)
class Events:
    """`missed`: how many were overwritten before this reader came; read on with `cursor`. With one of another life of
    the card, `lost` is set and these begin with this life's first: what that one still had to tell is gone. A cursor
    that was never given is INVALID. Events come in the order of their numbers, whatever their kinds, from a ring that
    went round too."""

    events: tuple[Event, ...]
    missed: int
    cursor: Cursor
    lost: bool = False


@dataclass(frozen=True)
class Capabilities:
    """What this backend can do, asked before and never found out by failing.

    Args:
        level: "tables", "stateless", "stateful", "nat" or "all": the level the conformance kit holds it to.
        absent: verbs and stages it refuses as UNSUPPORTED.
        stages: stages with code, in chain order of their numbers.
        capacities: table -> entries.
        occupancy: table -> entries used now.
        owners: table -> the owner that writes it.
        awaited: owners awaited since load that have yet to commit.
    """

    backend: str
    version: str
    level: str
    absent: tuple[str, ...]
    stages: tuple[str, ...]
    schema: Schema
    workers: int
    connections: int
    ports: tuple[PortState, ...]
    capacities: Mapping[str, int]
    occupancy: Mapping[str, int]
    owners: Mapping[str, str] = field(default_factory=dict)
    awaited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """What a described packet would meet: the installed flow, if any, and what the chain would decide now."""

    generation: int
    flow: Flow | None
    installed: PacketResult | None
    now: PacketResult
