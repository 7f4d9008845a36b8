"""Bytes from outside: kept corpora replayed under sanitizers, what they reach, and some new inputs each time.

`make fuzz` does the same at length. What it finds is mended and becomes a plain test of its own; the input goes into
the kept corpus.
"""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import ledger, libfuzzer, reach, targets
from tests.fuzz.targets import PLANTED, TARGETS, Target, inputs, named
from tests.tools.tree import ROOT

EACH = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


def say(target: Target, run: libfuzzer.Run) -> str:
    """What is wrong with a run, and how to see it again."""
    again = f"{' '.join(target.command())} {run.finding}" if run.finding else ""
    return f"{run.said}\n{target.name} ended with {run.code}. Again: {again}"


@EACH
def test_the_kept_corpus_is_taken_and_reaches_its_target(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    run, reached = reach.measure(target, [target.kept])
    with capsys.disabled():
        print(f"\n{target.name}: {reached} in {time.monotonic() - began:.1f} s")
    assert run.well, say(target, run)
    assert reached.inputs > 10
    silent = [path for path in target.files() if path.suffix != ".h" and str(path) not in reached.files]
    assert [path for path in silent if "\n}\n" in (ROOT / path).read_text()] == [], "functions that nobody counted"
    assert reached.share >= reach.LEAST, reached


@EACH
def test_new_inputs_are_taken(target: Target, tmp_path: Path, long: bool, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    runs = target.runs * (20 if long else 1)
    run = libfuzzer.run(target, [f"-runs={runs}", "-reload=0"], [tmp_path, target.kept])
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{target.name}: {run.progress.runs:,} inputs, {run.progress.edges:,} edges, {seconds:.1f} s")
    assert run.well, say(target, run)
    assert run.progress.runs >= runs


@pytest.mark.parametrize(
    ("name", "runs", "said"),
    [
        ("packet", 2_000_000, "AddressSanitizer: heap-buffer-overflow"),
        ("control", 20_000, "not so: used == table->used"),
        ("path", 20_000, "not so: rte_mempool_in_use_count(pool) == 0"),
    ],
)
def test_a_planted_mistake_is_found_from_the_kept_corpus(name: str, runs: int, said: str, tmp_path: Path) -> None:
    """Each target in C over code with one wrong place: the same corpora, flags and checks see it, and keep the input.
    What is wrong of the parser a sanitizer sees; of the others only the target does."""
    kept = named(name).kept
    run = libfuzzer.run(PLANTED[name], [f"-runs={runs}"], [tmp_path, kept])
    assert not run.well
    assert said in run.said
    assert run.finding is not None
    assert said in libfuzzer.run(PLANTED[name], [], [run.finding]).said
    # The same input is nothing to the code without the mistake.
    assert libfuzzer.run(named(name), [], [run.finding]).well


def test_a_corpus_without_its_best_input_reaches_less(tmp_path: Path) -> None:
    """Coverage is measured, not assumed: one input alone doesn't reach what all do."""
    target = named("packet")
    shutil.copy(inputs([target.kept])[0], tmp_path)
    _, alone = reach.measure(target, [tmp_path])
    _, all_of_them = reach.measure(target, [target.kept])
    assert alone.share < reach.LEAST <= all_of_them.share


def test_fuzzing_at_length_may_be_interrupted() -> None:
    """It ends by itself, keeps what it found, writes down what it has done and says so."""
    before = ledger.total(named("packet"))
    command = [sys.executable, "-m", "tests.fuzz", "packet", "--seconds", "300"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("packet: the packet parser")
    assert process.stdout.readline().lstrip()[0].isdigit()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted: the next run goes on from here")
    assert inputs([named("packet").corpus])
    after = ledger.total(named("packet"))
    assert after.runs == before.runs + 1
    assert after.inputs > before.inputs
    assert after.processor > before.processor
    assert f"    in all: {after}" in said.splitlines()


def test_runs_at_length_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is a line; one that a full disk cut short counts for nothing and loses no other."""
    monkeypatch.setattr(targets, "WORK", tmp_path)
    target = named("trace")
    assert ledger.total(target) == ledger.Entry()
    ledger.add(target, ledger.Entry(10, 4, 1_000, 70, 1))
    with target.ledger.open("a") as file:
        file.write('{"seconds": 5, "pro\n')
    ledger.add(target, ledger.Entry(20, 8, 3_000, 60, 1))
    assert ledger.total(target) == ledger.Entry(30, 12, 4_000, 70, 2)
