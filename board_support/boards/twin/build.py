"""Builds the twin board."""

from __future__ import annotations

from pathlib import Path

from board_support.board import BoardFacts, Hardware
from hal.packet.contract import Backend
from hal.packet.model import Twin


class TwinProcess:
    """A twin lives and dies with the program that made it."""

    def __init__(self) -> None:
        self._twin: Twin | None = None

    def adopt(self) -> Backend | None:
        return None

    def launch(self) -> Backend:
        self._twin = Twin()
        return self._twin

    def pid(self) -> int | None:
        return None

    def alive(self) -> bool:
        return self._twin is not None


def build(facts: BoardFacts, _run: Path) -> Hardware:
    """The twin board; it uses no run folder."""
    return Hardware(facts, TwinProcess())
