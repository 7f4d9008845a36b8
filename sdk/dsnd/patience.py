"""How long the daemon waits for others: for clients with a stream open, and for an engine that doesn't answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hal.errors import ErrorKind, HalError

T = TypeVar("T")

MOST_STREAMS = 8
REST_SECONDS = 30.0
ENGINE_SECONDS = 5.0


class Cancellable(Protocol):
    """A call that can be ended from outside."""

    def cancel(self) -> object: ...


class Stream:
    """One stream; it moves whenever a message comes or goes."""

    def __init__(self, call: Cancellable) -> None:
        self.call = call
        self.moved = time.monotonic()

    def each(self, messages: Iterable[T]) -> Iterator[T]:
        for message in messages:
            self.moved = time.monotonic()
            yield message
            self.moved = time.monotonic()


class Streams:
    """The streams that are open: so few that calls always find a thread, and each ended once it rests.

    Args:
        most: at once.
        rest_s: seconds without a message either way after which one is ended.
    """

    def __init__(self, most: int = MOST_STREAMS, rest_s: float = REST_SECONDS) -> None:
        self._most = most
        self._rest_s = rest_s
        self._open: set[Stream] = set()
        self._changed = threading.Condition()
        self._watching = False

    @contextlib.contextmanager
    def one(self, name: str, call: Cancellable) -> Iterator[Stream]:
        """A stream, for as long as the caller is inside. Raises HalError(BUSY) where there are too many."""
        stream = Stream(call)
        with self._changed:
            if len(self._open) >= self._most:
                raise HalError(ErrorKind.BUSY, f"{name} of dsnd", got=f"{len(self._open)} streams open",
                               limit=f"{self._most} at once", fix="Try again when another has ended.")  # fmt: skip
            self._open.add(stream)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="streams", daemon=True).start()
        try:
            yield stream
        finally:
            with self._changed:
                self._open.discard(stream)
                self._changed.notify_all()

    def _watch(self) -> None:
        """End those that rest; ends itself with the last."""
        with self._changed:
            while self._open:
                now = time.monotonic()
                for stream in [one for one in self._open if now - one.moved > self._rest_s]:
                    stream.moved = now  # it takes a moment to go
                    stream.call.cancel()
                self._changed.wait(min(1.0, self._rest_s / 4))
            self._watching = False


@dataclass(frozen=True)
class Doing:
    """What the kernel says that a process does. `words`: for an error's sentence, "" for nothing worth it."""

    words: str = ""
    stuck: bool = False
    fix: str = ""


def doing(pid: int | None) -> Doing:
    """Of an engine that keeps somebody waiting."""
    if pid is None:
        return Doing()
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return Doing(f"; the engine, pid {pid}, has ended")
    if state in "Tt":
        return Doing(
            f"; the engine, pid {pid}, is stopped (T)", True, f"Continue it: kill -CONT {pid}; or dsn card stop."
        )
    if state == "D":
        return Doing(f"; the engine, pid {pid}, waits for a device (D)", True, "Look at that device, or dsn card stop.")
    return Doing(f"; the engine, pid {pid}, is at work ({state})")


class Probe:
    """Asks an engine that may not answer, in a thread beside; while one question is open, others wait with it."""

    def __init__(self, seconds: float = ENGINE_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._stuck: Future[Any] | None = None

    def ask(self, question: Callable[[], T]) -> T:
        """Raises HalError(TIMEOUT) without an answer in time, at once while an earlier question has none."""
        with self._lock:
            if self._stuck is not None and not self._stuck.done():
                raise self._silent()
            self._stuck = None
            future: Future[T] = Future()
            # A daemon thread: a question without an answer must not keep the process.
            threading.Thread(target=_answer, args=(future, question), name="probe", daemon=True).start()
            try:
                return future.result(self._seconds)
            except FutureTimeout:
                self._stuck = future
                raise self._silent() from None

    def why(self, error: HalError) -> str:
        """Why an engine that was asked to end didn't, "" where it did: then it is LOST."""
        if error.kind is ErrorKind.TIMEOUT:
            return f"no answer within {self._seconds:g} s"
        return "" if error.kind is ErrorKind.LOST else str(error)

    def _silent(self) -> HalError:
        return HalError(ErrorKind.TIMEOUT, "packet engine", got="no answer", limit=f"{self._seconds:g} s",
                        fix="Look at its process (ps: T is stopped): continue it or kill it.")  # fmt: skip


def _answer(future: Future[T], question: Callable[[], T]) -> None:
    try:
        future.set_result(question())
    except BaseException as error:  # noqa: BLE001 - it is raised again, where it was asked for
        future.set_exception(error)
