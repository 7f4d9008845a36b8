"""The engine's C, part by part: builds with sanitizers, then runs what each folder's `tests/` holds."""

import subprocess

import pytest

from tests.conftest import ROOT

BUILD = ROOT / "build" / "engine-asan"


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail((done.stdout + done.stderr)[-20_000:], pytrace=False)


def test_parts() -> None:
    run(".ci/engine", "engine-asan")
    run("meson", "test", "-C", str(BUILD), "--no-rebuild", "--print-errorlogs", "--num-processes", "2")
