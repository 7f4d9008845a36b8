"""Figures of forwarding: established flows against the floor and against nftables, and first packets."""

import statistics
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hal.packet.contract import Insert
from hal.packet.dpdk import Engine
from hal.packet.schema.rows import Row, Rows, as_rows
from tests.bench import card, floor, generator, nft_peer, rules
from tests.bench.card import RESOLVE
from tests.bench.effort import Effort
from tests.bench.floor import Floor
from tests.bench.generator import Phase, Send, Traffic, VoidError
from tests.bench.nft_peer import Router
from tests.bench.results import Figure, figure

FLOOR = "testpmd 5tswap"


def established(flows: int, packets: int, proto: str = "udp") -> Traffic:
    """Every flow opened in order, a run to get warm, the run that counts; as the floor's."""
    phases = (RESOLVE, *generator.establish(proto), Send("warm", "run", packets // 4), Send("run", "run", packets))
    return Traffic(flows, "forward", phases, proto, card.keys(floor.TUPLES))


def firewall_once(flows: int, effort: Effort, ruleset: Iterable[Row | Rows] | None = None, proto: str = "udp") -> Phase:
    """One run of the engine on established flows: its last phase.

    Raises:
        VoidError: a packet of any phase was wrong or missing.
    """
    traffic = established(flows, effort.packets, proto)
    chosen = rules.same_as_nftables() if ruleset is None else ruleset
    with card.under_load(traffic, chosen, huge=effort.huge) as loaded:
        return card.every_phase(loaded)[-1]


def _firewall(name: str, flows: int, effort: Effort) -> Figure:
    ours: list[float] = []
    theirs: list[float] = []
    for run in range(effort.runs):
        theirs.append(floor.measure_once(floor.traffic(flows, effort.packets), huge=effort.huge).ns_per_packet)
        ours.append(firewall_once(flows, effort).ns_per_packet)
        effort.say(f"{name} {run + 1}: {ours[-1]:.1f} ns, the floor {theirs[-1]:.1f}")
    if void := Floor(flows, 64, tuple(theirs)).void:
        raise VoidError(void)
    return figure(name, ours, flows, peer=FLOOR, peer_runs=theirs)


def firewall_1k(effort: Effort) -> Figure:
    return _firewall("firewall_1k", min(1_000, effort.flows), effort)


def firewall_1m(effort: Effort) -> Figure:
    return _firewall("firewall_1m", effort.flows, effort)


def firewall_tcp(effort: Effort) -> Figure:
    """TCP, whose windows are followed; with a thousand connections stands beside it. The floor's packets are UDP's, two
    bytes shorter."""
    ours: list[float] = []
    few: list[float] = []
    theirs: list[float] = []
    for run in range(effort.runs):
        theirs.append(floor.measure_once(floor.traffic(effort.flows, effort.packets), huge=effort.huge).ns_per_packet)
        ours.append(firewall_once(effort.flows, effort, proto="tcp").ns_per_packet)
        few.append(firewall_once(min(1_000, effort.flows), effort, proto="tcp").ns_per_packet)
        effort.say(f"firewall_tcp {run + 1}: {ours[-1]:.1f} ns, with few {few[-1]:.1f}, the floor {theirs[-1]:.1f}")
    if void := Floor(effort.flows, 64, tuple(theirs)).void:
        raise VoidError(void)
    more = {"flows_1k": statistics.median(few)}
    return figure("firewall_tcp", ours, effort.flows, peer=FLOOR, peer_runs=theirs, more=more)


OPENINGS = 8


def _open_on_veth(running: Engine, names: Router, flows: int, core: int) -> None:
    """Send every flow's first packets until the engine has them all: what is sent too fast is lost, and the reply to
    what was lost gets an ICMP error. So they are looked at once all are open."""
    keys = nft_peer.keys(floor.TUPLES)
    nft_peer.send(names, Traffic(flows, "forward", (RESOLVE,), keys=keys), "count", core)
    opening = Traffic(flows, "forward", generator.establish("udp"), keys=keys)
    opened = 0
    for _ in range(OPENINGS):
        nft_peer.send(names, opening, "count", core)
        if (opened := running.counters().engine["flows_now"]) < flows:
            continue
        if wrong := [phase for phase in nft_peer.send(names, opening, "check", core) if phase.wrong]:
            raise VoidError(wrong[0].void)
        return
    raise VoidError(f"only {opened} of {flows} connections could be opened on veth")


def on_veth_once(names: Router, flows: int, packets: int, core: int = 1) -> float:
    """ns a packet through the engine on the router's veths: its worker's processor time, sending included. The kernel's
    part of taking a packet in is on the core that sends it, in our favour.

    Raises:
        VoidError: a packet came out wrong, or almost nothing did.
    """
    ports = [f"linux:r{side}@{names.router}" for side in (0, 1)]
    with tempfile.TemporaryDirectory(prefix="dsn-bench-") as name:
        config = card.load_config(ports, max(card.CONNECTIONS, flows))
        with card.engine(Path(name) / "run", config, huge=False, core=core) as running:
            tables = card.rows(rules.same_as_nftables())
            running.writer().commit([Insert(part) for part in as_rows(tables)])
            other = 0 if core else 1
            _open_on_veth(running, names, flows, other)
            timed = Traffic(flows, "forward", (Send("run", "run", packets),), keys=nft_peer.keys(floor.TUPLES))
            before = card.worker_seconds(running.pid)
            run = nft_peer.send(names, timed, "count", other)[-1]
            took = card.worker_seconds(running.pid) - before
    if run.out < run.packets // 20:
        raise VoidError(f"only {run.out} of {run.packets} packets came out of the engine on veth")
    return took * 1e9 / run.out


def firewall_vs_nft(effort: Effort) -> Figure:
    """Ours on memory ports, nftables on veth; ours on the same veths stands beside it."""
    flows, packets = effort.flows, min(effort.packets, 1_000_000)
    ours, veth, theirs = [], [], []
    for run in range(effort.runs):
        theirs.append(nft_peer.measure([flows], 1, packets)[0].values[0])
        ours.append(firewall_once(flows, effort).ns_per_packet)
        with nft_peer.veths() as names:
            nft_peer.address_far_end(names, card.ROUTER)
            veth.append(on_veth_once(names, flows, packets))
        effort.say(f"firewall_vs_nft {run + 1}: {ours[-1]:.1f} ns, nftables {theirs[-1]:.0f}, on veth {veth[-1]:.0f}")
    on_veth = statistics.median(veth)
    more = {"on_veth": on_veth, "on_veth_ratio": statistics.median(theirs) / on_veth}
    return figure(
        "firewall_vs_nft", ours, flows, peer="nftables with conntrack on veth", peer_runs=theirs, more=more
    )  # fmt: skip


FIRST_GAP_NS = 1_000_000  # a burst of first packets takes longer than one of others: a gap is more than that


def first_once(count: int, effort: Effort, shape: Callable[[int], Rows] = rules.cloud) -> float:
    """ns for the first packet of a connection under a list of `count` rules, generator and ports included."""
    flows = min(1_000, effort.flows)
    each = min(effort.packets, 900_000) // 3
    phases = (RESOLVE, *generator.establish("udp"), *(Send(f"first{turn}", "first", each) for turn in range(3)))
    traffic = Traffic(flows, "forward", phases, keys=card.keys(rules.TUPLES, gap_ns=FIRST_GAP_NS))
    capacity = flows + 3 * each
    with card.under_load(traffic, shape(count), connections=capacity, huge=effort.huge) as loaded:
        first = card.every_phase(loaded)[-3:]
        opened = loaded.engine.counters().engine["flows_opened"]
    if opened != capacity:
        raise VoidError(f"{opened} connections were opened instead of {capacity}")
    return statistics.mean(phase.ns_per_packet for phase in first)


def first_packet(effort: Effort) -> Figure:
    """Rules of a security group; the same number of ClassBench's shape stands beside it."""
    sizes = (10, effort.rules // 10, effort.rules)
    runs: dict[int, list[float]] = {size: [] for size in sizes}
    mixed: list[float] = []
    for run in range(effort.runs):
        for size in sizes:
            runs[size].append(first_once(size, effort))
        mixed.append(first_once(effort.rules, effort, rules.mixed))
        each = ", ".join(f"{size} rules {runs[size][-1]:.0f} ns" for size in sizes)
        effort.say(f"first_packet {run + 1}: {each}, {effort.rules} mixed ones {mixed[-1]:.0f} ns")
    ten, thousand, all_of_them = (statistics.median(runs[size]) for size in sizes)
    more = {"over_10_rules": all_of_them / ten, "rules_10": ten, "rules_1k": thousand}
    more["mixed_rules"] = statistics.median(mixed)
    return figure("first_packet", runs[effort.rules], effort.rules, more=more)
