"""What an operator reads from a running card: its objects' state, and captures that tcpdump wrote on a host."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.show import INTENT, build, ping
from tests.netns.world import World, without_a_trace
from tests.tools.until import until

LOST = """---
kind: Route
name: lost
spec: {prefixes: [203.0.113.0/24], via: [192.0.2.77@uplink0, 192.0.2.1@uplink0]}
"""


@pytest.fixture(scope="module")
def world(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The demo's card, with a route by two routers of which one isn't there."""
    with without_a_trace(tmp_path_factory.mktemp("objects"), program) as world:
        build(world)
        world.start_card()
        world.apply(INTENT.read_text() + LOST)
        yield world


def told(world: World, kind: str, name: str) -> dict[str, Any]:
    (found,) = json.loads(world.dsn("show", "objects", kind, name, "--json").stdout)
    result: dict[str, Any] = found
    return result


def hops(world: World, name: str) -> dict[str, tuple[str, str]]:
    return {hop["name"]: (hop["state"], hop["mac"]) for hop in told(world, "Route", name)["status"]["via"]}


def test_next_hops_and_counters_of_a_card_at_work(world: World) -> None:
    client, router = world.hosts["client"], world.hosts["internet"]
    assert ping(client, "198.51.100.10") == "3 of 3"
    # 203.0.113.0/24 is nobody's: what matters is whom the card asks for.
    for last in range(1, 20):
        client.run("ping", "-c", "1", "-W", "0.1", f"203.0.113.{last}", check=False)
    assert hops(world, "internet") == {"192.0.2.1@uplink0": ("resolved", router.mac)}
    assert until(lambda: hops(world, "lost")["192.0.2.77@uplink0"][0] == "failed")
    status = told(world, "Route", "lost")["status"]
    assert (status["next_hops"], status["live"]) == (2, 1)
    uplink = told(world, "Uplink", "uplink0")["status"]
    assert (uplink["link"], uplink["resolved"], uplink["failed"]) == (True, 1, 1)
    subnet, vnic = told(world, "Subnet", "shop")["status"], told(world, "Vnic", "client")["status"]
    assert subnet["rx_packets"] >= vnic["rx_packets"] > 20
    assert told(world, "FirewallPolicy", "clients")["status"]["packets"] >= 6
    router.run("ip", "link", "set", "eth0", "down")
    try:
        assert until(lambda: set(hops(world, "lost").values()) == {("no link", ""), ("no link", router.mac)})
    finally:
        router.run("ip", "link", "set", "eth0", "up")


def test_only_what_an_apply_would_change_tells_of_its_refusal(world: World) -> None:
    before = told(world, "Vnic", "web")
    assert before["asked"] == before["applied"] > 0
    refused = world.apply((INTENT.read_text() + LOST).replace("allow icmp", "alow icmp"), check=False)
    assert refused.returncode == 1
    assert told(world, "Vnic", "web")["asked"] == before["applied"]
    policy = told(world, "FirewallPolicy", "shop")
    assert policy["asked"] > policy["applied"] > 0
    assert "did you mean allow" in policy["reason"]
    text = world.dsn("show", "objects", "FirewallPolicy", "shop").stdout
    assert f"generation {policy['applied']}, asked for {policy['asked']}" in text
    world.apply(INTENT.read_text() + LOST)
    assert told(world, "FirewallPolicy", "shop")["reason"] == ""


def test_a_capture_that_was_taken_before_segmentation_offload(world: World) -> None:
    """A host that leaves segmentation to its device, as Linux does: tcpdump on it writes frames of 64 kB."""
    client, web, file = world.hosts["client"], world.hosts["web"], world.folder / "large.pcap"
    client.run("ethtool", "-K", "eth0", "tx", "on", "tso", "on", "gso", "on")
    dump = client.start("tcpdump", "-i", "eth0", "-w", str(file), "-U", "-s", "0", "tcp")
    assert until(file.exists)
    time.sleep(0.5)
    client.run("iperf3", "-c", web.ipv4, "-n", "2M", timeout=60)
    time.sleep(0.5)
    dump.send_signal(signal.SIGINT)
    dump.wait(timeout=20)
    found = json.loads(world.dsn("trace", str(file), "--from", "client", "--json").stdout)
    cut = [one for one in found["packets"] if one["segments"] > 1]
    assert len(cut) > 100
    assert "taken before segmentation offload" in found["note"]
    assert {(one["verdict"], one["reason"]) for one in cut} == {("FORWARD", "")}
    assert [one for one in found["packets"] if one["verdict"] == "DROP"] == []
    frames = [len(bytes.fromhex(output["data"])) for one in cut for output in one["outputs"]]
    assert max(frames) <= 1514
    assert sum(frames) > 1_000_000  # the rest went in segments that no card has to cut
