"""Every drop reason that is declared is provoked by a fixture here, which sees its counter rise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hal.packet.schema.registry import schema
from tests.tools.tree import ROOT

IN_BURSTS = {"first_packet_limit": "tests/unit/test_engine_firsts.py::test_a_flood_takes_nothing_from_another"}
"""What no packet meets alone -> the test that counts its drops."""


ON_TWIN = ("-k", "not engine")


def provoked(folder: Path, *which: str) -> set[str]:
    """Reasons that packets are dropped for when these tests run, in a process of their own; all of them pass."""
    report = folder / "provoked.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.tools.provoked", f"--provoked={report}", *which]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(report.read_text()))


def test_every_reason_is_provoked(tmp_path: Path, provoked_by_all: set[str] | None) -> None:
    """Where this run has left out some of the others, they are run for it."""
    here = Path(__file__).parent
    others = sorted(str(path) for path in here.rglob("test_*.py") if path != Path(__file__))
    reasons = {reason.name for reason in schema(own_only=True).reasons}
    found = provoked(tmp_path, *ON_TWIN, *others) if provoked_by_all is None else provoked_by_all
    assert reasons - found == IN_BURSTS.keys()


@pytest.mark.parametrize("reason", IN_BURSTS)
def test_reasons_of_bursts_are_counted(reason: str, tmp_path: Path) -> None:
    """The test that is named passes, and has seen the counter rise."""
    assert reason in provoked(tmp_path, IN_BURSTS[reason])


def test_a_reason_that_nothing_provokes_is_seen(tmp_path: Path) -> None:
    one = f"{Path(__file__).parent / 'test_malformed.py'}::test_nothing_is_forwarded_before_the_first_commit"
    assert provoked(tmp_path, *ON_TWIN, one) == {"not_configured"}
