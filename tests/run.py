"""Run the suites, each in a process of its own, and say at the end what came of them.

python -m tests.run                 every suite, in three lanes
python -m tests.run --lanes 1       one after another, each printing for itself
python -m tests.run unit packets    these
python -m tests.run --long          every suite at length; continues where an interrupted run stopped
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import continued, lanes
from tests.lanes import HOSTS, Interrupted, Result, Suite

ROOT = Path(__file__).resolve().parent.parent
FINISHED = ROOT / "build" / "test-long.json"
PASSED = FINISHED.with_suffix(".passed")
"""The first has the suites that passed at length, the second the tests of those that were interrupted."""


# In this order of each kind: what is fast and says most comes first, but what takes longest isn't last. A folder with
# tests that is missing here is an error, and so is a row without its folder.
SUITES = (
    Suite("lint", "ruff, mypy, import rules, clang-format, fresh generated code"),
    Suite("unit", "one thing at a time"),
    Suite("conformance", "the kit against twin and engine, and against twins broken in one thing each"),
    Suite("property", "the engine is the twin: drawn tables, packets, times and commits"),
    Suite("packets", "packet in, packet out"),
    Suite("security", "bytes from outside: fuzzing of parser, control sockets, path and intent loader"),
    Suite("setup", "set-up on a bare Debian; the engine on Debian 13 with its DPDK"),
    Suite("opinions", "Linux's connection tracking on the same packets; real transfers over bad wires", HOSTS),
    Suite("netns", "real hosts on real ports, in network namespaces", HOSTS),
)


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


def is_of(path: Path, state: str) -> bool:
    """Whether what is kept of a long run is of the tree as it is now."""
    try:
        return bool(json.loads(path.read_text())["tree"] == state)
    except (OSError, ValueError, KeyError, TypeError):
        return False


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


def passed_of(suite: str, path: Path) -> list[str]:
    """Tests of a suite that have passed at length, in a run that was interrupted, or in this one."""
    return [name for name in continued.passed(path) if name.startswith(f"tests/{suite}/")]


def summarise(results: Sequence[Result], seconds: float, console: Console) -> bool:
    """Print the table and the closing line; true if all is well."""
    table = Table("suite", caption=f"{seconds:.0f} s from begin to end")
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.run", description="Run the suites.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="only these: " + ", ".join(s.name for s in SUITES))
    parser.add_argument("--long", action="store_true", help="at length; continues an interrupted run")
    parser.add_argument("--lanes", type=int, choices=(1, 3), default=3, help="suites at a time (3)")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=False)

    errors = table_errors(SUITES, folders_with_tests(ROOT / "tests"))
    known = {suite.name: suite for suite in SUITES}
    errors += [f"no suite {name}; there are {', '.join(known)}" for name in options.suites if name not in known]
    if errors:
        sys.stderr.write("".join(f"tests/run.py: {error}\n" for error in errors))
        return 2

    began = time.monotonic()
    chosen = [known[name] for name in options.suites] or list(SUITES)
    state = state_of_tree(ROOT) if options.long else ""
    finished = load_finished(FINISHED, state) if options.long else {}
    if options.long and not is_of(FINISHED, state):
        PASSED.unlink(missing_ok=True)
        save_finished(FINISHED, state, [])
    earlier = {suite.name: len(passed_of(suite.name, PASSED)) for suite in chosen} if options.long else {}
    results: dict[str, Result] = {}
    waiting: dict[str, list[Suite]] = {}
    for suite in chosen:
        if suite.name in finished:
            results[suite.name] = finished[suite.name]
            console.print(f"{finished[suite.name]} (earlier, same tree)", highlight=False)
        else:
            waiting.setdefault(suite.lane if options.lanes > 1 else "", []).append(suite)

    for name, count in earlier.items():
        if count and name not in finished:
            console.print(f"{name}: goes on behind {count} tests that passed (earlier, same tree)", highlight=False)

    def done(result: Result) -> None:
        if again := earlier.get(result.suite, 0):
            whole = result.passed + again if result.failed else len(passed_of(result.suite, PASSED))
            result = replace(result, passed=whole)
        results[result.suite] = result
        if options.long and not result.failed:
            finished[result.suite] = result
            save_finished(FINISHED, state, finished.values())

    at_length = ["--long", "--timeout=7200", "-p", "tests.continued", f"--continued={PASSED}"]

    def summary() -> bool:
        in_order = [results[suite.name] for suite in chosen if suite.name in results]
        return summarise(in_order, time.monotonic() - began, console)

    try:
        lanes.run(waiting, ROOT, at_length if options.long else [], console, lanes.Ends(), done)
    except Interrupted:
        summary()
        sys.stderr.write("interrupted\n")
        return 130
    return 0 if summary() else 1


if __name__ == "__main__":
    sys.exit(main())
