"""`replay` in private shards, `trace`, and what a witness says."""

from __future__ import annotations

import itertools
import threading
import time
from functools import partial

from hal.conformance import world
from hal.conformance.bench import PAUSE_SECONDS, Bench, Card, delete, insert, modify
from hal.conformance.check import Level, check, equal, expect, raises
from hal.conformance.frames import udp
from hal.conformance.traffic import SECOND
from hal.conformance.world import A, B, C
from hal.errors import ErrorKind
from hal.packet.contract import LATEST_NS, LONGEST_FRAME, PacketIn, PacketResult, Shard, StepKind, Verdict
from hal.packet.stages.bridge._generated import Subnet
from hal.packet.stages.route._generated import BlackholeRoute

NEEDS = ("shard", "bridge", "route")
PACKETS = ("packets", "bridge", "route", "counters")
TRACE = ("trace", "bridge", "route")
PRIVATE = "A private place to run packets through: own flows, neighbours, meters and counters, empty at first"
CURRENT = "the shared tables of the generation that is current at each call"
CHANGES_NOTHING = "Changes nothing, on the installed state"
BLOCKED = BlackholeRoute(id=3, vrf=world.VRF, prefix="10.2.0.0/24")
"""The route to C, as one that drops."""


def _udp(sport: int = 4000, at: int = SECOND) -> PacketIn:
    return PacketIn(A.frame(udp(A.ip, C.ip, sport)), A.port, at)


def _replay(shard: Shard, packet: PacketIn) -> PacketResult:
    (result,) = shard.replay([packet], witness=True)
    return result


@check(Level.STATELESS, "Run packets, in order, through the very path that live traffic takes.", needs=NEEDS)
def replay_answers_in_order(bench: Bench) -> None:
    """A result for each packet, in their order; none for none."""
    shard = world.world(bench).shard()
    stray = A.frame(udp(A.ip, B.ip), to="02:00:00:00:00:77")  # to nobody: its sender isn't told
    frames = [A.frame(udp(A.ip, C.ip)), stray, b"", A.frame(udp(A.ip, B.ip), to=B.mac)]
    results = shard.replay([PacketIn(frame, A.port, SECOND + n) for n, frame in enumerate(frames)])
    wanted = ["", "bridge_unknown_mac", "ethernet_truncated", ""]
    equal([result.reason for result in results], wanted, "reasons of four packets")
    equal([[out.port for out in result.outputs] for result in results], [[C.port], [], [], [B.port]], "their outputs")
    equal(shard.replay([]), [], "results of no packets")


@check(Level.STATELESS, "at `time_ns` (never going back)", "and the caller's clock.", needs=NEEDS)
def time_never_goes_back(bench: Bench) -> None:
    """A packet from before the last one is INVALID."""
    shard = world.world(bench).shard()
    _replay(shard, _udp(at=SECOND))
    raises(ErrorKind.INVALID, lambda: _replay(shard, _udp(at=SECOND - 1)), "a packet from before the last one")


@check(
    Level.STATELESS,
    "Longer than 9,238 bytes or later than 2^63 - 1 ns it is INVALID.",
    needs=NEEDS,
)
def frames_and_times_have_an_end(bench: Bench) -> None:
    """The longest frame and the latest time are taken, what is beyond is not, and the card goes on behind both."""
    card = world.world(bench)
    shard = card.shard()
    longest = A.frame(udp(A.ip, C.ip)).ljust(LONGEST_FRAME, b"\0")
    equal(_replay(shard, PacketIn(longest, A.port, SECOND)).reason, "", "what becomes of the longest frame")
    long = PacketIn(longest + b"\0", A.port, SECOND)
    raises(ErrorKind.INVALID, lambda: _replay(shard, long), "a frame that is a byte longer")
    shard.replay([PacketIn(A.frame(udp(A.ip, world.FAR)), A.port, SECOND)])  # a neighbour is asked for: a timer runs
    equal(_replay(shard, _udp(at=LATEST_NS)).reason, "", "what becomes of a packet at the latest time")
    for late in (_udp(at=LATEST_NS + 1), _udp(at=2**64 - 1)):
        raises(ErrorKind.INVALID, partial(_replay, card.shard(), late), "a packet that is later")
    equal(_replay(card.shard(), _udp()).reason, "", "what becomes of a packet in another shard")


@check(
    Level.STATELESS,
    "At a `port` that was not loaded no vNIC is declared: the frame is dropped as `vnic_unknown`.",
    needs=TRACE,
)
def unknown_ports_are_traced(bench: Bench) -> None:
    """So says a trace, on the live card as in a shard; one that is too late is INVALID there too."""
    card = world.world(bench)
    frame = A.frame(udp(A.ip, C.ip))
    for port in (77, 65535):
        equal(card.backend.trace(PacketIn(frame, port, 0)).now.reason, "vnic_unknown", f"a trace at port {port}")
    raises(ErrorKind.INVALID, lambda: card.backend.trace(_udp(at=LATEST_NS + 1)), "a trace beyond the latest time")
    equal(card.backend.trace(PacketIn(frame, A.port, 0)).now.reason, "", "a trace at a port that was loaded")


