"""Packets through the ports of a card at work: what a card without `replay` is held to as well."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hal.conformance import world
from hal.conformance.bench import PAUSE_SECONDS, Bench, Card, insert, modify
from hal.conformance.check import Level, check, equal, expect
from hal.conformance.frames import udp
from hal.conformance.traffic import SECOND
from hal.conformance.world import A, B, C, firewalled, replied, routed, rule
from hal.errors import HalError
from hal.packet.contract import LOGS_PER_SECOND, EventKind, PacketIn, StepKind
from hal.packet.frame._generated import Vrf
from hal.packet.schema.rows import Row
from hal.packet.stages.bridge._generated import LocalAddress, Subnet
from hal.packet.stages.route._generated import SubnetRoute

NEEDS = ("wire", "bridge", "route")
FOLLOWED = (*NEEDS, "packets", "flows")
ONE_STEP = "Apply all operations in one step that every packet sees whole or not at all"
OTHER_VRF = world.VRF + 1
BURSTS, BURST = 12, 16
"""Packets that are sent while another commits."""
STARTED_SECONDS = 2.0
"""Within which a started card forwards."""


@check(Level.STATELESS, ONE_STEP, needs=NEEDS)
def live_packets_see_one_generation(bench: Bench) -> None:
    """Packets through the ports meet one generation's tables while another commits, never those of two: each first
    packet of its connection leaves with the target's MAC and the gateway's of the same commit."""
    card = world.world(bench)
    card.live().send(A.port, A.frame(udp(A.ip, C.ip, 9)))
    wire = card.device.wire(card.backend)
    if wire is None:
        return
    macs = ((C.mac, C.gateway), ("02:00:00:00:77:0c", "02:00:00:00:aa:77"))
    rows: list[tuple[Row, Row]] = [
        (world.vnic(C, mac=mac), Subnet(id=C.subnet, vrf=world.VRF, mac=gateway)) for mac, gateway in macs
    ]
    stop = threading.Event()

    def change() -> None:
        for turn in itertools.count(1):
            if stop.wait(PAUSE_SECONDS):
                return
            card.commit(modify(*rows[turn % 2]))

    writing = threading.Thread(target=change)
    seen: list[tuple[str, str]] = []
    writing.start()
    try:
        for burst in range(BURSTS):
            for sport in range(BURST):
                wire.send(A.port, A.frame(udp(A.ip, C.ip, 1000 + burst * BURST + sport)))
                time.sleep(PAUSE_SECONDS)
            left = [output.data for output in wire.receive() if output.port == C.port]
            seen += [(frame[:6].hex(":"), frame[6:12].hex(":")) for frame in left]
    finally:
        stop.set()
        writing.join()
    expect(seen, f"of {BURSTS * BURST} packets that were sent while another committed none left")
    equal([one for one in seen if one not in macs][:1], [], "MACs of a packet that met tables of two generations")


@check(
    Level.STATEFUL,
    "Run packets, in order, through the very path that live traffic takes.",
    needs=(*FOLLOWED, "shard"),
)
def live_traffic_goes_the_same_way(bench: Bench) -> None:
    """The same packets, live and replayed, are forwarded and dropped alike, and leave the same connections."""
    card = world.world(bench)
    found = []
    for traffic in (card.live(), card.traffic()):
        sent = [
            world.bridged(traffic), world.routed(traffic), world.replied(traffic), world.segment(traffic, "S"),
            world.segment(traffic, "SA", back=True), world.segment(traffic, "FA", back=True),
            world.far(traffic), world.router_answers(traffic), world.segment(traffic, "A", sport=9),
            traffic.send(A.port, A.frame(udp(A.ip, "8.8.8.8"))),
        ]  # fmt: skip
        flows = sorted((flow.protocol, flow.destination, flow.tcp_state, flow.packets) for flow in traffic.flows())
        found.append(([(one.outputs, one.reason) for one in sent], flows))
    equal(found[0], found[1], "outputs and reasons of packets, live and replayed")


@check(Level.STATEFUL, "End forwarding and the engine itself.", "Begin to move packets.", needs=FOLLOWED)
def packets_move_from_start_to_stop(bench: Bench) -> None:
    """Before start and after stop nothing leaves by any port."""
    card = bench.card(start=False)
    card.commit(insert(*world.rows()))
    wire = card.device.wire(card.backend)
    frame = A.frame(udp(A.ip, B.ip), to=B.mac)

    def leaves() -> int:
        if wire is None:
            return 0
        try:
            wire.send(A.port, frame)
            return len(wire.receive())
        except (HalError, OSError):
            return 0

    equal(leaves(), 0, "frames that left before start")
    card.backend.start()
    # A worker may take a moment to its first burst, on a machine that has other work.
    deadline = time.monotonic() + STARTED_SECONDS
    while not (left := leaves()) and time.monotonic() < deadline:
        pass
    expect(left >= 1, f"nothing left in {STARTED_SECONDS} s after start")
    card.backend.stop()
    leaves()  # of several that were sent until one was seen, some may have left before
    equal(leaves(), 0, "frames that left after stop")


@check(
    Level.STATEFUL,
    "An installed flow was found; `id` is its connection's, value 0 the initiator's direction, 1 the reply's.",
    needs=(*NEEDS, "flows", "trace"),
)
def live_packets_find_their_connection(bench: Bench) -> None:
    """However many packets of a connection pass the ports, it is one; a trace of one more finds it, either way, and
    meets no stage. One of another connection finds none and meets them."""
    card = world.world(bench)
    live = card.live()
    for _ in range(3):
        routed(live).left_by(C.port)
    replied(live).left_by(A.port)
    (flow,) = card.backend.flows()
    equal(flow.packets, (3, 1), "packets of the connection")
    frames = ((A.port, A.frame(udp(A.ip, C.ip))), (C.port, C.frame(udp(C.ip, A.ip, 53, 4000))))
    for direction, (port, frame) in enumerate(frames):
        traced = card.backend.trace(PacketIn(frame, port, flow.last_ns))
        steps = traced.installed.steps if traced.installed else ()
        found = [(step.id, step.value) for step in steps if step.kind is StepKind.FLOW]
        equal(found, [(flow.id, direction)], "connection and direction that a trace found")
        equal([step for step in steps if step.kind is StepKind.STAGE], [], "stages that an established packet meets")
    other = card.backend.trace(PacketIn(A.frame(udp(A.ip, C.ip, 4001)), A.port, flow.last_ns))
    equal((other.flow, other.installed), (None, None), "what is installed for a packet of another connection")
    expect([step for step in other.now.steps if step.kind is StepKind.STAGE], "its first packet would walk the chain")


CONNECTIONS = 24
"""So many that each of two workers has some."""


@check(
    Level.STATEFUL,
    "Whose it is, both directions, by whichever port and VRF its packets come in.",
    "That the initiator's packets come in by.",
    needs=FOLLOWED,
)
def live_replies_come_by_another_vrf(bench: Bench) -> None:
    """Routes of two VRFs lead to each other's subnets. What answers finds its connection, whichever worker has it."""
    card = world.world(bench, workers=2)
    there = [
        Subnet(id=C.subnet, vrf=OTHER_VRF, mac=C.gateway),
        *(
            replace(row, vrf=OTHER_VRF)
            for row in world.rows()
            if isinstance(row, LocalAddress) and row.subnet == C.subnet
        ),
        world.vnic(C, vrf=OTHER_VRF),
    ]
    back = SubnetRoute(id=99, vrf=OTHER_VRF, prefix="10.1.0.0/24", subnet=A.subnet)
    card.commit(insert(Vrf(id=OTHER_VRF), back), modify(*there))
    ports = range(4000, 4000 + CONNECTIONS)
    ways = ((A, C, [A.frame(udp(A.ip, C.ip, port)) for port in ports]),
            (C, A, [C.frame(udp(C.ip, A.ip, 53, port)) for port in ports]))  # fmt: skip
    for one, other, frames in ways:
        left = _crossed(card, one.port, frames)
        equal(left, {other.port: CONNECTIONS}, f"frames that left of {CONNECTIONS} from port {one.port}, by port")
    flows = card.backend.flows()
    equal([flow.packets for flow in flows], [(1, 1)] * CONNECTIONS, "packets of each connection")
    equal({flow.vrf for flow in flows}, {world.VRF}, "VRF of the connections")
    equal({flow.worker for flow in flows}, {0, 1}, f"workers that {CONNECTIONS} connections belong to")


