"""The machine under a software card neither answers nor speaks on the card's interfaces; afterwards it does again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import namespaces
from sdk.dsnd.taps import card_namespace
from tests.netns.world import Host, World, without_a_trace
from tests.tools.until import until

INTENT = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24, "2001:db8:1::1/64"]}
---
kind: Vnic
name: a
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10, "2001:db8:1::a"], profile: open}
---
kind: Vnic
name: b
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: shop, addresses: [10.1.0.20, "2001:db8:1::b"], profile: open}
---
kind: Profile
name: open
spec: {egress: [bridge, route]}
"""
OWN = ("10.1.0.200", "2001:db8:1::c8")
"""Of the machine itself, on the interface of the card's host0."""


@pytest.fixture
def world(tmp_path: Path, program: Path) -> Iterator[World]:
    with without_a_trace(tmp_path, program, stopped=True) as world:
        for name, port, last in (("a", "host0", "a"), ("b", "host1", "b")):
            number = {"a": 10, "b": 20}[name]
            addresses = [f"10.1.0.{number}/24", f"2001:db8:1::{last}/64"]
            world.host(name, port, f"02:00:00:00:00:0{last}", addresses, ["10.1.0.1", "2001:db8:1::1"])
        world.in_card(
            "sysctl",
            "-qw",
            "net.ipv6.conf.host0.accept_dad=0",
            "net.ipv6.conf.host0.disable_ipv6=0",
            "net.ipv4.ip_forward=1",
        )
        world.in_card("ip", "address", "add", f"{OWN[0]}/24", "dev", "host0")
        world.in_card("ip", "address", "add", f"{OWN[1]}/64", "dev", "host0", "nodad")
        world.write_card()
        yield world


def reaches(host: Host, address: str) -> bool:
    host.run("ip", "neigh", "flush", "all")
    return host.run("ping", "-c", "2", "-i", "0.2", "-W", "1", address, check=False).returncode == 0


def heard(host: Host) -> int:
    return int(host.run("cat", "/sys/class/net/eth0/statistics/rx_packets").stdout)


def looks(world: World) -> list[str]:
    """The interface as its owner sees it; whether its address is still looked for elsewhere is the kernel's matter."""
    show = (("ip", "-o", "address", "show", "host0"), ("ip", "route"), ("ip", "-6", "route"), ("tc", "qdisc", "show"),
            ("sysctl", "net.ipv6.conf.host0", "net.ipv4.conf.host0"))  # fmt: skip
    seen = [world.in_card(*words, check=False).stdout for words in show]  # sysctl can read no secrets
    return [one.replace(" tentative", "") for one in seen]


TAKEN_AWAY = "stopped; the intent is kept; neither dsnd nor its engine was running, and what they left was taken away\n"


@pytest.mark.parametrize("killed", ["nobody", "dsnd", "both"])
def test_the_machine_is_not_there_while_the_card_has_its_interface(world: World, killed: str) -> None:
    a = world.hosts["a"]
    assert [reaches(a, one) for one in OWN] == [True, True]
    before = looks(world)
    world.start_card()
    world.apply(INTENT)
    assert (
        f"port host0: the machine's own {', '.join(OWN)} on host0 can't be reached"
        in (world.run_folder / "dsnd.log").read_text()
    )
    assert [reaches(a, one) for one in ("10.1.0.20", "2001:db8:1::b", "10.1.0.1", "2001:db8:1::1")] == [True] * 4
    assert [reaches(a, one) for one in OWN] == [False, False]
    assert OWN[0] not in a.run("ip", "neigh", "show", "nud", "reachable").stdout
    # Nor does it speak: a new ARP request of its own for each ping, of which the host hears none.
    quiet = heard(a)
    world.in_card("ping", "-c", "5", "-i", "0.2", "-W", "1", "-I", "host0", "10.1.0.10", check=False)
    assert heard(a) == quiet
    engine = int((world.run_folder / "engine" / "engine.pid").read_text())
    os.kill(engine, signal.SIGKILL)  # another engine finds the filters there
    a.run("ping", "-c", "1", "-W", "30", "-i", "0.2", "-w", "30", "10.1.0.20")
    assert not reaches(a, OWN[0])
    if killed != "nobody":
        os.kill(world.api().status().daemon_pid, signal.SIGKILL)
    if killed == "both":
        engine = int((world.run_folder / "engine" / "engine.pid").read_text())
        os.kill(engine, signal.SIGKILL)
        assert until(lambda: not Path(f"/proc/{engine}").exists(), 10)
        assert looks(world) != before
        assert world.dsn("card", "stop").stdout == TAKEN_AWAY
        assert "There is nothing to stop" in world.dsn("card", "stop", check=False).stderr
        assert card_namespace(world.run_folder) not in namespaces.names()
    else:
        world.stop_card()
    assert looks(world) == before
    assert [reaches(a, one) for one in OWN] == [True, True]


def test_an_interface_that_the_machine_lives_on_is_refused(world: World) -> None:
    world.in_card("ip", "route", "add", "default", "via", "10.1.0.10")
    before = looks(world)
    card = str(world.folder / "card.toml")
    refused = world.dsn("card", "start", card, "--state", str(world.folder / "state"), check=False)
    assert refused.returncode == 1
    assert (
        "port host0, field device: got linux:host0: the machine's own default route goes through it" in refused.stderr
    )
    assert looks(world) == before
    assert reaches(world.hosts["a"], OWN[0])