@check(
    Level.STATELESS,
    "At a `port` that was not loaded no vNIC is declared: the frame is dropped as `vnic_unknown`.",
    needs=NEEDS,
)
def unknown_ports_have_no_vnic(bench: Bench) -> None:
    """A packet at a port that nobody loaded is dropped, those around it are not, and no port counts it."""
    shard = world.world(bench).shard()
    frame = A.frame(udp(A.ip, C.ip))
    results = shard.replay([PacketIn(frame, port, SECOND) for port in (A.port, 77, 65535, A.port)])
    equal([one.reason for one in results], ["", "vnic_unknown", "vnic_unknown", ""], "reasons by port")
    counted = shard.counters()
    equal(counted.drops["vnic_unknown"], 2, "drops counted as vnic_unknown")
    equal(sum(one["rx_packets"] for one in counted.ports.values()), 2, "packets that ports counted")


@check(Level.STATELESS, "Run packets, in order, through the very path that live traffic takes.", needs=NEEDS)
def replay_is_repeatable(bench: Bench) -> None:
    """The same packets in two fresh shards come to the same, witness included."""
    card = world.world(bench)
    packets = [_udp(1000 + n % 7, SECOND + n * 400_000_000) for n in range(40)]
    packets += [PacketIn(A.frame(udp(A.ip, world.FAR, n)), A.port, 20 * SECOND + n) for n in range(9)]
    first, second = (card.shard().replay(packets, witness=True) for _ in range(2))
    equal(
        [one for one, two in zip(first, second, strict=True) if one != two], [], "results that differ in a repetition"
    )


@check(Level.STATELESS, PRIVATE, needs=NEEDS)
def shards_do_not_see_each_other(bench: Bench) -> None:
    """Neighbours, counters and events of one shard are not another's, and one begins empty."""
    card = world.world(bench)
    one = card.traffic()
    world.far(one)
    world.router_answers(one)
    world.far(one).left_by(0, "a packet to a neighbour known in this shard")
    two = card.traffic()
    equal(two.counters().drops, dict.fromkeys(two.counters().drops, 0), "drops counted in a fresh shard")
    equal(sum(sum(counts.values()) for counts in two.counters().vnics.values()), 0, "vNIC counters of a fresh shard")
    equal(two.events().events, (), "events of a fresh shard")
    expect(world.far(two).outputs[0].data[:6] == b"\xff" * 6, "a shard knows a neighbour that another one learned")


@check(Level.STATELESS, PRIVATE, needs=(*NEEDS, "counters"))
def shards_leave_the_live_card_alone(bench: Bench) -> None:
    """What is replayed counts nowhere on the live card, and makes no event there."""
    card = world.world(bench)
    before = (card.backend.counters(), card.backend.events(), card.state())
    traffic = card.traffic()
    world.routed(traffic)
    world.far(traffic)
    traffic.send(A.port, b"").dropped("ethernet_truncated")
    equal((card.backend.counters(), card.backend.events(), card.state()), before, "the live card after a replay")


@check(Level.STATELESS, CURRENT, needs=NEEDS)
def shards_follow_the_tables(bench: Bench) -> None:
    """An older shard sees the tables that are current when it replays."""
    card = world.world(bench)
    shard = card.shard()
    card.commit(modify(BLOCKED))
    equal(_replay(shard, _udp()).reason, "blackhole", "drop reason after a commit")
    card.commit(modify(world.rows_by_id("route")[3]))
    equal(_replay(shard, _udp()).verdict, Verdict.FORWARD, "verdict after another commit")


@check(Level.STATELESS, CURRENT, needs=(*NEEDS, "counters"))
def shards_tell_by_the_tables(bench: Bench) -> None:
    """What an older shard tells is of the rows that are there when it is asked, without a replay between."""
    card = world.world(bench)
    traffic = card.traffic()
    world.bridged(traffic)
    card.commit(delete("vnic", B.vnic), delete("fdb", B.vnic), delete("vnic_address", B.vnic, B.vnic + 100))
    equal(B.vnic in traffic.counters().vnics, False, "whether a vNIC that was taken out is counted")


@check(Level.STATELESS, "`trace` and `replay` can look at it.", needs=(*NEEDS, "stage"))
def shards_look_at_staged_commits(bench: Bench) -> None:
    """A shard of a staged commit sees its tables, others don't."""
    card = world.world(bench)
    staged = card.stage(modify(BLOCKED))
    equal(_replay(card.shard(staged=staged), _udp()).reason, "blackhole", "drop reason with the staged tables")
    equal(_replay(card.shard(), _udp()).verdict, Verdict.FORWARD, "verdict without")


