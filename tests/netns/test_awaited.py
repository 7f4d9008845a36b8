"""An engine is killed while an agent that owns some of its tables is away: nothing passes before the agent is back,
though dsnd has brought its own tables (ADR 0133). The same wiring with `wait = false` shows what would pass."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hal import packet
from hal.packet import BlackholeRoute, NextHop, NextHopGroup, NextHopMember, Route, SubnetRoute
from hal.packet.contract import EventKind
from tests.netns.world import World, without_a_trace
from tests.tools.until import until

INTENT = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24]}
---
kind: Subnet
name: store
spec: {gateways: [10.2.0.1/24]}
---
kind: FirewallPolicy
name: all
spec: {rules: {ping: allow icmp from any to any}}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], policy: all}
---
kind: Vnic
name: client
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: shop, addresses: [10.1.0.20], policy: all}
---
kind: Vnic
name: disk
spec: {port: host2, mac: 02:00:00:00:00:0c, subnet: store, addresses: [10.2.0.10, 10.2.0.66], policy: all}
"""
TABLES = [NextHop, NextHopGroup, NextHopMember, Route]
OWNER = '[owners]\nfence = {{tables = ["next_hop", "next_hop_group", "next_hop_member", "route"], wait = {wait}}}\n'
BRIDGED, ROUTED, FENCED = "10.1.0.10", "10.2.0.10", "10.2.0.66"
"""What the client pings: with nothing of the agent's; by the agent's routes; where they say that it may not."""
PINGS = 3
AWAITED = "nothing is forwarded: fence of [owners] has yet to commit"


@pytest.fixture(params=["true", "false"], ids=["awaited", "not awaited"])
def world(request: pytest.FixtureRequest, tmp_path: Path, program: Path) -> Iterator[World]:
    with without_a_trace(tmp_path, program) as world:
        for name, port, mac, addresses in (
            ("web", "host0", "02:00:00:00:00:0a", ["10.1.0.10/24"]),
            ("client", "host1", "02:00:00:00:00:0b", ["10.1.0.20/24"]),
            ("disk", "host2", "02:00:00:00:00:0c", ["10.2.0.10/24", "10.2.0.66/24"]),
        ):
            host = world.host(name, port, mac, addresses, [".".join([*addresses[0].split(".")[:3], "1"])])
            host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")  # what it says by itself would be counted
        card = world.write_card()
        card.write_text(card.read_text() + OWNER.format(wait=request.param))
        world.start_card()
        world.apply(INTENT)
        yield world


def agent_commits(world: World) -> None:
    """What the agent does whenever it comes: its routes are as it wants them."""
    with packet.connect(str(world.run_folder / "engine")) as card:
        known = card.ids(("vrf", "default"), ("subnet", "shop"), ("subnet", "store"))
        vrf = known["vrf", "default"]
        card.writer("fence", TABLES).sync(
            SubnetRoute(id=1, vrf=vrf, prefix="10.1.0.0/24", subnet=known["subnet", "shop"]),
            SubnetRoute(id=2, vrf=vrf, prefix="10.2.0.0/24", subnet=known["subnet", "store"]),
            BlackholeRoute(id=3, vrf=vrf, prefix="10.2.0.66/32"),
        )


def drops(world: World) -> Counter[str]:
    with packet.connect(str(world.run_folder / "engine")) as card:
        return Counter(card.counters().drops)


def pinged(world: World, address: str) -> tuple[int, Counter[str]]:
    """(replies, packets dropped meanwhile by reason) of PINGS pings. The client knows its neighbours, as a host does
    that has just spoken to them: what is dropped are the pings."""
    client = world.hosts["client"]
    for neighbour, mac in (("10.1.0.10", "02:00:00:00:00:0a"), ("10.1.0.1", gateway_mac(world))):
        client.run("ip", "neighbour", "replace", neighbour, "lladdr", mac, "dev", "eth0")
    web = world.hosts["web"]
    web.run("ip", "neighbour", "replace", "10.1.0.20", "lladdr", "02:00:00:00:00:0b", "dev", "eth0")
    before = drops(world)
    done = client.run("ping", "-c", str(PINGS), "-i", "0.2", "-W", "1", address, check=False)
    found = drops(world) - before
    for reason in ("nd_ignored", "multicast"):  # the card's own kernel looks for routers by the punt tap
        found.pop(reason, None)
    if "not_configured" in found:  # which that is too, as long as nothing else is said of it
        found["not_configured"] = min(found["not_configured"], PINGS)
    return int(done.stdout.split(" received")[0].split()[-1]), found


def gateway_mac(world: World) -> str:
    with packet.connect(str(world.run_folder / "engine")) as card:
        found = card.snapshot()
        (shop,) = (one.id for one in found.names.values() if (one.table, one.text) == ("subnet", "shop"))
        return next(str(row.to_dict()["mac"]) for row in found.rows("subnet") if row.id == shop)


def events(world: World) -> list[str]:
    with closing(world.api()) as api:
        return [one.data for one in api.events().events if one.kind is EventKind.OWNER_AWAITED]


def killed(world: World) -> None:
    """The engine dies, and is there again with what dsnd has to say."""
    with closing(world.api()) as api:
        before = api.status()
    os.kill(before.engine_pid, signal.SIGKILL)
    assert until(lambda: world.status().engine_pid not in (0, before.engine_pid), 30)
    assert until(lambda: world.status().engine_state == "forwarding", 30)
    after = world.status()
    assert after.intent_digest == before.intent_digest
    with packet.connect(str(world.run_folder / "engine")) as card:
        found = card.snapshot()
        assert found.tags["dsnd"] == before.intent_digest
        assert (len(found.rows("vnic")) >= 3, found.rows("route")) == (True, [])


NOTHING = (0, Counter(not_configured=PINGS))
ALL = (PINGS, Counter[str]())


def test_nothing_passes_while_an_owner_is_away(world: World) -> None:
    awaited = "wait = true" in (world.folder / "card.toml").read_text()
    told = ["fence"] if awaited else []
    assert pinged(world, BRIDGED) == (NOTHING if awaited else ALL)  # it never came yet
    assert (events(world), world.status().last_fault) == (told, AWAITED if awaited else "")

    agent_commits(world)
    assert pinged(world, BRIDGED) == ALL
    assert pinged(world, ROUTED) == ALL
    assert pinged(world, FENCED) == (0, Counter(blackhole=PINGS))
    assert world.status().last_fault == ""

    killed(world)
    assert pinged(world, BRIDGED) == (NOTHING if awaited else ALL)
    assert pinged(world, ROUTED) == (NOTHING if awaited else (0, Counter(no_route=PINGS)))
    assert events(world) == told * 2
    status, fault = world.dsn("card", "status").stdout, world.status().last_fault
    assert (AWAITED in " ".join(status.split()), fault.startswith(f"{AWAITED}; died after ")) == (awaited, awaited)
    with packet.connect(str(world.run_folder / "engine")) as card:
        assert card.backend.capabilities().awaited == tuple(told)

    agent_commits(world)
    assert pinged(world, BRIDGED) == ALL
    assert pinged(world, ROUTED) == ALL
    assert pinged(world, FENCED) == (0, Counter(blackhole=PINGS))
    assert world.status().last_fault.startswith("died after ")
    assert events(world) == told * 2
