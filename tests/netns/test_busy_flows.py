"""Flows that are in use while somebody asks for them: who asks reads the clock before the worker's next packet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal.packet.contract import FlowFilter, PacketIn
from hal.packet.describe import build, parse
from hal.packet.dpdk.engine import connect
from tests.netns import two_hosts
from tests.netns.world import World, end_session

SEND = f"""
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("{two_hosts.B}", 5000))
    one.connect(("{two_hosts.A}", 9))
    while True:
        try:
            one.send(b"x")
        except OSError:  # nobody listens there
            pass
"""
FLOW = FlowFilter(source_port=5000)
ASKED = 300


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with two_hosts.forwarding(tmp_path, "allow udp from any to any") as world:
        yield world


def test_a_flow_in_use_is_always_there(world: World) -> None:
    """It is listed, in a trace, and forgotten where that is asked."""
    sender = world.hosts["b"].start(sys.executable, "-c", SEND)
    engine = connect(world.run_folder / "engine")
    writer = engine.writer("dsnd")
    try:
        deadline = time.monotonic() + 10
        while not engine.flows(FLOW):
            assert time.monotonic() < deadline
        (before,) = engine.flows(FLOW)
        port = next(one.config.number for one in engine.capabilities().ports if one.config.name == "host1")
        packet = build(parse(f"udp {two_hosts.B}:5000 > {two_hosts.A}:9"), two_hosts.MAC_B, two_hosts.MAC_A, 0)
        for _ in range(ASKED):
            assert [one.id for one in engine.flows(FLOW)] == [before.id]
            traced = engine.trace(PacketIn(packet, port, 0)).flow
            assert traced is not None
            assert traced.id == before.id
        (after,) = engine.flows(FLOW)
        assert after.packets[0] > before.packets[0] + ASKED
        for _ in range(20):  # the next packet begins another
            assert writer.forget(FLOW) == 1
            while not engine.flows(FLOW):
                assert time.monotonic() < deadline + 60
    finally:
        end_session(sender)
        writer.close()
        engine.close()
