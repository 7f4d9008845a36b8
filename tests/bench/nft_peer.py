"""The peer: the kernel forwards between two veths, nftables with conntrack decides. Same packets, same rules.

Two namespaces, made and removed here: one is the router, the other holds the far ends, out of which dsn_wire sends.
A packet sent into a veth is forwarded at once, in softirq, on the core that sent it: one core does all the work, and
the time a packet takes is that core's. What the sender itself and the way into the veth cost is measured too, with
frames for another MAC address, which the kernel drops as soon as it sees them; it is taken off, in the peer's favour.

python -m tests.bench.nft_peer [--flows N...] [--runs N] [--packets N]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import floor, generator
from tests.bench.generator import Phase, Send, Traffic, VoidError
from tests.bench.results import spread

CONNTRACK = Path("/proc/sys/net/netfilter/nf_conntrack_max")
BUCKETS = Path("/sys/module/nf_conntrack/parameters/hashsize")
OFFLOADS = ("tx", "rx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")
NOBODY = "02:00:00:00:ff:ff"
GAP_NS = 2_000_000  # a batch of 32 through the kernel takes up to 100 us: a gap is more than that

# What the bench's traffic needs, as a rule list of the firewall's shape.
RULES: Sequence[str] = (
    "udp dport 443 ip saddr 10.1.0.0/16 ip daddr 198.51.100.0/28 accept",
    "tcp dport 443 ip saddr 10.1.0.0/16 ip daddr 198.51.100.0/28 accept",
)


def far_mac(side: int) -> str:
    """MAC address of a far end, where packets are made."""
    return f"02:00:00:00:00:{side + 1:02x}"


def near_mac(side: int) -> str:
    """MAC address of the router's end."""
    return f"02:00:00:00:01:{side + 1:02x}"


def _run(*command: str, given: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, input=given, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def _raised(file: Path, least: int) -> Iterator[None]:
    """A kernel's number no lower than `least`, and what it was before afterwards."""
    before = int(file.read_text())
    if before >= least:
        yield
        return
    file.write_text(str(least))
    try:
        yield
    finally:
        file.write_text(str(before))


def ruleset(rules: Sequence[str], chain: str = "forward") -> str:
    """The rules in nftables' words: what is established passes, then they in written order, then drop."""
    body = "\n".join(f"    {rule}" for rule in ("ct state established,related accept", "ct state invalid drop", *rules))
    hook = f"    type filter hook {chain} priority filter; policy drop;"
    return f"table inet bench {{\n  chain {chain} {{\n{hook}\n{body}\n  }}\n}}\n"


@dataclass(frozen=True)
class Router:
    """The two namespaces. Interfaces: g0, g1, ... where packets are made; r0, r1, ... in the router."""

    outside: str
    router: str

    def in_router(self, *command: str, given: str | None = None) -> None:
        _run("ip", "netns", "exec", self.router, *command, given=given)


@contextmanager
def veths(count: int = 2) -> Iterator[Router]:
    """Two namespaces joined by veths, offloads off, the far ends without addresses. Nothing forwards yet."""
    names = Router(f"dsn-bench-out-{os.getpid()}", f"dsn-bench-router-{os.getpid()}")
    with ExitStack() as stack:
        for name in (names.outside, names.router):
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "del", name)
            for scope in ("all", "default"):
                _run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
        for side in range(count):
            far, near = f"g{side}", f"r{side}"
            _run(
                *("ip", "link", "add", far, "netns", names.outside, "address", far_mac(side)),
                *("type", "veth", "peer", "name", near, "netns", names.router, "address", near_mac(side)),
            )
            for name, device in ((names.outside, far), (names.router, near)):
                for offload in OFFLOADS:  # one by one: what a device doesn't know mustn't keep the others on
                    subprocess.run(
                        ["ip", "netns", "exec", name, "ethtool", "-K", device, offload, "off"],
                        capture_output=True,
                        check=False,
                    )
                _run("ip", "-n", name, "link", "set", device, "up")
        yield names


def forward(names: Router, rules: Sequence[str] | None, sources: str, destinations: str) -> None:
    """Let the router's kernel route between its veths, with these rules, or with None of them and no conntrack."""
    for key in ("ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"):
        names.in_router("sysctl", "-qw", f"net.ipv4.{key}")
    for side, prefix in enumerate((sources, destinations)):
        device, hop = f"r{side}", f"10.255.{side}.2"
        _run("ip", "-n", names.router, "address", "add", f"10.255.{side}.1/30", "dev", device)
        permanent = ("lladdr", far_mac(side), "nud", "permanent", "dev", device)
        _run("ip", "-n", names.router, "neigh", "add", hop, *permanent)
        _run("ip", "-n", names.router, "route", "add", prefix, "via", hop)
    if rules is not None:
        names.in_router("nft", "-f", "-", given=ruleset(rules))
        for timeout in ("udp_timeout", "udp_timeout_stream"):  # a run may take longer than the 30 s of a fresh flow
            names.in_router("sysctl", "-qw", f"net.netfilter.nf_conntrack_{timeout}=600")


