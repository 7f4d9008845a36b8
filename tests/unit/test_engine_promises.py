"""What the engine promises beside being the twin: one chain walk a flow, and writers that race."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Insert, PacketIn, Verdict
from hal.packet.dpdk import Engine
from hal.packet.stages.route._generated import NextHop
from tests.property.commands import STARTS
from tests.property.talk import Conversation, wrap
from tests.property.universe import LOAD, difference, tables
from tests.tools.engines import running


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running() as started:
        started.load(LOAD)
        started.start()
        started.writer().commit(difference({}, tables(STARTS[0])))
        yield started


def packets(count: int, sport: int = 40000, begin_s: int = 1) -> list[PacketIn]:
    talk = Conversation(source=0, destination=1, protocol=17, sport=sport, dport=53)
    source, destination = talk.ends(False)
    ip = talk.ip(False)
    frame = wrap(source, destination, ip, *talk.l4(ip, False, 0, 10))
    return [PacketIn(frame, source.port, begin_s * 1_000_000_000 + number * 1_000) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_any_number_of_packets_of_a_flow_make_one_chain_walk(engine: Engine, count: int) -> None:
    shard = engine.shard()
    results = shard.replay(packets(count))
    assert {result.verdict for result in results} == {Verdict.FORWARD}
    counters = shard.counters().engine
    assert (counters["chain_walks"], counters["flows_opened"]) == (1, 1)
    shard.replay(packets(count, sport=40001, begin_s=2))
    assert shard.counters().engine["chain_walks"] == 2
    shard.close()


def test_two_writers_race_and_each_commit_is_made_once_or_is_stale(engine: Engine) -> None:
    """Both begin from what they read; of two that read the same, one is told to read again."""
    made: list[tuple[int, int]] = []
    stale = []

    def write(first: int) -> None:
        writer = engine.writer()
        reader = Engine(engine.run)
        for number in range(first, first + 25):
            while True:
                base = reader.snapshot(["next_hop"]).generation
                row = NextHop(id=number, port=3, address="192.0.2.9")
                try:
                    made.append((writer.commit([Insert(row.rows())], base=base), number))
                    break
                except HalError as error:
                    if error.kind is not ErrorKind.STALE:
                        raise
                    stale.append(number)
        reader.close()
        writer.close()

    before = engine.snapshot().generation
    threads = [threading.Thread(target=write, args=(first,)) for first in (1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(generation for generation, _ in made) == list(range(before + 1, before + 51))
    there = {row.id for row in engine.snapshot().rows("next_hop")}
    assert {number for _, number in made} <= there
    assert stale
