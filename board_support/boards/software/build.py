"""Builds the software card."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from board_support.board import BoardFacts, EngineSettings, Hardware
from board_support.boards.software.user import EngineUser, check, choose
from hal.authority import user_number
from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend
from hal.packet.dpdk import Engine, connect, open_to, start, sweep


class EngineLife:
    """Starts, adopts and watches the engine in one run folder.

    Whether it lives is asked of a pidfd, which stays right when the number is used again and works for an engine
    that an earlier dsnd started.
    """

    def __init__(self, run: Path, settings: EngineSettings) -> None:
        self._run = run
        self._settings = settings
        self._user: EngineUser | None = None  # of the engine that was started here
        self._pid: int | None = None
        self._pidfd: int | None = None
        self._started_ns = 0
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
        self._pid, self._status, self._started_ns = engine.pid, None, engine.started_ns
        return engine

    def adopt(self) -> Backend | None:
        try:
            engine = self._connect()
        except HalError as error:
            if error.kind is ErrorKind.LOST:
                return None
            raise
        try:
            check(self._settings.user, engine.pid, self._run)
            open_to(self._run, self._settings.writers, self._settings.readers)
        except BaseException:
            engine.close()
            raise
        return self._watch(engine)

    def launch(self) -> Backend:
        self._bury()
        self._user = choose(self._settings.user, self._run)
        start(self._run, binary=self._settings.program, arguments=self._arguments(self._user))
        open_to(self._run, self._settings.writers, self._settings.readers)
        return self._watch(self._connect())

    def _arguments(self, user: EngineUser) -> list[str]:
        memory = self._settings.memory_mb
        return [*user.arguments(), *(["--memory", str(memory)] if memory else [])]

    def _connect(self) -> Engine:
        return connect(self._run, holders=self._settings.writers)

    def _bury(self) -> None:
        """Take away what an engine that has ended could not."""
        sweep(self._run)
        if self._user is not None:
            self._user.let_go()
            self._user = None

    def pid(self) -> int | None:
        return self._pid

    def started_ns(self) -> int:
        return self._started_ns

    def alive(self) -> bool:
        if self._pidfd is None:
            return False
        if not select.select([self._pidfd], [], [], 0)[0]:
            return True
        if self._pid is not None:
            with contextlib.suppress(ChildProcessError):  # an engine that an earlier dsnd started isn't our child
                ended, status = os.waitpid(self._pid, os.WNOHANG)
                self._status = status if ended else self._status
        self._bury()
        return False

    def how_ended(self) -> str:
        """As `Hardware.how_ended`."""
        if self._status is None:
            return ""
        if os.WIFSIGNALED(self._status):
            return f"signal {signal.Signals(os.WTERMSIG(self._status)).name}"
        return f"exit code {os.WEXITSTATUS(self._status)}"

    def take_up(self, port: int, interface: int, namespace: int, claim: int) -> None:
        engine = self._connect()
        try:
            engine.take_up(port, interface, namespace, claim)
        finally:
            engine.close()

    def kill(self) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def build(facts: BoardFacts, run: Path, settings: EngineSettings) -> Hardware:
    """The software card with its engine in `run`. Raises HalError(INVALID) where the named program can't be run, or the
    named user isn't there."""
    program = settings.program
    if program is not None and not (program.is_file() and os.access(program, os.X_OK)):
        raise HalError(
            ErrorKind.INVALID,
            "card.toml",
            field="engine",
            got=str(program),
            limit="a program",
            fix="Build it: make engine.",
        )
    if settings.user:
        user_number(settings.user, "card.toml", "engine_user")
    life = EngineLife(run, settings)
    return Hardware(facts, life, life.how_ended)
