"""How the CLI comes to a card: the daemon on its socket, or a twin in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hal.errors import ErrorKind, HalError
from sdk.cli.client import CardClient

RUN_FOLDER: Final = "/run/dsn"
SOCKET: Final = "dsnd.sock"


def run_folder() -> Path:
    """Where the card's sockets are: $DSN_RUN, else /run/dsn."""
    return Path(os.environ.get("DSN_RUN", RUN_FOLDER))


@contextmanager
def connect(folder: Path | None = None) -> Iterator[CardClient]:
    """The card whose daemon listens in `folder`. Raises HalError(LOST) if none does."""
    from sdk.cli.daemon_card import DaemonCard

    folder = folder or run_folder()
    socket = folder / SOCKET
    if not socket.exists():
        raise HalError(ErrorKind.LOST, f"card {folder}", got="no dsnd is running", fix="Start one: dsn card start.")
    client = DaemonCard(socket)
    try:
        yield client
    finally:
        client.close()


def is_running(folder: Path | None = None) -> bool:
    """True if a daemon's socket is there; whether it answers shows when it is asked."""
    return ((folder or run_folder()) / SOCKET).exists()
