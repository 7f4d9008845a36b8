"""An engine under test: the sanitizers' build, in a run folder of its own, that has to end well and say nothing."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.tools.tree import ROOT


@cache
def binary() -> Path:
    """The engine with sanitizers, built if need be."""
    done = subprocess.run([".ci/engine", "engine-asan"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return ROOT / "build" / "engine-asan" / "dsn-engine"


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as there:
        return there.connect_ex(str(path)) == 0


@contextmanager
def running(run: Path, *arguments: str, killed: bool = False) -> Iterator[int]:
    """Pid of an engine in this run folder. What it prints, a sanitizer's words first of all, is a failure; so is its
    end, unless the test has `killed` it."""
    run.mkdir(mode=0o700, exist_ok=True)
    log = run / "engine.log"
    with log.open("wb") as output:
        process = subprocess.Popen([binary(), "--run", run, *arguments], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 30
        while not listens(run / "read.sock"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "no socket"
            time.sleep(0.01)
        yield process.pid
        process.terminate()
        assert (process.wait(timeout=60), log.read_text()) == (-signal.SIGKILL if killed else 0, "")
    finally:
        process.kill()
        process.wait()
