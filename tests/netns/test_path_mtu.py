"""Path MTU discovery and traceroute through the card, between Linux hosts that know nothing of it.

    inner ── near ── card ── far ── outer

`near` is a workload that routes for `inner` (its vNIC has no antispoof), `far` a router on the card's uplink; each may
know a smaller MTU for what is behind it.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from hal.packet.contract import Insert, LoadConfig, Modify, PortConfig
from hal.packet.dpdk import Engine
from hal.packet.frame._generated import Profile, ProfileStage, Vnic, Vrf
from hal.packet.schema.rows import Row, as_rows
from hal.packet.stages.bridge._generated import FdbEntry, LocalAddress, Subnet, VnicAddress
from hal.packet.stages.route._generated import NextHop, Route, SubnetRoute
from tests.netns.ports import Field, field, inside, run
from tests.tools.engines import SANITIZED, running
from tests.tools.until import until

NEAR, FAR, INNER, OUTER = range(4)
CARD_MAC, UPLINK_MAC = "02:00:00:00:ff:01", "02:00:00:00:ff:02"
GATEWAYS = {NEAR: ("10.1.0.1", "fd01::1"), FAR: ("10.2.0.1", "fd02::1")}
OWN = {NEAR: ("10.1.0.10", "fd01::a"), FAR: ("10.2.0.10", "fd02::a")}
BEHIND = {INNER: ("10.3.0.10", "fd03::a"), OUTER: ("10.4.0.10", "fd04::a")}
SMALL = 1300


@dataclass
class Way:
    """A card that routes, two routers on its ports, and a host behind each."""

    made: Field
    engine: Engine

    def shrink(self, router: int) -> None:
        """From now on what goes to the host behind this router has a smaller MTU."""
        for place, family in enumerate(("-4", "-6")):
            address = BEHIND[router + 2][place]
            length = 128 if place else 32
            self.made.on(router, "ip", family, "route", "replace", f"{address}/{length}", "dev", "behind",
                         "mtu", "lock", str(SMALL))  # fmt: skip

    def learnt(self, host: int, to: str) -> int:
        """The path MTU that a host knows for an address, 1500 where it has learnt none."""
        words = self.made.on(host, "ip", "route", "get", to).split()
        return int(words[words.index("mtu") + 1]) if "mtu" in words else 1500


def add_router(made: Field, router: int) -> None:
    """Addresses towards the card, and a host behind it."""
    host = router + 2
    run("ip", "netns", "add", made.namespace(host))
    made.on(host, "sysctl", "-qw", "net.ipv6.conf.all.router_solicitations=0")
    peer = ["peer", "name", "eth0", "netns", made.namespace(host)]
    made.on(router, "ip", "link", "add", "name", "behind", "type", "veth", *peer)
    made.on(router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for where, device in ((router, "behind"), (host, "eth0"), (host, "lo")):
        made.on(where, "ip", "link", "set", device, "up")
    for place, family in enumerate(("-4", "-6")):
        length, nodad = ("/64", ["nodad"]) if place else ("/24", [])
        net = BEHIND[host][place].rsplit("." if place == 0 else "::", 1)[0]
        first = f"{net}.1" if place == 0 else f"{net}::1"
        made.on(router, "ip", "address", "add", OWN[router][place] + length, "dev", "eth0", *nodad)
        made.on(router, "ip", "address", "add", first + length, "dev", "behind", *nodad)
        made.on(router, "ip", family, "route", "add", "default", "via", GATEWAYS[router][place])
        made.on(host, "ip", "address", "add", BEHIND[host][place] + length, "dev", "eth0", *nodad)
        made.on(host, "ip", family, "route", "add", "default", "via", first)


def vnic(identity: int, port: int, mac: str, role: str, subnet: int, profile: int) -> Vnic:
    return Vnic(id=identity, port=port, vlan=0, match_mac="00:00:00:00:00:00", role=role, mac=mac, vrf=1,
                profile=profile, subnet=subnet)  # fmt: skip


def rows(made: Field) -> list[Row]:
    near = made.on(NEAR, "cat", "/sys/class/net/eth0/address").strip()
    found: list[Row] = [
        Vrf(id=1),
        Profile(id=1),
        ProfileStage(id=1, profile=1, direction="egress", position=0, stage="bridge"),
        ProfileStage(id=2, profile=1, direction="egress", position=1, stage="route"),
        Subnet(id=1, vrf=1, mac=CARD_MAC),
        Subnet(id=2, vrf=1, mac=UPLINK_MAC),
        vnic(1, 0, near, "vnic", 1, 1),
        vnic(2, 1, UPLINK_MAC, "uplink", 2, 1),
        FdbEntry(id=1, subnet=1, mac=near, vnic=1),
    ]
    for place in (0, 1):
        found += [
            LocalAddress(id=1 + place, vrf=1, address=GATEWAYS[NEAR][place], subnet=1),
            LocalAddress(id=3 + place, vrf=1, address=GATEWAYS[FAR][place], subnet=2),
            VnicAddress(id=1 + place, subnet=1, address=OWN[NEAR][place], vnic=1),
            VnicAddress(id=3 + place, subnet=1, address=BEHIND[INNER][place], vnic=1),
            NextHop(id=1 + place, port=1, address=OWN[FAR][place]),
            Route(id=1 + place, vrf=1, prefix=("10.4.0.0/24", "fd04::/64")[place], next_hop=1 + place),
            SubnetRoute(id=3 + place, vrf=1, prefix=("10.1.0.0/24", "fd01::/64")[place], subnet=1),
            SubnetRoute(id=5 + place, vrf=1, prefix=("10.3.0.0/24", "fd03::/64")[place], subnet=1),
            SubnetRoute(id=7 + place, vrf=1, prefix=("10.2.0.0/24", "fd02::/64")[place], subnet=2),
        ]
    return found


@pytest.fixture
def path() -> Iterator[Way]:
    with field(2) as made, contextlib.ExitStack() as stack:
        try:
            for router in (NEAR, FAR):
                add_router(made, router)
            ports = tuple(PortConfig(n, f"p{n}", f"linux:p{n}") for n in (0, 1))
            engine = inside(made.card, lambda: stack.enter_context(running(SANITIZED)))
            inside(made.card, lambda: engine.load(LoadConfig(ports=ports)))
            engine.start()
            engine.writer().commit([Insert(some) for some in as_rows(rows(made))])
            yield Way(made, engine)
        finally:
            for host in (INNER, OUTER):
                run("ip", "netns", "delete", made.namespace(host), check=False)


SEND = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM) as out:
    out.settimeout(20)
    out.connect((sys.argv[1], 5000))
    out.sendall(bytes(range(256)) * 4096)
    out.shutdown(socket.SHUT_WR)
    out.recv(1)
"""
TAKE = """
import hashlib, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 5000), family=family) as server:
    print("ready", flush=True)
    found = hashlib.sha256()
    taken, _ = server.accept()
    taken.settimeout(20)
    while data := taken.recv(65536):
        found.update(data)
    print(found.hexdigest(), flush=True)
"""
PROBE = """
import socket, sys, time
six = ":" in sys.argv[1]
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as out:
    level, discover, mtu = (41, 23, 24) if six else (0, 10, 14)
    out.setsockopt(level, discover, 2)
    out.connect((sys.argv[1], 5000))
    until = time.monotonic() + 20
    while time.monotonic() < until:
        now = out.getsockopt(level, mtu)
        try:
            sent = out.send(bytes(now - (48 if six else 28)))
        except OSError:
            continue
        if now < 1500:
            break
        time.sleep(0.02)
    print(sent)
"""
HEAR = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 5000))
    server.settimeout(20)
    print("ready", flush=True)
    print(len(server.recv(65536)), flush=True)
