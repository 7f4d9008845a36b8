"""A SYN flood of one vNIC while its neighbours work, between real hosts: it takes its own share only."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal.packet.contract import FlowFilter, TcpState
from hal.packet.dpdk.engine import connect
from tests.netns.two_hosts import MAC_A, MAC_B, A, B
from tests.netns.world import World, end_session, leftovers

C, MAC_C, SILENT = "10.1.0.30", "02:00:00:00:00:0c", "10.1.0.99"
"""The attacker, and an address of A's that its host doesn't have: nobody answers there."""
LIMIT, SECONDS = 50, 4
INTENT = f"""
kind: Subnet
name: net
spec: {{gateways: [10.1.0.1/24]}}
---
kind: FirewallPolicy
name: all
spec: {{rules: {{only: allow tcp from any to any}}}}
---
kind: Vnic
name: a
spec: {{port: host0, mac: {MAC_A}, subnet: net, addresses: [{A}, {SILENT}], policy: all}}
---
kind: Vnic
name: b
spec: {{port: host1, mac: {MAC_B}, subnet: net, addresses: [{B}], policy: all}}
---
kind: Vnic
name: c
spec: {{port: host2, mac: {MAC_C}, subnet: net, addresses: [{C}], policy: all, halfOpenLimit: {LIMIT}}}
"""
SERVER = f"""
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 100
Server(("{A}", 80), Echo).serve_forever()
"""
FLOOD = f"""
import socket, struct
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, socket.inet_aton("{C}"), socket.inet_aton("{SILENT}"))
number = 0
while True:
    number += 1
    tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60000, 80, number, 0, 0x50, 2, 65535, 0, 0)
    try:
        raw.sendto(ip + tcp, ("{SILENT}", 0))
    except OSError:  # its queue is full
        pass
"""
VICTIM = f"""
import socket, time
def talk(one):
    one.sendall(b"hello")
    assert one.recv(5, socket.MSG_WAITALL) == b"hello"
established = socket.create_connection(("{A}", 80), timeout=10)
end, opened = time.monotonic() + {SECONDS}, 0
while time.monotonic() < end:
    with socket.create_connection(("{A}", 80), timeout=10) as fresh:
        talk(fresh)
    talk(established)
    opened += 1
    time.sleep(0.02)
print(opened)
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        for name, port, mac, address in (("a", "host0", MAC_A, A), ("b", "host1", MAC_B, B), ("c", "host2", MAC_C, C)):
            made.host(name, port, mac, [f"{address}/24"])
        made.write_card()
        made.start_card()
        yield made
        made.stop_card()
    finally:
        made.close()
    assert list(leftovers(made.tag)) == []


def test_a_syn_flood_takes_its_own_share(world: World) -> None:
    """The attacker's oldest half-open connections go; a neighbour opens new ones all the time, and keeps his."""
    (world.folder / "intent.yaml").write_text(INTENT)
    world.dsn("apply", str(world.folder / "intent.yaml"))
    server = world.hosts["a"].start(sys.executable, "-c", SERVER)
    flood = None
    engine = connect(world.run_folder / "engine")
    try:
        time.sleep(1)  # it listens
        flood = world.hosts["c"].start(sys.executable, "-c", FLOOD)
        deadline = time.monotonic() + 20
        while engine.counters().engine["half_open_evicted"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = engine.counters().engine["half_open_evicted"]
        victim = world.hosts["b"].start(sys.executable, "-c", VICTIM, output=subprocess.PIPE)
        told, _ = victim.communicate(timeout=60)
        assert victim.returncode == 0
        assert int(told) > 10
        assert engine.counters().engine["half_open_evicted"] > before + 100
        half_open = [flow for flow in engine.flows(FlowFilter(source=f"{C}/32")) if flow.tcp_state is TcpState.SYN_SENT]
        assert 0 < len(half_open) <= LIMIT
    finally:
        engine.close()
        for one in (server, flood):
            if one is not None:
                end_session(one)
