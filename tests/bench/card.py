"""The card under test: one vNIC of clients, one uplink, antispoof, firewall and route between them, on one worker.

Clients of 10.1.0.0/16 are behind port 0, servers behind a router on port 1: where the generator puts them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hal.packet import (
    AllowedSource,
    FirewallBinding,
    FirewallPolicy,
    LocalAddress,
    NextHop,
    Profile,
    ProfileStage,
    Route,
    Subnet,
    Vnic,
    Vrf,
)
from hal.packet.contract import Insert, LoadConfig, PortConfig
from hal.packet.dpdk import Engine, connect
from hal.packet.dpdk import start as start_engine
from hal.packet.dpdk.engine import EngineWriter
from hal.packet.schema.rows import Row, Rows, as_rows
from tests.bench import generator, machine, nft_peer
from tests.bench.generator import Control, Phase, Send, Traffic, VoidError, wait_for_phase

HOST_MAC = tuple(nft_peer.far_mac(side) for side in (0, 1))
CARD_MAC = tuple(nft_peer.near_mac(side) for side in (0, 1))
CLIENTS, PROBES = "10.1.0.0/16", "10.2.0.0/16"
ROUTER, ON_UPLINK = "10.255.1.2", "10.255.1.1"
SERVERS = ("198.18.0.0/15", "198.51.100.0/24")
VRF, VNIC, UPLINK, POLICY, NEXT_HOP = 1, 1, 2, 1, 1
MEMORY_PORTS = ("dpdk:net_null0,no-rx=1", "dpdk:net_null1,no-rx=1")
CONNECTIONS = LoadConfig().connections  # the default: what a card has that nobody tuned
HUGE_PAGES = 64
START_S, END_S = 30.0, 20.0

# The neighbour is asked for by the first packet and not by a burst, of which four would wait and the rest be lost.
RESOLVE = Send("resolve", "each", 1)


def rows(rules: Iterable[Row | Rows]) -> list[Row | Rows]:
    """The tables of the card, with these rules in the group of its one vNIC."""
    stages = (
        (1, "egress", ("antispoof", "firewall", "route")),
        (1, "ingress", ("firewall",)),
        (2, "egress", ("route",)),
    )
    chains = [
        ProfileStage(id=10 * profile + 5 * (direction == "ingress") + at, profile=profile, direction=direction,
                     position=at, stage=stage)
        for profile, direction, names in stages for at, stage in enumerate(names)
    ]  # fmt: skip
    return [
        Vrf(id=VRF),
        *(Profile(id=number) for number in (1, 2)),
        *chains,
        *(Subnet(id=1 + side, vrf=VRF, mac=CARD_MAC[side]) for side in (0, 1)),
        LocalAddress(id=1, vrf=VRF, address=ON_UPLINK, subnet=2),
        Vnic(id=VNIC, port=0, vlan=0, match_mac=bytes(6), role="vnic", mac=HOST_MAC[0], vrf=VRF, profile=1, subnet=1),
        Vnic(id=UPLINK, port=1, vlan=0, match_mac=bytes(6), role="uplink", mac=CARD_MAC[1], vrf=VRF, profile=2,
             subnet=2),
        *(AllowedSource(id=number, vnic=VNIC, prefix=prefix) for number, prefix in enumerate((CLIENTS, PROBES), 1)),
        NextHop(id=NEXT_HOP, port=1, address=ROUTER),
        *(Route(id=number, vrf=VRF, prefix=prefix, next_hop=NEXT_HOP) for number, prefix in enumerate(SERVERS, 1)),
        FirewallPolicy(id=POLICY),
        FirewallBinding(id=1, vnic=VNIC, policy=POLICY),
        *rules,
    ]  # fmt: skip


def load_config(ports: Sequence[str] = MEMORY_PORTS, connections: int = CONNECTIONS) -> LoadConfig:
    """Two ports and one worker, in which no limit of a vNIC bites."""
    return LoadConfig(
        ports=tuple(PortConfig(number, f"port{number}", device) for number, device in enumerate(ports)),
        connections=connections,
        flow_limit=2 * connections,  # of which half may be in their handshake
        inbound_flow_limit=2 * connections,
        new_flow_limit=(1 << 32) - 1,
        half_open_limit=connections,
    )


def threads(pid: int) -> dict[int, str]:
    """Thread id -> name, of a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = (task / "comm").read_text().strip()
        except OSError:
            continue  # it has just ended
    return found


def pin(pid: int, core: int) -> None:
    """The worker alone on its core, every other thread of the engine on the other ones."""
    others = set(range(os.cpu_count() or 1)) - {core} or {core}
    for thread, name in threads(pid).items():
        os.sched_setaffinity(thread, {core} if name.startswith("dsn-worker") else others)


def worker_seconds(pid: int) -> float:
    """Processor time of the engine's workers: what others took of their cores isn't in it."""
    workers = [thread for thread, name in threads(pid).items() if name.startswith("dsn-worker")]
    return sum(int(Path(f"/proc/{pid}/task/{one}/schedstat").read_text().split()[0]) for one in workers) / 1e9


