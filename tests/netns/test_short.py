"""Many short connections between real hosts through a vNIC that may have few: all of them complete, by one worker and
two, and what is established goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal.packet.contract import FlowFilter, TcpState
from hal.packet.dpdk import Engine
from hal.packet.dpdk.engine import connect
from tests.netns import two_hosts
from tests.netns.echo import SERVER, TALK, listens
from tests.netns.two_hosts import A, B
from tests.netns.world import World

LIMIT, EACH, AT_ONCE = 24, 150, 3
CLIENT = f"""{TALK}
import struct, threading
RESET = struct.pack("ii", 1, 0)
done = 0
def short():
    global done
    for turn in range({EACH}):
        with socket.create_connection(("{A}", 80), timeout=20) as one:
            talk(one)
            if turn % 3 == 0:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            else:
                one.shutdown(socket.SHUT_WR)
                assert one.recv(1) == b""
        done += 1
with socket.create_connection(("{A}", 80), timeout=20) as long:
    talk(long)
    threads = [threading.Thread(target=short) for _ in range({AT_ONCE})]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    talk(long)
print(done)
"""


@pytest.fixture(params=["1", "2"], ids=["one worker", "two workers"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with two_hosts.forwarding(tmp_path, "allow tcp from any to any", workers=request.param) as world:
        intent = world.folder / "intent.yaml"
        few = intent.read_text().replace(f"addresses: [{B}]", f"addresses: [{B}], flowLimit: {LIMIT}")
        intent.write_text(few)
        world.dsn("apply", str(intent))
        world.hosts["a"].start(sys.executable, "-c", SERVER)
        assert listens(world.hosts["a"])
        yield world


def _states(engine: Engine) -> list[TcpState]:
    return [flow.tcp_state for flow in engine.flows(FlowFilter(source=f"{B}/32"))]


def test_many_short_connections(world: World) -> None:
    said = world.hosts["b"].run(sys.executable, "-c", CLIENT).stdout
    engine = connect(world.run_folder / "engine")
    try:
        counters = engine.counters()
        assert int(said) == EACH * AT_ONCE
        assert (counters.drops["flow_limit"], counters.engine["half_open_evicted"]) == (0, 0)
        assert counters.engine["flows_opened"] > EACH * AT_ONCE
        assert counters.engine["ended_evicted"] >= EACH * AT_ONCE - LIMIT
        assert len(_states(engine)) <= LIMIT
        assert set(_states(engine)) <= {TcpState.TIME_WAIT, TcpState.CLOSED, TcpState.CLOSING}
    finally:
        engine.close()
