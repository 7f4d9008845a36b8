"""Real hosts through a software card. What doesn't pass is paired with what does; the reason's counter is read."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

import pytest

from sdk.card_config import load_card_config
from sdk.dsnd.taps import plan
from tests.demo.show import INTENT, Demo, curl, ping
from tests.netns.world import web_server


@pytest.mark.parametrize("address", ["10.1.0.10", "2001:db8:1::a"])
def test_the_client_reaches_web_and_the_intruder_does_not(card: Demo, address: str) -> None:
    assert curl(card.host("client"), address) == "hello from web"
    before = card.drops().get("firewall_default", 0)
    assert curl(card.host("intruder"), address).startswith("curl exit")
    assert card.drops()["firewall_default"] > before


@pytest.mark.parametrize("address", ["10.1.0.1", "2001:db8:1::1", "198.51.100.10", "2001:db8:ad::10"])
def test_a_host_pings_its_gateway_and_the_world_behind_the_uplink(card: Demo, address: str) -> None:
    assert ping(card.host("client"), address) == "3 of 3"


def test_a_host_that_uses_anothers_address_is_stopped(card: Demo) -> None:
    intruder = card.host("intruder")
    assert ping(intruder, "198.51.100.10") == "3 of 3"
    before = card.drops().get("spoofed_address", 0)
    intruder.run("ip", "address", "add", "10.1.0.20/32", "dev", "eth0")
    try:
        done = intruder.run("ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.1.0.20", "198.51.100.10", check=False)
    finally:
        intruder.run("ip", "address", "del", "10.1.0.20/32", "dev", "eth0")
    assert " 0 received" in done.stdout
    assert card.drops()["spoofed_address"] >= before + 3


def test_each_host_counts_a_hop_of_the_card(card: Demo) -> None:
    client = card.host("client")
    before = card.drops()["ttl_exceeded"]
    done = client.run("ping", "-c", "1", "-W", "2", "-t", "1", "198.51.100.10", check=False)
    assert "From 10.1.0.1" in done.stdout
    assert "Time to live exceeded" in done.stdout
    assert " 1 received" in client.run("ping", "-c", "1", "-W", "2", "-t", "2", "198.51.100.10").stdout
    done = client.run("ping", "-c", "1", "-W", "2", "-t", "1", "2001:db8:ad::10", check=False)
    assert "Hop limit" in done.stdout
    assert card.drops()["ttl_exceeded"] == before + 2
    assert " 1 received" in client.run("ping", "-c", "1", "-W", "2", "-t", "2", "2001:db8:ad::10").stdout


def test_a_packet_longer_than_the_mtu_is_told_of(card: Demo) -> None:
    client = card.host("client")
    before = card.drops()["mtu_exceeded"]
    # The wire takes longer packets than the vNIC may send.
    client.run("ip", "link", "set", "eth0", "mtu", "1600")
    card.world.in_card("ip", "link", "set", client.port, "mtu", "1600")
    try:
        done = client.run("ping", "-c", "1", "-W", "2", "-M", "do", "-s", "1550", "198.51.100.10", check=False)
        assert re.search(r"mtu[ =]*1500", done.stdout + done.stderr)
    finally:
        client.run("ip", "route", "flush", "cache")
        client.run("ip", "link", "set", "eth0", "mtu", "1500")
        card.world.in_card("ip", "link", "set", client.port, "mtu", "1500")
    assert card.drops()["mtu_exceeded"] == before + 1
    assert " 1 received" in client.run("ping", "-c", "1", "-W", "2", "-s", "1400", "198.51.100.10").stdout


def test_fragments_follow_their_first(card: Demo) -> None:
    client = card.host("client")
    assert " 3 received" in client.run("ping", "-c", "3", "-i", "0.2", "-s", "4000", "198.51.100.10").stdout
    assert " 3 received" in client.run("ping", "-c", "3", "-i", "0.2", "-s", "4000", "2001:db8:ad::10").stdout


def test_a_program_on_the_card_answers_a_host(card: Demo) -> None:
    """Behind the uplink all may speak to the card; a vNIC only what its profile names."""
    config = load_card_config(card.world.folder / "card.toml")
    namespace = plan(config.load_config(), card.world.run_folder)[1][0].namespace
    with web_server(namespace, "192.0.2.2", card.world.folder / "www"):
        internet = card.host("internet")
        fetch = ("curl", "-sS", "--max-time", "2", "--retry", "20", "--retry-delay", "1", "--retry-connrefused")
        assert internet.run(*fetch, "http://192.0.2.2:8099/").stdout.strip() == "hello from web"
        before = card.drops().get("punt_denied", 0)
        client = card.host("client")
        assert client.run("curl", "-sS", "--max-time", "2", "http://192.0.2.2:8099/", check=False).returncode != 0
        assert card.drops()["punt_denied"] > before


def iperf_flows(card: Demo) -> list[dict[str, Any]]:
    return [flow for flow in card.dsn("show", "flows") if flow["destination_port"] == 5201]


def test_the_rule_that_is_taken_out_ends_what_it_allowed(card: Demo) -> None:
    """An established connection obeys the next packet on; what other rules allow goes on."""
    client, web = card.host("client"), card.host("web")
    iperf = subprocess.Popen(
        ["ip", "netns", "exec", client.namespace, "iperf3", "-c", web.ipv4, "-t", "30", "-i", "0.5", "--forceflush"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    data: list[int] = []
    while not data:
        assert iperf.poll() is None
        data = [flow["id"] for flow in iperf_flows(card) if sum(flow["bytes"]) > 1_000_000]
    text = INTENT.read_text()
    before = card.drops()
    applied = card.apply("".join(line for line in text.splitlines(keepends=True) if "iperf:" not in line))
    try:
        assert applied.returncode == 0
        # With its next packet, which a sender that gets no answer sends a second later, at the latest.
        deadline = time.monotonic() + 10
        while [flow for flow in iperf_flows(card) if flow["id"] in data]:
            assert time.monotonic() < deadline
        now = card.drops()
        assert sum(now[reason] - before[reason] for reason in ("tcp_no_session", "firewall_default")) > 0
        assert curl(client, web.ipv4) == "hello from web"
    finally:
        iperf.kill()
        iperf.communicate()
        assert card.apply(text).returncode == 0
    # Its server still waits for the client that was cut off; that it answers a new connection is enough.
    connect = f"import socket; socket.create_connection(('{web.ipv4}', 5201), 3)"
    assert client.run(sys.executable, "-c", connect, check=False).returncode == 0
