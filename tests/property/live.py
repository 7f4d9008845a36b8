"""Live traffic in rounds, for a card with several workers and a twin that knows which of them owns a connection.

A round sends one packet of many conversations at once, so that workers meet and hand over; in which order they come
out is nobody's promise. So the frames of a round are compared as sets, by port; flows, with the worker that owns them,
and counters when all is over. Time is the card's own: no packet here depends on it, nor on what workers share with an
error (limits) or learn each for itself (neighbours). Those are compared by `replay`, with one worker.
"""

from __future__ import annotations

import random
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hal.conformance import Wire
from hal.packet.contract import Backend, Flow, LoadConfig, Output
from hal.packet.schema.rows import Row
from tests.property import frames
from tests.property.commands import STARTS, TCP_STEPS, Story
from tests.property.compare import Differs, without_zeros
from tests.property.talk import Conversation, wrap
from tests.property.universe import ENDS, LOAD, Setting, difference, tables

CONVERSATIONS = 240
ROUNDS = 10
SECONDS = 30.0
"""So long a card may take for the frames of a round."""

VNICS = ENDS[:4]
FRAGMENTS = 0
"""In place of a protocol: a datagram in two fragments."""
PROTOCOLS = (frames.TCP, frames.TCP, frames.UDP, frames.ICMP, FRAGMENTS)
CHANGES = (0, 1, 2, 3, 8, 9, 13)
"""Of `Story.change`: rules, policies, profiles, addresses."""
ROUTES = ((2, 3), (3, 4), (4, 3), (5, 4))
"""To the subnets of vNICs alone: what leads further has to be resolved."""


def load_config(workers: int) -> LoadConfig:
    """Limits that nothing here meets."""
    return replace(
        LOAD,
        workers=workers,
        connections=4096,
        flow_limit=4096,
        inbound_flow_limit=4096,
        new_flow_limit=100_000,
        half_open_limit=4096,
        punt_limit=1_000_000,
        icmp_limit=1_000_000,
        challenge_limit=1_000_000,
    )


def start_setting() -> Setting:
    return replace(STARTS[0], routes=ROUTES)


