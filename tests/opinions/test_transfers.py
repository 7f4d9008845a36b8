"""No well-behaved connection is ever broken: real transfers over wires that lose, reorder and delay, through a card."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.netns.world import World, leftovers
from tests.opinions.taps import End, namespace, tap
from tests.opinions.wire import Stretch, Way, Weather, Wire
from tests.tools.engines import SANITIZED

COUNT, COUNT_LONG = 500, 10_000
AT_ONCE = 100
"""Of each of the two hosts."""
PORT = 7000
WEATHER = Weather(loss=0.01, reorder=0.025, delay_ms=(0, 50), late_ms=15)
"""Of each of the two stretches that a frame passes: two percent lost and five reordered, up to 100 ms each way."""
MTU = 1500

INTENT = """
kind: Subnet
name: left
spec: {{gateways: ["10.1.0.1/24", "2001:db8:1::1/64"]}}
---
kind: Subnet
name: right
spec: {{gateways: ["10.2.0.1/24", "2001:db8:2::1/64"]}}
---
kind: FirewallPolicy
name: all
spec: {{rules: {{transfers: allow tcp from any to any port {port}}}}}
---
kind: Vnic
name: a
spec: {{port: host0, mac: "02:00:00:00:00:0a", subnet: left, addresses: ["10.1.0.10", "2001:db8:1::a"], policy: all}}
---
kind: Vnic
name: b
spec: {{port: host1, mac: "02:00:00:00:00:0b", subnet: right, addresses: ["10.2.0.20", "2001:db8:2::14"], policy: all}}
"""


@dataclass(frozen=True)
class Far:
    """A host behind a wire."""

    end: End
    v4: str
    v6: str

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "tests.opinions.transfers", *map(str, arguments)]
        return subprocess.Popen(
            ["ip", "netns", "exec", self.end.namespace, *program], stdout=subprocess.PIPE, text=True
        )


@contextlib.contextmanager
def wired(world: World, seed: int) -> Iterator[tuple[Far, Far, Wire]]:
    """Two hosts, each behind a wire to a port of the card; frames move."""
    with contextlib.ExitStack() as stack:
        far: list[Far] = []
        ways: list[Way] = []
        for number, letter in enumerate("ab"):
            addresses = (f"10.{number + 1}.0.{10 * (number + 1)}", f"2001:db8:{number + 1}::{(10, 20)[number]:x}")
            where = stack.enter_context(namespace(f"{world.tag}-{letter}"))
            end = stack.enter_context(
                tap(where, "eth0", f"02:00:00:00:00:0{letter}", (f"{addresses[0]}/24", f"{addresses[1]}/64"), MTU)
            )
            for gateway in (f"10.{number + 1}.0.1", f"2001:db8:{number + 1}::1"):
                end.run("ip", "-6" if ":" in gateway else "-4", "route", "add", "default", "via", gateway)
            near = stack.enter_context(tap(world.card_namespace, f"host{number}", f"02:00:00:00:ff:0{number}", ()))
            world.ports.append(f"host{number}")
            for source, target in ((end.tap, near.tap), (near.tap, end.tap)):
                ways.append(Way(source, [Stretch(WEATHER)], target))
            far.append(Far(end, *addresses))
        wire = Wire(ways, seed)
        with wire.running():
            yield far[0], far[1], wire


def test_every_transfer_comes_whole(tmp_path: Path, tell: Callable[[object], None], seed: int, long: bool) -> None:
    """Of 1 kB to 1 MB, from both sides, in both families: all complete, and every byte is right."""
    count = COUNT_LONG if long else COUNT
    with World(tmp_path / "world", SANITIZED) as world, wired(world, seed) as (a, b, wire):
        world.write_card()
        world.start_card()
        intent = tmp_path / "intent.yaml"
        intent.write_text(INTENT.format(port=PORT))
        world.dsn("apply", str(intent))
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            said = []
            for host in (a, b):
                for address in (host.v4, host.v6):
                    server = stack.enter_context(host.start("serve", address, PORT))
                    stack.callback(server.kill)
                    assert server.stdout is not None
                    assert server.stdout.readline() == "ready\n"
            for number, (host, address) in enumerate(((a, b.v4), (a, b.v6), (b, a.v4), (b, a.v6))):
                client = host.start("fetch", address, PORT, count // 4, AT_ONCE // 2, seed + number)
                stack.callback(client.kill)
                said.append(client)
            results = [json.loads(client.communicate()[0]) for client in said]
        seconds = time.monotonic() - begin
        with contextlib.closing(world.api()) as api:
            drops = {reason: number for reason, number in api.counters().drops.items() if number}
        world.stop_card()
    whole, size = sum(one["whole"] for one in results), sum(one["bytes"] for one in results)
    tell(
        f"{whole} of {count} transfers whole, {size / 1e6:.0f} MB in {seconds:.0f} s; wire: {wire.sent} frames, "
        f"{wire.lost / wire.sent:.1%} lost and {wire.late / wire.sent:.1%} late a stretch; the card dropped {drops}"
    )
    assert [one["wrong"] for one in results] == [[], [], [], []]
    assert whole == count
    assert wire.lost > 0
    assert wire.late > 0
    assert list(leftovers(world.tag)) == []
