"""Engines for tests: the one with sanitizers that `make test` builds, or the one that runs; each in its own folder."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hal.errors import HalError
from hal.packet.dpdk import Engine, connect, start

ROOT = Path(__file__).resolve().parents[2]
SANITIZED = ROOT / "build/engine-asan/dsn-engine"
RELEASED = ROOT / "build/engine/dsn-engine"
ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:halt_on_error=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


class EngineDied(AssertionError):
    """The engine ended although nobody asked it to; the message has its last words."""


def _ended(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def running(binary: Path = SANITIZED, arguments: Sequence[str] = (), more: Sequence[str] = ()) -> Iterator[Engine]:
    """A started, not yet loaded engine. What a sanitizer finds, leaks at its end included, fails the test.

    Args:
        binary: the program.
        arguments: more of its command line.
        more: packages of stages that we know of; it may have no code for them.

    Raises:
        EngineDied: it ended before it was stopped, or with an error.
    """
    with tempfile.TemporaryDirectory(prefix="dsn-engine-") as folder:
        run = Path(folder) / "run"
        process = start(run, binary=binary, arguments=arguments, environment=ENVIRONMENT)
        engine = connect(run, more)
        try:
            yield engine
        finally:
            died = not Path(f"/proc/{process.pid}").exists() or _ended(process.pid, 0)
            if not died:
                with contextlib.suppress(HalError):
                    engine.stop()
                if not _ended(process.pid, 20):
                    os.kill(process.pid, signal.SIGKILL)
                    died = True
            engine.close()
            words = (run / "engine.log").read_text(errors="replace")
        if died or "ERROR: " in words or "runtime error" in words:
            raise EngineDied(words[-6000:])
