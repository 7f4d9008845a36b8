"""Builds the twin board."""

from __future__ import annotations

import time
from pathlib import Path

from board_support.board import BoardFacts, EngineSettings, Hardware
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend
from hal.packet.model import Twin


class TwinProcess:
    """A twin lives and dies with the program that made it."""

    def __init__(self) -> None:
        self._twin: Twin | None = None
        self._started_ns = 0

    def adopt(self) -> Backend | None:
        return None

    def launch(self) -> Backend:
        self._twin, self._started_ns = Twin(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return self._twin

    def pid(self) -> int | None:
        return None

    def started_ns(self) -> int:
        return self._started_ns

    def alive(self) -> bool:
        return self._twin is not None

    def take_up(self, port: int, interface: int, namespace: int, claim: int) -> None:
        del namespace, claim
        raise HalError(ErrorKind.UNSUPPORTED, f"port {port}", limit="board twin has no interfaces", got=interface)

    def kill(self) -> None:
        """It has no process of its own."""


def build(facts: BoardFacts, _run: Path, settings: EngineSettings) -> Hardware:
    """The twin board; it uses no run folder. Raises HalError(INVALID) for what needs a program: it runs none."""
    for field, got in (("engine", settings.program), ("engine_user", settings.user), ("owners", settings.opened)):
        if got:
            raise HalError(
                ErrorKind.INVALID, "card.toml", field=field, got=str(got), limit="board twin runs no program"
            )
    return Hardware(facts, TwinProcess())
