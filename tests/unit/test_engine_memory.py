"""An engine that may have no more memory: a commit that needs it is FULL, and all is as it was."""

import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Insert, LoadConfig, Output, PortConfig, Shard, Verdict
from hal.packet.dpdk import Engine
from hal.packet.schema.rows import Rows
from hal.packet.stages.route._generated import Route
from tests.conftest import ROOT
from tests.property.commands import STARTS
from tests.property.universe import LOAD, difference, tables
from tests.tools.engines import RELEASED, running
from tests.unit.test_engine_promises import packets

MANY = 400_000
LEFT = 1 << 20  # bytes


@pytest.fixture
def engine() -> Iterator[Engine]:
    subprocess.run([".ci/engine", "engine"], cwd=ROOT, check=True)
    with running(RELEASED) as started:
        ports = tuple(PortConfig(port.number, port.name, "replay", mtu=port.mtu) for port in LOAD.ports)
        started.load(LoadConfig(ports=ports, connections=64))  # tables of their declared capacities
        started.start()
        with closing(started.writer()) as writer:
            writer.commit(difference({}, tables(STARTS[0])))
        yield started


def routes(count: int) -> Rows:
    """Of the next hop and the VRF that the universe has."""
    prefixes = np.zeros((count, 16), np.uint8)
    prefixes[:, 10:12] = 0xFF
    prefixes[:, 12:] = (0x30000000 + (np.arange(count) << 8)).astype(">u4").view(np.uint8).reshape(-1, 4)
    lengths = np.full(count, 96 + 24, np.uint8)
    known = next(row for row in tables(STARTS[0]).values() if isinstance(row, Route))
    return Route.array(
        id=1_000_000 + np.arange(count), vrf=known.vrf, prefix=(prefixes, lengths), next_hop=known.next_hop
    )


def forwarded(shard: Shard, begin_s: int) -> list[tuple[Verdict, tuple[Output, ...]]]:
    return [(result.verdict, result.outputs) for result in shard.replay(packets(20, begin_s=begin_s))]


def data_bytes(pid: int) -> int:
    found = re.search(r"VmData:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def test_a_commit_without_memory_is_full_and_changes_nothing(engine: Engine) -> None:
    with closing(engine.writer()) as writer, closing(engine.shard()) as shard:
        before = forwarded(shard, 1), engine.snapshot().generation
        most = data_bytes(engine.pid) + LEFT
        resource.prlimit(engine.pid, resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
        with pytest.raises(HalError) as refused:
            writer.commit([Insert(routes(MANY))])
        assert refused.value.kind is ErrorKind.FULL
        assert re.fullmatch(
            r"FULL: table route: got \d+ KiB more, to undo 400000 changes, limit the memory that the kernel gives\. "
            r"Commit in smaller parts, or give the engine more memory\.",
            str(refused.value),
        ), str(refused.value)
        assert (forwarded(shard, 2), engine.snapshot().generation) == before
        writer.commit([Insert(routes(100))])
        assert engine.snapshot().generation == before[1] + 1
        assert forwarded(shard, 3) == before[0]
        resource.prlimit(engine.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        writer.commit([Insert(routes(MANY).take(np.arange(100, MANY)))])
        assert forwarded(shard, 4) == before[0]
