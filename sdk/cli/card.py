"""Commands that change a card: apply, and card start, stop, status."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hal.authority import open_log, own_folder
from hal.errors import ErrorKind, HalError
from sdk.cli.client import CardStatus
from sdk.cli.connect import connect, is_running, run_folder
from sdk.cli.options import files_argument, folders, json_option, services, with_option
from sdk.cli.output import EXIT_CODES, emit, guarded
from sdk.terminal import printable
from services.core.ports import SPARE_PREFIX

if TYPE_CHECKING:
    from rich.console import Console

START_S: Final = 30.0
STOP_S: Final = 30.0
STATE_FOLDER: Final = "/var/lib/dsn"


@click.command(
    epilog=f"Examples: dsn apply intent/; dsn apply web.yaml --set web; make-intent | dsn apply -. {EXIT_CODES}"
)
@files_argument
@click.option("--set", "set_name", default="", help="FILES are the whole of this set; other objects stay.")
@json_option
@with_option
@click.pass_context
def apply(context: click.Context, files: tuple[Path, ...], set_name: str, as_json: bool) -> None:
    """Make FILES, or folders of .yaml files, the card's whole intent: what they lack is removed. - is standard input.

    All of it is committed in one step or nothing is. When this command returns, packets obey it and it is on disk.
    """
    from services.core import intent

    with guarded(as_json):
        sources = intent.sources(files)
        if not set_name and not is_running():
            # What is wrong by itself is told without a card. One that runs knows its own services and stages.
            intent.load(sources, services(context)).require()
        with connect() as running:
            applied = running.apply(sources, set_name=set_name)
        for warning in applied.warnings:
            click.echo(printable(warning), err=True)
        emit(as_json, applied.to_dict(), lambda console: console.print(str(applied)))


@click.group(epilog=EXIT_CODES)
def card() -> None:
    """Start, stop and look at the card of this machine."""


@card.command(
    short_help="Start the card that CARD_TOML describes.", epilog=f"Example: dsn card start card.toml. {EXIT_CODES}"
)
@click.argument("card_toml", type=click.Path(path_type=Path, dir_okay=False), default="/etc/dsn/card.toml")
@click.option("--state", type=click.Path(path_type=Path), envvar="DSN_STATE",
              help="Where the intent is kept; default: $DSN_STATE, $DSN_RUN/state or /var/lib/dsn.")  # fmt: skip
@with_option
@json_option
@click.pass_context
def start(context: click.Context, card_toml: Path, state: Path | None, as_json: bool) -> None:
    """Start the daemon of the card that CARD_TOML describes; it starts its engine, or adopts the one that runs."""
    from sdk.card_config import load_card_config
    from sdk.dsnd.store import another_cards, stored_for

    with guarded(as_json):
        if folders(context):
            services(context)  # first: card.toml may name tables of stages in folders
        load_card_config(card_toml)
        if is_running():
            with connect() as running:
                status = running.status()
            what = f"card {run_folder()}"
            raise HalError(
                ErrorKind.BUSY, what, got=f"dsnd with pid {status.daemon_pid}", fix="Use it, or dsn card stop."
            )
        state = (state or state_folder()).resolve()
        before = stored_for(state)
        _start_daemon(card_toml, state, folders(context))
        if before not in ("", str(card_toml.resolve())):
            click.echo(printable(another_cards(state, before, card_toml.resolve())), err=True)
        with connect() as running:
            status = running.status()
        emit(as_json, status.to_dict(), lambda console: _print_status(console, status))


def state_folder() -> Path:
    """Where a card keeps its intent that nobody named a folder for: below the run folder of a card that has one of its
    own, so that two cards of a machine don't begin with each other's."""
    return run_folder() / "state" if os.environ.get("DSN_RUN") else Path(STATE_FOLDER)


def _start_daemon(card_toml: Path, state: Path, more: Sequence[Path]) -> None:
    """Start dsnd in a session of its own and wait until it answers. Raises HalError."""
    folder = run_folder().absolute()
    log, refusal = folder / "dsnd.log", folder / "refusal.json"
    try:
        own_folder(folder, "run folder")
        refusal.unlink(missing_ok=True)
        output = open_log(log)
    except OSError as error:
        fix = "Start the card as root, or set DSN_RUN to a folder that you may write."
        raise HalError(ErrorKind.DENIED, f"run folder {folder}", got=error.strerror, fix=fix) from error
    arguments = ["--card", str(card_toml.resolve()), "--run", str(folder), "--state", str(state.resolve())]
    arguments += [word for one in more for word in ("--with", str(one.resolve()))]
    # -P: the folder this is called in is no place to find modules.
    command = [sys.executable, "-P", "-m", "sdk.dsnd", *arguments]
    try:
        # No Popen: nobody waits for a daemon, and what nobody waits for is a warning there.
        files = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ]
        daemon = os.posix_spawn(sys.executable, command, os.environ, file_actions=files, setsid=True)
    finally:
        os.close(output)
    deadline = time.monotonic() + START_S
    while not is_running(folder):
        if os.waitpid(daemon, os.WNOHANG)[0]:
            raise _why_it_ended(refusal, log)
        # It isn't ended: large tables take their time, and the engine may be forwarding already.
        fix = f"It goes on: dsn card status says when it is there, and {log} why not; dsn card stop ends it."
        _wait(deadline, "dsnd", f"{START_S:g} s to start", fix)


def _why_it_ended(refusal: Path, log: Path) -> HalError:
    """What dsnd refused to start for, in its own words, or the last of its log."""
    try:
        return HalError.from_dict(json.loads(refusal.read_text()))
    except (OSError, ValueError, KeyError):
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no words"]
        return HalError(ErrorKind.INVALID, "dsnd", got=f"ended at once: {last[0].rstrip('.')}", fix=f"Read {log}.")


def _wait(deadline: float, what: str, limit: str, fix: str) -> None:
    """Wait a little. Raises HalError(TIMEOUT) where that was too long."""
    if time.monotonic() > deadline:
        raise HalError(ErrorKind.TIMEOUT, what, limit=limit, fix=fix)
    time.sleep(0.05)


@card.command(epilog=f"Example: dsn card stop. {EXIT_CODES}")
@json_option
def stop(as_json: bool) -> None:
    """End forwarding: the engine and its daemon. The intent stays on disk and is there at the next start."""
    with guarded(as_json):
        if is_running():
            with connect() as running:
                told = running.stop()
        else:
            from sdk.dsnd.orphan import stop_orphan

            told = stop_orphan(run_folder())
        deadline = time.monotonic() + STOP_S
        while is_running():
            _wait(deadline, "dsnd", f"{STOP_S:g} s to stop", f"Read {run_folder() / 'dsnd.log'}.")
        words = f"stopped; the intent is kept{'; ' if told else ''}{told}"
        emit(as_json, {"stopped": True, "told": told}, lambda console: console.print(words))


@card.command(epilog=f"Example: dsn card status --json. {EXIT_CODES}")
@json_option
def status(as_json: bool) -> None:
    """The card's board, daemon, engine, ports, generation and intent."""
    with guarded(as_json), connect() as running:
        found = running.status()
        emit(as_json, found.to_dict(), lambda console: _print_status(console, found))


