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
