"""Figures of what the engine takes: memory a connection, and the core while nothing happens."""

import os
import re
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hal.packet import (
    AllowedSource,
    FirewallBinding,
    FirewallPolicy,
    FirewallRule,
    Profile,
    ProfileStage,
    Subnet,
    SubnetRoute,
    Vnic,
    VnicAddress,
    Vrf,
)
from hal.packet.contract import Insert, LoadConfig, PortConfig
from hal.packet.dpdk.linux_port import open_packet_socket
from hal.packet.schema.rows import Row, as_rows
from tests.bench import card, floor, generator, nft_peer, rules
from tests.bench.card import RESOLVE
from tests.bench.change import percentile
from tests.bench.effort import Effort
from tests.bench.generator import Send, Traffic, VoidError
from tests.bench.nft_peer import Router
from tests.bench.results import Figure, figure
from tests.bench.sleeper import sleeper


def memory_in_use(pid: int) -> int:
    """Bytes of physical memory that a process uses: resident ones and huge pages, files of others not counted."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(1024 * int(re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[0]) for name in
               ("RssAnon", "RssShmem", "HugetlbPages"))  # fmt: skip


def memory_once(flows: int, capacity: int, packets: int, proto: str = "udp") -> tuple[int, int]:
    """Bytes in use with this many flows established and traffic on them, and connections that the engine counts."""
    phases = (RESOLVE, *generator.establish(proto), Send("run", "run", packets))
    traffic = Traffic(flows, "forward", phases, proto, card.keys(floor.TUPLES))
    # Small pages: what is reserved and not used then doesn't count, but for what lies in a page with what is.
    with card.under_load(traffic, rules.same_as_nftables(), connections=capacity, huge=False) as loaded:
        card.every_phase(loaded)
        return memory_in_use(loaded.pid), loaded.engine.counters().engine["flows_now"]


def memory_flow(effort: Effort) -> Figure:
    """What a full table takes more than the same engine with a thousandth of it; of TCP stands beside it."""
    runs = [_memory_of_one("udp", effort) for _ in range(min(effort.runs, 3))]
    return figure("memory_flow", runs, effort.flows, more={"tcp": _memory_of_one("tcp", effort)})


def _memory_of_one(proto: str, effort: Effort) -> float:
    few = max(16, effort.flows // 1000)
    much, opened = memory_once(effort.flows, effort.flows, effort.flows, proto)
    little, _ = memory_once(few, few, effort.flows, proto)
    if opened != effort.flows:
        raise VoidError(f"the engine has {opened} connections instead of {effort.flows}")
    each = (much - little) / (effort.flows - few)
    effort.say(f"memory_flow, {proto}: {each:.1f} bytes ({much >> 20} MiB, {little >> 20} MiB with {few})")
    return each


PORTS = 4
LONE_PACKETS, APART_S = 400, 0.05
GATEWAY_MAC = "02:00:00:00:01:fe"


def _four_vnics() -> list[Row]:
    """Four vNICs of one subnet, which reach each other by route through firewall and antispoof."""
    chains = [
        ProfileStage(id=5 * (direction == "ingress") + at, profile=1, direction=direction, position=at, stage=stage)
        for direction, names in (("egress", ("antispoof", "firewall", "route")), ("ingress", ("firewall",)))
        for at, stage in enumerate(names)
    ]
    each: list[Row] = []
    for port in range(PORTS):
        number, address = port + 1, f"10.1.0.{port + 1}"
        each += [
            Vnic(id=number, port=port, vlan=0, match_mac=bytes(6), role="vnic", mac=nft_peer.far_mac(port), vrf=1,
                 profile=1, subnet=1),
            AllowedSource(id=number, vnic=number, prefix=f"{address}/32"),
            VnicAddress(id=number, subnet=1, address=address, vnic=number),
            FirewallBinding(id=number, vnic=number, policy=1),
        ]  # fmt: skip
    return [
        Vrf(id=1), Profile(id=1), *chains, Subnet(id=1, vrf=1, mac=GATEWAY_MAC), *each,
        SubnetRoute(id=1, vrf=1, prefix="10.1.0.0/24", subnet=1),
        FirewallPolicy(id=1), FirewallRule(id=1, policy=1, priority=10, verdict="allow"),
    ]  # fmt: skip


def processor_seconds(pid: int) -> float:
    """User and system time of all of a process's threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _frame(number: int) -> bytes:
    """A UDP packet from the first vNIC to the second, by the gateway, with a number in it."""
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 17, 0, bytes((10, 1, 0, 1)), bytes((10, 1, 0, 2)))
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    macs = bytes.fromhex((GATEWAY_MAC + nft_peer.far_mac(0)).replace(":", ""))
    udp = struct.pack(">HHHHI8x", 40000, 7, 20, 0, number)
    return macs + b"\x08\x00" + header[:10] + struct.pack(">H", total) + header[12:] + udp


