"""Runs one story through two backends and says where they first differ; counts what the story reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np

from hal.errors import HalError
from hal.packet.contract import (
    Backend,
    Delete,
    Flow,
    FlowFilter,
    Insert,
    Modify,
    Operation,
    PacketIn,
    PacketResult,
    Shard,
    StepKind,
    TcpState,
    Verdict,
    Writer,
)
from hal.packet.model.flows import Connection
from hal.packet.model.parse import Dropped
from hal.packet.model.path.limits import Limits
from hal.packet.model.windows import Side
from hal.packet.schema.rows import Row, as_rows
from hal.packet.stages.route._generated import Route
from tests.property.commands import STARTS, Command, Kind, Story, kind_of
from tests.property.frames import SYN
from tests.property.universe import difference, tables

OPS = ("check", "track", "meter", "count", "rewrite", "pop", "push", "punt", "send", "drop")
"""The ops that our stages emit; mirror, decrypt and encrypt are of stages to come."""
MADE = range(1, 7)
"""Kinds of packets that the card makes, as `StepKind.MAKE` numbers them."""
PICKED_UP = "picked up"
PICKED_UP_ANEW = "picked up anew"
TAKEN_BACK = "FIN taken back"
MADE_WAY = ("half_open_evicted", "ended_evicted")
"""Connections that went for others: counters of `engine` that have to agree."""
EXCHANGE_WENT = "EXCHANGE makes way"
"""Questions that were answered, and echoes, for which others that are over go, mostly of the same kind."""
NO_ROOM = {"own": "no room for a vNIC's own", "inbound": "no room for a vNIC's inbound", None: "no room for nobody's"}
"""Packets that are dropped though the table is not full, by whom their connections would count for (ADR 0191)."""
PUSHED_OUT = "neighbour_queue_full"
"""Whom this happens to has waited before: no packet ends so itself."""
OF_ITS_OWN = "neighbour_queue_limit"
MADE_WAY_WAITING = f"{OF_ITS_OWN} of one that waited"
"""One goes for another of its own share, as which others are refused."""


ENDS = (
    "ERROR FORWARD",
    "ERROR spoofed_address",
    "ERROR icmp_error_unrelated",
    "ERROR icmp_error_invalid",
    "ERROR icmp_type",
    "ERROR l4_checksum",
    "DATAGRAM fragment_invalid",
    "DATAGRAM fragment_overlap",
    "DATAGRAM fragment_duplicate",
    "KNOCK PUNT",
    "KNOCK punt_limit",
    "SPOOF spoofed_address",
    "POSE FORWARD",
    "POSE ra_guard",
    "POSE redirect_guard",
    "POSE dhcp_guard",
    "ANNOUNCE CONSUME",
    "ANNOUNCE address_conflict",
    "ANNOUNCE arp_ignored",
    "ANNOUNCE nd_ignored",
    "QUARREL CONSUME",
    "CLAIM address_conflict",
    "CLAIM FORWARD",
    "CLAIM CONSUME",
    "ERROR address_conflict",
    EXCHANGE_WENT,
    PUSHED_OUT,
    MADE_WAY_WAITING,
    PICKED_UP,
    PICKED_UP_ANEW,
    TAKEN_BACK,
    *MADE_WAY,
    *NO_ROOM.values(),
)
"""Ends of commands that must come up too: elsewhere other packets meet the same reasons far more often."""


@dataclass
class Coverage:
    """How often each verdict, TCP state, packet that the card makes, op and drop reason came up, and how often commands
    ended so: with their last packet."""

    verdicts: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    made: Counter[int] = field(default_factory=Counter)
    ops: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    commits: int = 0

    def see(self, result: PacketResult) -> None:
        self.packets += 1
        self.verdicts[result.verdict.name] += 1
        if result.reason:
            self.reasons[result.reason] += 1
        for step in result.steps:
            if step.kind is StepKind.STATE:
                self.states[TcpState(step.value).name] += 1
            if step.kind is StepKind.MAKE:
                self.made[step.value] += 1

    def too_few(self, least: int, reasons: Iterable[str]) -> dict[str, int]:
        """What came up less than `least` times, of all verdicts, TCP states, packets made, ops of our stages, these
        reasons, and ENDS."""
        wanted = {
            **{f"verdict {one.name}": self.verdicts[one.name] for one in Verdict},
            **{f"state {one.name}": self.states[one.name] for one in TcpState if one is not TcpState.NONE},
            **{f"made {one}": self.made[one] for one in MADE},
            **{f"op {one}": self.ops[one] for one in OPS},
            **{f"reason {one}": self.reasons[one] for one in reasons},
            **{one: self.ends[one] for one in ENDS},
        }
        return {name: count for name, count in wanted.items() if count < least}

    def __str__(self) -> str:
        ends = Counter({one: self.ends[one] for one in ENDS})
        parts = (
            ("verdicts", self.verdicts),
            ("states", self.states),
            ("made", Counter({str(one): count for one, count in self.made.items()})),
            ("ops", self.ops),
            ("reasons", self.reasons),
            ("ends", ends),
        )
        lines = [f"{name}: " + ", ".join(f"{key} {count}" for key, count in some.most_common()) for name, some in parts]
        return "\n".join([f"{self.packets} packets, {self.commits} commits", *lines])


def is_picked_up_anew(packet: PacketIn, result: PacketResult) -> bool:
    """It found a connection and opened another one, and is no SYN (IPv6 without extension headers)."""
    kinds = {step.kind for step in result.steps}
    if not {StepKind.FLOW, StepKind.INSTALL} <= kinds or StepKind.REEVALUATE in kinds:
        return False
    ip = 18 if packet.data[12:14] == b"\x81\x00" else 14
    transport = ip + (40 if packet.data[ip] >> 4 == 6 else packet.data[ip] % 16 * 4)
    return not packet.data[transport + 13] & SYN


@contextmanager
def noted(coverage: Coverage) -> Iterator[None]:
    """Within, what twins drop for want of room in a table that isn't full is counted as `NO_ROOM`, and FINs behind
    which their sender says more."""
    whole, say = Limits.check, Side.having_said

    def check(limits: Limits, connection: Connection, direction: int) -> None:
        try:
            whole(limits, connection, direction)
        except Dropped as dropped:
            share, worker, flows = connection.share, connection.worker, limits._flows
            fair = flows.free(worker) > 0 and limits._is_fair(share)
            left = fair and not flows.has_room(worker, share, connection.last_ns, fair=True)
            if dropped.reason == "flow_table_full" and left:
                coverage.ends[NO_ROOM[share[1] if share else None]] += 1
            raise

    def having_said(side: Side, end: int, *, data: bool = False) -> Side:
        behind = say(side, end, data=data)
        coverage.ends[TAKEN_BACK] += side.finished and not behind.finished
        return behind

    with mock.patch.object(Limits, "check", check), mock.patch.object(Side, "having_said", having_said):
        yield


class Pair:
    """A twin and another backend, loaded alike, with a shard each.

    Args:
        twin: whose witness is read for coverage.
        other: whom it is compared with.
    """

    def __init__(self, twin: Backend, other: Backend) -> None:
        self.backends = (twin, other)
        self.writers: list[Writer] = [backend.writer() for backend in self.backends]

    def clear(self) -> None:
        """Empty all tables and open new shards: as good as new, and much faster."""
        for backend, writer in zip(self.backends, self.writers, strict=True):
            snapshot = backend.snapshot()
            gone: list[Operation] = [
                Delete(table, np.concatenate([rows.data["id"] for rows in parts]))
                for table, parts in snapshot.tables.items()
                if any(len(rows) for rows in parts)
            ]
            writer.commit(gone)

    def shards(self, pickup: bool = False) -> tuple[Shard, Shard]:
        twin, other = self.backends
        return twin.shard(connections=64, pickup=pickup), other.shard(connections=64, pickup=pickup)


CHAIN = (StepKind.STAGE, StepKind.MATCH, StepKind.MISS, StepKind.REEVALUATE)
EVERY = tuple(StepKind)


def comparable(result: PacketResult, kinds: Sequence[StepKind] = ()) -> Any:
    """What has to agree: verdict, reason, frames in their order on each port, and steps of these kinds. Ids of
    connections are each backend's own."""
    ports: dict[int, list[bytes]] = {}
    for output in result.outputs:
        ports.setdefault(output.port, []).append(output.data)
    frames = {port: [one.hex() for one in some] for port, some in ports.items()}
    steps = [one for one in result.steps if one.kind in kinds]
    told = [(one.kind.name, one.table, one.id if one.table else 0, int(one.value)) for one in steps]
    return (result.verdict.name, result.reason, frames, told)


