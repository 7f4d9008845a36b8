"""What a stage is to the twin: the interface that authors of stages write against.

A stage is a package with `schema.SCHEMA` (its tables and drop reasons) and `model.STAGE`, an instance of a class
like this:

    class Quiet(Stage):
        def decide(self, header, context, tables, witness):
            entry = tables.exact("quiet_port", context.vnic.id, header.destination_port)
            if entry is None:
                witness.miss("quiet_port")
                return Pass()
            witness.match(entry)
            return Drop("quiet_port_hit")

    STAGE = Quiet()

It is asked for the first packet of a connection only, and again after a commit; it keeps nothing between two calls.
What every packet of a connection has to meet, it says as ops.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal, Protocol

from hal.packet.contract import Step, StepKind
from hal.packet.model.rows import Entry, Prefix
from hal.packet.model.tables import Tables
from hal.packet.schema.rows import MAPPED

__all__ = [
    "ICMP",
    "ICMP6",
    "TCP",
    "UDP",
    "Announcement",
    "Context",
    "Direction",
    "Drop",
    "Entry",
    "Header",
    "Leave",
    "Network",
    "Op",
    "Pass",
    "Prefix",
    "Stage",
    "Tables",
    "Told",
    "Verdict",
    "Witness",
]

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58

Direction = Literal["egress", "ingress"]
"""egress: leaving the vNIC or uplink the packet comes from; ingress: going to the one it leaves by."""


@dataclass(frozen=True)
class Header:
    """What a stage may decide from, as earlier stages left it.

    Args:
        source_mac, destination_mac: six bytes.
        protocol: IP protocol number.
        source, destination: 16 bytes, IPv4 mapped.
        source_port, destination_port: of TCP and UDP; for an ICMP echo request its identifier and 0; else 0.
        icmp_type: of ICMP, else 0.
    """

    source_mac: bytes
    destination_mac: bytes
    protocol: int
    source: bytes
    destination: bytes
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = 0

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if self.source.startswith(MAPPED) else 6

    @property
    def service(self) -> int:
        """What rules call the port: destination port of TCP and UDP, type of ICMP, else 0."""
        return self.icmp_type if self.protocol in (ICMP, ICMP6) else self.destination_port

    def reversed(self) -> Header:
        """As a packet of the other direction would have it."""
        return replace(
            self,
            source_mac=self.destination_mac,
            destination_mac=self.source_mac,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )


class Network(Protocol):
    """What is alive at the moment. A connection is decided again when it changes."""

    def link(self, port: int) -> bool:
        """True if the port is there and has link."""

    def failed(self, uplink: int, address: bytes) -> bool:
        """True if the neighbour with this address on the uplink (a row id) did not answer."""


@dataclass(frozen=True)
class Context:
    """Where the packet is on its way.

    Args:
        direction: which of the chain's two parts the stage stands in.
        ingress: row of table vnic that the packet comes from.
        egress: the row it leaves by, as far as decided; always there in direction ingress.
        routed: it is addressed to the card's own MAC; otherwise it is bridged.
        flow_hash: as docs/forwarding.md says; the same for both directions.
    """

    direction: Direction
    ingress: Entry
    egress: Entry | None
    routed: bool
    flow_hash: int
    network: Network

    @property
    def vnic(self) -> Entry:
        """The row whose chain this is: that the packet comes from, in direction ingress that it goes to."""
        return self.egress if self.direction == "ingress" and self.egress else self.ingress


class Op(Enum):
    """Ops that a stage may put on every packet that comes from a vNIC with it in its egress chain. The set is
    closed; a new one takes an ADR, C and twin."""

    CHECK_SOURCE_MAC = "check source-mac"


@dataclass(frozen=True)
class Pass:
    """Go on to the next stage. `decided_by`: the row that said so; where its table is declared with
    `counts`, it counts a hit, and the connection's packets and bytes."""

    decided_by: Entry | None = None


class Told(Enum):
    """What the sender of a dropped packet is told (RFC 1812 5.2.7.1, RFC 4443 3.1), if the card has an address."""

    NOTHING = 0
    REFUSED = 1
    """A TCP RST, or prohibited."""
    NO_ROUTE = 2
    """Network unreachable."""
    NO_HOST = 3
    """Host, or address, unreachable."""


@dataclass(frozen=True)
class Drop:
    """The chain ends. `reason`: one that the stage or the frame declares; `tell`: what its sender gets; `decided_by`:
    the row that said so, which counts a hit as in `Pass`; `refused_by`: the vNIC in whose ingress chain that was, for
    the chain to say."""

    reason: str
    tell: Told = Told.NOTHING
    decided_by: Entry | None = None
    refused_by: Entry | None = None


@dataclass(frozen=True)
class Leave:
    """Go on, and this is where the packet leaves: a row of table vnic, and on an uplink the neighbour's address."""

    egress: Entry
    neighbour: bytes | None = None


Verdict = Pass | Drop | Leave


@dataclass
class Witness:
    """Collects what stages looked at, for whoever asked why."""

    steps: list[Step] = field(default_factory=list)

    def match(self, entry: Entry) -> None:
        """This row matched."""
        self.step(StepKind.MATCH, entry.table, entry.id)

    def miss(self, table: str) -> None:
        """No row of this table matched."""
        self.step(StepKind.MISS, table)

    def step(self, kind: StepKind, table: str = "", identity: int = 0, value: int = 0) -> None:
        self.steps.append(Step(kind, table, identity, value))


class Stage:
    """Base of all stages. Only `decide` must be there."""

    ops: frozenset[Op] = frozenset()
    """What every packet from a vNIC with this stage in its egress chain has to pass, replies included."""

    says_where: bool = False
    """True if the stage may answer with `Leave`."""

    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        """Judge the first packet of a connection."""
        raise NotImplementedError

    def check_arp(self, vnic: Entry, tables: Tables, message: Announcement) -> str:
        """The reason to drop an ARP packet from `vnic`, or "". Asked of egress stages."""
        del vnic, tables, message
        return ""

    def check_nd(self, vnic: Entry, tables: Tables, message: Announcement) -> str:
        """The reason to drop a neighbour discovery packet from `vnic`, or "". Asked of egress stages."""
        del vnic, tables, message
        return ""

    def check_source(self, header: Header, vnic: Entry, tables: Tables) -> str:
        """The reason to drop what `vnic` sends from this source, or "". Asked of egress stages where they don't decide:
        of echo requests to the card itself, of ICMP errors, and before a reply is picked up."""
        del header, vnic, tables
        return ""


@dataclass(frozen=True)
class Announcement:
    """What an ARP or neighbour discovery packet says about its sender.

    Args:
        source_mac: of the frame.
        address: ARP: sender's protocol address; ND: IP source address.
        macs: every MAC it tells of (ARP: sender's; ND: link-layer options).
        target: an NA's target, else None.
        unspecified: the address is 0.0.0.0 in an ARP request, or :: in ND: it tells of none.
    """

    source_mac: bytes
    address: bytes
    macs: tuple[bytes, ...]
    target: bytes | None = None
    unspecified: bool = False
