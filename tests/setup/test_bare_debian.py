"""`make setup` on a Debian that has nothing but git and make."""

import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.tools import bare
from tests.tools.tree import ROOT, copy

HOME = "/srv/dsn-sdk"


@pytest.fixture(scope="module")
def machine() -> Generator[bare.Tree]:
    """A bare Debian with this checkout in it, as it is in the working tree."""
    with bare.tree() as made:
        copy(made.root / HOME[1:])
        yield made


@pytest.fixture(scope="module")
def first(machine: bare.Tree) -> subprocess.CompletedProcess[str]:
    """The first `make setup` on it."""
    return machine.run("make setup", cwd=HOME)


def entries(machine: bare.Tree) -> set[str]:
    return {path.name for path in (machine.root / HOME[1:]).iterdir()}


def caches(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name == "__pycache__":
            yield path
        elif path.is_dir() and not path.is_symlink() and path.name not in {".venv", "build"}:
            yield from caches(path)


def done(machine: bare.Tree, command: str) -> str:
    """The output of a command that has to succeed."""
    ran = machine.run(command, cwd=HOME)
    if ran.returncode:
        pytest.fail(f"{command}: exit code {ran.returncode}\n{ran.stdout[-6000:]}", pytrace=False)
    return ran.stdout


def test_the_machine_was_bare(machine: bare.Tree) -> None:
    assert machine.run("command -v git").returncode == 0
    assert machine.run("command -v python3 cc meson ip").stdout == ""


def test_set_up(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout[-6000:]
    assert "installing packages" in first.stdout
    assert ".venv" in entries(machine)


def test_python_is_debians(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    said = done(machine, ".venv/bin/python -c 'import sys; print(sys.base_prefix, sys.prefix)'")
    assert said.split() == ["/usr", f"{HOME}/.venv"]


def test_second_time_changes_nothing(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    assert "installing" not in done(machine, "make setup")


def test_nothing_else_is_left(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    had = {path.name for path in ROOT.iterdir()} - {".git"}
    assert entries(machine) - had <= {".venv", "build"}
    assert list(caches(machine.root / HOME[1:])) == []


# What set-up made works, where it made it here: a file that shows it exists, a command, a word of its answer.
RESULTS = (
    (
        "requirements.lock",
        ".venv/bin/python -c 'import grpc, numpy, pyroute2, yaml; print(numpy.__name__)'",
        "numpy",
    ),
    ("sdk/cli/main.py", ".venv/bin/dsn --help", "Usage"),
    ("build/engine/dsn-engine", "build/engine/dsn-engine --version", ""),
    ("tests/demo/__main__.py", "make demo", ""),
)


@pytest.mark.parametrize(
    ("command", "word"), [(command, word) for source, command, word in RESULTS if (ROOT / source).exists()]
)
def test_results_work(command: str, word: str, machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    assert word in done(machine, command)


def test_dpdk_runs(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    """The drivers are there: testpmd, which the benchmarks need, starts on a device without hardware."""
    start = "dpdk-testpmd --no-huge --no-shconf --no-telemetry --no-pci -m 256 --vdev=net_null0 --vdev=net_null1"
    assert "Bye..." in done(machine, f"echo quit | {start} -- --interactive --total-num-mbufs=2048")


def test_namespaces_work(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    """Hosts are network namespaces: the tree can make one, and it goes with the command that made it."""
    assert "lo" in done(machine, "ip netns add dsn-bare && ip -n dsn-bare link show lo")
    assert "dsn-bare" not in done(machine, "ip netns list")


def test_nothing_is_mounted_outside(machine: bare.Tree, first: subprocess.CompletedProcess[str]) -> None:
    assert str(machine.root) not in Path("/proc/self/mounts").read_text()
