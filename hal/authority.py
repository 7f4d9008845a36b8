"""Authority as the system knows it: users, groups, the sockets they may open, and folders that are ours alone."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hal.errors import ErrorKind, HalError


@dataclass(frozen=True)
class Holder:
    """Who, besides root, may open a socket: a user, the members of a group, both, or nobody. Numbers."""

    user: int | None = None
    group: int | None = None

    @property
    def anybody(self) -> bool:
        return self.user is not None or self.group is not None

    @property
    def mode(self) -> int:
        return 0o660 if self.group is not None else 0o600

    def give(self, path: Path) -> None:
        """Make the socket at a path, in a folder that only we can write, his. Raises OSError."""
        owner, group = self.user if self.user is not None else os.geteuid(), self.group
        os.chown(path, owner, group if group is not None else os.getegid(), follow_symlinks=False)
        path.chmod(self.mode)


NOBODY: Final = Holder()
"""Root alone."""


def user_number(name: str, what: str, field: str) -> int:
    """The number of a user that is named, or given as one. Raises HalError(INVALID) for one that isn't there."""
    if name.isascii() and name.isdigit() and int(name) < (1 << 32) - 1:
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise HalError(ErrorKind.INVALID, what, field=field, got=name, limit="a user of this machine, or a number",
                       fix="Make it (useradd --system), or name one that is there.") from None  # fmt: skip


def group_number(name: str, what: str, field: str) -> int:
    """As `user_number`, of a group."""
    if name.isascii() and name.isdigit() and int(name) < (1 << 32) - 1:
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise HalError(ErrorKind.INVALID, what, field=field, got=name, limit="a group of this machine, or a number",
                       fix="Make it (groupadd --system), or name one that is there.") from None  # fmt: skip


def own_folder(path: Path, what: str, mode: int = 0o700) -> None:
    """Make a folder, with those above it, or make sure that one that is there is ours and nobody else can write it:
    what lies in any other may be anybody's, links to files elsewhere first of all.

    Raises:
        HalError: INVALID naming the folder, what is wrong with it, and what mends it.
        OSError: as the system says.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError:
        raise _no_folder(path, what) from None
    now, ours = path.stat(), os.geteuid()
    if now.st_uid != ours:
        raise HalError(ErrorKind.INVALID, f"{what} {path}", field="owner", got=now.st_uid, limit=str(ours),
                       fix=f"Look what is in it, then: chown {ours} {path}; or name another.")  # fmt: skip
    if now.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HalError(ErrorKind.INVALID, f"{what} {path}", field="mode", got=f"{stat.S_IMODE(now.st_mode):04o}",
                       limit="writable by its owner alone",
                       fix=f"Look what is in it, then: chmod go-w {path}; or name another.")  # fmt: skip


def _no_folder(path: Path, what: str) -> HalError:
    """Something else stands where a folder is to be: a file, or a link to nothing, there or above it."""
    odd = next((one for one in (path, *path.parents) if os.path.lexists(one) and not one.is_dir()), path)
    try:
        user = f"of user {odd.lstat().st_uid}"
        got = f"a link {user} to {odd.readlink()}, where no folder is" if odd.is_symlink() else f"a file {user}"
    except OSError:
        got = "no folder"  # it has just gone
    return HalError(ErrorKind.INVALID, f"{what} {path}", got=f"{got}, at {odd}", limit="a folder",
                    fix=f"Look who put it there, then: rm {odd}; or name another.")  # fmt: skip


def open_log(path: Path) -> int:
    """A log that is appended to, made with mode 0600 where there is none; the caller closes it.

    Raises:
        HalError: INVALID for what isn't a plain file of ours alone: what is said could be written anywhere.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise _odd_log(path, {errno.ELOOP: "a link", errno.EISDIR: "a folder"}.get(error.errno, "a pipe")) from None
    now, got = os.fstat(fd), ""
    if not stat.S_ISREG(now.st_mode):
        got = "no regular file"
    elif now.st_uid != os.geteuid():
        got = f"a file of user {now.st_uid}"
    elif now.st_nlink != 1:
        got = f"a file with {now.st_nlink} names"
    elif now.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        got = f"a file of mode {stat.S_IMODE(now.st_mode):04o}"
    if got:
        os.close(fd)
        raise _odd_log(path, got)
    return fd


def _odd_log(path: Path, got: str) -> HalError:
    return HalError(ErrorKind.INVALID, f"log {path}", got=got, limit="a plain file of ours that nobody else can write",
                    fix="Look who put it there, then remove it.")  # fmt: skip
