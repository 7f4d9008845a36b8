"""The process of an engine, in a test of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Backend
from hal.packet.model import Twin


class Process:
    """An engine's process that a test kills, by taking `engine` away, and that outlives the daemons of a test.

    Args:
        make: what is started.

    Attributes:
        engine: what runs.
        born_ns: what runs was started then, in nanoseconds of CLOCK_BOOTTIME.
        launches: how often one was started.
        refuse: how many starts are refused from now on.
        failing: what asking whether it lives raises, the last one first.
    """

    def __init__(self, make: Callable[[], Backend] = Twin) -> None:
        self._make = make
        self.engine: Backend | None = None
        self.born_ns = 0
        self.launches = 0
        self.refuse = 0
        self.failing: list[Exception] = []

    def adopt(self) -> Backend | None:
        return self.engine

    def launch(self) -> Backend:
        if self.refuse:
            self.refuse -= 1
            raise HalError(ErrorKind.INVALID, "engine", got="exit 1")
        self.launches += 1
        self.engine, self.born_ns = self._make(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return self.engine

    def pid(self) -> int | None:
        return None

    def started_ns(self) -> int:
        return self.born_ns

    def take_up(self, port: int, interface: int, namespace: int, claim: int) -> None:
        raise AssertionError("it has no interfaces")

    def kill(self) -> None:
        raise AssertionError("it has no process of its own")

    def alive(self) -> bool:
        if self.failing:
            raise self.failing.pop()
        return self.engine is not None
