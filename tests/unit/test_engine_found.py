"""Where the engine is looked for, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal.errors import HalError
from hal.packet.dpdk import process


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the SDK is installed, without an engine anywhere."""
    monkeypatch.delenv("DSN_ENGINE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(process, "ROOT", tmp_path)
    return tmp_path


def test_who_installed_a_wheel_is_not_told_to_make_it_there(nowhere: Path) -> None:
    with pytest.raises(HalError) as caught:
        process.find_binary()
    assert str(caught.value) == (
        "INVALID: dsn-engine: got not found in PATH. A wheel brings none: build it from the SDK's sources (make "
        "engine) and name it in DSN_ENGINE."
    )
    named = nowhere / "dsn-engine"
    named.touch(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSN_ENGINE", str(named))
        assert process.find_binary() == named


def test_who_has_a_checkout_is_told_to_make_it(nowhere: Path) -> None:
    (nowhere / "Makefile").touch()
    with pytest.raises(HalError, match=r"not found in .*/build/engine/dsn-engine, PATH\. Build it: make engine\."):
        process.find_binary()
