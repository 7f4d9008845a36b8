"""Programs on the hosts of a soak.

python -m tests.soak.talkers serve                  echo by TCP and UDP
python -m tests.soak.talkers talk ADDRESS...        new connections all the time, and one that lasts

`talk` prints a line of JSON a second with totals: `tcp` and `udp` conversations that went well, `failed` ones with the
latest `why`, words that the lasting connection has exchanged (`words`), how often it had to be made anew (`anew`), and
the median of its round trips since the last line (`ms`).
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

TCP_PORT, UDP_PORT = 8000, 5201
PATIENCE_S = 20.0
"""A kill of the engine and what follows take a second or two, retransmissions behind them some more."""
TALKS_A_SECOND = 60
"""New connections by TCP, and as many by UDP."""


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # who talks tells
    finally:
        writer.close()


class _EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def serve() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(
        _EchoDatagrams, local_addr=("::", UDP_PORT)
    )  # both families
    server = await asyncio.start_server(_echo, "", TCP_PORT, backlog=1024)
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


class Talker:
    """Totals of a talking host."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._draw = random.Random()
        self._totals: Counter[str] = Counter()
        self._why = ""
        self._trips: list[float] = []

    async def by_tcp(self, address: str) -> None:
        reader, writer = await asyncio.open_connection(address, TCP_PORT)
        try:
            data = self._draw.randbytes(self._draw.randrange(1, 5000))
            writer.write(data)
            if await reader.readexactly(len(data)) != data:
                raise OSError("other bytes came back")
        finally:
            writer.close()

    async def by_udp(self, address: str) -> None:
        """A datagram and its echo; it may be lost, so it is sent thrice."""
        echoed = asyncio.get_running_loop().create_future()

        class Wait(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _addr: object) -> None:
                if not echoed.done():
                    echoed.set_result(data)

        endpoint = asyncio.get_running_loop().create_datagram_endpoint(Wait, remote_addr=(address, UDP_PORT))
        transport, _ = await endpoint
        try:
            for _ in range(20):
                transport.sendto(b"echo")
                done, _ = await asyncio.wait([echoed], timeout=1)
                if done:
                    return
            raise TimeoutError("no echo by UDP")
        finally:
            transport.close()

    async def one(self, kind: str, address: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await (self.by_tcp if kind == "tcp" else self.by_udp)(address)
        except (OSError, EOFError, TimeoutError) as error:
            self._totals["failed"] += 1
            self._why = f"{kind} {address}: {error!r}"
        else:
            self._totals[kind] += 1

    async def lasting(self, address: str) -> None:
        """A word and its echo, twenty times a second, over one connection."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, TCP_PORT)
                while True:
                    began = time.monotonic()
                    writer.write(b"word")
                    async with asyncio.timeout(60):
                        await reader.readexactly(4)
                    self._trips.append((time.monotonic() - began) * 1000)
                    self._totals["words"] += 1
                    await asyncio.sleep(0.05)
            except (OSError, EOFError, TimeoutError) as error:
                self._totals["anew"] += 1
                self._why = f"lasting {address}: {error!r}"
                await asyncio.sleep(1)

    async def tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            trips, self._trips = self._trips, []
            middle = statistics.median(trips) if trips else 0.0
            print(json.dumps({**self._totals, "ms": round(middle, 3), "why": self._why}), flush=True)

    async def talk(self) -> None:
        some: set[asyncio.Task[None]] = {asyncio.create_task(self.tell())}
        some |= {asyncio.create_task(self.lasting(address)) for address in self._addresses}
        turn = 0
        while True:
            for kind in ("tcp", "udp"):
                task = asyncio.create_task(self.one(kind, self._addresses[turn % len(self._addresses)]))
                some.add(task)
                task.add_done_callback(some.discard)
            turn += 1
            await asyncio.sleep(1 / TALKS_A_SECOND)


def main(arguments: Sequence[str]) -> None:
    asyncio.run(serve() if arguments[0] == "serve" else Talker(arguments[1:]).talk())


if __name__ == "__main__":
    main(sys.argv[1:])
