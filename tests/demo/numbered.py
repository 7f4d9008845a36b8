"""Numbered UDP packets: `send` at a steady rate, `receive` says which numbers were missing. Run on the hosts."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import sys
import time

BATCH_S = 0.002


def send(address: str, port: int, rate: int, seconds: float) -> int:
    """Send `rate` packets a second, for so long or until SIGTERM; returns how many."""
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        begin = time.monotonic()
        sent, total = 0, int(rate * seconds)
        while sent < total and not over:
            due = min(total, int((time.monotonic() - begin) * rate) + 1)
            while sent < due:
                sender.send(struct.pack("!Q", sent) + bytes(24))
                sent += 1
            time.sleep(BATCH_S)
        with contextlib.suppress(ConnectionRefusedError):  # who receives ends with the first that comes
            for _ in range(3):
                time.sleep(0.2)
                sender.send(struct.pack("!Q", (1 << 64) - 1))
    return sent


def receive(port: int, idle_s: float) -> dict[str, int]:
    """Receive until the end mark, or until nothing came for `idle_s`; {received, missing, doubled, reordered}."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        receiver.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 32 << 20)
        receiver.bind(("::", port))
        print("ready", flush=True)
        receiver.settimeout(30)
        seen = bytearray()
        received = doubled = reordered = 0
        last = -1
        while True:
            try:
                data = receiver.recv(2048)
            except TimeoutError:
                break
            number = struct.unpack_from("!Q", data)[0]
            if number == (1 << 64) - 1:
                break
            receiver.settimeout(idle_s)
            if number >= len(seen):
                seen.extend(bytes(number + 1 - len(seen)))
            doubled += seen[number]
            reordered += number < last
            seen[number], last = 1, number
            received += 1
        return {"received": received, "missing": seen.count(0), "doubled": doubled, "reordered": reordered}


if __name__ == "__main__":
    if sys.argv[1] == "send":
        print(json.dumps({"sent": send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))}))
    else:
        print(json.dumps(receive(int(sys.argv[2]), 5.0)))