@check(Level.STATELESS, "with `staged`, on the tables as they would be.", needs=(*TRACE, "stage"))
def traces_look_at_staged_commits(bench: Bench) -> None:
    """A trace with a staged commit sees its tables, one without doesn't."""
    card = world.world(bench)
    staged = card.stage(modify(BLOCKED))
    equal(card.backend.trace(_udp(), staged).now.reason, "blackhole", "drop reason with the staged tables")
    equal(card.backend.trace(_udp()).now.verdict, Verdict.FORWARD, "verdict without")


@check(Level.STATELESS, "What a described packet would meet", "what the chain would decide now", needs=TRACE)
def traces_tell_the_decision(bench: Bench) -> None:
    """A trace tells the generation, the verdict, and the stages and rows that led to it."""
    card = world.world(bench)
    traced = card.backend.trace(_udp())
    equal((traced.generation, traced.flow, traced.installed), (1, None, None), "generation and flow of a trace")
    equal(traced.now.verdict, Verdict.FORWARD, "verdict")
    rows = [(step.table, step.id) for step in traced.now.steps if step.kind is StepKind.MATCH]
    expect(("route", 3) in rows, f"the trace names the route that matched, not only {rows}")
    card.commit(modify(BLOCKED))
    traced = card.backend.trace(_udp())
    equal((traced.generation, traced.now.reason), (2, "blackhole"), "generation and reason after a commit")


@check(Level.STATELESS, CHANGES_NOTHING, needs=(*TRACE, "counters", "events"))
def traces_change_nothing(bench: Bench) -> None:
    """A trace counts nothing, installs nothing, makes no event and asks no neighbour."""
    card = world.world(bench)

    def everything() -> object:
        backend = card.backend
        flows = [] if "flows" in card.absent else backend.flows()
        return backend.counters(), backend.events(), flows, card.state()

    before = everything()
    for frame in (A.frame(udp(A.ip, C.ip)), A.frame(udp(A.ip, world.FAR)), A.frame(udp(A.ip, "8.8.8.8")), b""):
        card.backend.trace(PacketIn(frame, A.port, SECOND))
    equal(everything(), before, "the card after some traces")


def _steps(card: Card, packet: PacketIn) -> list[tuple[str, str, int, int]]:
    result = _replay(card.shard(), packet)
    return [(step.kind.name, step.table, step.id, step.value) for step in result.steps]


@check(
    Level.STATELESS,
    "What a witness says; `table`/`id` name the row concerned, `value` is the kind's own number.",
    "The stage (number in `value`) begins.",
    "A row matched.",
    "A connection was installed; `id` is its.",
    "Sent to the vNIC or uplink `id` (table vnic).",
    needs=NEEDS,
)
def witnesses_tell_the_way(bench: Bench) -> None:
    """Stages by number in the order of the chain, rows that matched, the connection, where it went."""
    card = world.world(bench)
    numbers = {stage.name: number for number, stage in enumerate(card.schema.stages)}
    steps = _steps(card, _udp())
    stages = [value for kind, _, _, value in steps if kind == "STAGE"]
    equal(stages, [numbers["bridge"], numbers["route"]], "stages by number")
    matched = [(table, id_) for kind, table, id_, _ in steps if kind == "MATCH"]
    expect(("route", 3) in matched, f"the route that matched is told, not only {matched}")
    kinds = [kind for kind, *_ in steps]
    expect(kinds.index("STAGE") < kinds.index("MATCH") < kinds.index("INSTALL") < kinds.index("SEND"), f"{kinds}")
    equal([(t, i) for kind, t, i, _ in steps if kind == "SEND"], [("vnic", C.vnic)], "where it was sent")


@check(Level.STATELESS, "No row of the table matched.", "Dropped; value is the reason's number.", needs=NEEDS)
def witnesses_tell_drops(bench: Bench) -> None:
    """Which table had no row, and the number of the drop reason."""
    card = world.world(bench)
    steps = _steps(card, PacketIn(A.frame(udp(A.ip, "8.8.8.8")), A.port, SECOND))
    equal([table for kind, table, _, _ in steps if kind == "MISS"], ["route"], "tables without a match")
    number = card.schema.reason_numbers["no_route"]
    equal([value for kind, _, _, value in steps if kind == "DROP"], [number], "number of the reason")


@check(Level.STATELESS, "What a witness says", needs=NEEDS)
def no_witness_is_no_cost(bench: Bench) -> None:
    """Steps are told to who asks for them only, and asking changes nothing else."""
    card = world.world(bench)
    (quiet,) = card.shard().replay([_udp()])
    (told,) = card.shard().replay([_udp()], witness=True)
    equal(quiet.steps, (), "steps without a witness")
    equal((quiet.verdict, quiet.outputs), (told.verdict, told.outputs), "verdict and outputs without a witness")


