"""Commits under load: every packet sees one generation or the next across all tables, never a mixture."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdk.api.client import IntentText
from tests.conftest import ROOT
from tests.netns.world import Host, World, end_session, without_a_trace

INTENT = """
kind: Uplink
name: left
spec: {{port: uplink0, addresses: [192.0.2.2/26]}}
---
kind: Uplink
name: right
spec: {{port: uplink1, addresses: [192.0.2.66/26]}}
---
kind: Subnet
name: shop
spec: {{gateways: [10.1.0.1/24]}}
---
kind: Vnic
name: web
spec: {{port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], policy: one}}
---
kind: FirewallPolicy
name: one
spec: {{rules: {{only: allow out udp from any to any port {port}}}}}
---
kind: Route
name: there
spec: {{prefixes: [198.51.100.0/24], via: ["{via}"]}}
"""
LEFT = INTENT.format(port=6001, via="192.0.2.1@left")
RIGHT = INTENT.format(port=6002, via="192.0.2.65@right")

SEND = """
import socket
while True:  # every packet begins a flow of its own: nothing was decided before
    for port in (6001, 6002):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", ("198.51.100.7", port))
"""
RECEIVE = """
import json, select, socket, sys
some = {}
for port in (6001, 6002):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
    one.bind(("198.51.100.7", port))
    some[one] = port
count = {6001: 0, 6002: 0}
print("ready", flush=True)
going = True
while going:  # until its input ends, and then to the last that has come
    ready = select.select([*some, sys.stdin], [], [])[0]
    for one in ready:
        if one in some:
            one.recv(100)
            count[some[one]] += 1
    going = ready != [sys.stdin]
print(json.dumps(count))
"""


@contextmanager
def carried(folder: Path, program: Path, workers: int) -> Iterator[World]:
    """A card with this engine, a host behind each uplink and one before it."""
    with without_a_trace(folder, program) as made:
        made.host("web", "host0", "02:00:00:00:00:0a", ("10.1.0.10/24",), ("10.1.0.1",))
        for name, port, mac, address in (
            ("left", "uplink0", "02:00:00:00:09:01", "192.0.2.1/26"),
            ("right", "uplink1", "02:00:00:00:09:02", "192.0.2.65/26"),
        ):
            host = made.host(name, port, mac, (address,))
            host.run("ip", "address", "add", "198.51.100.7/32", "dev", "lo")
        made.write_card(workers=str(workers))
        made.start_card()
        yield made


def receiver(host: Host) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["ip", "netns", "exec", host.namespace, sys.executable, "-c", RECEIVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


@dataclass(frozen=True)
class Came:
    """Packets by where they came out and the port that they were sent to."""

    left: dict[str, int]
    right: dict[str, int]

    @property
    def mixed(self) -> int:
        """Those that met the route of one commit and the rule of another."""
        return self.left["6002"] + self.right["6001"]


def changed_under_load(world: World, changes: int, seconds: float) -> Came:
    """Port 6001 is allowed where the route leads left, 6002 where it leads right; the two are changed together."""
    with closing(world.api()) as api:
        api.apply([IntentText("intent.yaml", LEFT.encode())])
        receivers = [receiver(world.hosts[name]) for name in ("left", "right")]
        sender = world.hosts["web"].start(sys.executable, "-c", SEND)
        begin = time.monotonic()
        made = 0
        while made < changes or time.monotonic() - begin < seconds:
            api.apply([IntentText("intent.yaml", (RIGHT, LEFT)[made % 2].encode())])
            made += 1
            threading.Event().wait(0.05)
        end_session(sender)
        came = Came(*(json.loads(one.communicate(timeout=60)[0]) for one in receivers))
    assert came.left["6001"] > 100
    assert came.right["6002"] > 100
    return came


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
def test_no_packet_sees_the_route_of_one_commit_and_the_rule_of_another(
    workers: int, program: Path, tmp_path: Path
) -> None:
    with carried(tmp_path, program, workers) as world:
        assert changed_under_load(world, 60, 5).mixed == 0


def test_a_mixture_would_be_seen(program: Path, tmp_path: Path) -> None:
    """An engine whose tables become visible one by one, milliseconds apart (hal/packet/engine/control/tests/torn.c)."""
    subprocess.run([".ci/engine", "engine"], cwd=ROOT, check=True)
    with carried(tmp_path, program.with_name("dsn-engine-torn"), 1) as world:
        assert changed_under_load(world, 10, 0).mixed > 10
