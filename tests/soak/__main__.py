"""A card for hours: connections come and go, the policy changes, processes are killed; nothing may leak or drift.

python -m tests.soak [--hours N] [--seed N]

Each round begins with a storm, in which dsnd and the engine are killed at random moments, and goes on with a calm, in
which nobody is, and in which whatever grows or fails is told. It may be interrupted: what was seen is judged.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tests.netns.world import World, leftovers
from tests.soak.card import Soak
from tests.soak.samples import Sample, judge
from tests.tools.engines import RELEASED

ROUND_S = 1200.0
STORM = 0.2
"""The share of a round in which processes are killed."""
SAMPLES = 60
"""In a calm."""
KEPT = Path(__file__).resolve().parents[2] / "build" / "soak.json"
"""All samples, a list for each calm."""


def calm(soak: Soak, seconds: float, console: Console) -> list[Sample]:
    """Samples of a time in which nobody is killed, and the policy changes every second or so."""
    samples: list[Sample] = []
    end, step = time.monotonic() + seconds, seconds / SAMPLES
    due = time.monotonic()
    try:
        while time.monotonic() < end:
            soak.change_policy()
            if time.monotonic() >= due:
                due += step
                samples.append(soak.sample())
                if len(samples) % (SAMPLES // 4) == 1:
                    console.print(_words(samples[-1]), highlight=False)
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("interrupted: what was seen until now is judged")
        raise Stopped(samples) from None
    return samples


class Stopped(Exception):
    """Somebody asked for an end; `args[0]` are the samples of the calm that was interrupted."""


def _words(one: Sample) -> str:
    return (
        f"{one.seconds:7.0f} s  engine {one.engine.kb:,} kB {one.engine.descriptors} fds, dsnd {one.daemon.kb:,} kB "
        f"{one.daemon.descriptors} fds, {one.flows:,} flows, files {one.files_kb:,} kB, {one.talks:,} talks, "
        f"{one.failed} failed, {one.anew} anew, {one.trip_ms:.2f} ms"
    )


def run(hours: float, seed: int, console: Console) -> list[str]:
    """Soak for so long. Returns what was wrong."""
    wrong: list[str] = []
    rounds = max(1, round(hours * 3600 / ROUND_S))
    length = hours * 3600 / rounds
    calms: list[list[Sample]] = []
    with tempfile.TemporaryDirectory(prefix="dsn-soak-") as folder, World(Path(folder), RELEASED) as world:
        soak = Soak(world, random.Random(seed))
        soak.begin()
        try:
            for number in range(rounds):
                console.rule(f"round {number + 1} of {rounds}: storm", align="left")
                soak.storm(length * STORM)
                console.print(f"{soak.kills} kills, {soak.applies} policies until now; calm")
                calms.append(calm(soak, length * (1 - STORM), console))
        except Stopped as stopped:
            calms.append(stopped.args[0])
        except KeyboardInterrupt:
            console.print("interrupted")
        for number, samples in enumerate(calms):
            wrong += [f"round {number + 1}: {one}" for one in (judge(samples) if len(samples) > 3 else [])]
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps([[asdict(one) for one in samples] for samples in calms]))
        last = calms[-1][-1] if calms and calms[-1] else None
        console.print(
            f"{soak.kills} kills, {soak.applies} policies, {last.talks if last else 0:,} conversations, "
            f"{last.failed if last else 0} failed; the latest: {soak.talker.said.get('why') or 'none'}",
            markup=False,
        )
        soak.end()
    wrong += [f"left behind: {one}" for one in leftovers(world.tag)]
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A card for hours.")
    parser.add_argument("--hours", type=float, default=1.0, help="how long (default 1; a fraction will do)")
    parser.add_argument("--seed", type=int, help="of the moments at which processes are killed")
    options = parser.parse_args(arguments)
    # A shell starts what it puts in the background deaf to Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    console.print(f"{options.hours:g} hours, --seed {seed}", highlight=False)
    wrong = run(options.hours, seed, console)
    for one in wrong:
        console.print(one, style="red", markup=False)
    console.print("soak: nothing leaks, nothing drifts" if not wrong else f"soak: {len(wrong)} things are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
