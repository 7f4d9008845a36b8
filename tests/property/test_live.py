"""The engine with sanitizers between real ports is the twin, with one worker and with two."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from hal.conformance import Device, Wire
from hal.packet.contract import Output
from hal.packet.model.device import TwinDevice
from tests.conformance.engines import EngineOnVeth
from tests.property import frames
from tests.property.compare import Differs
from tests.property.live import Play, Side, by_port, collected, load_config, start_setting
from tests.property.talk import Conversation, wrap
from tests.property.universe import PORTS, difference, tables


class EngineOnPorts(EngineOnVeth):
    """Engines with sanitizers on the universe's ports."""

    stages = ()
    ports = PORTS


@contextlib.contextmanager
def side(device: Device, workers: int) -> Iterator[Side]:
    """A card that is loaded and started, with the outside of its ports."""
    backend = device.open()
    try:
        config = load_config(workers)
        ports = tuple(device.port(port.number, port.name) for port in config.ports)
        backend.load(replace(config, ports=ports))
        backend.start()
        wire = device.wire(backend)
        assert wire is not None
        yield Side(backend, wire)
    finally:
        device.close(backend)


@pytest.mark.parametrize("workers", [1, 2])
def test_live_traffic_is_the_twins(workers: int, seed: int, tell: Callable[[object], None]) -> None:
    """A connection belongs to the worker that the twin says, both ways, and is treated alike by whichever it meets."""
    with side(TwinDevice(), workers) as twin, side(EngineOnPorts(), workers) as engine:
        play = Play(twin, engine, seed)
        play.run()
        counters = engine.backend.counters()
        tell(f"{play.frames} frames, drops { ({name: n for name, n in counters.drops.items() if n}) }")
        tell({name: counters.engine[name] for name in ("flows_opened", "chain_walks", "handovers")})
        assert play.frames > 300
        assert sum(counters.drops.values()) > 20
        assert {flow.worker for flow in engine.backend.flows()} == set(range(workers))
        assert (counters.engine["handovers"] > 100) == (workers > 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_packets_of_a_flow_make_one_chain_walk(workers: int, seed: int) -> None:
    """Both ways, whichever worker they meet and however many come at once; a commit that touches none adds none."""
    source = random.Random(seed)
    some = [Conversation(0, 1, v6=n % 2 > 0, protocol=frames.UDP, sport=30_000 + n, dport=53) for n in range(16)]
    allowed = replace(start_setting(), rules=(((3, 0, 0, 0, 0, 1, 0),), ()))
    with side(EngineOnPorts(), workers) as card:
        card.backend.writer().commit(difference({}, tables(allowed)))
        for turn in range(40):
            sent = []
            for talk in some * source.randrange(1, 12):
                reply = turn > 0 and source.random() < 0.5
                begin, end = talk.ends(reply)
                ip = talk.ip(reply)
                sent.append((begin.port, end.port, wrap(begin, end, ip, *talk.l4(ip, reply, 0, 8))))
            source.shuffle(sent)
            for port, _, data in sent:
                card.wire.send(port, data)
            assert by_port(collected(card.wire, len(sent))) == Counter((port, data) for _, port, data in sent)
            counters = card.backend.counters().engine
            assert (counters["flows_opened"], counters["chain_walks"], counters["reevaluations"]) == (16, 16, 0)
            if turn == 20:
                card.backend.writer().commit([])
        assert (card.backend.counters().engine["handovers"] > 100) == (workers > 1)


class Lossy:
    """A wire that keeps the last frame of each round."""

    def __init__(self, inner: Wire) -> None:
        self.inner = inner

    def send(self, port: int, data: bytes) -> None:
        self.inner.send(port, data)

    def receive(self) -> Sequence[Output]:
        return self.inner.receive()[:-1]


def test_a_frame_less_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.property.live.SECONDS", 0.0)
    with side(TwinDevice(), 1) as twin, side(TwinDevice(), 1) as other:
        Play(twin, other, 1).run()
    with side(TwinDevice(), 1) as twin, side(TwinDevice(), 1) as other, pytest.raises(Differs, match="only the twin's"):
        Play(twin, Side(other.backend, Lossy(other.wire)), 1).run()


def test_another_worker_is_seen() -> None:
    with side(TwinDevice(), 2) as twin, side(TwinDevice(), 1) as other, pytest.raises(Differs, match="worker=1"):
        Play(twin, other, 1).run()
