"""Fuzz at length.

python -m tests.fuzz                        every target, ten minutes each
python -m tests.fuzz packet --seconds 3600  this one for an hour
python -m tests.fuzz --until 3600           each until its runs add up to an hour of processor time
python -m tests.fuzz --merge                keep what is new in tests/fuzz/corpus, as few files as reach as much

It may be interrupted at any time: the next run goes on with what this one found.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.fuzz import ledger, libfuzzer, reach
from tests.fuzz.libfuzzer import Progress
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, Target, inputs

_EACH = 60.0
"""Seconds between lines of progress where there is no terminal."""


def plant(target: Target) -> None:
    """Seeds, for a checkout that has not fuzzed this target yet."""
    if target.corpus.is_dir():
        return
    target.corpus.mkdir(parents=True)
    for data in seeds(target):
        (target.corpus / hashlib.sha1(data).hexdigest()).write_bytes(data[: target.longest])


def _row(target: Target, now: Progress, seconds: float, limit: int) -> Table:
    table = Table("target", *("seconds", "inputs", "a second", "edges", "corpus"))
    cells = (f"{seconds:.0f} of {limit}", f"{now.runs:,}", f"{now.rate:,}", f"{now.edges:,}", f"{now.corpus:,}")
    table.add_row(target.name, *cells)
    return table


def fuzz(target: Target, seconds: int, console: Console) -> libfuzzer.Run:
    """Fuzz one target for so long, from both corpora; say what came of it."""
    console.rule(f"{target.name}: {target.about}", align="left")
    plant(target)
    began, clock = time.monotonic(), ledger.Clock()
    told = began - _EACH
    with Live(_row(target, Progress(), 0, seconds), console=console, refresh_per_second=2, transient=True) as live:

        def seen(now: Progress) -> None:
            nonlocal told
            past = time.monotonic() - began
            live.update(_row(target, now, past, seconds))
            if not console.is_terminal and began + past >= told + _EACH:
                told = began + past
                console.print(
                    f"    {past:.0f} of {seconds} s: {now.runs:,} inputs, {now.edges:,} edges", highlight=False
                )

        run = libfuzzer.run(
            target,
            [f"-max_total_time={seconds}", "-reload=0"],
            [target.corpus, *([target.kept] if target.kept.is_dir() else [])],
            seen=seen,
        )
    ledger.add(target, clock.entry(run.progress.runs, run.progress.edges))
    console.print(f"{target.name}: {run.progress.runs:,} inputs in {time.monotonic() - began:.0f} s", highlight=False)
    console.print(f"    in all: {ledger.total(target)}", highlight=False, soft_wrap=True)
    if not run.well:
        console.print(run.said, markup=False, highlight=False)
        console.print(f"found: {run.finding}" if run.finding else f"ended with {run.code}", style="red")
    return run


def merge(target: Target, console: Console) -> bool:
    """Make the kept corpus anew from itself and what was found. False: an input fails."""
    plant(target)
    new = target.corpus.parent / "merged"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    # By edges alone, without how often each was taken: a tenth of the files, and the same lines.
    how = ["-merge=1", "-set_cover_merge=1", "-use_counters=0"]
    run = libfuzzer.run(target, how, [new, target.corpus, *([target.kept] if target.kept.is_dir() else [])])
    if not run.well or not inputs([new]):
        console.print(run.said, markup=False, highlight=False)
        return False
    shutil.rmtree(target.kept, ignore_errors=True)
    shutil.copytree(new, target.kept)
    return report(target, console)


def report(target: Target, console: Console) -> bool:
    """Say what the kept corpus reaches; true if that is enough and no input fails."""
    run, reached = reach.measure(target, [target.kept])
    size = sum(path.stat().st_size for path in inputs([target.kept]))
    console.print(f"{target.name}: {reached}\n    {size:,} bytes", markup=False, highlight=False)
    return run.well and reached.share >= reach.LEAST


def main(arguments: Sequence[str] | None = None) -> int:
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz at length.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these: " + ", ".join(names))
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default 600)")
    parser.add_argument(
        "--until", type=int, metavar="SECONDS", help="only what is missing of so much processor time, all runs together"
    )
    parser.add_argument("--merge", action="store_true", help="don't fuzz: make the kept corpora anew")
    parser.add_argument("--reach", action="store_true", help="don't fuzz: say what the kept corpora reach")
    options = parser.parse_args(arguments)
    if wrong := [name for name in options.targets if name not in names]:
        parser.error(f"no target {wrong[0]}; there are {', '.join(names)}")
    console = Console()
    # A shell starts what it puts in the background deaf to Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    chosen = [target for target in TARGETS if not options.targets or target.name in options.targets]
    try:
        if options.merge or options.reach:
            done = [(merge if options.merge else report)(target, console) for target in chosen]
            return 0 if all(done) else 1
        if options.until is not None:
            return _fuzz_until(chosen, options.until, options.seconds, console)
        return _fuzz_all(chosen, options.seconds, console)
    except KeyboardInterrupt:
        return _interrupted(console)


def _fuzz_all(targets: Sequence[Target], seconds: int, console: Console) -> int:
    well = True
    for target in targets:
        run = fuzz(target, seconds, console)
        well &= run.well
        if run.interrupted:
            return _interrupted(console)
    return 0 if well else 1


def _fuzz_until(targets: Sequence[Target], until: int, seconds: int, console: Console) -> int:
    """Rounds of at most so many seconds a target, until each has had its time. A finding ends them."""

    def left(target: Target) -> int:
        return round(until - ledger.total(target).processor)

    while missing := [target for target in targets if left(target) > 0]:
        for target in missing:
            if code := _fuzz_all([target], min(seconds, left(target)), console):
                return code
    return 0


def _interrupted(console: Console) -> int:
    console.print("interrupted: the next run goes on from here")
    return 130


if __name__ == "__main__":
    sys.exit(main())
