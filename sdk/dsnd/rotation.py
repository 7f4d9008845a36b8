"""Logs don't grow without bound: dsnd's, which is its standard error, gRPC's words included, where that is a file; and
the engine's, which the engine has open."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 4 << 20
"""The file and the one before it take twice that at most, and what is written between two looks."""


def rotate(fd: int = 2, most: int = MOST_BYTES) -> bool:
    """Where the file behind `fd` is longer than `most`, rename it to FILE.1 and go on in a new one of its name.

    Returns:
        Whether it was.

    Raises:
        OSError: as the system says; `fd` is as it was.
    """
    now = os.fstat(fd)
    if not stat.S_ISREG(now.st_mode) or now.st_size <= most:
        return False
    path = Path(f"/proc/self/fd/{fd}").readlink()
    if not path.exists() or not os.path.samestat(path.stat(), now):
        return False  # it has no name any more
    path.replace(path.with_name(path.name + ".1"))
    new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.dup2(new, fd)
    finally:
        os.close(new)
    return True


def cut(path: Path, most: int = MOST_BYTES) -> bool:
    """Where a file that another process appends to is longer than `most`, copy it to FILE.1 and empty it. What comes
    between the two is lost, and all of it where the copy has no room: the bound holds.

    Returns:
        Whether it was.

    Raises:
        OSError: as the system says.
    """
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(now.st_mode) or now.st_size <= most:
        return False
    before = path.with_name(path.name + ".1")
    try:
        shutil.copyfile(path, before, follow_symlinks=False)
    except OSError:
        before.unlink(missing_ok=True)
        raise
    finally:
        os.truncate(path, 0)
    return True
