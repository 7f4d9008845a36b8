"""A card whose dsnd is gone: its engine is ended without a new one, which might refuse it (see `loaded`), and what it
had of the machine is given back, also where the engine has died with dsnd."""

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
    """End the engine in a card's run folder, remove the namespaces of its taps and give its interfaces back.

    Returns:
        What was unusual about it: that it had to be killed, or had died. "" for nothing.

    Raises:
        HalError: LOST where no engine runs there and none has left anything, BUSY where a dsnd has it, TIMEOUT where
            it doesn't end, DENIED where it may not be killed.
    """
    engine = run / ENGINE_FOLDER
    if not run.is_dir():
        raise _nothing(run)
    lock = hold_folder(run)
    try:
        if not _runs(engine):
            return _tidy_up(run)
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
        _take_away(run)
        _interfaces(run).release()
        held.tidy()
        return told
    finally:
        os.close(lock)


def _nothing(run: Path) -> HalError:
    return HalError(ErrorKind.LOST, f"card {run}", got="no dsnd and no engine is running",
                    fix="There is nothing to stop.")  # fmt: skip


def _tidy_up(run: Path) -> str:
    """What dsnd and its engine left that were killed both; returns that in words. Raises HalError(LOST) where there is
    nothing: it was stopped before."""
    left = _take_away(run)
    left = _interfaces(run).release_left() or left
    held.tidy()
    if not left:
        raise _nothing(run)
    return "neither dsnd nor its engine was running, and what they left was taken away"


def _take_away(run: Path) -> bool:
    """Namespaces, and the engine's files, which one of no rights can't take away. Returns whether there were any."""
    engine = run / ENGINE_FOLDER
    files = [path for path in (*engine.glob("*.sock"), engine / "engine.pid") if path.exists()]
    for path in files:
        path.unlink(missing_ok=True)
    return Taps((), card_namespace(run)).remove() or bool(files)


def _interfaces(run: Path) -> Interfaces:
    loaded = Record(run / LOADED).read()
    return Interfaces(loaded.ports if loaded is not None else ())


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
    try:
        with (engine / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
