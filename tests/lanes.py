"""Suites in lanes: one suite after another in each lane, the lanes at the same time.

Real hosts mostly wait, so what computes has lanes beside them, at a lower priority: hosts don't wait for it. They are
two, as that waits too (for packages, for the file of C that takes longest, for an engine to come up), and share one
queue. When the hosts' lane has come to its end it takes the last suites of that queue.
With one lane a suite prints for itself. With more, what a suite says is kept in build/test/NAME.log and printed whole
at its end; failures are told when they happen, and every half minute which tests run.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

HOSTS, COMPUTING = "hosts", "computing"
NICE = {HOSTS: 0, COMPUTING: 10}
"""Kind of lane -> niceness."""
LANES = {HOSTS: 1, COMPUTING: 2}
"""Kind -> how many lanes it has, for which its suites wait in one queue."""
TICK_S = 0.1
PROGRESS_S = 30.0
"""So often the running tests are named."""
CLEAN_UP_S = 60.0
"""So long an interrupted suite may take to clean up."""


@dataclass(frozen=True)
class Suite:
    """A folder of tests below tests/, and the kind of lane that it runs in."""

    name: str
    about: str
    lane: str = COMPUTING


@dataclass(frozen=True)
class Result:
    """What one suite came to. A suite that ran no test has failed once."""

    suite: str
    passed: int
    failed: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.suite}: {self.passed} passed, {self.failed} failed, {self.seconds:.1f} s"


class Interrupted(Exception):
    """Somebody asked for an end."""


class Ends:
    """How often somebody asked for an end, by Ctrl-C or SIGTERM: a handler of signals that interrupts nothing, so that
    no suite is lost between its start and its place in a list."""

    def __init__(self) -> None:
        self.asked = 0
        # A shell starts what it puts in the background deaf to Ctrl-C, and pytest would inherit that from us.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked += 1


def count(report: Path) -> tuple[int, int]:
    """Tests passed and not passed, from pytest's JUnit report. No report: none and none."""
    try:
        tree = ET.parse(report)
    except (OSError, ET.ParseError):
        return 0, 0
    passed = failed = 0
    for suite in tree.iter("testsuite"):
        bad = sum(int(suite.get(kind, "0")) for kind in ("failures", "errors", "skipped"))
        passed += int(suite.get("tests", "0")) - bad
        failed += bad
    return max(passed, 0), failed


def judge(suite: str, exit_code: int, counts: tuple[int, int], seconds: float) -> Result:
    """A result, where an unhappy process counts as a failure even if no test says so."""
    passed, failed = counts
    unhappy = exit_code != 0 or passed + failed == 0
    return Result(suite, passed, max(failed, 1) if unhappy else failed, seconds)


