"""Starting an engine costs whoever starts it no descriptor: a daemon does it as often as its engine dies."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path

from hal.packet.dpdk.process import start
from tests.tools.engine import binary
from tests.tools.engines import ENVIRONMENT


def held() -> list[str]:
    """What our descriptors are of, but the one that the listing itself takes."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return sorted(one for one in found if not one.startswith("/proc/"))


def test_an_engines_start_leaves_no_descriptor(tmp_path: Path) -> None:
    before = held()
    process = start(tmp_path / "run", binary=binary(), environment=ENVIRONMENT)
    try:
        assert not Counter(held()) - Counter(before)  # fewer: what an earlier test had left
    finally:
        os.kill(process.pid, 15)
        os.waitpid(process.pid, 0)