def _times(count: int) -> str:
    return {0: "by another dsnd", 1: "once"}.get(count, f"{count} times")


def _held(found: CardStatus) -> str:
    """Which intent the engine holds, and whether it is the one on disk."""
    tag = found.engine_tag[:12] or "none"
    if found.engine_tag == found.intent_digest:
        return f"{tag} (as on disk)"
    if not found.intent_digest:
        return f"{tag} (the one on disk can't be read)"
    return f"{tag} (not the one on disk, {found.intent_digest[:12]})"


def _print_status(console: Console, found: CardStatus) -> None:
    spares = sum(name.startswith(SPARE_PREFIX) and name not in found.namespaces for name in found.ports)
    ports = ", ".join(
        f"{name} {'up' if link else 'down'}" for name, link in found.ports.items() if not name.startswith(SPARE_PREFIX)
    )
    ports = (ports or "none") + (f", and taps for {spares} VRFs to come" if spares else "")
    holds = f"{found.generation}, intent {_held(found)}"
    if found.engine_state != "forwarding":  # it hasn't said: none of it is what a 0 or nothing would mean
        ports, holds = "unknown", f"unknown; on disk is intent {found.intent_digest[:12] or 'none that can be read'}"
    when = f"{found.last_fault_time}  " if found.last_fault_time else ""
    for line in (
        f"board       {found.board}",
        f"daemon      pid {found.daemon_pid}",
        f"engine      {found.engine_state}, pid {found.engine_pid or 'none'}, started {_times(found.engine_starts)}",
        f"generation  {holds}",
        f"ports       {ports}",
        *(
            [f"namespaces  {', '.join(found.namespaces.values())}: of the card's own programs, one a VRF"]
            if found.namespaces
            else []
        ),
        *([f"last fault  {when}{found.last_fault}"] if found.last_fault else []),
    ):
        console.print(line)
