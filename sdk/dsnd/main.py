"""The daemon's process: `python -m sdk.dsnd --card card.toml --run DIR`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

from board_support.board import EngineSettings, build
from hal.authority import NOBODY, Holder, group_number, own_folder, user_number
from hal.errors import ErrorKind, HalError
from sdk.card_config import CardConfig, load_card_config
from sdk.dsnd.card import Card
from sdk.dsnd.collector import Collector
from sdk.dsnd.interfaces import Interfaces
from sdk.dsnd.loaded import Record
from sdk.dsnd.rotation import cut, rotate
from sdk.dsnd.server import CardServicer, serve
from sdk.dsnd.store import Store, another_cards, write_durably
from sdk.dsnd.taps import Taps, card_namespace, plan
from sdk.terminal import printable
from services.core.objects import IntentError
from services.core.service import Services, discover

ENGINE_FOLDER = "engine"
ENGINE_LOG = "engine.log"
SOCKET = "dsnd.sock"
LOCK = "dsnd.lock"
STATE_LOCK = "state.lock"
GRACE_S = 10.0
LOADED = "loaded.json"
LOOK_AT_LOG_S = 5.0
REFUSAL = "refusal.json"
"""Why the last start was refused, for who waits for it."""


def log(message: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):  # a full disk is no reason to end
        print(f"{stamp} dsnd: {printable(message)}", file=sys.stderr, flush=True)


def hold_folder(run: Path, name: str = LOCK, what: str = "run folder", fix: str = "Use it") -> int:
    """Take a folder for this daemon alone, by the lock of that name; returns the descriptor that holds it.

    Raises:
        HalError: BUSY where another daemon has it, naming its pid; INVALID where it isn't ours, or others can write it.
    """
    own_folder(run, what)
    fd = _lock_file(run, name)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = "another dsnd"
        if stat.S_ISREG(os.fstat(fd).st_mode):
            who = f"dsnd with pid {os.pread(fd, 32, 0).decode('ascii', 'replace').strip()}"
        os.close(fd)
        raise HalError(ErrorKind.BUSY, f"{what} {run}", got=who,
                       fix=f"{fix}, or stop it: dsn card stop.") from None  # fmt: skip
    with contextlib.suppress(OSError):  # it can't be written: held all the same
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _lock_file(folder: Path, name: str) -> int:
    """What is locked. A file system that is mounted read-only keeps no card down: the file that is there is taken, and
    where there is none the folder."""
    try:
        return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    try:
        return os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def engine_settings(config: CardConfig) -> EngineSettings:
    """How card.toml wants the engine run. Raises HalError(INVALID) for a user or group that this machine hasn't."""
    writers = {}
    for owner, (user, group) in config.writers.items():
        place = f"owners.{owner}"
        writers[owner] = Holder(
            user_number(user, "card.toml", f"{place}.user") if user else None,
            group_number(group, "card.toml", f"{place}.group") if group else None,
        )
    readers = Holder(None, group_number(config.read_group, "card.toml", "read_group")) if config.read_group else NOBODY
    program = Path(config.engine) if config.engine else None
    return EngineSettings(program, config.engine_user, config.memory_mb, writers, readers)


def run_card(config: CardConfig, card_toml: Path, run: Path, state: Path, services: Services) -> None:
    """Serve the card until it is stopped or this process is ended; the latter leaves the engine forwarding."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    lock = hold_folder(run)
    state_lock = hold_folder(state, STATE_LOCK, "state folder", "Give this card a folder of its own (--state)")
    settings = engine_settings(config)
    callers = Holder(None, group_number(config.api_group, "card.toml", "api_group") if config.api_group else None)
    hardware = build(config.board, run / ENGINE_FOLDER, settings)
    if settings.opened or callers.anybody:  # to pass through; what may be opened says so itself
        run.chmod(stat.S_IMODE(run.stat().st_mode) | stat.S_IXGRP | stat.S_IXOTH)
    load, taps, interfaces = config.load_config(), None, None
    if load.owners and set(hardware.facts.devices) <= {"replay"}:
        raise HalError(
            ErrorKind.INVALID, "card.toml", field="owners", got=", ".join(load.owners),
            limit=f"a board with an engine of its own: {config.board}'s lives in dsnd, and no agent can connect to it",
            fix='Write board = "software", or leave [owners] out; for an agent\'s tests see sdk.testing.agents.',
        )  # fmt: skip
    if "tap" in hardware.facts.devices:
        load, planned = plan(load, run, config.punt_taps)
        taps = Taps(planned, card_namespace(run))
    if "linux" in hardware.facts.devices:
        interfaces = Interfaces(load.ports, log)
    store = Store(state)
    if before := store.taken_over(card_toml):
        log(another_cards(state, before, card_toml))
    record = Record(run / LOADED)
    collector = Collector(lambda: card.backend)
    card = Card(hardware, load, services, store, log, taps=taps, record=record, interfaces=interfaces,
                tell=collector.tell)  # fmt: skip
    card.begin()
    collector.begin()
    server = serve(CardServicer(card, collector, ending.set, log), run / SOCKET, callers)
    if config.engine_user in ("root", "0"):
        log("the engine runs as root, as card.toml says: engine_user")
    log(f"serving board {config.board} in {run}, engine pid {hardware.packet.pid() or 'none'}")
    while not ending.wait(LOOK_AT_LOG_S):
        with contextlib.suppress(OSError):  # a log too long is no reason to end
            rotate()
            cut(run / ENGINE_FOLDER / ENGINE_LOG)
    server.stop(grace=GRACE_S).wait()  # an apply that has begun is answered
    (run / SOCKET).unlink(missing_ok=True)
    collector.end()
    card.let_go()
    os.close(state_lock)
    os.close(lock)
    log("ended" if card.life.state == "stopped" else "ended; the engine goes on")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 ended on purpose, 1 refused to start."""
    parser = argparse.ArgumentParser(prog="dsnd", description="The card's daemon.")
    parser.add_argument("--card", type=Path, required=True, help="card.toml")
    parser.add_argument("--run", type=Path, required=True, help="run folder, for sockets and pids")
    parser.add_argument("--state", type=Path, help="what outlives restarts; default: RUN/state")
    parser.add_argument("--with", type=Path, action="append", default=[], dest="folders", metavar="DIR",
                        help="a folder with a service or stage that isn't installed")  # fmt: skip
    options = parser.parse_args(arguments)
    card, run = options.card.absolute(), options.run.absolute()
    state = options.state.absolute() if options.state else run / "state"
    folders = [folder.absolute() for folder in options.folders]
    if engine := os.environ.get("DSN_ENGINE"):
        os.environ["DSN_ENGINE"] = str(Path(engine).absolute())
    # A daemon holds no folder but its own: the one it was started in may have to be unmounted.
    os.chdir("/")
    try:
        services = discover(folders)  # first: card.toml may name tables of stages in folders
        run_card(load_card_config(card), card, run, state, services)
    except (HalError, IntentError, OSError) as error:
        log(f"refused to start: {error}")
        if run.is_dir():
            with contextlib.suppress(OSError, HalError):
                own_folder(run, "run folder")
                write_durably(run / REFUSAL, json.dumps(_refusal(error).to_dict()).encode())
        return 1
    return 0


def _refusal(error: HalError | IntentError | OSError) -> HalError:
    """Why the start was refused, as who waits for it reads it."""
    if isinstance(error, HalError):
        return error
    problems = [one.sentence for one in error.problems if not one.warning] if isinstance(error, IntentError) else []
    got = " ".join(problems) or str(error)
    return HalError(ErrorKind.INVALID, "start of dsnd", got=got.rstrip("."))