def address_far_end(names: Router, address: str) -> None:
    """Give g1 an address, so that its kernel answers ARP for it; it drops what is for others."""
    _run("ip", "-n", names.outside, "address", "add", f"{address}/30", "dev", "g1")


def send(names: Router, traffic: Traffic, how: str, core: int, timeout_s: float = 300.0) -> list[Phase]:
    """Send these phases out of g0 and g1 with dsn_wire, pinned to a core. `how` is check or count."""
    library = generator.build()
    with tempfile.TemporaryDirectory(prefix="dsn-wire-") as name:
        folder, configuration = Path(name), Path(name) / "wire.conf"
        configuration.write_text(traffic.text(folder))
        done = subprocess.run(
            [
                *("ip", "netns", "exec", names.outside, "taskset", "-c", str(core)),
                *(str(library.with_name("dsn_wire")), str(configuration), how),
            ],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise VoidError(done.stderr.strip())
        return [Phase.read(folder / f"{number:02}-{each.name}.json") for number, each in enumerate(traffic.phases)]


def tracked(names: Router) -> int:
    """Connections that the router's conntrack holds."""
    command = ("ip", "netns", "exec", names.router, "cat", "/proc/sys/net/netfilter/nf_conntrack_count")
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@dataclass(frozen=True)
class Run:
    """ns a packet: all of it, and the sender's own part."""

    total: float
    source: float

    @property
    def through(self) -> float:
        """What the kernel takes for a packet, from the veth that it came in by to having put it in the other."""
        return self.total - self.source


@dataclass(frozen=True)
class Peer:
    """The peer's runs for one number of flows."""

    flows: int
    runs: tuple[Run, ...]

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(run.through for run in self.runs)

    def __str__(self) -> str:
        total, source = (statistics.median(getattr(run, part) for run in self.runs) for part in ("total", "source"))
        return (
            f"{self.flows:>10,} flows: {statistics.median(self.values):.0f} ns a packet through the kernel, "
            f"spread {spread(self.values):.1%} (with the sender {total:.0f}, the sender alone {source:.0f})"
        )


def keys(tuples: Mapping[str, str | int], **more: str | int) -> dict[str, str | int]:
    """The generator's keys for traffic between the far ends."""
    macs = {f"host_mac{side}": far_mac(side) for side in (0, 1)}
    macs |= {f"card_mac{side}": near_mac(side) for side in (0, 1)}
    return {**tuples, **macs, "port0": "g0", "port1": "g1", "gap_ns": GAP_NS, **more}


def measure_once(
    names: Router, flows: int, packets: int, tuples: Mapping[str, str | int] = floor.TUPLES, core: int = 1
) -> Run:
    """One run: flows opened and a part of the traffic checked bit by bit, then timed, then the sender alone.

    Raises:
        VoidError: a packet was wrong or, where each is checked, missing; or more than one in 10,000 was where they
            are only counted.
    """
    check = (*generator.establish("udp"), Send("checked", "run", min(packets, 100_000)))
    for phase in send(names, Traffic(flows, "forward", check, keys=keys(tuples)), "check", core):
        phase.valid()
    timed = (Send("warm", "run", packets // 4), Send("run", "run", packets))
    run = send(names, Traffic(flows, "forward", timed, keys=keys(tuples)), "count", core)[-1]
    if not 0 <= run.lost <= run.packets // 10_000:
        raise VoidError(f"{run.lost} of {run.packets} packets did not come out")
    nobody = keys(tuples, card_mac0=NOBODY, card_mac1=NOBODY)
    alone = send(names, Traffic(flows, "forward", timed[1:], keys=nobody), "count", core)[-1]
    if alone.out:
        raise VoidError(f"{alone.out} packets for nobody came out")
    return Run(run.ns_per_packet, (alone.seconds - alone.gap_seconds) * 1e9 / alone.packets)


def measure(
    flows: Sequence[int], runs: int, packets: int, rules: Sequence[str] | None = RULES, core: int = 1
) -> list[Peer]:
    """nftables for each number of flows; each run has namespaces and a conntrack table of its own."""
    each: dict[int, list[Run]] = {number: [] for number in flows}
    with ExitStack() as limits:
        limits.enter_context(_raised(CONNTRACK, 2 * max(flows)))
        limits.enter_context(_raised(BUCKETS, 2 * max(flows)))
        for _ in range(runs):
            for number in flows:
                with veths() as names:
                    forward(names, rules, str(floor.TUPLES["src"]), str(floor.TUPLES["dst"]))
                    each[number].append(measure_once(names, number, packets, core=core))
                    if tracked(names) != (0 if rules is None else number):
                        raise VoidError(f"conntrack holds {tracked(names)} connections instead of {number}")
    return [Peer(number, tuple(got)) for number, got in each.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--route-only", action="store_true", help="no rules and no conntrack")
    arguments = parser.parse_args()
    try:
        peers = measure(arguments.flows, arguments.runs, arguments.packets, None if arguments.route_only else RULES)
    except VoidError as error:
        print(f"void: {error}", file=sys.stderr)
        return 1
    for peer in peers:
        print(peer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
