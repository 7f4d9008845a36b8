"""In bursts a packet meets what it meets alone: live traffic of all kinds, mixed, against replay, which takes packets
one by one (and is held to the twin by tests/property). As many of them are first packets as have their turn in a burst:
what becomes of more is tests/unit/test_engine_firsts.py's."""

from __future__ import annotations

import random
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hal.packet.contract import BURSTS, Insert, PacketIn, PacketResult, PortConfig, StepKind
from hal.packet.dpdk import Engine
from hal.packet.schema.rows import as_rows
from tests.packets import world
from tests.packets.card import Card
from tests.packets.packets import other, ping, tcp, udp
from tests.tools import pcap
from tests.tools.engines import running

CLIENT = world.HOSTS["client"]
OUT = {name: world.HOSTS[name].port for name in ("web", "db", "open")}
PACKETS = 4_000
POLL, CHAINS = 32, 8
"""Packets of a port at a time, and chains of a burst."""
FROM4, FROM6 = "10.1.0.20", "[2001:db8:1::14]"
TO4 = ("10.1.0.10", "10.2.0.5", "10.2.0.40", "10.9.9.9")
TO6 = ("[2001:db8:1::a]", "[2001:db8:2::5]", "[2001:db8:2::28]")


def kinds(card: Card) -> list[bytes]:
    """Frames of the client, most of them of a few connections to different ports."""
    found = []
    sender = card.host("client")
    for source, others in ((FROM4, TO4), (FROM6, TO6)):
        for to in others:
            for sport in (4000, 4001, 4002):
                ends = f"{source}:{sport} > {to}:53"
                found.append(sender.frame(udp(ends, payload=b"x" * (20 * (sport - 4000)))))
                found.append(sender.frame(udp(ends, payload=b"x" * 1600)))
                found.append(sender.frame(udp(ends, ip={"ttl": 1})))
                found += [sender.frame(tcp(f"{source}:{sport} > {to}:80", flags=flags)) for flags in ("S", "A", "R")]
            found.append(sender.frame(ping(f"{source.strip('[]')} > {to.strip('[]')}")))
            found.append(sender.frame(other(f"{source.strip('[]')} > {to.strip('[]')}", 50)))
    return found


def bent(draw: random.Random, frame: bytes) -> bytes:
    """Some of them wrong in a byte, of a tag of 0, padded, or cut off."""
    what = draw.random()
    if what < 0.05:
        at = draw.randrange(min(len(frame), 60))
        return frame[:at] + bytes([draw.randrange(256)]) + frame[at + 1 :]
    if what < 0.08:
        return frame[:12] + b"\x81\0\0\0" + frame[12:]
    if what < 0.11:
        return frame + bytes(7)
    return frame[: draw.randrange(len(frame))] if what < 0.13 else frame


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: two paths have to fit into a device's 111 bytes."""
    with tempfile.TemporaryDirectory(prefix="dsn", dir="/tmp") as name:
        yield Path(name)


def live(folder: Path, frames: list[bytes]) -> dict[int, str]:
    devices = {port: f"pcap:{pcap.write(folder / 'none', [])},{folder / str(port)}" for port in OUT.values()}
    return devices | {CLIENT.port: f"pcap:{pcap.write(folder / 'in', frames)},{folder / str(CLIENT.port)}"}


def load(engine: Engine, devices: dict[int, str]) -> None:
    ports = tuple(
        PortConfig(one.number, one.name, devices.get(one.number, one.device), mtu=one.mtu) for one in world.CONFIG.ports
    )
    # What the card makes is limited by the second, which is another here and there.
    config = replace(world.CONFIG, ports=ports, connections=4096, icmp_limit=1_000_000, challenge_limit=1_000_000)
    engine.load(config)
    engine.writer().commit([Insert(rows) for rows in as_rows(world.rows())])


def wait_until_all(engine: Engine, count: int) -> None:
    deadline = time.monotonic() + 60
    while engine.counters().engine["packets"] < count and time.monotonic() < deadline:
        time.sleep(0.02)


def spaced(engine: Engine, draw: random.Random, some: list[bytes]) -> list[bytes]:
    """Frames as they come, between them some of an open connection wherever a burst would have too many chains."""
    shard = engine.shard(connections=4096)
    quiet = some[0]
    walks: deque[bool] = deque([True], maxlen=POLL)
    frames = [quiet]

    def walked(frame: bytes) -> bool:
        (result,) = shard.replay([PacketIn(frame, CLIENT.port, 1_000_000_000)], witness=True)
        return any(step.kind == StepKind.STAGE for step in result.steps)

    walked(quiet)
    while len(frames) < PACKETS:  # trains of one kind, and none
        frame = bent(draw, draw.choice(some))
        for _ in range(draw.choice((1, 1, 2, 5, 40))):
            while sum(walks) == CHAINS:
                walks.append(walked(quiet))
                frames.append(quiet)
            walks.append(walked(frame))
            frames.append(frame)
    shard.close()
    return frames


def left(results: list[PacketResult], port: int) -> list[bytes]:
    return [output.data for result in results for output in result.outputs if output.port == port]


@pytest.mark.parametrize("seed", [1, 2])
def test_in_bursts_packets_meet_what_they_meet_alone(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    with running() as engine:
        load(engine, {})
        card = Card(engine)
        some = kinds(card)
        card.shard.close()
        frames = spaced(engine, draw, some)
    with running() as engine:
        load(engine, live(folder, frames))
        shard = engine.shard(connections=4096)
        alone = list(shard.replay([PacketIn(frame, CLIENT.port, 1_000_000_000) for frame in frames]))
        engine.start()
        wait_until_all(engine, len(frames))
        ours, theirs = engine.counters(), shard.counters()
        flows = {(one.protocol, one.destination, one.source_port, one.packets, one.bytes) for one in engine.flows()}
        wanted = {(one.protocol, one.destination, one.source_port, one.packets, one.bytes) for one in shard.flows()}
        shard.close()
    sizes = [ours.engine[name] for name in BURSTS]
    least = sum(bursts << size for size, bursts in enumerate(sizes))
    assert least <= ours.engine["packets"] == len(frames) < 2 * least
    assert sum(sizes) < len(frames) // 4  # it was bursts
    assert [theirs.engine[name] for name in BURSTS] == [0] * len(BURSTS)
    assert dict(ours.drops) == dict(theirs.drops)
    assert ours.vnics == theirs.vnics
    assert flows == wanted
    for port in (CLIENT.port, *OUT.values()):
        assert pcap.read(folder / str(port)) == left(alone, port), f"port {port}"
    assert len(left(alone, OUT["open"])) > PACKETS // 20  # routed and untagged: the usual way
    assert sum(theirs.drops.values()) > PACKETS // 50
