"""Run the suites, each in a process of its own, and say at the end what came of them.

python -m tests.run                 every suite
python -m tests.run unit packets    these
python -m tests.run --long          every suite at length; continues where an interrupted run stopped
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
FINISHED = ROOT / "build" / "test-long.json"


@dataclass(frozen=True)
class Suite:
    """A folder of tests below tests/."""

    name: str
    about: str


# In this order: what is fast and says most comes first. A folder with tests that is missing here is an error,
# and so is a row without its folder.
SUITES = (
    Suite("lint", "ruff, mypy, import rules, clang-format, fresh generated code"),
    Suite("unit", "one thing at a time"),
    Suite("property", "the engine is the twin: drawn tables, packets, times and commits"),
    Suite("packets", "packet in, packet out"),
    Suite("conformance", "the kit against twin and engine, and against twins broken in one thing each"),
    Suite("security", "bytes from outside: fuzzing of parser, control sockets, path and intent loader"),
    Suite("netns", "real hosts on real ports, in network namespaces"),
    Suite("setup", "set-up on a bare Debian; the engine on Debian 13 with its DPDK"),
)


@dataclass(frozen=True)
class Result:
    """What one suite came to. A suite that ran no test has failed once."""

    suite: str
    passed: int
    failed: int
    seconds: float


def folders_with_tests(tests: Path) -> set[str]:
    """Names of the folders below `tests` in which pytest would find something."""
    return {path.relative_to(tests).parts[0] for path in tests.glob("*/**/test_*.py")}


def table_errors(suites: Iterable[Suite], folders: set[str]) -> list[str]:
    """What the table of suites lacks, and what it has too much."""
    names = [suite.name for suite in suites]
    return [
        *(
            f"tests/{name} has tests but no row in SUITES of tests/run.py: add one"
            for name in sorted(folders - set(names))
        ),
        *(
            f"SUITES of tests/run.py names {name}, but tests/{name} has no test"
            for name in names
            if name not in folders
        ),
    ]


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


class Interrupted(Exception):
    """Somebody asked for an end, by Ctrl-C or SIGTERM."""


def run_suite(suite: Suite, extra: Sequence[str], console: Console) -> Result:
    """Run one suite to its end, or to its own clean end if interrupted."""
    console.rule(f"{suite.name}: {suite.about}", align="left")
    report = ROOT / "build" / "test" / f"{suite.name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"tests/{suite.name}", f"--junitxml={report}", *extra]
    began = time.monotonic()
    # In a process group of its own, so that Ctrl-C comes to us alone and pytest gets it from us, once.
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, process_group=0)
    try:
        exit_code = process.wait()
    except (KeyboardInterrupt, Interrupted) as why:
        # It gets the time to clean up: what it started (namespaces, engines, mounts) is worse left behind.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except (subprocess.TimeoutExpired, KeyboardInterrupt, Interrupted):
            process.kill()
            process.wait()
        raise Interrupted from why
    result = judge(suite.name, exit_code, count(report), time.monotonic() - began)
    console.print(line(result), highlight=False)
    return result


def line(result: Result) -> str:
    return f"{result.suite}: {result.passed} passed, {result.failed} failed, {result.seconds:.1f} s"


def state_of_tree(root: Path) -> str:
    """A digest of every file that git knows or would add: the key under which a long run may be continued."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True).stdout
    digest = hashlib.sha256()
    for name in sorted(set(names.split(b"\0")) - {b""}):
        path = root / os.fsdecode(name)
        content = path.read_bytes() if path.is_file() else b""
        digest.update(name + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def load_finished(path: Path, state: str) -> dict[str, Result]:
    """Suites that passed at length with the tree as it is now."""
    try:
        record = json.loads(path.read_text())
        if record["tree"] != state:
            return {}
        return {result.suite: result for result in (Result(**row) for row in record["suites"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def save_finished(path: Path, state: str, results: Iterable[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"tree": state, "suites": [asdict(result) for result in results]}, indent=1))
    new.replace(path)


def summarise(results: Sequence[Result], console: Console) -> bool:
    """Print the table and the closing line; true if all is well."""
    table = Table("suite")
    for title in ("passed", "failed", "seconds"):
        table.add_column(title, justify="right")
    for result in results:
        style = "red" if result.failed else None
        table.add_row(result.suite, str(result.passed), str(result.failed), f"{result.seconds:.1f}", style=style)
    console.print()
    console.print(table)
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    console.print(f"{passed} passed, {failed} failed", style="red" if failed else "green", highlight=False)
    return bool(results) and failed == 0


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.run", description="Run the suites.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="only these: " + ", ".join(s.name for s in SUITES))
    parser.add_argument("--long", action="store_true", help="at length; continues an interrupted run")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=False)

    errors = table_errors(SUITES, folders_with_tests(ROOT / "tests"))
    known = {suite.name: suite for suite in SUITES}
    errors += [f"no suite {name}; there are {', '.join(known)}" for name in options.suites if name not in known]
    if errors:
        sys.stderr.write("".join(f"tests/run.py: {error}\n" for error in errors))
        return 2

    chosen = [known[name] for name in options.suites] or list(SUITES)
    state = state_of_tree(ROOT) if options.long else ""
    finished = load_finished(FINISHED, state) if options.long else {}
    results: list[Result] = []
    signal.signal(signal.SIGTERM, _terminated)
    # A shell starts what it puts in the background deaf to Ctrl-C, and pytest would inherit that from us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for suite in chosen:
            if suite.name in finished:
                console.print(f"{line(finished[suite.name])} (earlier, same tree)", highlight=False)
                results.append(finished[suite.name])
                continue
            result = run_suite(suite, ["--long", "--timeout=7200"] if options.long else [], console)
            results.append(result)
            if options.long and not result.failed:
                finished[suite.name] = result
                save_finished(FINISHED, state, finished.values())
    except (KeyboardInterrupt, Interrupted):
        summarise(results, console)
        sys.stderr.write("interrupted\n")
        return 130
    return 0 if summarise(results, console) else 1


if __name__ == "__main__":
    sys.exit(main())
