"""The engine as the conformance kit is handed it: a process of its own for each card, in a run folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hal.conformance.device import Device
from hal.errors import HalError
from hal.packet.contract import Backend
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.process import start

END_SECONDS = 10.0


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

    def close(self, backend: Backend) -> None:
        if not isinstance(backend, Engine):
            raise TypeError(f"an engine is wanted, not {type(backend).__name__}")
        pid = backend.pid
        with contextlib.suppress(HalError):  # it may have been stopped before
            backend.stop()
        backend.close()
        _wait_for_end(pid)
        shutil.rmtree(backend.run, ignore_errors=True)


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
