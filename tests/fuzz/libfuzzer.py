"""Runs a target with libFuzzer and reads what it says while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import WORK, Target
from tests.tools.tree import ROOT

_LINE = re.compile(r"^#(?P<runs>\d+)\s+\w+.*?cov: (?P<edges>\d+).*?corp: (?P<corpus>\d+)/.*?exec/s: (?P<rate>\d+)")
_DONE = re.compile(r"^(?:Done|stat::number_of_executed_units:) +(?P<runs>\d+)")
_ARTIFACT = re.compile(r"Test unit written to (?P<path>\S+)")

ENVIRONMENT = {
    # What the fuzzer itself wants to hear of stays on; the stack of a finding is worth its time.
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:allocator_may_return_null=1:handle_abort=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


@dataclass(frozen=True)
class Progress:
    """How far a run has come: inputs tried, edges of code seen, inputs kept, inputs a second."""

    runs: int = 0
    edges: int = 0
    corpus: int = 0
    rate: int = 0


@dataclass(frozen=True)
class Run:
    """What a run came to. `finding` is an input that failed, with the words about it in `said`."""

    progress: Progress
    code: int
    said: str = field(repr=False)
    finding: Path | None = None
    interrupted: bool = False

    @property
    def well(self) -> bool:
        return self.code == 0 and self.finding is None


def arguments(target: Target) -> list[str]:
    """libFuzzer's options that hold for any run of a target."""
    target.findings.mkdir(parents=True, exist_ok=True)
    # A unit that is slow on a busy machine is no finding; one that takes a minute is.
    return [f"-max_len={target.longest}", "-timeout=60", "-report_slow_units=60", "-rss_limit_mb=3072",
            f"-artifact_prefix={target.findings}/", "-print_final_stats=1"]  # fmt: skip


def run(
    target: Target,
    more: Sequence[str],
    folders: Sequence[Path],
    profile: Path | None = None,
    seen: Callable[[Progress], None] = lambda _: None,
) -> Run:
    """Run a target.

    Args:
        target: which.
        more: further options of libFuzzer.
        folders: corpora (or inputs); what is new goes into the first.
        profile: where counts of lines go.
        seen: told as the run goes on.
    """
    temporary = WORK / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    counts = str(profile) if profile is not None else "/dev/null"
    environment = os.environ | ENVIRONMENT | {"LLVM_PROFILE_FILE": counts, "TMPDIR": str(temporary)}
    command = [*target.command(), *arguments(target), *more, *map(str, folders)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", process_group=0,
    )  # fmt: skip
    now, said, finding = Progress(), list[str](), None
    assert process.stdout is not None
    with _forwarded(process) as interruptions:
        for line in process.stdout:
            if found := _LINE.match(line):
                now = Progress(*(int(found[name]) for name in ("runs", "edges", "corpus", "rate")))
                seen(now)
                continue
            if found := _DONE.match(line):
                now = replace(now, runs=int(found["runs"]))
            if found := _ARTIFACT.search(line):
                finding = Path(found["path"])
            said.append(line)
        code = process.wait()
    interrupted = bool(interruptions)
    process.stdout.close()
    return Run(now, 0 if interrupted and finding is None else code, "".join(said[-200:]), finding, interrupted)


@contextmanager
def _forwarded(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """While this lasts, the target hears an interruption, wherever we are: it ends by itself, with what it has found
    kept already. At the second it is killed. Gives those that came. Nothing changes outside the main thread, which
    alone hears of them."""
    came: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        came.append(number)
        process.send_signal(signal.SIGINT if len(came) == 1 else signal.SIGKILL)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
