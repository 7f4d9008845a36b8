"""Debian 13 is unpacked while this Debian's set-up waits for the network."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.tools import debian13


def _ahead() -> None:
    # Who asks for it next is told why there is none.
    with contextlib.suppress(LookupError, OSError, RuntimeError, subprocess.SubprocessError):
        debian13.tree()


@pytest.fixture(scope="session", autouse=True)
def unpacking() -> Iterator[threading.Thread]:
    """To be joined before Debian 13 is asked for."""
    thread = threading.Thread(target=_ahead)
    thread.start()
    yield thread
    thread.join()
