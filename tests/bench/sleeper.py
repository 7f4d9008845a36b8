"""The peer of a lone packet: a process that does nothing but sleep in epoll until a frame comes, and send it on.

What it takes is what a sleep, a wake and two veths cost on this machine, with no engine between them. It runs beside
the engine, on the same core, on veths of its own.
"""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hal.packet.dpdk.linux_port import open_packet_socket

ETH_P_IP = 0x0800
LONGEST = 2048


@contextmanager
def sleeper(source: str, target: str, namespace: str, core: int) -> Iterator[int]:
    """Frames of IPv4 that come in at `source` leave by `target`; gives the process's number.

    Raises:
        RuntimeError: it didn't come up.
    """
    sockets = [socket.socket(fileno=open_packet_socket(name, namespace)) for name in (source, target)]
    try:
        sockets[0].bind((source, ETH_P_IP))
        numbers = [end.fileno() for end in sockets]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.sleeper", *map(str, numbers), str(core)],
            pass_fds=numbers,
            stdout=subprocess.PIPE,
        )
    finally:
        for end in sockets:
            end.close()
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError(f"the sleeping process ended with {process.wait()}")
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _main(source: int, target: int, core: int) -> None:
    os.sched_setaffinity(0, {core})
    comes, leaves = socket.socket(fileno=source), socket.socket(fileno=target)
    comes.setblocking(False)
    with select.epoll() as waits:
        waits.register(comes, select.EPOLLIN)
        print("ready", flush=True)
        while True:
            waits.poll()
            try:
                frame = comes.recv(LONGEST)
            except BlockingIOError:
                continue
            leaves.send(frame)


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:4]))
