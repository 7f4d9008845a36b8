"""Waiting for what shall come, instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 60, every: float = 0.02) -> bool:
    """Whether a condition comes true in time; looked at every so many seconds, and once more at the end. The limit is a
    hang's, not a speed's: on a busy machine everything takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return bool(condition())
        time.sleep(every)
    return True
