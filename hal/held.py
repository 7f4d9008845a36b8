"""Names that one program of this machine holds at a time, for as long as it or a program that inherited it lives.

A name is a file below a folder that only root can write, locked with flock: the lock is the open descriptor's, so that
it lives on in a child that inherits it and ends with the last of them, however that ends. Whoever isn't root can
neither take a name nor keep others from it (docs/adr/0055-a-claim-is-a-lock-below-a-folder-of-roots.md).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from hal.authority import own_folder

FOLDER = Path("/run/dsn-claims")
_LOOKED_AT_S = 0.02
_TRIES = 10


def take(name: str, folder: Path = FOLDER) -> int:
    """Hold a name; returns the descriptor, which programs that are started from now on inherit.

    Raises:
        BlockingIOError: somebody has it.
        HalError: INVALID where the folder isn't ours alone.
        OSError: as the system says.
    """
    path = folder / name
    for left in reversed(range(_TRIES)):
        own_folder(folder, "folder of claims")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # who let go of the last name has just removed the folder
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.lstat(), os.fstat(fd)):
                os.set_inheritable(fd, True)
                return fd
        except BlockingIOError:
            if not left:
                os.close(fd)
                raise
            time.sleep(_LOOKED_AT_S)  # who looks holds it for a moment
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise BlockingIOError(f"{path} is taken and let go of all the time")


def held(name: str, folder: Path = FOLDER) -> bool:
    """Whether somebody has it."""
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def tidy(folder: Path = FOLDER) -> None:
    """Remove what is left of names that nobody has, and the folder behind the last."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            _tidy(path)
        folder.rmdir()


def _tidy(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.lstat(), os.fstat(fd)):
                path.unlink()
    finally:
        os.close(fd)


def holders(name: str, folder: Path = FOLDER) -> list[tuple[int, str]]:
    """(pid, name) of the programs that hold it, as far as we may look."""
    path, found = str(folder / name), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(one.readlink()) == path for one in (process / "fd").iterdir()):
                found.append((int(process.name), (process / "comm").read_text().strip()))
    return found