def kinds_of(one: PacketResult, two: PacketResult) -> Sequence[StepKind]:
    """The steps that have to agree: all, but those of chains where one alone asked again. The twin may always
    re-evaluate."""
    again = [any(step.kind is StepKind.REEVALUATE for step in result.steps) for result in (one, two)]
    return EVERY if again[0] == again[1] else [kind for kind in EVERY if kind not in CHAIN]


def comparable_flow(flow: Flow) -> Any:
    return replace(flow, id=0, worker=0, generation=0, operations=((), ()))


class Differs(AssertionError):
    """The two backends differ; the message shows the packet or the commit."""


def play(pair: Pair, commands: list[Command], coverage: Coverage) -> None:
    """Play a story on both. Raises Differs."""
    pair.clear()
    story = Story(STARTS[commands[0][4] % len(STARTS)])
    rows = commit(pair, {}, tables(story.setting), coverage)
    shards = pair.shards(pickup=commands[0][3] % 4 == 0)
    refused = coverage.reasons[OF_ITS_OWN]
    try:
        for place, (first, *rest) in enumerate(commands):
            numbers = (rest[0], rest[1], rest[2], rest[3])
            match kind := kind_of(first):
                case Kind.WAIT:
                    story.wait(numbers[0])
                case Kind.RESHAPE:
                    story.reshape(*numbers)
                case Kind.COMMIT:
                    for shard in shards:
                        shard.settle()  # a longer time-out may revive what had expired, where nobody had noticed
                    rows = commit(pair, rows, tables(story.change(*numbers)), coverage)
                case Kind.REFUSED:
                    _refused(pair, rows, numbers)
                case Kind.LOOK:
                    look(shards, coverage)
                case _:
                    before = shards[0].counters().engine["ended_evicted"] if kind is Kind.EXCHANGE else 0
                    send(shards, list(story.packets(kind, numbers)), coverage, kind, f"command {place}{numbers}")
                    if kind is Kind.EXCHANGE:
                        coverage.ends[EXCHANGE_WENT] += shards[0].counters().engine["ended_evicted"] - before
        look(shards, coverage)
        counters = shards[0].counters()
        coverage.ends[PICKED_UP] += counters.engine["pickups"]
        coverage.ends.update({name: counters.engine[name] for name in MADE_WAY})
        coverage.ends[PUSHED_OUT] += counters.drops[PUSHED_OUT]
        coverage.ends[MADE_WAY_WAITING] += counters.drops[OF_ITS_OWN] - coverage.reasons[OF_ITS_OWN] + refused
    finally:
        for shard in shards:
            shard.close()


