"""An engine whose dsnd is gone: ended without a new one, which might refuse it (see `loaded`)."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Final

from hal import held, packet
from hal.errors import ErrorKind, HalError
from sdk.dsnd.interfaces import Interfaces
from sdk.dsnd.loaded import Record
from sdk.dsnd.main import ENGINE_FOLDER, LOADED, hold_folder
from sdk.dsnd.patience import Probe
from sdk.dsnd.taps import Taps, card_namespace

END_S: Final = 10.0
LOCK: Final = "engine.lock"


def stop_orphan(run: Path) -> str:
    """End the engine in a card's run folder, and remove the namespaces of its taps.

    Returns:
        What was unusual about it: that it had to be killed. "" for nothing.

    Raises:
        HalError: LOST where no engine runs there, BUSY where a dsnd has it, TIMEOUT where it doesn't end, DENIED
            where it may not be killed.
    """
    engine = run / ENGINE_FOLDER
    if not (engine / LOCK).exists() or not _runs(engine):
        raise HalError(ErrorKind.LOST, f"card {run}", got="no dsnd and no engine is running",
                       fix="There is nothing to stop.")  # fmt: skip
    lock = hold_folder(run)
    try:
        told = ""
        probe = Probe()
        try:
            probe.ask(lambda: _ask_to_end(engine))
        except HalError as error:
            told = probe.why(error)
        if told or not _gone(engine):
            _kill(engine)
            told = f"the engine was killed: {told or f'asked to end, it went on for {END_S:g} s'}"
            if not _gone(engine):
                raise HalError(ErrorKind.TIMEOUT, f"engine in {engine}", got="killed, it goes on",
                               limit=f"{END_S:g} s", fix="Look at its process (ps: D waits for a device).")  # fmt: skip
        for left in (*engine.glob("*.sock"), engine / "engine.pid"):  # which an engine of no rights can't take away
            left.unlink(missing_ok=True)
        Taps((), card_namespace(run)).remove()
        loaded = Record(run / LOADED).read()
        Interfaces(loaded.ports if loaded is not None else ()).release()
        held.tidy()
        return told
    finally:
        os.close(lock)


def _ask_to_end(engine: Path) -> None:
    with packet.connect(str(engine)) as card:
        card.backend.stop()


def _gone(engine: Path) -> bool:
    deadline = time.monotonic() + END_S
    while _runs(engine):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _kill(engine: Path) -> None:
    """Its lock says which process it is. A number that is another's by now is not killed: the lock is free then."""
    try:
        process = os.pidfd_open(int((engine / LOCK).read_text()))
        try:
            if _runs(engine):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)
    except ProcessLookupError:
        return
    except (OSError, ValueError) as error:
        fix = "Kill it as the user that started it; engine.pid beside its sockets says its number."
        raise HalError(ErrorKind.DENIED, f"engine in {engine}", got=f"it can't be killed: {error}", fix=fix) from error


def _runs(engine: Path) -> bool:
    """Whether somebody holds the engine's folder: it ends later than its sockets."""
    with (engine / LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
