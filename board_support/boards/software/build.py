"""Builds the software card."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from board_support.board import BoardFacts, Hardware
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend
from hal.packet.dpdk import Engine, connect, start


class EngineLife:
    """Starts, adopts and watches the engine in one run folder.

    Whether it lives is asked of a pidfd, which stays right when the number is used again and works for an engine
    that an earlier dsnd started.
    """

    def __init__(self, run: Path, program: Path | None = None) -> None:
        self._run = run
        self._program = program
        self._pid: int | None = None
        self._pidfd: int | None = None
        self._status: int | None = None  # as its parent is told; of an engine that was adopted nobody here is

    def _watch(self, engine: Engine) -> Engine:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        try:
            self._pidfd = os.pidfd_open(engine.pid)
        except ProcessLookupError as error:
            engine.close()
            raise HalError(ErrorKind.LOST, f"engine in {self._run}", got="ended at once") from error
        self._pid, self._status = engine.pid, None
        return engine

    def adopt(self) -> Backend | None:
        try:
            return self._watch(connect(self._run))
        except HalError as error:
            if error.kind is ErrorKind.LOST:
                return None
            raise

    def launch(self) -> Backend:
        start(self._run, binary=self._program)
        return self._watch(connect(self._run))

    def pid(self) -> int | None:
        return self._pid

    def alive(self) -> bool:
        if self._pidfd is None:
            return False
        if not select.select([self._pidfd], [], [], 0)[0]:
            return True
        if self._pid is not None:
            with contextlib.suppress(ChildProcessError):  # an engine that an earlier dsnd started isn't our child
                ended, status = os.waitpid(self._pid, os.WNOHANG)
                self._status = status if ended else self._status
        return False

    def how_ended(self) -> str:
        """As `Hardware.how_ended`."""
        if self._status is None:
            return ""
        if os.WIFSIGNALED(self._status):
            return f"signal {signal.Signals(os.WTERMSIG(self._status)).name}"
        return f"exit code {os.WEXITSTATUS(self._status)}"

    def kill(self) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def build(facts: BoardFacts, run: Path, engine: Path | None = None) -> Hardware:
    """The software card with its engine in `run`. Raises HalError(INVALID) where the named program can't be run."""
    if engine is not None and not (engine.is_file() and os.access(engine, os.X_OK)):
        raise HalError(
            ErrorKind.INVALID,
            "card.toml",
            field="engine",
            got=str(engine),
            limit="a program",
            fix="Build it: make engine.",
        )
    life = EngineLife(run, engine)
    return Hardware(facts, life, life.how_ended)