@check(
    Level.STATELESS,
    "`vnics` by id (rx_packets, rx_bytes, tx_packets, tx_bytes, drops; rx is from the vNIC into the card, and so "
    "are the packets that were dropped)",
    "Counters at one moment.",
    needs=PACKETS,
)
def vnics_are_counted(bench: Bench) -> None:
    """What came from a vNIC, what went to it, and what was dropped of what came from it."""
    traffic = world.world(bench).traffic()
    frame = A.frame(udp(A.ip, B.ip), to=B.mac)
    traffic.send(A.port, frame)
    stray = A.frame(udp(A.ip, B.ip), to="02:00:00:00:00:77")  # to nobody: its sender isn't told
    traffic.send(A.port, stray)
    counted = traffic.counters().vnics
    wanted = {"rx_packets": 2, "rx_bytes": len(frame) + len(stray), "tx_packets": 0, "tx_bytes": 0, "drops": 1}
    equal(dict(counted[A.vnic]), wanted, "counters of the sender's vNIC")
    wanted = {"rx_packets": 0, "rx_bytes": 0, "tx_packets": 1, "tx_bytes": len(frame), "drops": 0}
    equal(dict(counted[B.vnic]), wanted, "counters of the receiver's vNIC")


@check(Level.STATELESS, "`ports` by number", "`engine` by name.", needs=PACKETS)
def ports_are_counted(bench: Bench) -> None:
    """Packets and bytes in and out of each port; the engine's own counters have names."""
    traffic = world.world(bench).traffic()
    frame = A.frame(udp(A.ip, B.ip), to=B.mac)
    before = traffic.counters().ports
    equal(set(before), {0, 1, 2, 3, 9}, "ports that are counted")
    traffic.send(A.port, frame)
    counted = traffic.counters()
    moved = {
        port: {name: value - before[port].get(name, 0) for name, value in counts.items() if value != before[port][name]}
        for port, counts in counted.ports.items()
    }
    wanted = {A.port: {"rx_packets": 1, "rx_bytes": len(frame)}, B.port: {"tx_packets": 1, "tx_bytes": len(frame)}}
    equal({port: counts for port, counts in moved.items() if counts}, wanted, "what moved in the ports' counters")
    expect(all(isinstance(name, str) for name in counted.engine), "the engine's counters have names")


@check(Level.STATELESS, "Apply all operations in one step that every packet sees whole or not at all", needs=NEEDS)
def packets_see_one_generation(bench: Bench) -> None:
    """Packets that pass while another commits meet the one generation's tables or the next one's, never both."""
    card = world.world(bench)
    other_mac = "02:00:00:00:aa:77"
    subnets = [Subnet(id=2, vrf=world.VRF, mac=mac) for mac in (C.gateway, other_mac)]
    hosts = [world.vnic(C), world.vnic(C, mac="02:00:00:00:77:0c")]
    allowed = {(C.mac, C.gateway), ("02:00:00:00:77:0c", other_mac)}
    stop = threading.Event()

    def change() -> None:
        for turn in itertools.count(1):
            if stop.wait(PAUSE_SECONDS):
                return
            card.commit(modify(subnets[turn % 2], hosts[turn % 2]))

    writing = threading.Thread(target=change)
    shard = card.shard()
    mixed = []
    writing.start()
    try:
        for sport in range(1, 81, 2):
            time.sleep(PAUSE_SECONDS)
            for result in shard.replay([_udp(sport), _udp(sport + 1)]):
                frame = result.outputs[0].data
                seen = (frame[:6].hex(":"), frame[6:12].hex(":"))
                if seen not in allowed:
                    mixed.append(seen)
    finally:
        stop.set()
        writing.join()
    equal(mixed[:1], [], "MACs of a packet that met tables of two generations")


@check(Level.STATELESS, "Id of the vNIC or uplink", needs=PACKETS)
def deleted_vnics_are_gone(bench: Bench) -> None:
    """A vNIC that was taken out neither sends nor receives."""
    card = world.world(bench)
    card.commit(delete("vnic", B.vnic), delete("fdb", B.vnic), delete("vnic_address", B.vnic, B.vnic + 100))
    traffic = card.traffic()
    world.bridged(traffic).dropped("bridge_unknown_mac", "a packet to a vNIC that was taken out")
    traffic.send(B.port, B.frame(udp(B.ip, A.ip), to=A.mac)).dropped("vnic_unknown", "a packet from it")
    card.commit(insert(*(world.rows_by_id(table)[B.vnic] for table in ("vnic", "fdb", "vnic_address"))))
    world.bridged(traffic).left_by(B.port, "a packet to a vNIC that came back")
