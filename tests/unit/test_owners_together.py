"""dsnd and an agent on one card, as README and DESIGN have it: the agent holds next hops and routes of a VRF."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_support.board import Hardware, facts
from hal.packet.card import Card as HalCard
from hal.packet.contract import LoadConfig, PacketIn, PortConfig, Verdict
from hal.packet.model import Twin
from hal.packet.schema.rows import pack_mac
from hal.packet.stages.bridge._generated import Subnet
from hal.packet.stages.route._generated import NextHop, Route, SubnetRoute
from sdk.dsnd.card import Card
from sdk.dsnd.store import Store
from services.bridging.addresses import derived_mac
from services.core.objects import IntentError
from services.core.service import discover
from tests.tools.engine import binary
from tests.tools.engines import running
from tests.tools.process import Process

PORTS = ("host0", "host1", "uplink0")
CONFIG = LoadConfig(
    ports=tuple(PortConfig(number, name, "replay") for number, name in enumerate(PORTS)),
    owners={"my-agent": ("next_hop", "route")},
)
HOSTS = """
kind: Subnet
name: shop
spec: {gateways: [10.1.0.1/24], mac: 02:00:00:00:aa:01}
---
kind: Subnet
name: office
spec: {gateways: [10.2.0.1/24]}
---
kind: Vnic
name: web
spec: {port: host0, mac: 02:00:00:00:00:0a, subnet: shop, addresses: [10.1.0.10], policy: open}
---
kind: Vnic
name: client
spec: {port: host1, mac: 02:00:00:00:00:0b, subnet: office, addresses: [10.2.0.20], policy: open}
---
kind: Uplink
name: uplink0
spec: {port: uplink0, addresses: [192.0.2.2/24]}
---
kind: FirewallPolicy
name: open
spec: {rules: {web: allow udp from any to any}}
"""
ROUTE = "\n---\nkind: Route\nname: internet\nspec: {prefixes: [0.0.0.0/0], via: [192.0.2.1@uplink0]}\n"


@pytest.fixture(params=["twin", "engine"])
def card(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Card]:
    with contextlib.ExitStack() as stack:
        backend = Twin() if request.param == "twin" else stack.enter_context(running(binary()))
        card = Card(
            Hardware(facts("twin"), Process(lambda: backend)), CONFIG, discover(), Store(tmp_path), lambda _: None
        )
        card.begin()
        yield card
        card.let_go()


def udp(destination: str) -> bytes:
    """From web to its gateway."""
    ends = ipaddress.ip_address("10.1.0.10").packed + ipaddress.ip_address(destination).packed
    header = b"\x45\0\0\x1c\0\0\x40\0\x40\x11"
    words = header + b"\0\0" + ends
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    check = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    macs = pack_mac("02:00:00:00:aa:01") + pack_mac("02:00:00:00:00:0a")
    return macs + b"\x08\0" + header + check + ends + b"\x0f\xa0\0\x35\0\x08\0\0"


def sent(card: Card, destination: str) -> tuple[Verdict, str]:
    shard = card.backend.shard(connections=64)
    (result,) = shard.replay([PacketIn(udp(destination), 0, 1_000_000_000)])
    shard.close()
    return result.verdict, result.reason


def test_dsnd_applies_subnets_and_rules_while_an_agent_owns_the_routes(card: Card) -> None:
    applied = card.apply((("", "a.yaml", HOSTS),))
    warnings = [line for warning in applied.warnings for line in warning.splitlines() if "warning" in line]
    assert len(warnings) == 3
    assert "Subnet office, field gateways[0]: the route to 10.2.0.0/24 is left to my-agent" in "\n".join(warnings)
    assert sent(card, "10.2.0.20") == (Verdict.DROP, "no_route")

    theirs = HalCard(card.backend)
    mine = theirs.writer("my-agent", [NextHop, Route])
    names = {name.text: row_id for (table, row_id), name in theirs.snapshot().names.items() if table == "subnet"}
    subnets = {row.id: row.to_dict()["vrf"] for row in theirs.snapshot(Subnet).rows("subnet")}
    office = names["office"]
    hop = NextHop(id=1, port=theirs.port("uplink0"), address="192.0.2.1")
    routes = Route.array(id=[2], vrf=subnets[office], prefix=["203.0.113.0/24"], next_hop=hop.id)
    connected = SubnetRoute(id=3, vrf=subnets[office], prefix="10.2.0.0/24", subnet=office)
    mine.sync(hop, routes, connected, tag="feed")
    assert sent(card, "10.2.0.20") == (Verdict.FORWARD, "")
    assert sent(card, "203.0.113.9") == (Verdict.QUEUE, "")

    card.apply((("", "a.yaml", HOSTS.replace("allow udp", "drop udp")),))
    assert sent(card, "10.2.0.20") == (Verdict.DROP, "firewall_rule"), "the rules stay dsnd's"
    assert len(theirs.snapshot(Route).rows("route")) == 2, "and the routes the agent's"


def test_an_object_in_the_agents_tables_is_named(card: Card) -> None:
    generation = card.apply((("", "a.yaml", HOSTS),)).generation
    with pytest.raises(IntentError) as caught:
        card.apply((("", "a.yaml", HOSTS + ROUTE),))
    said = [problem.sentence for problem in caught.value.problems if not problem.warning]
    assert len(said) == 1
    assert "Route internet: it needs entries of tables that card.toml gives to others: " in said[0]
    assert "next_hop (my-agent), route (my-agent)" in said[0]
    assert card.backend.snapshot(["vrf"]).generation == generation


def test_cards_of_one_underlay_have_macs_of_their_own(tmp_path: Path) -> None:
    """Each draws a seed and keeps it: its uplink's MAC and link-local address stay, another card's are others."""
    found = []
    for folder in ("one", "two", "one"):
        config = LoadConfig(ports=CONFIG.ports)
        process = Process()
        card = Card(Hardware(facts("twin"), process), config, discover(), Store(tmp_path / folder), lambda _: None)
        card.begin()
        card.apply((("", "a.yaml", HOSTS.replace("192.0.2.2/24]", '192.0.2.2/24, "2001:db8::2/64"]')),))
        vnics = [row.to_dict() for row in card.backend.snapshot(["vnic"]).rows("vnic")]
        mac = next(row["mac"] for row in vnics if row["role"] == "uplink")
        local = [row.to_dict()["address"] for row in card.backend.snapshot(["local_address"]).rows("local_address")]
        found.append((mac, [address for address in local if address.startswith("fe80")]))
        card.let_go()
    assert found[0] == found[2]
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    assert all(int(mac[:2], 16) & 3 == 2 for mac, _ in found), "local, unicast"
    assert derived_mac("port", "uplink0") not in {mac for mac, _ in found}
