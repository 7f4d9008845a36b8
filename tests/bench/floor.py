"""The floor: what forwarding costs when nothing is decided. testpmd swaps the 5-tuple of the very packets that the
engine gets, on the same ports, with the same generator, on one worker.

python -m tests.bench.floor [--runs N] [--packets N]
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.bench import generator, machine
from tests.bench.generator import Phase, Send, Traffic, VoidError
from tests.bench.results import spread

LIMIT_NS = 30.0  # above it the generator is slow, or the machine busy, and a ratio to it flatters
HUGE_PAGES = 64
SMALL, LARGE = 1_000, 10_000_000

# The addresses of the bench's topology: clients at port 0, servers at port 1.
TUPLES: Mapping[str, str | int] = {
    "src": "10.1.0.0/16",
    "dst": "198.51.100.0/28",
    "sport": "32768-65535",
    "dport": 443,
}


@dataclass(frozen=True)
class Floor:
    """ns a packet of each run, for one number of flows."""

    flows: int
    frame: int
    runs: tuple[float, ...]

    @property
    def ns_per_packet(self) -> float:
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        return spread(self.runs)

    @property
    def void(self) -> str:
        """Why no ratio may be taken to this floor, or nothing."""
        if self.ns_per_packet > LIMIT_NS:
            return f"the floor is {self.ns_per_packet:.1f} ns a packet, above {LIMIT_NS:.0f}"
        return ""

    def __str__(self) -> str:
        each = ", ".join(f"{run:.2f}" for run in self.runs)
        return (
            f"{self.flows:>10,} flows, {self.frame} bytes: {self.ns_per_packet:.2f} ns a packet, "
            f"spread {self.spread:.1%} ({each})"
        )


IN_HUGE_PAGES = ("--in-memory",)
WITHOUT_HUGE_PAGES = ("--no-huge", "--no-shconf", "-m", "128")


def command(core: int = 1, mode: str = "5tswap", memory: Sequence[str] = IN_HUGE_PAGES) -> list[str]:
    """testpmd with two memory ports, its worker on the given core, in memory that no other process sees."""
    return [
        "dpdk-testpmd",
        *("-l", f"0,{core}", *memory, "--no-pci", "--no-telemetry", "--log-level=error"),
        *("--vdev", "net_null0,no-rx=1", "--vdev", "net_null1,no-rx=1"),
        "--",
        # Without --no-flush-rx it would throw away what the generator sends first.
        *(f"--forward-mode={mode}", "--nb-cores=1", "--burst=32", "--total-num-mbufs=8192", "--no-flush-rx"),
        *("--no-lsc-interrupt", "--auto-start"),
    ]


def traffic(flows: int, packets: int, keys: Mapping[str, str | int] = TUPLES, proto: str = "udp") -> Traffic:
    """Every flow opened in order, a run to get warm, the run that counts."""
    phases = (*generator.establish(proto), Send("warm", "run", packets // 4), Send("run", "run", packets))
    return Traffic(flows, "5tswap", phases, proto, keys)


def measure_once(send: Traffic, core: int = 1, timeout_s: float = 120.0, huge: bool = True) -> Phase:
    """One run of testpmd on this traffic, in huge pages or without: its last phase.

    Raises:
        VoidError: a packet of any phase was wrong or missing.
    """
    memory = IN_HUGE_PAGES if huge else WITHOUT_HUGE_PAGES
    with tempfile.TemporaryDirectory(prefix="dsn-floor-") as name, _pages(huge):
        folder = Path(name)
        with generator.running(command(core, memory=memory), send, folder) as program:
            phases = [program.phase(number, timeout_s).valid() for number in range(len(send.phases))]
    return phases[-1]


def _pages(huge: bool) -> AbstractContextManager[None]:
    return machine.huge_pages(HUGE_PAGES) if huge else nullcontext()


def measure(flows: Sequence[int], runs: int, packets: int, core: int = 1) -> list[Floor]:
    """The floor for each number of flows; runs interleave, so that a busy minute meets all of them alike."""
    each: dict[int, list[Phase]] = {number: [] for number in flows}
    for _ in range(runs):
        for number in flows:
            each[number].append(measure_once(traffic(number, packets), core))
    return [
        Floor(number, phases[0].frame, tuple(phase.ns_per_packet for phase in phases))
        for number, phases in each.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--packets", type=int, default=20_000_000)
    parser.add_argument("--flows", type=int, nargs="+", default=[SMALL, LARGE])
    arguments = parser.parse_args()
    try:
        floors = measure(arguments.flows, arguments.runs, arguments.packets)
    except VoidError as error:
        print(f"void: {error}", file=sys.stderr)
        return 1
    for floor in floors:
        print(floor)
        if floor.void:
            print(f"void: {floor.void}", file=sys.stderr)
    return int(any(floor.void for floor in floors))


if __name__ == "__main__":
    sys.exit(main())
