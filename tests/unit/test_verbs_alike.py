"""The twin and the engine answer alike whatever a verb is asked with, the strangest arguments among it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hal.conformance.bench import Bench, Card, insert
from hal.conformance.device import Device
from hal.conformance.frames import udp
from hal.conformance.world import A, C, routed, segment, world
from hal.errors import HalError
from hal.packet.contract import Cursor, Delete, FlowFilter, Name, PacketIn
from hal.packet.frame._generated import Vrf
from hal.packet.model.device import TwinDevice
from tests.conformance.engines import SanitizedEngine

WORD = 1 << 64
FRAME = A.frame(udp(A.ip, C.ip))
FILTERS: tuple[dict[str, Any], ...] = (
    {"source": "10.1.0.11/24"}, {"source": "junk"}, {"source": A.ip}, {"source": "::/0"}, {"source": "0.0.0.0/0"},
    {"source": "::ffff:0:0/96"}, {"source": 7}, {"id": -1}, {"vrf": WORD}, {"protocol": 300}, {"source_port": 70000},
    {"source_port": -1}, {"destination_port": 0}, {"vnic": A.vnic}, {"vnic": True}, {"protocol": 17},
)  # fmt: skip
PACKETS = ((-1, 1), (70000, 2), ((1 << 32) + 1, 3), ((1 << 16) + 1, 3), (1, -1), (1, 1 << 63), (1, WORD), (1, 10**9))


def _cases(card: Card) -> Iterator[tuple[str, Callable[[], Any]]]:
    backend, writer, row = card.backend, card.backend.writer("dsnd"), insert(Vrf(id=77))
    shard = card.shard()
    traffic = card.traffic()
    routed(traffic)
    segment(traffic, "S")
    last = backend.events().cursor
    for fields in FILTERS:
        which = FlowFilter(**fields)
        yield f"flows {fields}", lambda which=which: len(traffic.flows(which))  # type: ignore[misc]
        yield f"forget {fields}", lambda which=which: writer.forget(which)  # type: ignore[misc]
    for port, time_ns in PACKETS:
        packet = PacketIn(FRAME, port, time_ns)
        yield f"trace {port} {time_ns}", lambda packet=packet: backend.trace(packet).now.reason  # type: ignore[misc]
        yield f"replay {port} {time_ns}", lambda packet=packet: shard.replay([packet])[0].reason  # type: ignore[misc]
    for size in (0, -1, 1, 1 << 20, (1 << 20) + 1, 10**12):
        yield f"shard {size}", lambda size=size: card.shard(connections=size).flows()  # type: ignore[misc]
    strange: Any
    for strange in (-1, WORD, "1", 1.0, Cursor(last + 9, last.life), Cursor(1, 0)):
        words = f"{strange!r}" if not isinstance(strange, Cursor) else f"{int(strange)} {strange.life == last.life}"
        yield f"events {words}", lambda strange=strange: len(backend.events(strange).events)  # type: ignore[misc]
        yield f"base {words}", lambda strange=strange: writer.commit(row, base=strange)  # type: ignore[misc]
    for strange in (-1, WORD, "1"):
        yield f"outcome {strange}", lambda strange=strange: writer.outcome(strange).kind.name  # type: ignore[misc]
        yield f"transaction {strange}", lambda strange=strange: writer.commit(row, transaction=strange)  # type: ignore[misc]
        yield f"lease {strange}", lambda strange=strange: writer.stage([], lease_ns=strange)  # type: ignore[misc]
    for strange in ("a\0b", "a\n", "x" * 128, "é" * 64, "\ud800", b"a"):
        yield f"tag {strange!r}", lambda strange=strange: writer.commit(row, tag=strange)  # type: ignore[misc]
        for fields in ({"text": strange}, {"text": "a", "file": strange}):
            name = Name("vrf", 77, **fields)
            yield f"name {fields}", lambda name=name: int(writer.commit(row, names=[name]))  # type: ignore[misc]
    for line in (-1, 1 << 32):
        yield f"line {line}", lambda line=line: writer.commit(row, names=[Name("vrf", 77, "a", "f", line)])  # type: ignore[misc]
    for ids in (np.array([[1]], np.uint64), [1], np.array([-1]), np.array([1.5]), np.array([], np.uint64)):
        yield f"delete {ids!r}", lambda ids=ids: int(writer.commit([Delete("vrf", ids)]))  # type: ignore[misc]
    yield "snapshot of nothing known", lambda: backend.snapshot(["nope"])
    yield "snapshot twice", lambda: len(backend.snapshot(["vrf", "vrf"]).tables)
    shard.close()
    yield "closed shard", lambda: shard.replay([PacketIn(FRAME, 1, 1)])


def _told(call: Callable[[], Any]) -> str:
    try:
        return f"{call()!r}"
    except HalError as error:
        return f"{error.kind.name} {error.field}"


def _answers(device: Device) -> dict[str, str]:
    bench = Bench(device)
    try:
        return {words: _told(call) for words, call in _cases(world(bench))}
    finally:
        bench.close()


@pytest.mark.timeout(300)
def test_the_engine_answers_as_the_twin_does() -> None:
    twin, engine = _answers(TwinDevice()), _answers(SanitizedEngine())
    assert len(twin) > 90
    assert {words: (one, engine[words]) for words, one in twin.items() if one != engine[words]} == {}