@dataclass
class Talk:
    """A conversation, its number being its mark in ports and data."""

    number: int
    conversation: Conversation
    kind: int
    spoofed: bool

    def next_frame(self) -> tuple[int, bytes]:
        """(port, frame) of its next step."""
        talk, step = self.conversation, self.conversation.step
        talk.step += 1
        reply, flags = (bool(step % 2), 0) if self.kind != frames.TCP else TCP_STEPS[step % 9]
        reply = bool(reply) and self.kind != FRAGMENTS and talk.source < len(VNICS)
        source, destination = talk.ends(reply)
        ip = talk.ip(reply)
        if self.spoofed and step % 3 == 2:
            ip = replace(ip, source="2001:db8:1::77" if talk.v6 else "10.1.0.77")
        data = struct.pack("!II", self.number, step) * 8
        if self.kind == FRAGMENTS:
            ip = replace(ip, identification=self.number << 8 | step // 2, dont_fragment=False)
            whole = frames.udp(ip, *talk.ports(reply), data)
            part = (whole[:32], whole[32:])[step % 2]
            ip = replace(ip, more=step % 2 == 0, offset=step % 2 * 32)
            return source.port, wrap(source, destination, ip, frames.UDP, part)
        protocol, body = talk.says(ip, reply, flags, len(data) if self.kind != frames.TCP or step % 9 in (3, 4) else 0)
        return source.port, wrap(source, destination, ip, protocol, body)


def talks(source: random.Random) -> list[Talk]:
    """Conversations between vNICs, and some that only begin, from behind an uplink."""
    made = []
    for number in range(CONVERSATIONS):
        kind = source.choice(PROTOCOLS)
        one, two = source.sample(range(len(VNICS)), 2)
        talk = Conversation(
            source=source.choice((one, one, one, 4)),
            destination=two,
            v6=source.random() < 0.5,
            protocol=kind or frames.UDP,
            sport=20_000 + number,
            dport=source.choice((80, 443, 53, 22)),
        )
        made.append(Talk(number, talk, kind, source.random() < 0.2))
    return made


@dataclass
class Side:
    """A card with the outside of its ports."""

    backend: Backend
    wire: Wire


class Play:
    """Plays rounds to a twin and to another card, and compares. Raises Differs.

    Args:
        twin: whose answer counts.
        other: who is compared.
        seed: of what is played.
    """

    def __init__(self, twin: Side, other: Side, seed: int) -> None:
        self.sides = (twin, other)
        self.source = random.Random(seed)
        self.story = Story(start_setting())
        self.rows: dict[tuple[str, int], Row] = {}
        self.frames = 0

    def commit(self, setting: Setting) -> None:
        new = tables(setting)
        for side in self.sides:
            side.backend.writer().commit(difference(self.rows, new))
        self.rows = new

    def run(self) -> None:
        """All rounds, with commits between them."""
        self.commit(self.story.setting)
        some = talks(self.source)
        for number in range(ROUNDS):
            if number == ROUNDS - 2:  # as it began: what is left has much to pass
                self.commit(start_setting())
            elif number % 3 == 2:
                draw = [self.source.randrange(64) for _ in range(3)]
                self.commit(self.story.change(self.source.choice(CHANGES), draw[0], draw[1], draw[2]))
            self.round(number, [talk.next_frame() for talk in some if self.source.random() < 0.9])
        self.compare_state()

    def round(self, number: int, packets: list[tuple[int, bytes]]) -> None:
        self.source.shuffle(packets)
        for side in self.sides:
            for port, data in packets:
                side.wire.send(port, data)
        twin, other = self.sides
        wanted = by_port(twin.wire.receive())
        found = by_port(collected(other.wire, wanted.total()))
        self.frames += wanted.total()
        if wanted != found:
            raise Differs(
                f"round {number}: of {wanted.total()} frames\n"
                f"  only the twin's: {_shown(wanted - found)}\n  only the other's: {_shown(found - wanted)}"
            )

    def compare_state(self) -> None:
        for side in self.sides:
            side.backend.settle()
        flows = [sorted((_timeless(flow) for flow in side.backend.flows()), key=_order) for side in self.sides]
        different = [pair for pair in zip(*flows, strict=False) if pair[0] != pair[1]]
        if different or len(flows[0]) != len(flows[1]):
            raise Differs(f"{len(flows[0])} and {len(flows[1])} flows; the first that differ: {different[:1]}")
        counters = [side.backend.counters() for side in self.sides]
        for name in ("drops", "vnics", "rows"):
            one, two = (getattr(some, name) for some in counters)
            if name != "rows":  # every row is told; drops and vNICs only have to be where they counted
                one, two = without_zeros(one), without_zeros(two)
            if one != two:
                raise Differs(f"counters differ in {name}:\n  twin:  {one}\n  other: {two}")
        for name in ("flows_opened", "chain_walks"):
            counts = [some.engine[name] for some in counters]
            if counts[0] != counts[1]:
                raise Differs(f"{name}: {counts}")


def by_port(outputs: Sequence[Output]) -> Counter[tuple[int, bytes]]:
    return Counter((one.port, one.data) for one in outputs)


def collected(wire: Wire, count: int) -> list[Output]:
    """What leaves until `count` frames have, and what comes behind them."""
    deadline = time.monotonic() + SECONDS
    found = list(wire.receive())
    while len(found) < count and time.monotonic() < deadline:
        found += wire.receive()
    return [*found, *wire.receive()]


def _shown(some: Counter[tuple[int, bytes]]) -> list[str]:
    return [f"port {port}: {data.hex()} ({count})" for (port, data), count in list(some.items())[:3]]


def _timeless(flow: Flow) -> Flow:
    return replace(flow, id=0, created_ns=0, last_ns=0, generation=0, operations=((), ()))


def _order(flow: Flow) -> tuple[object, ...]:
    return (flow.ingress, flow.protocol, flow.source, flow.destination, flow.source_port, flow.destination_port)
