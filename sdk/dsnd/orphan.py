"""An engine whose dsnd is gone: ended without a new one, which might refuse it (see `loaded`)."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from hal import packet
from hal.errors import ErrorKind, HalError
from sdk.dsnd.main import ENGINE_FOLDER, hold_folder
from sdk.dsnd.taps import Taps, card_namespace

END_S: Final = 10.0


def stop_orphan(run: Path) -> None:
    """End the engine in a card's run folder, and remove the namespaces of its taps.

    Raises:
        HalError: LOST where no engine runs there, BUSY where a dsnd has it, TIMEOUT where it doesn't end.
    """
    engine = run / ENGINE_FOLDER
    if not (engine / "engine.lock").exists() or not _runs(engine):
        raise HalError(ErrorKind.LOST, f"card {run}", got="no dsnd and no engine is running",
                       fix="Start one: dsn card start CARD_TOML.")  # fmt: skip
    lock = hold_folder(run)
    try:
        with packet.connect(str(engine)) as card:
            card.backend.stop()
        deadline = time.monotonic() + END_S
        while _runs(engine):
            if time.monotonic() > deadline:
                raise HalError(ErrorKind.TIMEOUT, f"engine in {engine}", limit=f"{END_S:g} s to end")
            time.sleep(0.05)
        Taps((), card_namespace(run)).remove()
    finally:
        os.close(lock)


def _runs(engine: Path) -> bool:
    """Whether somebody holds the engine's folder: it ends later than its sockets."""
    with (engine / "engine.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
