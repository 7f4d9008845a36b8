"""Floods of one vNIC against each of its limits while its neighbours work, between real hosts, on one worker and two:
they take the attacker's own share only. Another vNIC opens connections and talks all the time, and what the
attacker's host itself has established stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal.conformance.frames import IPV4, ethernet, fragment, tcp, udp
from hal.packet.contract import Counters, EventKind, FlowFilter, TcpState
from hal.packet.dpdk import Engine
from hal.packet.dpdk.engine import connect
from tests.netns.echo import SERVER, TALK, listens
from tests.netns.two_hosts import MAC_A, MAC_B, A, B
from tests.netns.world import Host, World, end_session, without_a_trace
from tests.tools.until import until

C, MAC_C, SILENT = "10.1.0.30", "02:00:00:00:00:0c", "10.1.0.99"
"""The attacker, and an address of A's that its host doesn't have: nobody answers there."""
R, MAC_R, MAC_CARD = "192.0.2.1", "02:00:00:00:09:01", "02:00:00:00:ff:01"
"""A host on the uplink, and the gateway that the card is."""
HALF_OPEN, FLOWS, OWN = 20, 400, 120
INTENT = f"""
kind: Uplink
name: uplink
spec: {{port: uplink0, addresses: [192.0.2.2/24]}}
---
kind: Subnet
name: net
spec: {{gateways: [10.1.0.1/24], mac: {MAC_CARD}}}
---
kind: Profile
name: router
spec: {{egress: [antispoof, firewall, bridge, route], ingress: [firewall], punts: [udp 7]}}
---
kind: FirewallPolicy
name: all
spec: {{rules: {{only: allow any from any to any}}}}
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
spec: {{port: host2, mac: {MAC_C}, subnet: net, addresses: [{C}], policy: all, profile: router, flowLimit: {FLOWS},
  newFlowLimit: 200, halfOpenLimit: {HALF_OPEN}, fragmentLimit: 8, puntLimit: 10, icmpLimit: 16, challengeLimit: 512}}
"""
VICTIM = f"""{TALK}
established = socket.create_connection(("{A}", 80), timeout=10)
while True:
    with socket.create_connection(("{A}", 80), timeout=10) as fresh:
        talk(fresh)
    talk(established)
    print(end=".", flush=True)
    time.sleep(0.02)
"""
OWNER = f"""{TALK}
own = [socket.create_connection(("{A}", 80), 10, ("{C}", 30000 + n)) for n in range({OWN})]
for _ in sys.stdin:
    for one in own:
        talk(one)
    print("ok", flush=True)
"""
FLOOD = """
import socket, sys, time
frames = [bytes.fromhex(line) for line in open(sys.argv[1])]
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
    raw.bind(("eth0", 0))
    while True:
        for at, frame in enumerate(frames):
            try:
                raw.send(frame)
            except OSError:  # its queue is full
                pass
            if at % 100 == 99:
                time.sleep(0.005)
        time.sleep(0.005)
"""


@dataclass(frozen=True)
class Flood:
    """What the attacker sends, what counts its refusal, for the card and for the vNIC, and what is told of it."""

    name: str
    frames: Sequence[bytes]
    counter: str
    limit: str
    event: EventKind
    least: int = 100

    def refused(self, counters: Counters) -> int:
        return counters.drops.get(self.counter, 0) + counters.engine.get(self.counter, 0)


def _to(mac: str, packet: bytes) -> bytes:
    return ethernet(mac, MAC_C, IPV4, packet)


def _first_fragment(number: int) -> bytes:
    packet = bytearray(fragment(C, SILENT, 0, True, udp(C, SILENT, 5, 9, bytes(8))[20:]))
    packet[4:6], packet[10:12] = number.to_bytes(2, "big"), bytes(2)
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, 20, 2))
    packet[10:12] = (0xFFFF - (total % 0xFFFF)).to_bytes(2, "big")
    return bytes(packet)


FLOODS = [
    Flood("half-open", [_to(MAC_A, tcp(C, SILENT, port, 80, "S")) for port in range(1024, 9000)],
          "half_open_evicted", "half_open_limit", EventKind.HALF_OPEN_LIMIT),
    Flood("new flows", [_to(MAC_A, udp(C, SILENT, port)) for port in range(1024, 1424)],
          "new_flow_limit", "new_flow_limit", EventKind.NEW_FLOW_LIMIT),
    Flood("flows", [_to(MAC_A, udp(C, SILENT, port)) for port in range(1024, 3024)],
          "half_open_evicted", "flow_limit", EventKind.FLOW_LIMIT),
    Flood("fragments", [_to(MAC_A, _first_fragment(number)) for number in range(2000)],
          "fragment_limit", "fragment_limit", EventKind.FRAGMENT_LIMIT),
    Flood("punts", [_to(MAC_CARD, udp(C, "10.1.0.1", 5, 7))] * 200, "punt_limit", "punt_limit", EventKind.PUNT_LIMIT),
    Flood("icmp", [_to(MAC_CARD, udp(C, R, 5, 7, ttl=1))] * 200, "icmp_suppressed", "icmp_limit", EventKind.ICMP_LIMIT),
    Flood("challenges", [_to(MAC_A, tcp(C, A, 30_000 + n % OWN, 80, "S", seq=n)) for n in range(10 * OWN)],
          "tcp_challenged", "challenge_limit", EventKind.CHALLENGE_LIMIT),
    Flood("neighbours", [_to(MAC_CARD, udp(C, f"192.0.2.{10 + n % 240}", 10 + n // 240)) for n in range(480)],
          "neighbour_queue_limit", "neighbour_queue_limit", EventKind.NEIGHBOUR_LIMIT),
]  # fmt: skip


@dataclass(frozen=True)
class Card:
    world: World
    engine: Engine
    victim: Path
    owner: subprocess.Popen[bytes]

    def victims_turns(self) -> int:
        """Connections that the victim has opened, and used, so far."""
        return len(self.victim.read_bytes())

    def owner_talks(self) -> bool:
        """On all connections that the attacker's host had before."""
        assert self.owner.stdin is not None
        assert self.owner.stdout is not None
        self.owner.stdin.write(b"\n")
        self.owner.stdin.flush()
        return self.owner.stdout.readline() == b"ok\n"


