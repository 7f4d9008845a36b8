"""The engine's process: started detached, found again by its socket, ended by its own verb."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hal.authority import NOBODY, Holder, open_log, own_folder
from hal.errors import ErrorKind, HalError
from hal.packet.dpdk.load import name_writers

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 20.0
FROM_SOURCES = "A wheel brings none: build it from the SDK's sources (make engine) and name it in DSN_ENGINE."


def find_binary() -> Path:
    """Where the engine is: $DSN_ENGINE, the checkout's build, or PATH.

    Raises:
        HalError: INVALID where it is in none of them.
    """
    named = os.environ.get("DSN_ENGINE")
    checkout = (ROOT / "Makefile").is_file()
    candidates = [Path(named)] if named else [ROOT / "build/engine/dsn-engine"] if checkout else []
    on_path = shutil.which("dsn-engine")
    if not named and on_path:
        candidates.append(Path(on_path))
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise HalError(
        ErrorKind.INVALID,
        "dsn-engine",
        got="not found in " + ", ".join([*(str(path) for path in candidates), *([] if named else ["PATH"])]),
        fix="Build it: make engine." if checkout else FROM_SOURCES,
    )


@dataclass(frozen=True)
class EngineProcess:
    """A started engine: its process id and run folder."""

    pid: int
    run: Path


def start(
    run: Path,
    *,
    binary: Path | None = None,
    arguments: Sequence[str] = (),
    log: Path | None = None,
    environment: dict[str, str] | None = None,
) -> EngineProcess:
    """Start an engine in its own session and wait until its sockets answer.

    Args:
        run: its run folder, made with mode 0700 where it doesn't exist; one engine a folder.
        binary: the program; None: `find_binary()`.
        arguments: more of its command line.
        log: where its output goes; None: run/engine.log.
        environment: added to ours.

    Raises:
        HalError: BUSY where another engine has the folder (its words name the pid), TIMEOUT, or INVALID with what
            it printed, or for a folder or log that isn't ours alone.
    """
    own_folder(run, "run folder")
    log = log or run / "engine.log"
    command = [str(binary or find_binary()), "--run", str(run), *arguments]
    output = open_log(log)
    try:
        begin = os.fstat(output).st_size
        pid = _spawn(command, output, {**os.environ, **(environment or {})})
    finally:
        os.close(output)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            said = log.read_bytes()[begin:].decode("utf-8", "replace").strip()
            code = os.waitstatus_to_exitcode(status)
            kind = ErrorKind.BUSY if code == os.EX_TEMPFAIL else ErrorKind.INVALID
            raise HalError(kind, f"engine in {run}", got=f"exit {code}: {said[-500:]}")
        if (run / "read.sock").exists() and _pid_of(run) == pid:
            return EngineProcess(pid, run)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise HalError(
        ErrorKind.TIMEOUT, f"engine in {run}", limit=f"{START_SECONDS:.0f} s until it answers", fix=f"See {log}."
    )


def open_to(run: Path, writers: Mapping[str, Holder], readers: Holder) -> None:
    """Let these, besides root, open the sockets that are there, and nobody else. Raises OSError."""
    name_writers(run)  # whoever loaded it was ended in between
    for path in run.glob("write-*.sock"):
        writers.get(path.stem.removeprefix("write-"), NOBODY).give(path)
    readers.give(run / "read.sock")


def sweep(run: Path) -> None:
    """Take away sockets and files of an engine that has ended: where it became another user it couldn't. Nothing where
    one lives. Raises OSError."""
    try:
        lock = os.open(run / "engine.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in (*run.glob("*.sock"), *run.glob("*.sock.new"), run / "engine.pid"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(run / "dpdk")
    except BlockingIOError:
        return
    finally:
        os.close(lock)


def _spawn(command: Sequence[str], output: int, environment: dict[str, str]) -> int:
    """Start a program in a session of its own, with that descriptor for its output. It is not ours to wait for."""
    return os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _pid_of(run: Path) -> int | None:
    from hal.packet.dpdk.link import Link
    from hal.packet.dpdk.wire import Hello, Verb

    try:
        # The schema comes with the answer, as a descriptor.
        with Link(run / "read.sock", timeout=5) as link, closing(link.ask(Verb.HELLO)) as reply:
            return int(reply.structure(Hello).pid)
    except HalError:
        return None
