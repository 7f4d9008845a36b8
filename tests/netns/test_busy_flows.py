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
from tests.netns.world import World, end_session, leftovers

INTENT = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: FirewallPolicy
name: all
spec: {rules: {all: allow udp from any to any}}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], policy: all}
---
kind: Vnic
name: client
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: shop, addresses: [10.1.0.11], policy: all}
"""
SEND = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("10.1.0.11", 5000))
    one.connect(("10.1.0.10", 9))
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
    made = World(tmp_path)
    try:
        made.host("web", "host0", "02:00:00:00:00:0a", ("10.1.0.10/24",))
        made.host("client", "host1", "02:00:00:00:00:0b", ("10.1.0.11/24",))
        made.write_card()
        made.start_card()
        yield made
        made.stop_card()
    finally:
        made.close()
    assert list(leftovers(made.tag)) == []


def test_a_flow_in_use_is_always_there(world: World, tmp_path: Path) -> None:
    """It is listed, in a trace, and forgotten where that is asked."""
    intent = tmp_path / "intent.yaml"
    intent.write_text(INTENT)
    world.dsn("apply", str(intent))
    sender = world.hosts["client"].start(sys.executable, "-c", SEND)
    engine = connect(world.run_folder / "engine")
    writer = engine.writer("dsnd")
    try:
        deadline = time.monotonic() + 10
        while not engine.flows(FLOW):
            assert time.monotonic() < deadline
        (before,) = engine.flows(FLOW)
        port = next(one.config.number for one in engine.capabilities().ports if one.config.name == "host1")
        packet = build(parse("udp 10.1.0.11:5000 > 10.1.0.10:9"), "02:00:00:00:00:0b", "02:00:00:00:00:0a", 0)
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