def play_unconfigured(pair: Pair, stories: Iterable[list[Command]], coverage: Coverage) -> None:
    """Play the packets of stories on backends that have never had a commit. Raises Differs."""
    shards = pair.shards()
    story = Story(STARTS[0])
    try:
        for place, (first, which, *rest) in enumerate(command for commands in stories for command in commands):
            if (kind := kind_of(first)) is Kind.RESHAPE:
                story.reshape(which, rest[0], rest[1], rest[2])
            else:
                packets = list(story.packets(kind, (which, rest[0], rest[1], rest[2])))
                send(shards, packets, coverage, kind, f"before the first commit, command {place}")
        look(shards, coverage)
    finally:
        for shard in shards:
            shard.close()


def play_many(pair: Pair, stories: Iterable[list[Command]], coverage: Coverage | None = None) -> Coverage:
    """Play stories one by one. Raises Differs at the first difference."""
    coverage = Coverage() if coverage is None else coverage
    for story in stories:
        play(pair, story, coverage)
    return coverage


def commit(
    pair: Pair, old: dict[tuple[str, int], Row], new: dict[tuple[str, int], Row], coverage: Coverage
) -> dict[tuple[str, int], Row]:
    """Commit what makes the old rows the new ones, on both; returns these. Raises Differs."""
    operations = difference(old, new)
    for writer in pair.writers:
        try:
            writer.commit(operations)
        except HalError as error:
            raise Differs(f"a good commit is refused: {error}\n  {operations}") from error
    coverage.commits += 1
    return new


