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
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip() or f"{command[0]}: exit code {done.returncode}"


def check(*command: str) -> None:
    said = complaints(*command)
    if said:
        pytest.fail(said, pytrace=False)


def test_ruff() -> None:
    check("ruff", "check", "--quiet", "--output-format=concise", ".")


def test_format() -> None:
    said = complaints("ruff", "format", "--check", "--output-format=concise", ".")
    if said:
        pytest.fail(f"run `make format`:\n{said}", pytrace=False)


def test_types() -> None:
    check("mypy")


def test_imports() -> None:
    check("lint-imports", "--cache-dir", "build/cache/imports")


def test_c_format() -> None:
    sources = [str(path) for path in files("*.c", "*.h") if not is_generated(path)]
    said = complaints("clang-format", "--dry-run", "-Werror", *sources)
    if said:
        pytest.fail(f"run `make format`:\n{said}", pytrace=False)


def test_c_format_bites(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int main(void)\n{ return 0; }\n")
    assert complaints("clang-format", "--dry-run", "-Werror", f"--style=file:{ROOT}/.clang-format", str(source))


def too_wide(source: Path) -> list[str]:
    """Lines of more than 120 columns, as path:number: clang-format leaves comments as they are."""
    lines = source.read_text().splitlines()
    return [f"{source}:{number}" for number, line in enumerate(lines, 1) if len(line) > 120]


def test_c_keeps_to_its_width() -> None:
    sources = [path for path in files("*.c", "*.h") if not is_generated(path)]
    assert sources
    assert [line for source in sources for line in too_wide(source)] == []


def test_c_that_is_too_wide_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "wide.h"
    source.write_text(f"/* {'x' * 114} */\n/* {'x' * 115} */\n")
    assert too_wide(source) == [f"{source}:2"]


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
    version = next(line.split("==")[1].split()[0].strip("\\ ") for line in lock if line.startswith(f"{pinned}=="))
    said = subprocess.run([BIN / pinned, "--version"], capture_output=True, text=True, check=True).stdout
    assert version in said


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, with the modules that import rules speak of even where they don't exist yet."""
    tree = tmp_path_factory.mktemp("copied")
    copy(tree)
    for package in (
        "hal/conformance",
        "hal/packet",
        "hal/packet/model",
        "hal/packet/dpdk",
        "sdk/cli",
        "sdk/testing",
    ):
        (tree / package).mkdir(parents=True, exist_ok=True)
        (tree / package / "__init__.py").touch()
    return tree


def import_rules_on(tree: Path, module: str, line: str) -> subprocess.CompletedProcess[str]:
    """Run the import rules on a tree in which `module` has a line more."""
    init = tree / module.replace(".", "/") / "__init__.py"
    before = init.read_text()
    init.write_text(f"{before}{line}\n")
    try:
        return subprocess.run(
            [BIN / "lint-imports", "--no-cache"],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        init.write_text(before)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("hal", "services"),
        ("services", "board_support"),
        ("services", "sdk"),
        ("board_support", "tests"),
        ("sdk.cli", "hal.packet.model"),
        ("services", "hal.packet.dpdk"),
        ("hal.conformance", "hal.packet.model"),
        ("hal.packet.dpdk", "hal.packet.model"),
    ],
)
def test_import_rules_refuse(module: str, imported: str, copied: Path) -> None:
    """Each rule bites: the same tree with one import more that it forbids."""
    done = import_rules_on(copied, module, f"import {imported}")
    assert done.returncode == 1
    assert f"{module} -> {imported}" in done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("board_support", "hal.packet.dpdk"),
        ("sdk.testing", "hal.packet.model"),
        ("hal.packet", "hal.packet.dpdk"),
        ("sdk", "services"),
    ],
)
def test_import_rules_allow(module: str, imported: str, copied: Path) -> None:
    done = import_rules_on(copied, module, f"import {imported}")
    assert done.returncode == 0, done.stdout
