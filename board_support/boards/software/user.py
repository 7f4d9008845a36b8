"""The user that the engine becomes: one without any rights (docs/adr/0058-the-engine-has-a-user.md).

Where card.toml names none it is a number that nobody else has: nothing has to be installed, and nothing stays behind.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hal import held
from hal.authority import user_number
from hal.errors import ErrorKind, HalError

NUMBERS: Final = range(60706, 61184)
"""Which nobody gives out: neither Debian's adduser, up to 59999, nor systemd, from 61184 on (its UIDS-GIDS page)."""
FIX: Final = "Give dsnd the card.toml of before, or start the engine anew: dsn card stop, dsn card start."


@dataclass(frozen=True)
class EngineUser:
    """Whom an engine becomes; `claim` is the descriptor that keeps the number from others, None for a named one."""

    uid: int
    gid: int
    claim: int | None = None

    def arguments(self) -> list[str]:
        """Of the engine's program. Who isn't root has nothing to give up."""
        return ["--user", f"{self.uid}:{self.gid}"] if self.uid and os.geteuid() == 0 else []

    def let_go(self) -> None:
        if self.claim is not None:
            os.close(self.claim)
            held.tidy()


def choose(wanted: str, run: Path) -> EngineUser:
    """The user of card.toml's `engine_user`, "" for a number of its own.

    Raises:
        HalError: INVALID for a user that isn't there, FULL where no number is left.
        OSError: as the system says.
    """
    if wanted:
        uid = user_number(wanted, "card.toml", "engine_user")
        with suppress(KeyError):
            return EngineUser(uid, pwd.getpwuid(uid).pw_gid)
        return EngineUser(uid, uid)
    if os.geteuid() != 0:
        return EngineUser(os.geteuid(), os.getegid())
    for number in _free(run):
        with suppress(BlockingIOError):
            return EngineUser(number, number, held.take(f"uid-{number}"))
    raise HalError(ErrorKind.FULL, "card.toml", field="engine_user", got="none given, and none is free",
                   limit=f"a number in {NUMBERS.start}..{NUMBERS.stop - 1} that nobody has",
                   fix='Name a user for the engine: engine_user = "NAME".')  # fmt: skip


def check(wanted: str, pid: int, run: Path) -> None:
    """Raise HalError(INVALID) where the engine that runs isn't who card.toml says, so that it is not adopted."""
    uid = _uid(Path("/proc") / str(pid))
    if uid is None or os.geteuid() != 0:
        return
    right = uid == user_number(wanted, "card.toml", "engine_user") if wanted else uid != 0
    if not right:
        raise HalError(ErrorKind.INVALID, "card.toml", field="engine_user", got=wanted or "none given",
                       limit=f"the user of the engine that runs in {run}, {uid}", fix=FIX)  # fmt: skip


def _free(run: Path) -> Iterator[int]:
    """Numbers that no user, group or process has; a card's own first, the same at each start."""
    taken = {_uid(process) for process in Path("/proc").glob("[0-9]*")}
    first = int.from_bytes(hashlib.sha256(bytes(run)).digest()[:4], "big")
    for step in range(len(NUMBERS)):
        number = NUMBERS[(first + step) % len(NUMBERS)]
        if number not in taken and not _known(number):
            yield number


def _known(number: int) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwuid(number))
    with suppress(KeyError):
        return bool(grp.getgrgid(number))
    return False


def _uid(process: Path) -> int | None:
    """The user of a process, None where it has ended."""
    with suppress(OSError):
        for line in (process / "status").read_text().splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[1])
    return None