def _start(host: Host, program: str, stdin: int | None = None, stdout: int | None = None) -> subprocess.Popen[bytes]:
    command = ["ip", "netns", "exec", host.namespace, sys.executable, "-c", program]
    process = subprocess.Popen(command, start_new_session=True, stdin=stdin, stdout=stdout)
    host.processes.append(process)
    return process


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def card(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    with without_a_trace(tmp_path_factory.mktemp("floods")) as world:
        for name, port, mac, address in (("a", "host0", MAC_A, A), ("b", "host1", MAC_B, B), ("c", "host2", MAC_C, C)):
            world.host(name, port, mac, [f"{address}/24"], ["10.1.0.1"])
        world.host("r", "uplink0", MAC_R, [f"{R}/24"], ["192.0.2.2"])
        world.write_card(workers=str(request.param), punt_taps="1")
        world.start_card()
        world.apply(INTENT)
        for name in "ar":
            _start(world.hosts[name], SERVER)
        for name in "ar":
            assert listens(world.hosts[name])
        turns = world.folder / "turns"
        with turns.open("wb") as out:
            _start(world.hosts["b"], VICTIM, stdout=out.fileno())
        owner = _start(world.hosts["c"], OWNER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        engine = connect(world.run_folder / "engine")
        try:
            made = Card(world, engine, turns, owner)
            assert made.owner_talks()
            assert until(lambda: made.victims_turns() > 3, 30)
            yield made
        finally:
            engine.close()
            for pipe in (owner.stdin, owner.stdout):
                if pipe is not None:
                    pipe.close()


def _limits(card: Card) -> dict[str, dict[str, dict[str, Any]]]:
    """vNIC -> limit -> what an operator is told of it."""
    found = json.loads(card.world.dsn("show", "objects", "Vnic", "--json").stdout)
    return {one["name"]: {limit["name"]: limit for limit in one["status"]["limits"]} for one in found}


@contextmanager
def _flooding(card: Card, flood: Flood) -> Iterator[None]:
    frames = card.world.folder / "frames"
    frames.write_text("\n".join(frame.hex() for frame in flood.frames))
    attacker = card.world.hosts["c"].start(sys.executable, "-c", FLOOD, str(frames))
    try:
        yield
    finally:
        end_session(attacker)
        writer = card.engine.writer("dsnd")
        writer.forget(FlowFilter(source=f"{C}/32", protocol=17))
        writer.close()


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_a_flood_takes_its_own_share(card: Card, flood: Flood) -> None:
    before, limits = flood.refused(card.engine.counters()), _limits(card)
    with _flooding(card, flood):
        assert until(lambda: flood.refused(card.engine.counters()) >= before + flood.least, 30)
        turns, refused = card.victims_turns(), flood.refused(card.engine.counters())
        if flood.event is EventKind.NEIGHBOUR_LIMIT:  # nobody has asked for it yet
            card.world.hosts["b"].run(sys.executable, "-c", f"{TALK}\ntalk(socket.create_connection(('{R}', 80), 10))")
        if flood.event is EventKind.HALF_OPEN_LIMIT:
            flows = card.engine.flows(FlowFilter(source=f"{C}/32"))
            half_open = [flow for flow in flows if flow.tcp_state is TcpState.SYN_SENT]
            assert 0 < len(half_open) <= HALF_OPEN
        assert until(lambda: card.victims_turns() > turns + 3, 30)
        assert flood.refused(card.engine.counters()) > refused
        assert len(card.engine.flows(FlowFilter(source=f"{C}/32"))) <= FLOWS
        during = _limits(card)
    assert during["c"][flood.limit]["refused"] > limits["c"][flood.limit]["refused"]
    assert OWN <= during["c"]["flow_limit"]["used"] <= during["c"]["flow_limit"]["most"] == FLOWS
    assert during["c"]["half_open_limit"]["used"] <= during["c"]["half_open_limit"]["most"] == HALF_OPEN
    others = [limit for name in "ab" for limit in during[name].values() if limit["refused"]]
    assert others == []  # nothing was refused to anybody else
    assert card.owner_talks()
    told = [event for event in card.engine.events().events if event.kind.name.endswith("_LIMIT")]
    assert flood.event in {event.kind for event in told}
    assert len({(event.table, event.id) for event in told}) == 1  # of nobody else
