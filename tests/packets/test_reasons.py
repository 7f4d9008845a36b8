"""Every drop reason that is declared is provoked by a fixture here, which sees its counter rise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hal.packet.schema.registry import schema
from tests.tools.tree import ROOT


def provoked(folder: Path, *which: str) -> set[str]:
    """Reasons that packets are dropped for when these tests run, in a process of their own; all of them pass."""
    report = folder / "provoked.json"
    command = [sys.executable, "-m", "pytest", "-q", f"--provoked={report}", *which]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(report.read_text()))


def test_every_reason_is_provoked(tmp_path: Path) -> None:
    here = Path(__file__).parent
    others = sorted(str(path) for path in here.glob("test_*.py") if path != Path(__file__))
    assert {reason.name for reason in schema(own_only=True).reasons} - provoked(tmp_path, *others) == set()


def test_a_reason_that_nothing_provokes_is_seen(tmp_path: Path) -> None:
    one = f"{Path(__file__).parent / 'test_malformed.py'}::test_nothing_is_forwarded_before_the_first_commit"
    assert provoked(tmp_path, one) == {"not_configured"}