def _crossed(card: Card, port: int, frames: Sequence[bytes]) -> Counter[int]:
    """How many frames leave by each port when these come in by one."""
    left: Counter[int] = Counter()
    wire = card.device.wire(card.backend)
    if wire is None:
        return left
    for frame in frames:
        wire.send(port, frame)
    patience = time.monotonic() + STARTED_SECONDS
    while left.total() < len(frames) and time.monotonic() < patience:
        left.update(output.port for output in wire.receive())
    return left


FLOOD = 2 * LOGS_PER_SECOND
"""Connections that are opened as fast as the ports take them."""


@check(
    Level.STATEFUL,
    "Of those a vNIC causes at most 100 a second, and as many at once: the rest are counted as `logs_suppressed` of "
    "`engine`.",
    needs=(*NEEDS, "events", "counters", "firewall"),
)
def live_logs_have_a_limit(bench: Bench) -> None:
    """Of a vNIC's connections that come by its port faster than it may log, a hundred are told and as many more as the
    time has room for; the rest are counted. Another vNIC's are told all the same."""
    card = firewalled(bench, rule(log=1))
    live, wire = card.live(), card.device.wire(card.backend)
    if wire is None:
        return

    def told() -> tuple[int, int]:
        logs = sum(event.kind is EventKind.RULE_LOG for event in card.backend.events().events)
        return logs, card.backend.counters().engine["logs_suppressed"]

    began = card.now_ns()
    left = 0
    for sport in range(1, FLOOD + 1):
        wire.send(A.port, A.frame(udp(A.ip, C.ip, sport)))
        if sport % 100 == 0:  # so that no queue of the wire is too long
            left += sum(output.port == C.port for output in wire.receive())
    room = LOGS_PER_SECOND + math.ceil((card.now_ns() - began) * LOGS_PER_SECOND / SECOND) + 1
    expect(room < FLOOD, f"the wire is too slow to ask for the limit: {FLOOD} packets take as long as {room} logs may")
    patience = time.monotonic() + STARTED_SECONDS
    while left < FLOOD and time.monotonic() < patience:
        left += sum(output.port == C.port for output in wire.receive())
    logs, suppressed = told()
    equal((left, logs + suppressed), (FLOOD, FLOOD), "packets of a flood that left, logs that were told or suppressed")
    expect(LOGS_PER_SECOND <= logs <= room, f"logs told of a flood: got {logs}, wanted {LOGS_PER_SECOND}..{room}")
    replied(live, sport=1000).left_by(A.port)
    equal(told(), (logs + 1, suppressed), "logs told and suppressed, with another vNIC's")
