"""A program on a host: transfers of drawn sizes by TCP, both ways, digests compared.

python -m tests.opinions.transfers serve ADDRESS PORT
python -m tests.opinions.transfers fetch ADDRESS PORT COUNT AT-ONCE SEED

Each connection carries a head (how much goes there and back, and a seed), the bytes there, the bytes back, and what the
server saw of the first: its SHA-256. `fetch` prints a line of JSON: how many came whole, what went wrong, bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = struct.Struct(">III")
PIECE = 65536
LEAST, MOST = 1_000, 1_000_000
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Transfer:
    """Bytes there and back, and the seed that both ends draw them from."""

    there: int
    back: int
    seed: int

    def content(self, size: int) -> bytes:
        """So many bytes that no other transfer has."""
        return random.Random(f"{self.seed} {size}").randbytes(size)


def draw(count: int, seed: int) -> list[Transfer]:
    """Transfers whose sizes are spread evenly over their magnitudes; most go one way, some both."""
    source = random.Random(seed)

    def size() -> int:
        return round(LEAST * math.pow(MOST / LEAST, source.random()))

    found = []
    for _ in range(count):
        way = source.random()
        there = size() if way < 0.6 else 0
        back = size() if way > 0.4 else 0
        found.append(Transfer(there, back, source.randrange(1 << 32)))
    return found


async def serve(address: str, port: int) -> None:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            transfer = Transfer(*HEAD.unpack(await reader.readexactly(HEAD.size)))
            digest, left = hashlib.sha256(), transfer.there
            while left:
                piece = await reader.readexactly(min(left, PIECE))
                digest.update(piece)
                left -= len(piece)
            writer.write(transfer.content(transfer.back) + digest.digest())
            await writer.drain()
            writer.write_eof()
            await reader.read()  # it closes when it has all
        except (OSError, asyncio.IncompleteReadError):
            pass  # who fetches tells
        finally:
            writer.close()

    server = await asyncio.start_server(one, address, port, backlog=4096)
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


async def fetch_one(address: str, port: int, transfer: Transfer) -> str:
    """What went wrong; "" where nothing did."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        sent = transfer.content(transfer.there)
        writer.write(HEAD.pack(transfer.there, transfer.back, transfer.seed) + sent)
        received = await reader.readexactly(transfer.back)
        digest = await reader.readexactly(32)
        if await reader.read(1):
            return "more came than was asked for"
        if received != transfer.content(transfer.back):
            return "other bytes came back"
        return "" if digest == hashlib.sha256(sent).digest() else "other bytes came there"
    finally:
        writer.close()


async def fetch(address: str, port: int, transfers: Sequence[Transfer], at_once: int) -> dict[str, object]:
    turn = asyncio.Semaphore(at_once)
    wrong: list[str] = []
    done = 0

    async def one(transfer: Transfer) -> None:
        nonlocal done
        async with turn:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    found = await fetch_one(address, port, transfer)
            except (OSError, EOFError, TimeoutError) as error:
                found = repr(error)
        if found:
            wrong.append(f"{transfer}: {found}")
        else:
            done += 1

    await asyncio.gather(*(one(transfer) for transfer in transfers))
    return {"whole": done, "wrong": wrong, "bytes": sum(one.there + one.back for one in transfers)}


def main(arguments: Sequence[str]) -> None:
    what, address, port, *rest = arguments
    if what == "serve":
        asyncio.run(serve(address, int(port)))
    else:
        count, at_once, seed = map(int, rest)
        print(json.dumps(asyncio.run(fetch(address, int(port), draw(count, seed), at_once))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
