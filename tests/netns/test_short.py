"""Many short connections and exchanges between real hosts through a vNIC that may have few: all of them complete, by
one worker and two, and what is established goes on."""

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
RESOLVER = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 53))
while True:
    data, asker = one.recvfrom(2048)
    one.sendto(data, asker)
"""
ASKER = f"""
import os, socket, struct, threading
done = {{"udp": 0, "echo": 0}}
def asks(one, what):
    one.send(what)
    assert one.recv(2048)[-len(what):] == what
def udp():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(20)
    one.connect(("{A}", 53))
    return one
def sum16(data):
    total = sum(struct.unpack(f"!{{len(data) // 2}}H", data))
    return ~(total + (total >> 16)) & 0xFFFF
def echo(number):
    request = struct.pack("!BBHHH", 8, 0, 0, number, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as one:
        one.settimeout(20)
        one.connect(("{A}", 0))
        one.send(request[:2] + struct.pack("!H", sum16(request)) + request[4:])
        while one.recv(2048)[24:26] != struct.pack("!H", number):
            pass
def exchanges(which):
    for turn in range({EACH}):
        with udp() as one:
            asks(one, os.urandom(9))
        done["udp"] += 1
        if turn % 3 == 0:
            echo(1 + which * {EACH} + turn)
            done["echo"] += 1
stream = udp()
for _ in range(3):
    asks(stream, b"stream")
threads = [threading.Thread(target=exchanges, args=(which,)) for which in range({AT_ONCE})]
for one in threads:
    one.start()
for one in threads:
    one.join()
asks(stream, b"stream")
print(*done.values(), stream.getsockname()[1])
"""
ALL = EACH * AT_ONCE


@pytest.fixture(params=["1", "2"], ids=["one worker", "two workers"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with two_hosts.forwarding(tmp_path, '"allow tcp,udp,icmp from any to any"', workers=request.param) as world:
        intent = world.folder / "intent.yaml"
        few = intent.read_text().replace(f"addresses: [{B}]", f"addresses: [{B}], flowLimit: {LIMIT}")
        intent.write_text(few)
        world.dsn("apply", str(intent))
        world.hosts["a"].start(sys.executable, "-c", SERVER)
        world.hosts["a"].start(sys.executable, "-c", RESOLVER)
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


def test_many_exchanges(world: World) -> None:
    """By UDP and echo. What goes on is the same connection to the end."""
    said = world.hosts["b"].run(sys.executable, "-c", ASKER).stdout
    engine = connect(world.run_folder / "engine")
    try:
        counters = engine.counters()
        *done, stream = map(int, said.split())
        assert done == [ALL, ALL // 3]
        assert (counters.drops["flow_limit"], counters.engine["half_open_evicted"]) == (0, 0)
        assert counters.engine["ended_evicted"] > ALL  # a port may have been drawn again while it was there
        assert len(engine.flows(FlowFilter(source=f"{B}/32"))) <= LIMIT
        assert [flow.packets for flow in engine.flows(FlowFilter(source_port=stream))] == [(4, 4)]
    finally:
        engine.close()