def send(shards: tuple[Shard, Shard], packets: list[PacketIn], coverage: Coverage, kind: Kind, what: str) -> None:
    """Send packets to both, of a command of this kind. Raises Differs."""
    if not packets:
        return
    # The other's path is compiled twice, with a witness and without: each has its turns.
    steps = sum(len(packet.data) for packet in packets) % 2 == 0
    ours, theirs = (shard.replay(packets, witness) for shard, witness in zip(shards, (True, steps), strict=True))
    coverage.ends[f"{kind.name} {ours[-1].reason or ours[-1].verdict.name}"] += 1
    for packet, one, two in zip(packets, ours, theirs, strict=True):
        coverage.see(one)
        coverage.ends[PICKED_UP_ANEW] += is_picked_up_anew(packet, one)
        kinds = kinds_of(one, two) if steps else ()
        if comparable(one, kinds) != comparable(two, kinds):
            raise Differs(
                f"{what} {kind.name}: port {packet.port}, time {packet.time_ns}, frame {packet.data.hex()}\n"
                f"  twin:  {comparable(one, kinds)}\n  other: {comparable(two, kinds)}\n  steps: {one.steps}"
            )


def look(shards: tuple[Shard, Shard], coverage: Coverage) -> None:
    """Flows, with their op lists, neighbours and counters have to agree too."""
    for shard in shards:
        shard.settle()
    flows = [sorted(shard.flows(), key=_order) for shard in shards]
    if [comparable_flow(one) for one in flows[0]] != [comparable_flow(one) for one in flows[1]]:
        raise Differs(f"flows differ:\n  twin:  {flows[0]}\n  other: {flows[1]}")
    for one, two in list(zip(*flows, strict=True))[:4]:
        words = [
            shard.flows(FlowFilter(id=flow.id))[0].operations for shard, flow in zip(shards, (one, two), strict=True)
        ]
        if words[0] != words[1]:
            raise Differs(f"op lists differ for {one}:\n  twin:  {words[0]}\n  other: {words[1]}")
        for op in (*words[0][0], *words[0][1]):
            coverage.ops[op.split(" ")[0]] += 1
    known = [shard.neighbours() for shard in shards]
    if known[0] != known[1]:
        raise Differs(f"neighbours differ:\n  twin:  {known[0]}\n  other: {known[1]}")
    counters = [shard.counters() for shard in shards]
    for name in ("drops", "vnics", "rows", "limits"):
        one, two = (getattr(some, name) for some in counters)
        if name in ("drops", "vnics"):  # they only have to be where they counted; all others are told
            one, two = without_zeros(one), without_zeros(two)
        if one != two:
            raise Differs(f"counters differ in {name}:\n  twin:  {one}\n  other: {two}")
    made_way = [[some.engine[name] for name in MADE_WAY] for some in counters]
    if made_way[0] != made_way[1]:
        raise Differs(f"others made way, {', '.join(MADE_WAY)}:\n  twin:  {made_way[0]}\n  other: {made_way[1]}")


def without_zeros(some: Any) -> dict[Any, Any]:
    def empty(value: Any) -> bool:
        if isinstance(value, dict):
            return not any(value.values())
        return not any((value.hits, value.packets, value.bytes)) if hasattr(value, "hits") else not value

    return {key: value for key, value in some.items() if not empty(value)}


def _order(flow: Flow) -> Any:
    return (flow.ingress, flow.protocol, flow.source, flow.destination, flow.source_port, flow.destination_port,
            flow.egress, flow.created_ns)  # fmt: skip


def _refused(pair: Pair, rows: dict[tuple[str, int], Row], numbers: tuple[int, int, int, int]) -> None:
    """A commit that must be refused is refused alike, and changes nothing."""
    operations = bad_operations(rows, *numbers)
    said = []
    for writer in pair.writers:
        try:
            writer.commit(operations)
            said.append("accepted")
        except HalError as error:
            said.append(f"{error.kind.name} {error.table} {error.row_id} {error.field}")
    if said[0] == "accepted" or said[0] != said[1]:
        raise Differs(f"a bad commit {operations} is answered differently: {said}")


def bad_operations(rows: dict[tuple[str, int], Row], how: int, a: int, _b: int, _c: int) -> list[Operation]:
    """Operations with one mistake in them."""
    keys = sorted(rows)
    table, row_id = keys[a % len(keys)]
    match how % 5:
        case 0:
            return [Insert(rows[table, row_id].rows())]
        case 1:
            return [Delete(table, np.array([987654321], np.uint64))]
        case 2:
            return [Delete("vrf", np.array([1], np.uint64))]
        case 3:
            return [*(Insert(one) for one in as_rows([Route(id=999, vrf=1, prefix="10.9.0.0/24", next_hop=4242)]))]
        case _:
            return [Modify(rows[table, row_id].rows()), Delete(table, np.array([row_id], np.uint64))]
