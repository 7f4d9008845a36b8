"""The engine as the conformance kit is handed it: a process of its own for each card, in a run folder of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

from hal.conformance.device import Device
from hal.errors import HalError
from hal.packet.contract import Backend
from hal.packet.dpdk import engine as engine_module
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.link import SEALS
from hal.packet.dpdk.process import start

END_SECONDS = 10.0
HANG_SECONDS = 0.1
"""How long who asks an engine that hangs waits for its answer."""


class EngineDevice(Device):
    """Engines, started with `replay` ports; their clock is the machine's.

    Args:
        binary: the program; None: the one that is found.
        arguments: more of its command line.
    """

    def __init__(self, binary: Path | None = None, arguments: Sequence[str] = ()) -> None:
        self._binary = binary
        self._arguments = tuple(arguments)

    @property
    def name(self) -> str:
        return "engine"

    def open(self) -> Backend:
        run = Path(tempfile.mkdtemp(prefix="dsn-kit-"))
        try:
            start(run, binary=self._binary, arguments=self._arguments)
            return connect(run, self.stages)
        except BaseException:
            shutil.rmtree(run, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def hang(self, backend: Backend) -> Iterator[None]:
        """The process is stopped; its sockets go on taking what fits."""
        engine = _engine(backend)
        before = [(link, link.wait(HANG_SECONDS)) for link in engine.writer_links]
        os.kill(engine.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(engine.pid, signal.SIGCONT)
            for link, seconds in before:
                link.wait(seconds)

    @contextlib.contextmanager
    def cut(self, backend: Backend) -> Iterator[None]:
        """The process is stopped, so that nothing is answered, and the sockets are shut down below who waits."""
        engine = _engine(backend)

        def shut() -> None:
            for link in engine.writer_links:
                link.shut()

        timer = threading.Timer(HANG_SECONDS, shut)
        os.kill(engine.pid, signal.SIGSTOP)
        timer.start()
        try:
            yield
        finally:
            timer.join()
            os.kill(engine.pid, signal.SIGCONT)

    def kill(self, backend: Backend) -> None:
        os.kill(_engine(backend).pid, signal.SIGKILL)

    def damages(self, backend: Backend) -> Mapping[str, AbstractContextManager[None]]:
        """The memfd of rows, as a client with a mistake or with ill will would hand it over."""
        del backend
        return {
            "are fewer than they say": _memfds(lambda data: data[:-8], SEALS),
            "are none": _memfds(lambda _: b"", SEALS),
            "may still be changed": _memfds(lambda data: data, 0),
            "may still shrink": _memfds(lambda data: data, SEALS & ~fcntl.F_SEAL_SHRINK),
        }

    def close(self, backend: Backend) -> None:
        pid = _engine(backend).pid
        with contextlib.suppress(HalError):  # it may have been stopped before
            backend.stop()
        backend.close()
        _wait_for_end(pid)
        shutil.rmtree(_engine(backend).run, ignore_errors=True)


def _engine(backend: Backend) -> Engine:
    if not isinstance(backend, Engine):
        raise TypeError(f"an engine is wanted, not {type(backend).__name__}")
    return backend


@contextlib.contextmanager
def _memfds(of: Callable[[bytes], bytes], seals: int) -> Iterator[None]:
    """Within: what is handed over in memfds becomes this, sealed like this."""

    def made(parts: Iterable[Any], name: str = "dsn-rows") -> int:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, of(b"".join(bytes(memoryview(part).cast("B")) for part in parts)))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        return fd

    with mock.patch.object(engine_module, "sealed_memfd", made):
        yield


def _wait_for_end(pid: int) -> None:
    """Wait until the process, our child, has ended; kill it where it doesn't."""
    deadline = time.monotonic() + END_SECONDS
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)


def device() -> Device:
    return EngineDevice()
