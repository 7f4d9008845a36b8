"""The engine's C: built with sanitizers and by another compiler, then what each folder's `tests/` holds is run."""

import re
import subprocess

import pytest

from tests.conftest import ROOT
from tests.tools.tree import files


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail((done.stdout + done.stderr)[-20_000:], pytrace=False)
    return done.stdout


@pytest.mark.parametrize("build", ["engine-asan", "engine-clang"])
def test_parts(build: str) -> None:
    """Warnings are errors in each build."""
    run(".ci/engine", build)
    folder = ROOT / "build" / build
    said = run("meson", "test", "-C", str(folder), "--no-rebuild", "--print-errorlogs", "--num-processes", "2")
    assert "Fail:               0" in said


def test_clang_is_another_compiler() -> None:
    run(".ci/engine", "engine-clang")
    said = [run(str(ROOT / "build" / build / "dsn-engine"), "--version") for build in ("engine", "engine-clang")]
    assert "(gcc " in said[0]
    assert "(clang " in said[1]


def asks_for_a_release(text: str) -> bool:
    """True for C that depends on DPDK's release."""
    return re.search(r"\bRTE_VER(SION|_)|\brte_(version\.h|ip[46]?\.h)", text) is not None


def test_one_header_knows_dpdks_release() -> None:
    sources = files("hal/packet/*.c", "hal/packet/*.h")
    assert [str(path) for path in sources if asks_for_a_release((ROOT / path).read_text())] == [
        "hal/packet/engine/compat.h"
    ]


def draws(text: str) -> bool:
    """True for C or Python that has numbers from chance: the kernel's, the C library's, DPDK's, the processor's."""
    return re.search(
        r"\b(getrandom|getentropy|arc4random\w*|s?rand|s?random|[dlm]rand48|rte_s?rand\w*|_?rdrand\w*)\s*\(|/dev/u?random"
        r"|^\s*(import|from) (random|secrets|uuid)\b|\burandom\b",
        text, re.MULTILINE,
    ) is not None  # fmt: skip


def test_nothing_that_can_be_seen_is_drawn() -> None:
    """Seeds of hash tables alone come from chance, and names that nobody compares: of lives and of transactions
    (docs/adr/0047-what-may-be-drawn.md)."""
    sources = files("hal/packet/engine/*.c", "hal/packet/engine/*.h", "hal/packet/stages/*.c", "hal/packet/*.py")
    found = {str(path.relative_to("hal/packet")) for path in sources if draws((ROOT / path).read_text())}
    tests = {path for path in found if "/tests/" in path}
    assert found - tests == {
        "card.py",
        "dpdk/engine.py",
        "engine/control/events.c",
        "engine/control/index.c",
        "engine/match/common.c",
        "engine/path/budgets.c",
        "engine/path/first_fragments.c",
        "engine/path/flows.c",
        "engine/path/neighbour.c",
        "engine/path/news.c",
        "engine/path/vnics.c",
        "model/counters.py",
        "model/hardware.py",
        "model/store.py",
    }


@pytest.mark.parametrize(
    "text",
    ["x = rte_rand();", "uint32_t port = rand() % 9;", "getrandom (seed, 8, 0)", "import random",
     "from secrets import x", 'open("/dev/urandom")', "return os.urandom(8)"],
)  # fmt: skip
def test_what_is_drawn_would_be_seen(text: str) -> None:
    assert draws(text)
    assert not draws("static uint32_t operand(struct brand *grand) { return drawn(random_seed); }")