class Running:
    """A suite's process.

    Args:
        apart: other suites run beside it, so what it says is kept; else it prints for itself.
    """

    def __init__(self, suite: Suite, root: Path, extra: Sequence[str], console: Console, apart: bool) -> None:
        self.suite = suite
        self._console = console
        self._apart = apart
        folder = root / "build" / "test"
        folder.mkdir(parents=True, exist_ok=True)
        self._report, self._log, self._progress = (folder / f"{suite.name}.{end}" for end in ("xml", "log", "progress"))
        for path in (self._report, self._log, self._progress):
            path.unlink(missing_ok=True)
        # Not pytest's own: several at a time look through the same folder for old ones, which others of them remove.
        self._temporary = Path(tempfile.mkdtemp(prefix=f"dsn-{suite.name}-"))
        command = [sys.executable, "-m", "pytest", "-q", f"tests/{suite.name}", f"--junitxml={self._report}", *extra]
        command.append(f"--basetemp={self._temporary}")
        self._title = f"{suite.name}: {suite.about}"
        self._read = 0
        self._ended = 0
        self._now = "collecting"
        self._began = self._now_since = time.monotonic()
        # In a process group of its own, so that Ctrl-C comes to us alone and pytest gets it from us, once.
        if not apart:
            self._console.rule(self._title, align="left")
            self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, process_group=0)
            return
        command = ["nice", "-n", str(NICE[suite.lane]), *command, "-p", "tests.progress"]
        command += [f"--progress={self._progress}", f"--color={'yes' if console.is_terminal else 'no'}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0
            )

    def follow(self) -> None:
        """Read on in what its tests tell, and print what failed."""
        try:
            with self._progress.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for told in map(json.loads, new.splitlines()):
            if "failed" in told:
                self._say(f"failed just now, in {told['when']}: {told['failed']}\n{told['words']}")
            self._ended += "ended" in told
            self._now = told.get("began", "between two tests")
            self._now_since = time.monotonic()

    def progress(self) -> str:
        """What runs now, and since when."""
        return f"{self.suite.name} {self._ended} done, {self._now} for {time.monotonic() - self._now_since:.0f} s"

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self) -> Result:
        """What it came to, after its end; prints what it said, and that."""
        self.print_log()
        seconds = time.monotonic() - self._began
        result = judge(self.suite.name, self._process.wait(), count(self._report), seconds)
        self._console.print(str(result), highlight=False)
        if result.failed:
            self._console.print(f"what its tests had in files is kept: {self._temporary}", highlight=False)
        else:
            self.tidy()
        return result

    def print_log(self) -> None:
        if self._apart:
            self.follow()
            self._console.rule(self._title, align="left")
            self._say(self._log.read_text(errors="replace").rstrip("\n"))

    def _say(self, text: str) -> None:
        # Not by rich: it would wrap lines and read brackets as its own.
        self._console.file.write(f"{text}\n")
        self._console.file.flush()

    def tidy(self) -> None:
        """What its tests had in files goes."""
        shutil.rmtree(self._temporary, ignore_errors=True)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _end(running: Iterable[Running], ends: Ends) -> None:
    """End suites in the middle. They get the time to clean up, what they started (namespaces, engines, mounts) is worse
    left behind; unless somebody asks a second time."""
    deadline = time.monotonic() + CLEAN_UP_S
    ended = list(running)
    left = ended
    for one in left:
        one.interrupt()
    while left and ends.asked < 2 and time.monotonic() < deadline:
        time.sleep(TICK_S)
        left = [one for one in left if not one.ended]
    for one in left:
        one.kill()
    for one in ended:
        one.tidy()


def _next_of(queues: Mapping[str, deque[Suite]], lane: str) -> Suite | None:
    """What a lane of this kind runs next: of its own, in order; else what would be computed last."""
    if queues[lane]:
        return queues[lane].popleft()
    rest = queues.get(COMPUTING)
    return rest.pop() if rest else None


def run(
    suites: Mapping[str, Sequence[Suite]],
    root: Path,
    extra: Sequence[str],
    console: Console,
    ends: Ends,
    done: Callable[[Result], None],
) -> None:
    """Run suites to their end.

    Args:
        suites: of each kind of lane, in this order; of a kind that `LANES` doesn't name there is one lane.
        root: the checkout.
        extra: more arguments for pytest.
        done: called with each result as it comes.

    Raises:
        Interrupted: somebody asked for an end; every suite has ended.
    """
    queues = {lane: deque(queue) for lane, queue in suites.items() if queue}
    lanes = [(kind, place) for kind in queues for place in range(LANES.get(kind, 1))]
    running: dict[tuple[str, int], Running] = {}
    apart = sum(min(LANES.get(kind, 1), len(queue)) for kind, queue in queues.items()) > 1
    told = time.monotonic()
    while True:
        for lane in lanes:
            if lane not in running and (suite := _next_of(queues, lane[0])):
                running[lane] = Running(suite, root, extra, console, apart)
                if apart:
                    console.print(f"{running[lane].suite.name} begins", highlight=False)
        if not running:
            return
        time.sleep(TICK_S)
        if ends.asked:
            _end(running.values(), ends)
            for one in running.values():
                one.print_log()
            raise Interrupted
        for lane, one in list(running.items()):
            one.follow()
            if one.ended:
                del running[lane]
                done(one.finish())
        if apart and running and time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            for one in running.values():
                console.print(one.progress(), highlight=False, markup=False, soft_wrap=True)
