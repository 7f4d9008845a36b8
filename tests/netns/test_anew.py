"""An interface is deleted and made anew under a card that forwards: it is taken up, and connections go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hal import packet
from hal.errors import HalError
from hal.namespaces import inside, network_cookie
from hal.packet.contract import EventKind, Flow, FlowFilter
from hal.packet.dpdk.engine import connect
from tests.netns import two_hosts
from tests.netns.world import World, without_a_trace
from tests.tools.until import until

ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("10.1.0.20", 7000))
    while True:
        data, where = one.recvfrom(100)
        one.sendto(data, where)
"""
ASK = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.settimeout(1)
    one.bind(("10.1.0.10", 5000))
    one.sendto(b"word", ("10.1.0.20", 7000))
    print(one.recv(100).decode())
"""
FLOW = FlowFilter(source_port=5000)


@pytest.fixture(params=["1", "2"], ids=["one worker", "two workers"])
def world(request: pytest.FixtureRequest, tmp_path: Path, program: Path) -> Iterator[World]:
    with without_a_trace(tmp_path, program) as world:
        two_hosts.add_hosts(world)
        for host in world.hosts.values():
            host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        world.write_card(workers=request.param)
        world.start_card()
        two_hosts.apply(world, "allow udp from any to any")
        world.hosts["b"].start(sys.executable, "-c", ECHO)
        assert until(lambda: answered(world), 30)
        yield world


def answered(world: World) -> bool:
    done: subprocess.CompletedProcess[str] = world.hosts["a"].run(sys.executable, "-c", ASK, check=False)
    return done.stdout == "word\n"


def flow(world: World) -> Flow:
    with packet.connect(str(world.run_folder / "engine")) as card:
        (found,) = card.flows(FLOW)
        return found


def made_anew(world: World, name: str = "a") -> None:
    """As `World.host` made it."""
    host = world.hosts[name]
    end = ("peer", "name", host.port, "netns", world.card_namespace)
    host.run("ip", "link", "add", "eth0", "address", host.mac, "type", "veth", *end)
    for where, device in ((host.run, "eth0"), (world.in_card, host.port)):
        where("ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off")
        where("ip", "link", "set", device, "up")
    host.run("ip", "address", "add", host.addresses[0], "dev", "eth0")


def told(world: World) -> Counter[EventKind]:
    with closing(world.api()) as api:
        return Counter(one.kind for one in api.events().events)


@pytest.mark.parametrize("alone", [False, True], ids=["dsnd looks on", "dsnd is away meanwhile"])
def test_a_connection_goes_on_over_an_interface_that_was_made_anew(world: World, alone: bool) -> None:
    daemon, engine = world.pids()
    before = flow(world)
    world.in_card("ip", "link", "del", "host0")
    assert not answered(world)
    if alone:
        os.kill(daemon, signal.SIGKILL)
    else:
        assert until(lambda: told(world)[EventKind.INTERFACE_GONE] == 1, 30)
        assert "port host0: interface host0 is gone" in world.status().last_fault
    made_anew(world)
    if alone:
        assert not answered(world)  # nobody has claimed it: it isn't the card's
        world.start_card()
    assert until(lambda: told(world)[EventKind.INTERFACE_ANEW] == 1, 30)
    assert until(lambda: answered(world), 30)
    assert (world.pids()[1], world.status().last_fault) == (engine, "")
    after = flow(world)
    assert (after.id, after.created_ns) == (before.id, before.created_ns)
    assert after.packets[1] > before.packets[1]
    # The kernel's own stack is cut off from it as from the one before, and its claim outlives dsnd.
    assert world.in_card("tc", "filter", "show", "dev", "host0", "ingress").stdout.count("bpf") > 0
    os.kill(world.pids()[0], signal.SIGKILL)
    other = f"DSN_RUN={world.folder / 'other'}"
    start = ("card", "start", str(world.folder / "card.toml"), "--state", str(world.folder / "other-state"))
    refused = world.in_card("env", other, str(Path(sys.executable).parent / "dsn"), *start, check=False)
    assert (refused.returncode, f"dsn-engine pid {engine}'s" in refused.stderr) == (1, True), refused.stderr
    world.start_card()


def test_again_and_again(world: World) -> None:
    """What is kept of the ones before doesn't pile up."""
    engine = world.pids()[1]
    held = len(list(Path(f"/proc/{engine}/fd").iterdir()))
    for _ in range(4):
        world.in_card("ip", "link", "del", "host0")
        made_anew(world)
        assert until(lambda: answered(world), 30)
    assert len(list(Path(f"/proc/{engine}/fd").iterdir())) <= held + 1
    assert world.pids()[1] == engine


def test_the_engine_takes_no_other_interface_than_one_of_its_namespace(world: World) -> None:
    """Nor a second one for a port that has one. What it refuses changes nothing: the right one is taken up later."""
    engine = connect(world.run_folder / "engine")
    cookie = inside(world.card_namespace, network_cookie)
    try:
        with open(os.devnull, "rb") as claim:  # noqa: PTH123
            number = next(one.config.number for one in engine.capabilities().ports if one.config.name == "host0")
            with pytest.raises(HalError, match="BUSY: port host0, field interface: limit a port"):
                engine.take_up(number, 1, cookie, claim.fileno())
            world.in_card("ip", "link", "del", "host0")
            for index, namespace, words in (
                (1, network_cookie(), "index 1: Invalid cross-device link"),
                (99999, cookie, "index 99999: No such device"),
                (1 << 31, cookie, "index 2147483648: Invalid argument"),
            ):
                with pytest.raises(HalError) as refused:
                    engine.take_up(number, index, namespace, claim.fileno())
                assert str(refused.value).startswith(f"INVALID: port host0, field interface: got {words}, limit one")
    finally:
        engine.close()
    made_anew(world)
    assert until(lambda: answered(world), 30)