def _socket(interface: str, namespace: str, receive: bool) -> socket.socket:
    opened = socket.socket(fileno=open_packet_socket(interface, namespace))
    if receive:
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        opened.bind((interface, 0x0800))
        opened.settimeout(1.0)
    return opened


_SO_TIMESTAMPNS = 35


@contextmanager
def _lane(names: Router, source: int) -> Iterator[Callable[[int], float]]:
    """From one far end to the next one: a call sends a packet and gives the microseconds to its arrival, by the
    kernel's clock.

    Raises:
        VoidError: by the call: it did not come out within a second.
    """
    with (
        _socket(f"g{source}", names.outside, False) as out,
        _socket(f"g{source + 1}", names.outside, True) as back,
    ):

        def send(number: int) -> float:
            begin = time.clock_gettime_ns(time.CLOCK_REALTIME)
            out.send(_frame(number))
            try:
                while True:
                    data, ancillary, _, _ = back.recvmsg(2048, 256)
                    if len(data) >= 46 and struct.unpack_from(">I", data, 42)[0] == number:
                        break
            except TimeoutError as error:
                raise VoidError("a lone packet did not come out within a second") from error
            stamp = next(value for _, kind, value in ancillary if kind == _SO_TIMESTAMPNS)
            seconds, nanoseconds = struct.unpack("=qq", stamp)
            return float(seconds * 1_000_000_000 + nanoseconds - begin) / 1e3

        yield send


def lone_packets(names: Router, count: int) -> tuple[list[float], list[float]]:
    """Microseconds that packets far apart take through the engine, and through the sleeping process, by turns."""
    ours: list[float] = []
    bare: list[float] = []
    with (
        sleeper(f"r{PORTS}", f"r{PORTS + 1}", names.router, card.worker_core()),
        _lane(names, 0) as through_engine,
        _lane(names, PORTS) as through_sleeper,
    ):
        for number in range(count):
            for took, send in ((ours, through_engine), (bare, through_sleeper)):
                time.sleep(APART_S)
                took.append(send(number))
    return ours, bare


def idle_once(effort: Effort) -> tuple[float, list[float], list[float]]:
    """Percent of a core at rest, and microseconds of each lone packet: through the engine, and through the peer."""
    with ExitStack() as stack:
        names = stack.enter_context(nft_peer.veths(PORTS + 2))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsn-bench-")))
        ports = [PortConfig(port, f"port{port}", f"linux:r{port}@{names.router}") for port in range(PORTS)]
        running = stack.enter_context(card.engine(folder / "run", LoadConfig(ports=tuple(ports)), huge=False))
        running.writer().commit([Insert(part) for part in as_rows(_four_vnics())])
        time.sleep(min(2.0, effort.idle_seconds))
        before, begin = processor_seconds(running.pid), time.monotonic()
        time.sleep(effort.idle_seconds)
        used = (processor_seconds(running.pid) - before) / (time.monotonic() - begin)
        count = LONE_PACKETS if effort.idle_seconds > 2 else LONE_PACKETS // 10
        return used * 100, *lone_packets(names, count)


def idle(effort: Effort) -> Figure:
    """What the engine takes at rest, and how long it then takes for one packet, beside a process that only waits."""
    used, ours, bare = idle_once(effort)
    more = {
        "p99_us": percentile(ours, 0.99),
        "p50_us": percentile(ours, 0.5),
        "max_us": max(ours),
        "bare_p99_us": percentile(bare, 0.99),
        "bare_p50_us": percentile(bare, 0.5),
        "p50_over_bare": percentile(ours, 0.5) / percentile(bare, 0.5),
    }
    effort.say(
        f"idle: {used:.2f} % of a core, lone packets p50 {more['p50_us']:.0f} us, p99 {more['p99_us']:.0f} us; "
        f"through a bare process p50 {more['bare_p50_us']:.0f} us, p99 {more['bare_p99_us']:.0f} us"
    )
    return figure("idle", [used], PORTS, more=more)
