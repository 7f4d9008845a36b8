"""Who isn't the one that started the engine: he neither keeps him waiting nor pins what he never reads."""

from __future__ import annotations

import array
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hal.errors import ErrorKind
from hal.packet.dpdk import wire
from hal.packet.dpdk.link import sealed_memfd
from hal.packet.dpdk.wire import Verb
from tests.tools.control import ask, dial, loaded, request
from tests.tools.engine import running

GUEST = 61191
UNREAD = 8
"""Answers with a memfd that may lie unread before the next request rests."""


@contextmanager
def as_user(user: int) -> Iterator[None]:
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def engine() -> Iterator[tuple[Path, int]]:
    """Run folder and pid of a loaded engine whose sockets anybody may open."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        run = Path(folder) / "run"
        with running(run) as pid, loaded(run):
            run.chmod(0o755)
            for path in run.glob("*.sock"):
                path.chmod(0o666)
            yield run, pid


def send_commit(where: socket.socket, number: int) -> None:
    """An empty commit; nobody waits for its answer."""
    fd = sealed_memfd([b""])
    head = wire.Commit(number, wire.ANY_BASE, 0, 0, 0, b"", 0)
    where.sendmsg([request(Verb.COMMIT, bytes(head))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    os.close(fd)


def generation(where: socket.socket) -> int:
    data = where.recv(wire.MAX_MESSAGE)
    assert wire.Answer.from_buffer_copy(data).kind == 0, data
    return int(wire.Committed.from_buffer_copy(data[24:]).generation)


def test_guests_are_served_in_turn_with_their_host_however_many_they_are() -> None:
    with engine() as (run, pid), ExitStack() as stack:
        with as_user(GUEST):
            guests = [stack.enter_context(dial(run / "write-agent.sock")) for _ in range(30)]
        host = stack.enter_context(dial(run / "write-dsnd.sock"))
        for one in (*guests, host):  # each is taken in
            assert ask(one, request(Verb.HELLO))[0] == 0
        os.kill(pid, signal.SIGSTOP)
        for number, guest in enumerate(guests, 1):
            send_commit(guest, number)
            send_commit(guest, 1000 + number)
        send_commit(host, 5000)
        os.kill(pid, signal.SIGCONT)
        assert generation(host) <= 3
        made = sorted([generation(guest) for guest in guests for _ in range(2)])
        assert len(set(made)) == 60


def answers(where: socket.socket) -> int:
    """How many lie there now, and come while they are read."""
    where.setblocking(False)
    count = 0
    while True:
        try:
            data, passed, _, _ = where.recvmsg(wire.MAX_MESSAGE, socket.CMSG_SPACE(16))
        except BlockingIOError:
            return count
        assert wire.Answer.from_buffer_copy(data).kind == 0
        for _, _, content in passed:
            os.close(array.array("i", content)[0])
        count += 1


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_who_does_not_read_memfds_gets_no_more_of_them_until_he_does() -> None:
    with engine() as (run, pid), dial(run / "read.sock") as slow:
        for _ in range(40):
            slow.send(request(Verb.HELLO))
        with dial(run / "read.sock") as other:  # served behind them all
            for _ in range(60):
                assert ask(other, request(Verb.HELLO))[0] == 0
        time.sleep(0.5)  # ticks find them unread
        found, deadline = answers(slow), time.monotonic() + 30
        assert UNREAD <= found <= 2 * UNREAD  # a tick may come while they are read
        while found < 40:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            more = answers(slow)
            assert more <= 2 * UNREAD
            found += more
        before = descriptors(pid)
        for _ in range(40):
            slow.send(request(Verb.HELLO))
        time.sleep(0.3)
        slow.shutdown(socket.SHUT_RDWR)  # nobody waits for him either
        while descriptors(pid) != before - 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def made(where: socket.socket, connections: int) -> tuple[int, bytes]:
    """Kind of failure and body of the answer to who makes a private shard for so many."""
    kind, _, body = ask(where, request(Verb.SHARD, bytes(wire.ShardAsk(connections, 0, 0))))
    return kind, body


def test_guests_private_shards_are_bounded_together() -> None:
    """Each connection that is replayed takes the engine's memory: theirs take no more than one shard of the largest
    kind does. Who started the engine isn't held to it."""
    with engine() as (run, _), ExitStack() as stack:
        with as_user(GUEST):
            guests = [stack.enter_context(dial(run / "read.sock")) for _ in range(3)]
        host = stack.enter_context(dial(run / "read.sock"))
        kind, body = made(guests[0], 1 << 19)
        assert kind == 0
        assert made(guests[1], (1 << 19) - 1)[0] == 0
        assert [made(guests[2], count)[0] for count in (2, 1)] == [ErrorKind.FULL, 0]
        assert made(host, 1 << 20)[0] == 0
        assert ask(guests[0], request(Verb.SHARD_CLOSE, body))[0] == 0
        assert made(guests[2], 1 << 19)[0] == 0
