"""How many lines of a target's files a corpus reaches."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import libfuzzer
from tests.fuzz.targets import WORK, Target, build, inputs
from tests.tools.tree import ROOT

LEAST = 0.80
"""The share of lines that a kept corpus has to reach."""


@dataclass(frozen=True)
class Reach:
    """Lines reached and lines there are, by file."""

    files: dict[str, tuple[int, int]]
    inputs: int

    @property
    def share(self) -> float:
        there = sum(there for _, there in self.files.values())
        return sum(reached for reached, _ in self.files.values()) / there if there else 0.0

    def __str__(self) -> str:
        worst = sorted(self.files.items(), key=lambda one: one[1][0] - one[1][1])
        lines = [f"    {name}: {reached} of {there} lines" for name, (reached, there) in worst if reached < there]
        return "\n".join([f"{self.inputs} inputs reach {self.share:.1%} of the lines", *lines])


def measure(target: Target, folders: Sequence[Path]) -> tuple[libfuzzer.Run, Reach]:
    """Replay corpora, each input once, and count lines. What fails is in the run."""
    if target.python:
        return _measure_python(target, folders)
    WORK.mkdir(parents=True, exist_ok=True)
    raw, merged = WORK / f"{target.name}.profraw", WORK / f"{target.name}.profdata"
    raw.unlink(missing_ok=True)
    run = libfuzzer.run(target, ["-runs=0"], [folder for folder in folders if folder.is_dir()], profile=raw)
    if not run.well:
        return run, Reach({}, 0)
    subprocess.run(["llvm-profdata-14", "merge", "-sparse", "-o", merged, raw], check=True, capture_output=True)
    program = build() / f"fuzz_{target.name}"
    command = ["llvm-cov-14", "export", "-summary-only", f"-instr-profile={merged}", str(program)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    wanted = {ROOT / path for path in target.files()}
    files = {
        str(path.relative_to(ROOT)): (one["summary"]["lines"]["covered"], one["summary"]["lines"]["count"])
        for one in told["data"][0]["files"]
        if (path := Path(one["filename"]).resolve()) in wanted
    }
    return run, Reach(files, len(inputs(folders)))


def _measure_python(target: Target, folders: Sequence[Path]) -> tuple[libfuzzer.Run, Reach]:
    """By coverage.py, without libFuzzer: what fails is a traceback."""
    WORK.mkdir(parents=True, exist_ok=True)
    out = WORK / f"{target.name}.json"
    out.unlink(missing_ok=True)
    command = [*target.command(), "--reach", str(out), *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    run = libfuzzer.Run(libfuzzer.Progress(), done.returncode, done.stdout + done.stderr)
    if not run.well:
        return run, Reach({}, 0)
    files = {str(Path(name)): (reached, there) for name, (reached, there) in json.loads(out.read_text()).items()}
    return run, Reach(files, len(inputs(folders)))
