"""Talks of well-behaved stacks, Linux's own. Each is a function of two hosts, of which the first one begins."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hal import namespaces
from tests.opinions.taps import End
from tests.opinions.wiring import Side

PATIENCE_S = 15.0
TCP_REPAIR, TCP_FASTOPEN = 19, 23
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23


@dataclass(frozen=True)
class Host:
    """One of the two, in one family."""

    side: Side
    end: End
    family: socket.AddressFamily

    @property
    def address(self) -> str:
        return self.side.v4 if self.family is socket.AF_INET else self.side.v6

    def bound(self, kind: socket.SocketKind = socket.SOCK_STREAM, port: int = 0) -> socket.socket:
        """A socket of this host, bound."""
        made = namespaces.inside(self.end.namespace, lambda: socket.socket(self.family, kind))
        made.settimeout(PATIENCE_S)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((self.address, port))
        return made

    def listens(self, port: int = 0) -> socket.socket:
        made = self.bound(port=port)
        made.listen(8)
        return made


Talk = Callable[[Host, Host, random.Random], None]
"""The first one begins. Raises OSError or AssertionError where the hosts don't get on."""

TALKS: dict[str, Talk] = {}


def talk(name: str) -> Callable[[Talk], Talk]:
    def named(function: Talk) -> Talk:
        TALKS[name] = function
        return function

    return named


def end_of(one: socket.socket) -> tuple[str, int]:
    name: tuple[str, int] = one.getsockname()[:2]
    return name