def control_seconds(pid: int) -> float:
    """Processor time of the engine's control thread."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def alive(pid: int) -> bool:
    """Whether this process runs: neither gone nor a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _end(pid: int) -> None:
    """Take a process of ours away, whatever it does, and wait until it is gone."""
    deadline = time.monotonic() + END_S
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    with suppress(ProcessLookupError, ChildProcessError):
        if alive(pid):
            os.kill(pid, 9)
        os.waitpid(pid, 0)


def worker_core(core: int = 1) -> int:
    """The core that a worker is alone on: this one, or the first where there is no such."""
    return core if core < (os.cpu_count() or 1) else 0


@contextmanager
def engine(
    run: Path,
    config: LoadConfig,
    *,
    environment: Mapping[str, str] | None = None,
    huge: bool = True,
    memory_mb: int = 512,
    core: int = 1,
) -> Iterator[Engine]:
    """An engine of one's own: started, loaded, moving packets, its worker alone on `core`; ended at the end.

    Args:
        run: its run folder.
        huge: packets in huge pages, which have to be there.
    """
    arguments = ["--memory", str(memory_mb), *(["--huge"] if huge else [])]
    process = start_engine(run, arguments=arguments, environment=dict(environment or {}))
    try:
        connected = connect(run)
        try:
            connected.load(config)
            connected.start()
            pin(process.pid, worker_core(core))
            yield connected
            if alive(process.pid):
                connected.stop()
        finally:
            connected.close()
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, 15)
        _end(process.pid)


@dataclass
class Loaded:
    """An engine with the generator in it: its connection, its writer, the page shared with the generator."""

    engine: Engine
    writer: EngineWriter
    control: Control
    traffic: Traffic
    folder: Path

    @property
    def pid(self) -> int:
        return self.engine.pid

    def begin(self, number: int) -> None:
        """Let the phases up to this one begin."""
        self.control["go"] = max(self.control["go"], number + 1)

    def phase(self, number: int, timeout_s: float = 120.0) -> Phase:
        """Begin a phase and wait for its end.

        Raises:
            VoidError: a packet was wrong or missing, the engine ended, or the time did.
        """
        self.begin(number)
        return self.ended(number, timeout_s)

    def ended(self, number: int, timeout_s: float = 120.0) -> Phase:
        """Wait for the end of a phase that runs. Raises as phase()."""
        path = self.folder / f"{number:02}-{self.traffic.phases[number].name}.json"
        pid = self.pid
        return wait_for_phase(path, timeout_s, lambda: not alive(pid), self.folder / "engine.log").valid()

    def stop(self, number: int) -> Phase:
        """End a phase that runs, now. Raises as phase()."""
        self.control["stop"] = 1
        try:
            return self.ended(number)
        finally:
            self.control["stop"] = 0

    def until_begun(self, number: int, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.control["begun"] <= number:
            if time.monotonic() > deadline or not alive(self.pid):
                raise VoidError(f"phase {number} did not begin:\n{(self.folder / 'engine.log').read_text()[-2000:]}")
            time.sleep(0.001)


@contextmanager
def under_load(
    traffic: Traffic,
    rules: Iterable[Row | Rows],
    *,
    connections: int | None = None,
    huge: bool = True,
    core: int = 1,
    more: Iterable[Row | Rows] = (),
) -> Iterator[Loaded]:
    """An engine on memory ports with the generator in it and the card's tables committed. No phase has begun.

    Args:
        traffic: its first phase has to be RESOLVE.
        connections: how many fit; None: the default, or the traffic's flows where these are more.
        more: rows beside the card's own.
    """
    library = generator.build()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsn-bench-")))
        if huge:
            stack.enter_context(machine.huge_pages(HUGE_PAGES))
        control = Control(folder / "control")
        stack.callback(control.close)
        configuration = folder / "generator.conf"
        configuration.write_text(traffic.text(folder, folder / "control"))
        environment = {"LD_PRELOAD": str(library), "DSN_BENCH_GENERATOR": str(configuration)}
        config = load_config(connections=connections or max(CONNECTIONS, traffic.flows))
        running = stack.enter_context(engine(folder, config, environment=environment, huge=huge, core=core))
        writer = running.writer()
        writer.commit([Insert(part) for part in as_rows(rows(rules))])
        if extra := [Insert(part) for part in as_rows(more)]:
            writer.commit(extra)
        yield Loaded(running, writer, control, traffic, folder)


def keys(tuples: Mapping[str, str | int], **more: str | int) -> dict[str, str | int]:
    """The generator's keys for traffic of this card."""
    macs = {f"host_mac{side}": HOST_MAC[side] for side in (0, 1)}
    macs |= {f"card_mac{side}": CARD_MAC[side] for side in (0, 1)}
    return {**tuples, **macs, **more}


def every_phase(loaded: Loaded, timeout_s: float = 120.0) -> list[Phase]:
    """Run all phases, one behind the other. Raises as Loaded.phase()."""
    return [loaded.phase(number, timeout_s) for number in range(len(loaded.traffic.phases))]
