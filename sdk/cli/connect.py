"""How the CLI comes to a card: the daemon on its socket, or a twin in this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hal.errors import ErrorKind, HalError
from sdk.cli.client import CardClient

RUN_FOLDER: Final = "/run/dsn"
SOCKET: Final = "dsnd.sock"
ENGINE_SOCKET: Final = "engine/read.sock"


def run_folder() -> Path:
    """Where the card's sockets are: $DSN_RUN, else /run/dsn."""
    return Path(os.environ.get("DSN_RUN", RUN_FOLDER))


@contextmanager
def connect(folder: Path | None = None) -> Iterator[CardClient]:
    """The card whose daemon listens in `folder`. Raises HalError(LOST) if none does."""
    folder = folder or run_folder()
    if not is_running(folder):
        fix = "Start one: dsn card start CARD_TOML."
        if _listens(folder / ENGINE_SOCKET, socket.SOCK_SEQPACKET):
            fix = "Start it again: dsn card start CARD_TOML. Its engine goes on forwarding meanwhile."
        raise HalError(ErrorKind.LOST, f"card {folder}", got="no dsnd is running", fix=fix)
    from sdk.cli.daemon_card import DaemonCard

    client = DaemonCard(folder / SOCKET)
    try:
        yield client
    finally:
        client.close()


def is_running(folder: Path | None = None) -> bool:
    """True if a daemon listens. The socket of one that was killed stays behind and doesn't count.

    Raises:
        HalError: DENIED where the socket is somebody else's, INVALID where it can't be one.
    """
    path = (folder or run_folder()) / SOCKET
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except PermissionError as error:
            fix = "Ask as root, or as a member of the group that card.toml names: api_group."
            raise HalError(ErrorKind.DENIED, f"card {path.parent}", got=error.strerror, fix=fix) from None
        except OSError as error:
            fix = "Set DSN_RUN to a short path."
            raise HalError(ErrorKind.INVALID, f"socket {path}", got=str(error), limit="107 bytes", fix=fix) from None
    return True


def _listens(path: Path, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            return probe.connect_ex(str(path)) == 0
        except OSError:
            return False
