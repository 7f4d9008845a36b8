"""`make bench`: every figure, into build/bench.json and docs/bench/.

python -m tests.bench                      all of them, at length
python -m tests.bench --quick --only ID    one of them, shortly; the files stay as they are

A figure of which a packet was wrong, or whose floor is slow, is void: it is said why, and it is in no file.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TypeAlias

from hal.errors import HalError
from tests.bench import change, effort, forwarding, machine, plot, rest, results
from tests.bench.effort import Effort
from tests.bench.generator import VoidError
from tests.bench.results import Figure

Measure: TypeAlias = Callable[[Effort], Figure]

FIGURES: Mapping[str, Measure] = {
    "firewall_1k": forwarding.firewall_1k,
    "firewall_1m": forwarding.firewall_1m,
    "firewall_tcp": forwarding.firewall_tcp,
    "firewall_vs_nft": forwarding.firewall_vs_nft,
    "first_packet": forwarding.first_packet,
    "change_one": change.change_one,
    "churn": change.churn,
    "load_routes": change.load_routes,
    "memory_flow": rest.memory_flow,
    "idle": rest.idle,
}


def line(row: Figure) -> str:
    """A figure in a line."""
    words = [f"{row.id}: {row.value:.4g} {row.unit}"]
    if row.ratio is not None:
        words.append(f"ratio {row.ratio:.3g} ({row.peer}: {row.peer_value:.4g})")
    words += [f"{name} {number:.4g}" for name, number in row.more.items()]
    return ", ".join([*words, f"spread {row.spread:.1%}, size {row.size:,}"])


def measure(names: Sequence[str], how: Effort) -> tuple[list[Figure], list[str]]:
    """The figures, and a sentence for each that is void."""
    rows, void = [], []
    for name in names:
        begin = time.monotonic()
        try:
            rows.append(FIGURES[name](how))
        except (VoidError, HalError, OSError, RuntimeError, MemoryError, subprocess.SubprocessError) as error:
            void.append(f"{name}: void: {error}")
            how.say(void[-1])
            continue
        how.say(f"{line(rows[-1])} [{time.monotonic() - begin:.0f} s]")
    return rows, void


def keep_off(core: int) -> None:
    """Run on other cores than the one under test, where there are any; what is started here begins there too."""
    if others := os.sched_getaffinity(0) - {core}:
        os.sched_setaffinity(0, others)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short runs: numbers to work with, none to quote")
    parser.add_argument(
        "--only", action="append", metavar="ID", choices=list(FIGURES), help="only this one; again for more"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    facts = machine.facts()
    keep_off(1)
    try:
        rows, void = measure(options.only or list(FIGURES), effort.QUICK if options.quick else effort.FULL)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    if not options.only and not options.quick:
        results.write(facts, rows)
        if rows:
            plot.draw(facts, rows)
    print("\n".join(line(row) for row in rows))
    missed = [sentence for row in rows for sentence in row.missed()]
    sys.stderr.write("".join(f"{sentence}\n" for sentence in (*void, *missed)))
    return int(bool(missed or void))


if __name__ == "__main__":
    sys.exit(main())
