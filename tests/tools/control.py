"""The engine's sockets byte by byte, as a test speaks to them."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.dpdk import wire
from hal.packet.dpdk.engine import Engine, connect
from hal.packet.dpdk.wire import Verb

CONFIG = LoadConfig(ports=(PortConfig(1, "uplink0", "replay"),), owners={"agent": ("route", "next_hop")})
REQUEST = 24
"""Bytes of a request's head."""


@contextmanager
def loaded(run: Path) -> Iterator[Engine]:
    """The engine of a run folder, loaded with `CONFIG`."""
    engine = connect(run)
    engine.load(CONFIG)
    try:
        yield engine
    finally:
        engine.close()


def dial(path: Path) -> socket.socket:
    result = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    result.connect(str(path))  # waits where others wait to be accepted; with a time limit it wouldn't
    result.settimeout(10)
    return result


def request(verb: int, body: bytes = b"", *, number: int = 7, shard: int = 0, version: int = wire.VERSION,
            magic: int = wire.MAGIC, length: int | None = None) -> bytes:  # fmt: skip
    return bytes(wire.Request(magic, verb, version, number, len(body) if length is None else length, shard)) + body


def ask(where: socket.socket, message: bytes, fds: Sequence[int] = ()) -> tuple[int, wire.Error | None, bytes]:
    """(kind, the error where the kind isn't 0, the body)."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    where.sendmsg([message], ancillary)
    data, passed, _, _ = where.recvmsg(wire.MAX_MESSAGE, socket.CMSG_SPACE(16))
    for _, _, content in passed:
        for fd in array.array("i", content):
            os.close(fd)
    answer = wire.Answer.from_buffer_copy(data)
    body = data[24:]
    assert answer.length == len(body)
    return answer.kind, wire.Error.from_buffer_copy(body) if answer.kind else None, body


def is_closed(where: socket.socket) -> bool:
    return where.recv(1) == b""


def answers(run: Path) -> bool:
    with dial(run / "read.sock") as there:
        return ask(there, request(Verb.HELLO))[0] == 0
