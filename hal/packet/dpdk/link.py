"""One connection to one of the engine's sockets: requests, answers, sealed memfds."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import itertools
import mmap
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from hal.errors import ErrorKind, HalError
from hal.packet.dpdk import wire
from hal.packet.dpdk.wire import Verb

T = TypeVar("T", bound=ctypes.Structure)

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
ANSWER_SECONDS = 60.0
"""How long an answer may take: longer than any commit that fits in memory."""

QUICK_SECONDS = 20.0
"""How long it may take to what needs no work: longer than what others ask in between."""
QUICK = frozenset({Verb.HELLO, Verb.CAPABILITIES, Verb.OUTCOME})


def sealed_memfd(parts: Iterable[Any], name: str = "dsn-rows") -> int:
    """A memfd holding `parts` (bytes-likes) one behind the other, sealed against any change. The caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while len(view):
                view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_memfd(fd: int) -> bytes:
    """All bytes of a memfd from the engine; closes it."""
    try:
        size = os.fstat(fd).st_size
        if size == 0:
            return b""
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            return memory[:]
    finally:
        os.close(fd)


@dataclass
class Reply:
    """An answer: the body and the descriptor that came with it, if one did."""

    body: bytes
    fd: int | None = None

    def structure(self, kind: type[T]) -> T:
        """The body as a structure. Raises HalError(CORRUPT) if it is too short."""
        if len(self.body) < ctypes.sizeof(kind):
            raise HalError(
                ErrorKind.CORRUPT,
                "answer of the engine",
                field=kind.__name__,
                got=f"{len(self.body)} bytes",
                limit=f"{ctypes.sizeof(kind)} bytes",
            )
        return kind.from_buffer_copy(self.body[: ctypes.sizeof(kind)])

    def data(self) -> bytes:
        """The bytes of the memfd that came with it."""
        if self.fd is None:
            raise HalError(ErrorKind.CORRUPT, "answer of the engine", field="memfd", limit="one", got="none")
        fd, self.fd = self.fd, None
        return read_memfd(fd)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class Link:
    """A connection to one socket. Threads that ask at once wait for each other.

    Args:
        path: the socket.
        tables: names of the engine's tables by number, for errors; set after the greeting.
    """

    def __init__(self, path: Path, timeout: float = ANSWER_SECONDS) -> None:
        self.path = path
        self.tables: Sequence[str] = ()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        self._timeout = timeout
        try:
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            self._socket.close()
            raise HalError(
                ErrorKind.LOST, f"socket {path}", got="nobody listens", fix="Start the card: dsn card start."
            ) from error
        except PermissionError as error:
            self._socket.close()
            raise HalError(ErrorKind.DENIED, f"socket {path}", limit="who may open it has its authority") from error

    def close(self) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> float:
        """How long answers may take from now on; returns how long they might before."""
        before, self._timeout = self._timeout, seconds
        return before

    def shut(self) -> None:
        """End the connection under whoever waits for an answer: to him it is LOST."""
        with contextlib.suppress(OSError):  # it may have ended before
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, verb: Verb, body: bytes | ctypes.Structure = b"", fds: Sequence[int] = (), shard: int = 0) -> Reply:
        """Send one request and wait for its answer.

        Raises:
            HalError: what the engine answered; TIMEOUT without an answer in time, LOST if the engine went away.
        """
        with self._lock:
            return self._ask(verb, bytes(body), fds, shard)

    def _ask(self, verb: Verb, body: bytes, fds: Sequence[int], shard: int) -> Reply:
        if self._socket.fileno() < 0:
            raise HalError(ErrorKind.LOST, f"connection to {self.path.name}", got="closed", fix="Connect anew.")
        number = next(self._numbers)
        head = wire.Request(wire.MAGIC, verb, wire.VERSION, number, len(body), shard)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.settimeout(min(self._timeout, QUICK_SECONDS) if verb in QUICK else self._timeout)
            self._socket.sendmsg([bytes(head), body], ancillary)
            while True:
                reply, answer = self._receive()
                self._heed(reply, answer)
                if answer.request == number:
                    break
                reply.close()  # an answer to a request that timed out
        except TimeoutError as error:
            raise HalError(
                ErrorKind.TIMEOUT,
                f"{verb.name.lower()}",
                limit=f"{self._socket.gettimeout():.0f} s",
                fix="Ask outcome(transaction) what became of it.",
            ) from error
        except OSError as error:
            self._farewell()
            raise HalError(
                ErrorKind.LOST,
                f"connection to {self.path.name}",
                got=str(error),
                fix="Connect again (reconnect); then outcome(transaction) says what became of a commit.",
            ) from error
        if answer.kind:
            reply.close()
            raise self.error(ErrorKind(answer.kind), reply.structure(wire.Error))
        return reply

    def _heed(self, reply: Reply, answer: wire.Answer) -> None:
        """Requests count from 1: an error about request 0 is about the connection itself."""
        if answer.request == 0 and answer.kind:
            reply.close()
            raise self.error(ErrorKind(answer.kind), reply.structure(wire.Error))

    def _farewell(self) -> None:
        """Raise what the engine said before it closed the connection, where it said something. An engine that closes
        before it has read what we sent resets the connection; what it said is read behind that."""
        with contextlib.suppress(OSError):
            self._socket.setblocking(False)
            while True:
                self._heed(*self._receive())

    def _receive(self) -> tuple[Reply, wire.Answer]:
        data, ancillary, _, _ = self._socket.recvmsg(
            wire.MAX_MESSAGE, socket.CMSG_SPACE(4 * 4), socket.MSG_CMSG_CLOEXEC
        )
        fds: list[int] = []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds += array.array("i", content[: len(content) // 4 * 4]).tolist()
        for extra in fds[1:]:
            os.close(extra)
        reply = Reply(data[ctypes.sizeof(wire.Answer) :], fds[0] if fds else None)
        if not data:
            raise ConnectionResetError("the engine closed it")
        if len(data) < ctypes.sizeof(wire.Answer):
            reply.close()
            raise ConnectionAbortedError("an answer of too few bytes")
        answer = wire.Answer.from_buffer_copy(data[: ctypes.sizeof(wire.Answer)])
        if answer.magic != wire.MAGIC:
            reply.close()
            raise ConnectionAbortedError("an answer of another protocol")
        return reply, answer

    def error(self, kind: ErrorKind, place: wire.Error) -> HalError:
        """The engine's error as an exception, in the words of the contract."""
        table = self.tables[place.table] if 0 <= place.table < len(self.tables) else None
        return HalError(
            kind,
            wire.text(place.what) or (f"table {table}" if table else "request"),
            field=wire.text(place.field),
            limit=wire.text(place.limit),
            got=wire.text(place.got) or None,
            fix=wire.text(place.fix),
            table=table,
            row=place.row if place.row >= 0 else None,
            row_id=place.id if place.id != wire.ANY_BASE else None,
        )
