"""The engine on Debian 13: the same source, with DPDK 24.11 and gcc 14."""

import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hal.conformance import Check, Level, State, checks_for, run_one
from hal.packet.model import Twin
from tests.conformance.engines import EngineOnVeth
from tests.property.compare import Pair, play_many
from tests.property.stories import random_story
from tests.property.universe import LOAD
from tests.tools import debian13
from tests.tools.engines import running
from tests.tools.tree import ROOT

BUILD = ROOT / "build" / "engine-debian13"
STORIES = 100


@pytest.fixture(scope="module")
def engine(unpacking: threading.Thread, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine, built there, as a program to be started here."""
    unpacking.join()
    built = BUILD / "build.ninja"
    if built.exists() and built.stat().st_mtime < debian13.tree().stat().st_ctime:
        shutil.rmtree(BUILD)  # with what an older Debian 13 had
    debian13.run(".ci/engine", BUILD.name)
    return debian13.script(tmp_path_factory.mktemp("debian13") / "dsn-engine", [str(BUILD / "dsn-engine")])


def test_it_is_the_other_dpdk(engine: Path) -> None:
    here = ROOT / "build/engine/dsn-engine"
    said = [
        subprocess.run([one, "--version"], capture_output=True, text=True, check=True).stdout for one in (engine, here)
    ]
    assert "DPDK 24.11" in said[0]
    assert "DPDK 22.11" in said[1]


def test_parts(engine: Path) -> None:
    """Each part's own tests in C."""
    said = debian13.run("meson", "test", "-C", str(BUILD), "--no-rebuild", "--print-errorlogs")
    assert "Fail:               0" in said


def test_commits_and_packets_are_the_twins(engine: Path, seed: int, tell: Callable[[object], None]) -> None:
    """Commits by its control socket, packets by `replay`, compared with the twin as in tests/property."""
    source = random.Random(seed)
    with running(engine) as started:
        twin = Twin()
        for backend in (twin, started):
            backend.load(LOAD)
            backend.start()
        coverage = play_many(Pair(twin, started), (random_story(source) for _ in range(STORIES)))
    tell(coverage)
    assert coverage.verdicts["FORWARD"] > STORIES
    assert coverage.commits > STORIES


@pytest.fixture(scope="module")
def device(engine: Path) -> EngineOnVeth:
    return EngineOnVeth(engine)


@pytest.mark.parametrize(
    "check", [check for check in checks_for(Level.ALL) if "wire" in check.needs], ids=lambda one: one.name
)
def test_live(check: Check, device: EngineOnVeth) -> None:
    """What the kit asks of live ports: its workers and Linux ports work with this DPDK's buffers and rings too."""
    result = run_one(device, check)
    assert result.state is State.PASSED, result.words


@pytest.mark.parametrize("kind", ["null", "ring", "dpdk:net_null7,no-rx=1"])
def test_devices(kind: str, engine: Path) -> None:
    """DPDK's own devices, whose drivers it loads from its own folder. `forward` ends with its input, 0 buffers lost."""
    assert debian13.run(str(BUILD / "forward"), kind, kind.replace("7", "8")).splitlines()[-1] == "0"