@contextlib.contextmanager
def connection(client: Host, server: Host, port: int = 0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    with server.listens() as listening, client.bound(port=port) as mine:
        mine.connect(end_of(listening))
        listening.settimeout(PATIENCE_S)
        theirs, _ = listening.accept()
        theirs.settimeout(PATIENCE_S)
        with theirs:
            yield mine, theirs


def receive(one: socket.socket, size: int) -> None:
    """Take in so many bytes. Raises AssertionError: there are less."""
    while size > 0:
        got = len(one.recv(min(size, 65536)))
        assert got, f"{size} bytes are missing"
        size -= got


def both(*work: Callable[[], None]) -> None:
    """At the same time; raises what one of them raises."""
    failed: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except (OSError, AssertionError) as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def finish(mine: socket.socket, theirs: socket.socket) -> None:
    """Close in order, and see that the other did."""
    mine.shutdown(socket.SHUT_WR)
    assert theirs.recv(1) == b""
    theirs.shutdown(socket.SHUT_WR)
    assert mine.recv(1) == b""


def send_there(mine: socket.socket, theirs: socket.socket, size: int) -> None:
    both(lambda: mine.sendall(bytes(size)), lambda: receive(theirs, size))


# --- TCP -------------------------------------------------------------------------------------------------------------


@talk("upload")
def _upload(client: Host, server: Host, draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        send_there(mine, theirs, draw.randrange(1, 40_000))
        finish(mine, theirs)


@talk("download")
def _download(client: Host, server: Host, draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        send_there(mine, theirs, draw.randrange(1, 400))
        send_there(theirs, mine, draw.randrange(1, 40_000))
        finish(theirs, mine)


@talk("both-ways")
def _both_ways(client: Host, server: Host, draw: random.Random) -> None:
    there, back = draw.randrange(1, 30_000), draw.randrange(1, 30_000)
    with connection(client, server) as (mine, theirs):
        both(lambda: send_there(mine, theirs, there), lambda: send_there(theirs, mine, back))
        both(lambda: mine.shutdown(socket.SHUT_WR), lambda: theirs.shutdown(socket.SHUT_WR))
        assert mine.recv(1) == theirs.recv(1) == b""


@talk("words")
def _words(client: Host, server: Host, draw: random.Random) -> None:
    """Many small segments, back and forth."""
    with connection(client, server) as (mine, theirs):
        for one in (mine, theirs):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(draw.randrange(3, 12)):
            send_there(mine, theirs, draw.randrange(1, 90))
            send_there(theirs, mine, draw.randrange(1, 90))
        finish(mine, theirs)


@talk("half-close")
def _half_close(client: Host, server: Host, draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        mine.sendall(b"all that I have to say")
        mine.shutdown(socket.SHUT_WR)
        receive(theirs, 22)
        assert theirs.recv(1) == b""
        send_there(theirs, mine, draw.randrange(1, 40_000))
        theirs.shutdown(socket.SHUT_WR)
        assert mine.recv(1) == b""


@talk("close-at-once")
def _close_at_once(client: Host, server: Host, _draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        both(lambda: mine.shutdown(socket.SHUT_RDWR), lambda: theirs.shutdown(socket.SHUT_RDWR))


def _abort(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


@talk("abort-by-client")
def _abort_by_client(client: Host, server: Host, draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        send_there(mine, theirs, draw.randrange(1, 5000))
        _abort(mine)
        time.sleep(0.3)
        with contextlib.suppress(OSError):
            theirs.sendall(b"are you there")


@talk("abort-by-server")
def _abort_by_server(client: Host, server: Host, draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        both(lambda: mine.sendall(bytes(draw.randrange(1, 5000))), lambda: _abort(theirs))
        time.sleep(0.3)
        with contextlib.suppress(OSError):
            mine.sendall(b"are you there")


@talk("abort-in-flight")
def _abort_in_flight(client: Host, server: Host, draw: random.Random) -> None:
    """The receiver goes while much is on its way: what has come but nobody has read makes it a reset."""
    with connection(client, server) as (mine, theirs):

        def push() -> None:
            with contextlib.suppress(OSError):
                mine.sendall(bytes(draw.randrange(30_000, 90_000)))

        def leave() -> None:
            receive(theirs, 2000)
            theirs.close()

        both(push, leave)
        time.sleep(0.3)


@talk("refused")
def _refused(client: Host, server: Host, _draw: random.Random) -> None:
    with server.bound() as unused:
        for _ in range(2):
            with client.bound() as mine, contextlib.suppress(ConnectionRefusedError):
                mine.connect(end_of(unused))


@talk("given-up")
def _given_up(client: Host, server: Host, _draw: random.Random) -> None:
    """The client goes before it has an answer; who answers is reset."""
    with server.listens() as listening, client.bound() as mine:
        mine.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            mine.connect(end_of(listening))
        time.sleep(0.005)
        _abort(mine)
        time.sleep(0.5)


@talk("window-closes")
def _window_closes(client: Host, server: Host, draw: random.Random) -> None:
    """The receiver doesn't read for a while: windows of zero, and probes of them."""
    size = draw.randrange(20_000, 40_000)
    with server.listens() as listening, client.bound() as mine:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mine.connect(end_of(listening))
        theirs, _ = listening.accept()
        theirs.settimeout(PATIENCE_S)
        with theirs:

            def read_late() -> None:
                time.sleep(draw.choice((0.5, 1.2)))
                receive(theirs, size)

            both(lambda: mine.sendall(bytes(size)), read_late)
            finish(mine, theirs)


@talk("keep-alive")
def _keep_alive(client: Host, server: Host, _draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        for one in (mine, theirs):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        time.sleep(2.6)
        finish(mine, theirs)


@talk("urgent")
def _urgent(client: Host, server: Host, _draw: random.Random) -> None:
    with connection(client, server) as (mine, theirs):
        mine.sendall(b"calm")
        mine.send(b"!", socket.MSG_OOB)
        mine.sendall(b"calm again")
        receive(theirs, 14)
        finish(mine, theirs)


@talk("fast-open")
def _fast_open(client: Host, server: Host, draw: random.Random) -> None:
    """RFC 7413: the first connection gets a cookie, the next ones' SYN has data."""
    for host in (client, server):
        host.end.set(ipv4__tcp_fastopen=3)
    size = draw.randrange(1, 1200)
    with server.listens() as listening:
        listening.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 8)
        for _ in range(3):
            with client.bound() as mine:
                mine.setblocking(True)  # else it says that it is in progress
                mine.sendto(bytes(size), socket.MSG_FASTOPEN, end_of(listening))
                mine.settimeout(PATIENCE_S)
                theirs, _ = listening.accept()
                theirs.settimeout(PATIENCE_S)
                with theirs:
                    receive(theirs, size)
                    send_there(theirs, mine, draw.randrange(1, 9000))
                    finish(mine, theirs)


@talk("open-at-once")
def _open_at_once(client: Host, server: Host, _draw: random.Random) -> None:
    """RFC 9293 3.5: both call, and the calls cross."""
    with client.bound() as mine, server.bound() as theirs:
        where = end_of(mine), end_of(theirs)
        both(lambda: mine.connect(where[1]), lambda: theirs.connect(where[0]))
        send_there(mine, theirs, 500)
        send_there(theirs, mine, 500)
        finish(mine, theirs)


@talk("port-again")
def _port_again(client: Host, server: Host, draw: random.Random) -> None:
    """The same ports again while the server is in TIME-WAIT."""
    port = draw.randrange(20_000, 60_000)
    with server.listens() as listening:
        for _ in range(3):
            with client.bound(port=port) as mine:
                _call_again(mine, end_of(listening))
                theirs, _ = listening.accept()
                theirs.settimeout(PATIENCE_S)
                with theirs:
                    send_there(mine, theirs, 100)
                    finish(theirs, mine)


def _call_again(mine: socket.socket, where: tuple[str, int]) -> None:
    """Connect as soon as the last connection from this port has ended."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            mine.connect(where)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


@talk("half-open")
def _half_open(client: Host, server: Host, draw: random.Random) -> None:
    """RFC 9293 3.5.1: the client has forgotten everything and calls again from the same port."""
    port = draw.randrange(20_000, 60_000)
    with server.listens() as listening:
        with client.bound(port=port) as mine:
            mine.connect(end_of(listening))
            forgotten, _ = listening.accept()
            mine.sendall(b"hello")
            receive(forgotten, 5)
            mine.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # closes without a word
        with forgotten, client.bound(port=port) as mine:
            mine.connect(end_of(listening))
            theirs, _ = listening.accept()
            theirs.settimeout(PATIENCE_S)
            with theirs:
                send_there(mine, theirs, 500)
                finish(mine, theirs)


@talk("cookies")
def _cookies(client: Host, server: Host, draw: random.Random) -> None:
    """The server keeps nothing of a SYN."""
    server.end.set(ipv4__tcp_syncookies=2)
    with connection(client, server) as (mine, theirs):
        send_there(mine, theirs, draw.randrange(1, 20_000))
        finish(mine, theirs)


@talk("large-window")
def _large_window(client: Host, server: Host, draw: random.Random) -> None:
    """A receiver that has room for much, so that its scale is large."""
    server.end.set(ipv4__tcp_rmem="4096 131072 33554432")
    with server.listens() as listening, client.bound() as mine:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_000_000)
        mine.connect(end_of(listening))
        theirs, _ = listening.accept()
        theirs.settimeout(PATIENCE_S)
        with theirs:
            send_there(mine, theirs, draw.randrange(60_000, 90_000))
            finish(mine, theirs)


# --- UDP, ICMP, fragments --------------------------------------------------------------------------------------------


@talk("datagrams")
def _datagrams(client: Host, server: Host, draw: random.Random) -> None:
    with server.bound(socket.SOCK_DGRAM) as theirs, client.bound(socket.SOCK_DGRAM) as mine:
        theirs.settimeout(0.3)
        for _ in range(draw.randrange(2, 9)):
            mine.sendto(bytes(draw.randrange(1400)), end_of(theirs))
            with contextlib.suppress(TimeoutError):
                data, sender = theirs.recvfrom(65536)
                theirs.sendto(data, sender)


@talk("nobody-there")
def _nobody_there(client: Host, server: Host, _draw: random.Random) -> None:
    """Port unreachable, by ICMP."""
    with server.bound(socket.SOCK_DGRAM) as gone:
        where = end_of(gone)
    with client.bound(socket.SOCK_DGRAM) as mine:
        for _ in range(3):
            mine.sendto(b"anybody?", where)
            time.sleep(0.05)


@talk("large-datagrams")
def _large_datagrams(client: Host, server: Host, draw: random.Random) -> None:
    """Longer than the MTU: fragments, both ways."""
    with server.bound(socket.SOCK_DGRAM) as theirs, client.bound(socket.SOCK_DGRAM) as mine:
        theirs.settimeout(0.3)
        for one in (theirs, mine):
            if client.family is socket.AF_INET:
                one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        for _ in range(3):
            mine.sendto(bytes(draw.randrange(1500, 9000)), end_of(theirs))
            with contextlib.suppress(TimeoutError):
                data, sender = theirs.recvfrom(65536)
                theirs.sendto(data, sender)


@talk("echo")
def _echo(client: Host, server: Host, draw: random.Random) -> None:
    v6 = "-6" if client.family is socket.AF_INET6 else "-4"
    size = str(draw.choice((8, 56, 1200, 4000)))
    with contextlib.suppress(RuntimeError):  # with some loss it may get no answer
        client.end.run("ping", v6, "-c", "4", "-i", "0.05", "-W", "1", "-s", size, server.address)