"""


def speak(path: Way, sender: int, receiver: int, address: str, says: str, hears: str) -> tuple[str, str]:
    """What a program on the sender and one on the receiver print."""
    listen = ["ip", "netns", "exec", path.made.namespace(receiver), sys.executable, "-c", hears, address]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            said = path.made.on(sender, sys.executable, "-c", says, address, timeout=60)
            heard = server.stdout.readline()
        finally:
            server.kill()
    return said.strip(), heard.strip()


WAYS = [(INNER, OUTER, FAR), (OUTER, INNER, NEAR)]
"""(sender, receiver, the router before the smaller MTU)"""


@pytest.mark.parametrize("place", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("sender", "receiver", "router"), WAYS, ids=["behind the uplink", "behind the vNIC"])
def test_transfers_go_on_over_a_smaller_mtu(path: Way, sender: int, receiver: int, router: int, place: int) -> None:
    """RFC 1191, RFC 8201: errors of routers pass with the connection, so that TCP and UDP send what fits."""
    address = BEHIND[receiver][place]
    path.shrink(router)
    assert path.learnt(sender, address) == 1500
    _, digest = speak(path, sender, receiver, address, SEND, TAKE)
    assert digest == hashlib.sha256(bytes(range(256)) * 4096).hexdigest()
    assert path.learnt(sender, address) == SMALL
    said, heard = speak(path, sender, receiver, address, PROBE, HEAR)
    assert said == heard == str(SMALL - (48 if place else 28))


@pytest.mark.parametrize("place", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("sender", "receiver", "row"), [(INNER, OUTER, 2), (OUTER, INNER, 1)], ids=["out", "in"])
def test_the_card_tells_of_its_own_smaller_mtu(path: Way, sender: int, receiver: int, row: int, place: int) -> None:
    """From its address on the sender's side."""
    vnics: list[Any] = list(path.engine.snapshot(["vnic"]).rows("vnic"))
    smaller = [replace(one, mtu=SMALL) for one in vnics if one.id == row]
    path.engine.writer().commit([Modify(some) for some in as_rows(smaller)])
    address = BEHIND[receiver][place]
    _, digest = speak(path, sender, receiver, address, SEND, TAKE)
    assert digest == hashlib.sha256(bytes(range(256)) * 4096).hexdigest()
    said, heard = speak(path, sender, receiver, address, PROBE, HEAR)
    assert said == heard == str(SMALL - (48 if place else 28))
    assert path.learnt(sender, address) == SMALL
    assert path.engine.counters().drops["mtu_exceeded"] > 0


def _shows(path: Way, sender: int, how: list[str], to: str, hops: list[str]) -> bool:
    """Does traceroute say that this is the way to an address?"""
    family = "-6" if ":" in to else "-4"
    said = path.made.on(sender, "traceroute", family, "-n", "-q", "1", "-w", "3", *how, to)
    return [line.split()[1] for line in said.splitlines()[1:]] == hops


@pytest.mark.parametrize("place", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("how", [["-I"], ["-T"], ["-U"], []], ids=["ICMP", "TCP", "UDP", "UDP to rising ports"])
def test_traceroute_shows_the_card_as_a_hop(path: Way, how: list[str], place: int) -> None:
    """In both directions, under the card's address on the side of whoever asks; and what is behind it."""
    for sender, receiver, near, far in ((INNER, OUTER, NEAR, FAR), (OUTER, INNER, FAR, NEAR)):
        net = BEHIND[sender][place].rsplit("." if place == 0 else "::", 1)[0]
        first = f"{net}.1" if place == 0 else f"{net}::1"
        hops = [first, GATEWAYS[near][place], OWN[far][place], BEHIND[receiver][place]]

        assert until(partial(_shows, path, sender, how, BEHIND[receiver][place], hops), 20), hops
