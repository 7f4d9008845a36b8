"""A line between a client and a twin, which may hang, break, be damaged, or lead nowhere any more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NoReturn

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Outcome
from hal.packet.model.twin import Twin, TwinWriter


class Line:
    """What commits pass through. What waits at its far end when it hangs or breaks is done when it is well again."""

    def __init__(self) -> None:
        self.fault: ErrorKind | None = None
        self.dead = False
        self._waiting: list[Callable[[], int]] = []

    def commit(self, request: Callable[[], int]) -> int:
        if self.dead:
            self.gone()
        if self.fault is None:
            return request()
        if self.fault is not ErrorKind.CORRUPT:
            self._waiting.append(request)
        raise HalError(self.fault, "commit")

    @contextlib.contextmanager
    def faulty(self, fault: ErrorKind) -> Iterator[None]:
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None
            self.well_again(fault)

    def well_again(self, after: ErrorKind) -> None:
        del after
        self.do_waiting()

    def do_waiting(self) -> None:
        while self._waiting:
            with contextlib.suppress(HalError):
                self._waiting.pop(0)()

    def damages(self) -> Mapping[str, AbstractContextManager[None]]:
        return {"are not whole": self.faulty(ErrorKind.CORRUPT)}

    def gone(self) -> NoReturn:
        raise HalError(ErrorKind.LOST, "line")


class LinedWriter:
    """A writer at the near end of a line."""

    def __init__(self, writer: TwinWriter, line: Line) -> None:
        self._writer = writer
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def commit(self, *arguments: Any, **more: Any) -> int:
        return self._line.commit(partial(self._writer.commit, *arguments, **more))

    def outcome(self, transaction: int) -> Outcome:
        if self._line.dead:
            self._line.gone()
        return self._writer.outcome(transaction)


def connect(twin: Twin, line: Line) -> None:
    """Put a line before a twin."""
    writer, snapshot = twin.writer, twin.snapshot

    def asked(*arguments: Any) -> Any:
        if line.dead:
            line.gone()
        return snapshot(*arguments)

    vars(twin).update(line=line, snapshot=asked, writer=lambda owner="dsnd": LinedWriter(writer(owner), line))


def line_of(backend: Any) -> Line:
    line: Line = backend.line
    return line
