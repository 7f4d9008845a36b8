"""What is measured of a card in a soak, and what of it would be a leak or a drift. Nothing here does I/O."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FLOW_KB = 0.4
"""Of memory that a connection may take, where there are more of them than before."""


@dataclass(frozen=True)
class Process:
    """Resident memory in kB, open descriptors, threads."""

    kb: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Sample:
    """A moment of a soak.

    Args:
        seconds: since it began.
        flows: connections that the card has.
        files_kb: size of what the card keeps on disk: state, logs, run folder.
        sent: frames that hosts have sent into the card, by their own kernels' count.
        came: the same by the card's count.
        talks: conversations that went well, of any sort; `failed` those that did not; `anew`: lasting connections that
            had to be made again.
        trip_ms: median round trip of a word.
    """

    seconds: float
    engine: Process
    daemon: Process
    flows: int
    files_kb: int
    sent: int
    came: int
    talks: int
    failed: int
    anew: int
    trip_ms: float


def parts(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The first and the last quarter of a calm phase, without its first third: there connections still become more,
    and a process that has just started has not all its memory yet."""
    settled = samples[len(samples) // 3 :]
    quarter = max(1, len(settled) // 4)
    return settled[:quarter], settled[-quarter:]


def judge(samples: Sequence[Sample]) -> list[str]:
    """What is wrong with a calm phase: nobody was killed in it, so what grows leaks, and what fails is ours."""
    first, last = parts(samples)
    found = []

    def grew(what: str, of: Callable[[Sample], float], allowed: Callable[[float], float]) -> None:
        before, after = (statistics.median(map(of, some)) for some in (first, last))
        if after > before + allowed(before):
            found.append(f"{what} grew from {before:,.1f} to {after:,.1f} (allowed: {allowed(before):,.1f} more)")

    flows = statistics.median(one.flows for one in last) - statistics.median(one.flows for one in first)
    grew("the engine's memory, kB,", lambda one: one.engine.kb, lambda kb: 512 + kb / 100 + max(0, flows) * FLOW_KB)
    grew("dsnd's memory, kB,", lambda one: one.daemon.kb, lambda kb: 2048 + kb * 3 / 100)
    grew("the engine's descriptors", lambda one: one.engine.descriptors, lambda _: 2)
    grew("the engine's threads", lambda one: one.engine.threads, lambda _: 2)
    grew("dsnd's descriptors", lambda one: one.daemon.descriptors, lambda _: 2)
    grew("dsnd's threads", lambda one: one.daemon.threads, lambda _: 2)
    grew("files on disk, kB,", lambda one: one.files_kb, lambda kb: 1024 + kb / 10)
    grew("a word's round trip, ms,", lambda one: one.trip_ms, lambda ms: 1 + ms)
    begin, end = samples[0], samples[-1]
    sent, came = end.sent - begin.sent, end.came - begin.came
    if abs(sent - came) > 50 + sent / 1000:
        found.append(f"hosts have sent {sent:,} frames, and the card has counted {came:,}")
    if end.talks <= begin.talks:
        found.append("nobody talked")
    if end.failed > begin.failed:
        found.append(f"{end.failed - begin.failed} conversations failed though nobody was killed")
    if end.anew > begin.anew:
        found.append(f"lasting connections had to be made anew {end.anew - begin.anew} times though nobody was killed")
    return found
