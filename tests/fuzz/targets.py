"""The fuzz targets: what each throws bytes at, how it is started, and which lines it is judged by."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.tools.tree import ROOT

BUILD = ROOT / "build" / "engine-fuzz"
WORK = ROOT / "build" / "fuzz"
KEPT = ROOT / "tests" / "fuzz" / "corpus"


@dataclass(frozen=True)
class Target:
    """A fuzz target.

    Args:
        name: of the target and of its folder of the kept corpus.
        about: what it throws bytes at.
        lines: patterns of files, from the root on, whose lines the kept corpus has to reach.
        longest: bytes of an input.
        runs: how many inputs `make test` tries.
        python: it is a module here, not a program of the engine's build.
    """

    name: str
    about: str
    lines: tuple[str, ...]
    longest: int
    runs: int
    python: bool = False

    @property
    def kept(self) -> Path:
        """The corpus in the tree: few files that reach what all that were ever found reach."""
        return KEPT / self.name

    @property
    def corpus(self) -> Path:
        """The corpus of this checkout, which grows from run to run."""
        return WORK / self.name / "corpus"

    @property
    def findings(self) -> Path:
        """Inputs that failed."""
        return WORK / self.name / "findings"

    @property
    def ledger(self) -> Path:
        """What its runs at length came to, a line each."""
        return WORK / self.name / "runs.jsonl"

    def command(self) -> list[str]:
        """What takes libFuzzer's arguments."""
        if self.python:
            return [sys.executable, "-m", f"tests.fuzz.{self.name}"]
        return [str(build() / f"fuzz_{self.name}")]

    def files(self) -> list[Path]:
        """The files of `lines`, from the root on."""
        return sorted({path.relative_to(ROOT) for pattern in self.lines for path in ROOT.glob(pattern)})


ENGINE = "hal/packet/engine"
CONTROL = ("capabilities", "check", "commit", "error", "events", "flows", "follow", "index", "live", "load", "memfd",
           "outcomes", "replay", "requests", "rows", "sections", "segment", "server", "snapshot", "tables", "trace",
           "transaction")  # fmt: skip
"""All of the control thread but the process around it."""
LOADER = ("document", "formats", "ids", "intent", "objects", "plan", "references", "walk")
"""What turns a file into objects, and objects into entries."""
TARGETS = (
    Target(
        "packet",
        "the packet parser: a frame",
        (f"{ENGINE}/path/parse.c", f"{ENGINE}/path/plain.h"),
        longest=2048,
        runs=300_000,
    ),
    Target(
        "control",
        "the control sockets: what clients do, with memfds that aren't what they should be",
        tuple(f"{ENGINE}/control/{name}.c" for name in CONTROL),
        longest=4096,
        runs=1_000,
    ),
    Target(
        "path",
        "the whole path: packets, time, commits and links, in bursts and one by one",
        # Not the stages: clang counts static functions of one name in files of one name as one.
        (f"{ENGINE}/path/*.c", f"{ENGINE}/path/look.h", f"{ENGINE}/path/sort_out.h"),
        longest=4096,
        runs=2_000,
    ),
    Target(
        "same",
        "sequences of packets, times and commits, of any bytes too: the engine is the twin",
        ("hal/packet/model/*.py", "hal/packet/model/path/*.py", "hal/packet/stages/*/model.py"),
        longest=4096,
        runs=300,
        python=True,
    ),
    Target(
        "intent",
        "the intent loader and its planners: a file",
        (
            *(f"services/core/{name}.py" for name in LOADER),
            "services/*/check.py",
            "services/*/plan.py",
            "services/*/addresses.py",
            "services/firewall/grammar.py",
            "services/firewall/priorities.py",
            "services/routing/via.py",
        ),
        longest=8192,
        runs=1_000,
        python=True,
    ),
    Target(
        "trace",
        "what `dsn trace` takes: a capture, or a packet in words",
        ("hal/packet/describe.py", "sdk/cli/capture.py"),
        longest=8192,
        runs=5_000,
        python=True,
    ),
)
PLANTED = {
    "packet": Target("planted", "the packet parser with a mistake, for the test of this wiring", (), 2048, 0),
    "control": Target("planted_control", "a control thread with a mistake", (), 4096, 0),
    "path": Target("planted_path", "a path with a mistake", (), 4096, 0),
}
"""Target -> the same over code that is wrong in one place."""


def named(name: str) -> Target:
    """The target of this name. Raises KeyError."""
    return {target.name: target for target in TARGETS}[name]


@cache
def build() -> Path:
    """The folder with the engine's targets, built if need be. Raises RuntimeError with the compiler's words."""
    from tests.fuzz.universe import write

    done = subprocess.run([".ci/engine", "engine-fuzz"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    write(BUILD)
    return BUILD


def inputs(folders: Sequence[Path]) -> list[Path]:
    """The files of some corpora, those that aren't there left out."""
    return sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file())
