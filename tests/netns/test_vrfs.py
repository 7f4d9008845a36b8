"""VRFs, uplinks and vNICs that come and go without a restart, and the punt taps that come and go with them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdk.dsnd.taps import DEVICE, card_namespace
from tests.netns.world import Host, World, run, web_server, without_a_trace

BASE = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], policy: all, profile: router}
---
kind: Profile
name: router
spec: {egress: [antispoof, firewall, bridge, route], ingress: [firewall], punts: [tcp 8099]}
---
kind: FirewallPolicy
name: all
spec: {rules: {all: allow any from any to any}}
"""
BLUE = """
---
kind: Vrf
name: NAME
---
kind: Subnet
name: NAME
spec: {vrf: NAME, gateways: [10.2.0.1/24]}
---
kind: Vnic
name: NAME
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: NAME, addresses: [10.2.0.20], policy: all, profile: router}
---
kind: Uplink
name: NAME
spec: {port: uplink1, vrf: NAME, addresses: [192.0.2.2/24]}
"""


@pytest.fixture
def world(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A card with one vNIC; two more of its ports are in card.toml and in nobody's intent."""
    with without_a_trace(tmp_path_factory.mktemp("vrfs"), program) as world:
        world.host("web", "host0", "02:00:00:00:00:0a", ("10.1.0.10/24",), ("10.1.0.1",))
        world.host("blue", "host1", "02:00:00:00:00:0b", ("10.2.0.20/24",), ("10.2.0.1",))
        world.host("router", "uplink1", "02:00:00:00:09:01", ("192.0.2.1/24",), ("192.0.2.2",))
        world.write_card(punt_taps="1")
        world.start_card()
        world.apply(BASE)
        yield world
    assert not namespaces(world)


def namespaces(world: World) -> list[str]:
    """Namespaces of the card's VRFs, without the prefix that all of this card have."""
    card = card_namespace(world.run_folder)
    listed = (line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines() if line)
    return sorted(one.removeprefix(card) for one in listed if one.startswith(card))


def fetched(world: World, host: Host, vrf: str, address: str) -> str:
    """What a host gets from a program that runs on the card in a VRF."""
    folder = world.folder / vrf
    folder.mkdir(exist_ok=True)
    (folder / "index.html").write_text(f"card in {vrf}\n")
    with web_server(f"{card_namespace(world.run_folder)}-{vrf}", address, folder):
        fetch = ("curl", "-sS", "--max-time", "2", "--retry", "20", "--retry-delay", "1", "--retry-connrefused")
        return host.run(*fetch, f"http://{address}:8099/", check=False).stdout.strip()


def ping(host: Host, address: str) -> bool:
    return host.run("ping", "-c", "1", "-W", "2", address, check=False).returncode == 0


def reached(host: Host, address: str) -> bool:
    """Whether it answers in time. Who asked for a neighbour in vain just before gives up on the next packet too."""
    return any(ping(host, address) for _ in range(5))


def forget_neighbours(host: Host) -> None:
    """Another subnet's gateway has another MAC. A host finds that out by itself, in half a minute."""
    host.run("ip", "neigh", "flush", "all")


def test_a_vrf_with_its_uplink_vnic_and_tap_comes_and_goes_without_a_restart(world: World) -> None:
    blue, router, web = (world.hosts[name] for name in ("blue", "router", "web"))
    engine = world.status().engine_pid
    assert namespaces(world) == ["", "-default"]
    assert not ping(blue, "10.2.0.1")
    world.apply(BASE + BLUE.replace("NAME", "blue"))
    assert namespaces(world) == ["", "-blue", "-default"]
    assert reached(blue, "10.2.0.1")
    assert reached(blue, "192.0.2.1")
    assert fetched(world, blue, "blue", "10.2.0.1") == "card in blue"
    assert fetched(world, router, "blue", "192.0.2.2") == "card in blue"
    assert fetched(world, web, "default", "10.1.0.1") == "card in default"
    shown = json.loads(world.dsn("show", "objects", "Vrf", "blue", "--json").stdout)
    assert shown[0]["status"]["punt_port"] == "spare-tap-1"

    # With the next intent another VRF has the tap, and nothing of the first is left on it.
    world.apply(BASE + BLUE.replace("NAME", "green"))
    assert namespaces(world) == ["", "-default", "-green"]
    forget_neighbours(blue)
    assert fetched(world, blue, "green", "10.2.0.1") == "card in green"

    world.apply(BASE)
    assert namespaces(world) == ["", "-default"]
    assert not ping(blue, "10.2.0.1")
    world.apply(BASE + BLUE.replace("NAME", "blue"))
    forget_neighbours(blue)
    assert fetched(world, blue, "blue", "10.2.0.1") == "card in blue"
    assert world.status().engine_pid == engine


def test_a_vrf_too_many_is_refused_with_the_way_out(world: World) -> None:
    world.apply(BASE + BLUE.replace("NAME", "blue"))
    red = "---\nkind: Vrf\nname: red\n---\nkind: Subnet\nname: red\nspec: {vrf: red, gateways: [10.3.0.1/24]}\n"
    refused = world.apply(BASE + BLUE.replace("NAME", "blue") + red, check=False)
    assert refused.returncode == 1
    assert "Vrf red: no punt tap is left for VRF red" in refused.stderr
    assert "raise punt_taps in card.toml" in refused.stderr
    assert refused.stderr.splitlines()[-1] == "1 error"
    # A VRF without addresses of the card needs none.
    assert world.apply(BASE + BLUE.replace("NAME", "blue") + "---\nkind: Vrf\nname: red\n").returncode == 0
    assert fetched(world, world.hosts["blue"], "blue", "10.2.0.1") == "card in blue"


def test_the_status_says_where_programs_on_the_card_are_started(world: World) -> None:
    card = card_namespace(world.run_folder)
    found = json.loads(world.dsn("card", "status", "--json").stdout)["namespaces"]
    assert found == {"punt-default": f"{card}-default"}
    assert f"namespaces  {card}-default: " in world.dsn("card", "status").stdout
    before = world.dsn("card", "status").stdout.count("and taps for 1 VRFs to come")
    world.apply(BASE + BLUE.replace("NAME", "blue"))
    found = json.loads(world.dsn("card", "status", "--json").stdout)["namespaces"]
    assert found == {"punt-default": f"{card}-default", "spare-tap-1": f"{card}-blue"}
    text = world.dsn("card", "status").stdout
    assert f"namespaces  {card}-default, {card}-blue: " in text
    assert (before, text.count("VRFs to come")) == (1, 0)
    assert set(found.values()) <= set(run("ip", "netns", "list").stdout.split())


def test_the_tap_of_a_vrf_outlives_dsnd_and_comes_back_with_an_engine(world: World) -> None:
    blue = world.hosts["blue"]
    world.apply(BASE + BLUE.replace("NAME", "blue"))
    before = world.status()
    os.kill(before.daemon_pid, signal.SIGKILL)
    assert fetched(world, blue, "blue", "10.2.0.1") == "card in blue"
    world.start_card()
    assert world.status().engine_pid == before.engine_pid
    assert fetched(world, blue, "blue", "10.2.0.1") == "card in blue"
    os.kill(before.engine_pid, signal.SIGKILL)
    for _ in range(200):
        if world.status().engine_pid not in (0, before.engine_pid) and ping(blue, "10.2.0.1"):
            break
        time.sleep(0.1)
    assert fetched(world, blue, "blue", "10.2.0.1") == "card in blue"
    world.apply(BASE)
    assert namespaces(world) == ["", "-default"]
    # The device is back where it waits.
    home = run("ip", "-n", card_namespace(world.run_folder), "-o", "link").stdout
    assert "spare-tap-1" in home
    assert DEVICE not in home
