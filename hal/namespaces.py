"""Network namespaces by name, as `ip netns` has them, and acting inside one without leaving one's own.

All of it happens in a thread of its own, which alone enters a namespace and then ends: no process is forked, which one
with other threads (gRPC's) may not do safely.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

FOLDER = Path("/run/netns")
_SO_NETNS_COOKIE = 71
_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 1 << 20
_MNT_DETACH = 2


def inside(name: str | None, act: Callable[[], T]) -> T:
    """Run `act` in a network namespace; in ours where `name` is None.

    Raises:
        OSError: no such namespace, or no authority; and what `act` raises.
    """
    if name is None:
        return act()

    def work() -> T:
        with (FOLDER / name).open("rb") as file:
            _call("setns", file.fileno(), _CLONE_NEWNET, name=name)
        return act()

    return _alone(work)


def network_cookie() -> int:
    """A number that no other network namespace has until the machine starts anew, of the one that this is called in.
    Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)


def names() -> list[str]:
    """Those that have a file, alive or not."""
    try:
        return sorted(path.name for path in FOLDER.iterdir())
    except FileNotFoundError:
        return []


def alive(name: str) -> bool:
    """Whether there is a namespace behind the file: one that was made where mounts are private leaves a plain file."""
    try:
        with (FOLDER / name).open("rb") as file:
            return fcntl.ioctl(file, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def create(name: str) -> None:
    """Make one, in place of a dead file of the name. One that is alive stays. Raises OSError."""
    if alive(name):
        return
    remove(name)
    FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = FOLDER / name
    _share_folder()
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))

    def work() -> None:
        _call("unshare", _CLONE_NEWNET, name=name)
        _mount(b"/proc/thread-self/ns/net", path, _MS_BIND)

    try:
        _alone(work)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def remove(name: str) -> None:
    """Take the name away, and the namespace with it once nothing is in it. One that isn't there is no error."""
    path = FOLDER / name
    with contextlib.suppress(OSError):  # a dead file has nothing mounted
        _call("umount2", bytes(path), _MNT_DETACH, name=name)
    path.unlink(missing_ok=True)


def _share_folder() -> None:
    """Mounts below it are seen by all, as `ip netns` does it."""
    try:
        _mount(b"", FOLDER, _MS_SHARED | _MS_REC)
    except OSError:
        _mount(bytes(FOLDER), FOLDER, _MS_BIND | _MS_REC)
        _mount(b"", FOLDER, _MS_SHARED | _MS_REC)


def _mount(source: bytes, target: Path, flags: int) -> None:
    _call("mount", source, bytes(target), b"none", ctypes.c_ulong(flags), None, name=target.name)


def _call(function: str, *arguments: Any, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _alone(work: Callable[[], T]) -> T:
    """In a thread of its own; what it raises is raised here."""
    with ThreadPoolExecutor(1, thread_name_prefix="namespace") as thread:
        return thread.submit(work).result()
