"""Logs don't grow without bound: dsnd's, which is its standard error, gRPC's words included, where that is a file; and
the engine's, which the engine has open."""

from __future__ import annotations

import errno
import os
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
    new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.dup2(new, fd)
    finally:
        os.close(new)
    return True


def cut(path: Path, most: int = MOST_BYTES) -> bool:
    """Where a file that another process appends to is longer than `most`, copy it to FILE.1 and empty it. What comes
    between the two is lost, and all of it where the copy has no room: the bound holds. What is copied and emptied is
    one descriptor's, whatever becomes of the name meanwhile; a link in place of either name is not followed.

    Returns:
        Whether it was.

    Raises:
        OSError: as the system says.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return False
        raise
    try:
        now = os.fstat(fd)
        if not stat.S_ISREG(now.st_mode) or now.st_nlink != 1 or now.st_uid != os.geteuid() or now.st_size <= most:
            return False
        try:
            _copy(fd, now.st_size, path.with_name(path.name + ".1"))
        finally:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
    return True


def _copy(fd: int, size: int, before: Path) -> None:
    """The first `size` bytes become the file `before`, in place of what has that name."""
    before.unlink(missing_ok=True)
    copy = os.open(before, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < size and (sent := os.sendfile(copy, fd, done, size - done)):
            done += sent
    except OSError:
        before.unlink(missing_ok=True)
        raise
    finally:
        os.close(copy)
