"""Each linter of the house is a test; its own words are the failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.tree import ROOT, copy, files, is_generated

BIN = Path(sys.executable).parent


def complaints(*command: str) -> str:
    """What a linter of the virtual environment says, "" if it is content."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip() or f"{command[0]}: exit code {done.returncode}"


def check(*command: str) -> None:
    said = complaints(*command)
    if said:
        pytest.fail(said, pytrace=False)


def test_ruff() -> None:
    check("ruff", "check", "--quiet", ".")


def test_format() -> None:
    check("ruff", "format", "--check", "--quiet", "--diff", ".")


def test_types() -> None:
    check("mypy")


def test_imports() -> None:
    check("lint-imports", "--cache-dir", "build/cache/imports")


def test_c_format() -> None:
    sources = [str(path) for path in files("*.c", "*.h") if not is_generated(path)]
    if sources:
        check("clang-format", "--dry-run", "-Werror", *sources)


def test_makefile_names_what_exists() -> None:
    """A command of the Makefile that runs one of our scripts finds it."""
    words = {word for line in (ROOT / "Makefile").read_text().splitlines() for word in line.split()}
    scripts = {word.lstrip("@") for word in words if word.lstrip("@").startswith(".ci/")}
    assert scripts
    assert [script for script in sorted(scripts) if not (ROOT / script).is_file()] == []


@pytest.mark.parametrize("pinned", ["clang-format", "ruff", "mypy"])
def test_linters_are_the_locked_ones(pinned: str) -> None:
    """What a linter says depends on its version: the one that runs is the one in the lock."""
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    version = next(
        line.split("==")[1].split()[0].strip("\\ ") for line in lock if line.startswith(f"{pinned}==")
    )
    said = subprocess.run([BIN / pinned, "--version"], capture_output=True, text=True, check=True).stdout
    assert version in said


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("hal", "import services"),
        ("services", "import board_support"),
        ("services", "import sdk"),
        ("board_support", "import tests"),
    ],
)
def test_import_rules_refuse(room: str, line: str, tmp_path: Path) -> None:
    """Each rule bites: the same tree with one line more that it forbids."""
    copy(tmp_path)
    init = tmp_path / room / "__init__.py"
    init.write_text(f"{init.read_text()}{line}\n")
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{room} is not allowed to import {line.split()[1]}" in done.stdout
