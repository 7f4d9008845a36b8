"""What an operator reads of each object: counters and state, the same from the twin and from the engine."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from hal.conformance.frames import ARP, IPV4, arp, ethernet, tcp, udp
from hal.errors import ErrorKind, HalError
from hal.packet.contract import (
    LIMITS,
    Backend,
    LoadConfig,
    Modify,
    Neighbour,
    NeighbourState,
    PacketIn,
    PortConfig,
    Shard,
)
from hal.packet.derive import sync
from hal.packet.model import Twin
from services.core.intent import Source, load
from services.core.objects import Object, Objects
from services.core.plain import plain
from services.core.plan import Context, Plan, Port, plan_all
from services.core.service import View, discover
from tests.tools.engines import running

SERVICES = discover()
SECOND = 10**9
A, B, ROUTER, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:fe:01", "02:00:00:00:fe:02"
INTENT = b"""\
kind: Uplink
name: up
spec: {port: up, addresses: [192.0.2.2/24]}
---
kind: Subnet
name: net
spec: {gateways: [10.1.0.1/24], mac: 02:00:00:00:aa:01}
---
kind: Vnic
name: a
spec: {port: a, mac: 02:00:00:00:00:0a, subnet: net, addresses: [10.1.0.10, 10.1.0.11], policy: p}
---
kind: Vnic
name: b
spec: {port: b, mac: 02:00:00:00:00:0b, subnet: net, addresses: [10.1.0.20], policy: p, profile: open}
---
kind: Profile
name: open
spec: {egress: [bridge, route], tracking: slow}
---
kind: Tracking
name: slow
spec: {other: 1h}
---
kind: Group
name: inner
spec: {members: [10.1.0.128/25, 10.1.0.0/25]}
---
kind: Group
name: outer
spec: {members: [inner, 198.51.100.0/24]}
---
kind: Group
name: alone
---
kind: FirewallPolicy
name: p
spec:
  rules:
    no: drop tcp from inner to any port 23
    yes: allow any from outer to any
---
kind: Route
name: many
spec: {prefixes: [198.51.100.0/24, 203.0.113.0/24], via: [192.0.2.1@up, 192.0.2.9@up weight 3]}
---
kind: Route
name: lost
spec: {prefixes: [192.168.0.0/16], via: [192.0.2.66@up]}
---
kind: Route
name: hole
spec: {prefixes: [172.16.0.0/12], blackhole: true}
"""
CONTEXT = Context(ports={name: Port(number) for number, name in enumerate(("up", "a", "b", "punt-default"))})
LOAD = LoadConfig(ports=tuple(PortConfig(port.number, name, "replay") for name, port in CONTEXT.ports.items()))


def intent(text: bytes = INTENT) -> tuple[Objects, Plan]:
    objects = load([Source("x.yaml", text)], SERVICES, CONTEXT).require()
    return objects, plan_all(objects, CONTEXT, SERVICES)


@pytest.fixture(params=["twin", "engine"])
def card(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "twin":
        yield Twin()
        return
    with running() as engine:
        yield engine


class Played:
    """A shard of a card with the intent above, and what is told of its objects."""

    def __init__(self, card: Backend) -> None:
        self.objects, self.plan = intent()
        card.load(LOAD)
        sync(card.writer(), card, *self.plan.rows, tables=card.capabilities().schema.table_numbers)
        self.card, self.shard, self.now = card, card.shard(), SECOND

    def send(self, port: str, mac: str, packet: bytes, after: int = 0, to: str = "02:00:00:00:aa:01") -> None:
        self.now += after
        self.shard.replay([PacketIn(ethernet(to, mac, IPV4, packet), CONTEXT.ports[port].number, self.now)])

    def answers(self, mac: str, address: str) -> None:
        """A router's answer to the card's request."""
        uplink = next(row.to_dict() for row in self.card.snapshot().rows("vnic") if row.to_dict()["port"] == 0)
        frame = ethernet(uplink["mac"], mac, ARP, arp(2, mac, address, uplink["mac"], "192.0.2.2"))
        self.shard.replay([PacketIn(frame, 0, self.now)])

    def view(self) -> View:
        return View.of(self.plan, Looking(self.card, self.shard))

    def told(self, kind: str, name: str, view: View | None = None) -> dict[str, Any]:
        item = find(self.objects, kind, name)
        return plain(SERVICES.status(item, self.objects, view or self.view()))


class Looking:
    """A shard, with the ports of its card."""

    def __init__(self, card: Backend, shard: Shard) -> None:
        self.capabilities = card.capabilities
        self._shard = shard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)


def find(objects: Objects, kind: str, name: str) -> Object[Any]:
    return next(item for item in objects if item.key == (kind, name))


@pytest.fixture
def played(card: Backend) -> Iterator[Played]:
    played = Played(card)
    yield played
    played.shard.close()


def hops(told: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {hop["name"]: (hop["state"], hop["mac"]) for hop in told["via"]}


def test_a_route_tells_of_each_next_hop(played: Played) -> None:
    first, second = "192.0.2.1@up", "192.0.2.9@up"
    told = played.told("Route", "many")
    assert (told["entries"], told["next_hops"], told["live"]) == (2, 2, 2)
    assert hops(told) == {first: ("unused", ""), second: ("unused", "")}
    for number in range(40):  # by weight, over both
        played.send("a", A, udp("10.1.0.10", f"203.0.113.{number + 1}"))
    assert hops(played.told("Route", "many")) == {first: ("unresolved", ""), second: ("unresolved", "")}
    played.answers(ROUTER, "192.0.2.1")
    told = played.told("Route", "many")
    assert hops(told) == {first: ("resolved", ROUTER), second: ("unresolved", "")}
    assert told["live"] == 2
    played.send("a", A, udp("10.1.0.10", "203.0.113.1"), after=4 * SECOND)
    told = played.told("Route", "many")
    assert hops(told) == {first: ("resolved", ROUTER), second: ("failed", "")}
    assert told["live"] == 1
    assert hops(played.told("Route", "lost")) == {"192.0.2.66@up": ("unused", "")}
    hole = played.told("Route", "hole")
    assert (hole["entries"], hole["next_hops"], hole["live"], hole["via"]) == (1, 0, 0, [])


def test_an_uplink_counts_its_neighbours(played: Played) -> None:
    for number in range(40):
        played.send("a", A, udp("10.1.0.10", f"203.0.113.{number + 1}"))
    played.answers(OTHER, "192.0.2.9")
    played.send("a", A, udp("10.1.0.11", "192.0.2.77"))  # a host of the net itself
    told = played.told("Uplink", "up")
    assert (told["neighbours"], told["resolved"], told["failed"]) == (3, 1, 0)
    played.send("a", A, udp("10.1.0.11", "192.0.2.77"), after=4 * SECOND)
    told = played.told("Uplink", "up")
    assert (told["neighbours"], told["resolved"], told["failed"]) == (3, 1, 2)
    assert told["tx_packets"] > 0


def test_a_port_without_link_and_a_card_that_does_not_tell_neighbours(played: Played) -> None:
    view = played.view()
    down = {name: replace(port, link=False) for name, port in view.ports.items()}
    told = played.told("Route", "many", View(view.plan, view.counters, down, view.neighbours))
    assert [hop["state"] for hop in told["via"]] == ["no link"] * 2
    assert told["live"] == 0
    told = played.told("Route", "many", View(view.plan, view.counters, view.ports))
    assert [hop["state"] for hop in told["via"]] == ["unknown"] * 2
    assert told["live"] == 2


def test_workers_that_differ_about_a_next_hop(played: Played) -> None:
    view = played.view()
    uplink = played.told("Uplink", "up")["id"]
    both = [
        Neighbour(int(uplink), "192.0.2.66", NeighbourState.FAILED, worker=0),
        Neighbour(int(uplink), "192.0.2.66", NeighbourState.PROBE, ROUTER, worker=1),
    ]
    mixed = View(view.plan, view.counters, view.ports, both)
    (hop,) = played.told("Route", "lost", mixed)["via"]
    assert hop == {"name": "192.0.2.66@up", "state": "resolved", "mac": ROUTER, "failed_workers": 1}
    assert {name: played.told("Uplink", "up", mixed)[name] for name in ("neighbours", "resolved", "failed")} == {
        "neighbours": 1, "resolved": 1, "failed": 0,
    }  # fmt: skip


def test_sums_of_subnets_profiles_and_vrfs(played: Played) -> None:
    packet = udp("10.1.0.10", "10.1.0.20")
    size = len(packet) + 14
    played.send("a", A, packet, to=B)
    played.send("a", A, packet, to=B)
    played.send("b", B, udp("10.1.0.20", "10.1.0.10", 53, 4000), to=A)
    played.send("a", A, udp("10.1.0.99", "10.1.0.20"), to=B)  # spoofed
    both = {"rx_packets": 4, "rx_bytes": 4 * size, "tx_packets": 3, "tx_bytes": 3 * size, "drops": 1}
    told = played.told("Subnet", "net")
    assert {name: told[name] for name in both} == both
    assert (told["vnics"], told["vnics_with_link"], told["addresses"]) == (2, 2, 3)
    told = played.told("Profile", "default-vnic")
    assert (told["users"], told["rx_packets"], told["tx_packets"], told["drops"]) == (1, 3, 1, 1)
    assert (told["egress"], told["ingress"]) == (["antispoof", "firewall", "bridge", "route"], ["firewall"])
    told = played.told("Profile", "open")
    assert (told["users"], told["rx_packets"], told["tx_packets"], told["drops"]) == (1, 1, 2, 0)
    row = next(iter(played.card.snapshot().rows("tracking")))
    assert played.told("Tracking", "slow") == {"id": str(row.id), "profiles": 1, "users": 1}
    told = played.told("Vrf", "default")
    assert {name: told[name] for name in both} == both
    assert (told["vnics"], told["uplinks"], told["routes"]) == (2, 1, 6)
    assert (told["punt_port"], told["punted_packets"]) == ("punt-default", 0)
    played.send("up", ROUTER, udp("192.0.2.1", "192.0.2.2", 5000, 179), to=_uplink_mac(played))
    assert played.told("Vrf", "default")["punted_packets"] == 1


def _limits(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in told["limits"]}


def test_limits_of_vnics_and_uplinks(played: Played) -> None:
    """What b uses and was refused; nothing of a, nor of the uplink, on which no connection counts."""
    rows: list[Any] = [*played.card.snapshot().rows("vnic")]
    row = next(row for row in rows if row.mac == B)
    played.card.writer().commit([Modify(replace(row, flow_limit=2, half_open_limit=1).rows())])
    for port in (1, 2, 3):
        played.send("b", B, tcp("10.1.0.20", "10.1.0.10", port, 80, "S"), to=A)
    played.send("b", B, udp("10.1.0.20", "10.1.0.10", 4), to=A)
    for port in (5, 6):
        played.send("b", B, udp("10.1.0.20", "10.1.0.10", port), to=A)
    found = _limits(played.told("Vnic", "b"))
    assert set(found) == {*LIMITS}
    assert found["flow_limit"] == {"name": "flow_limit", "used": 2, "most": 2, "a_second": False, "refused": 2}
    assert found["half_open_limit"] == {
        "name": "half_open_limit", "used": 1, "most": 1, "a_second": False, "refused": 2,
    }  # fmt: skip
    assert found["new_flow_limit"] == {
        "name": "new_flow_limit", "used": 0, "most": 100_000, "a_second": True, "refused": 0,
    }  # fmt: skip
    others = _limits(played.told("Vnic", "a")), _limits(played.told("Uplink", "up"))
    assert not any(one["used"] or one["refused"] for other in others for one in other.values())
    assert set(others[1]) == {
        "fragment_limit", "icmp_limit", "punt_limit", "challenge_limit", "neighbour_limit", "neighbour_queue_limit",
        "first_packet_limit", "icmp_error_limit",
    }  # fmt: skip


def test_a_card_that_tells_no_limits(played: Played) -> None:
    """An engine of the release before: all else is told."""
    played.send("b", B, udp("10.1.0.20", "10.1.0.10"), to=A)
    view = played.view()
    told = played.told("Vnic", "b", replace(view, counters=replace(view.counters, limits={})))
    assert (told["limits"], told["rx_packets"]) == ([], 1)
    assert played.told("Uplink", "up", replace(view, counters=replace(view.counters, limits={})))["limits"] == []


def _uplink_mac(played: Played) -> str:
    mac: str = next(row.to_dict() for row in played.card.snapshot().rows("vnic") if row.to_dict()["port"] == 0)["mac"]
    return mac


def test_groups_tell_whom_they_mean_and_which_rules_name_them(played: Played) -> None:
    inner, outer, alone = (played.told("Group", name) for name in ("inner", "outer", "alone"))
    assert (inner["prefixes"], inner["members"]) == (1, ["10.1.0.0/24"])
    assert (outer["prefixes"], outer["members"]) == (2, ["10.1.0.0/24", "198.51.100.0/24"])
    assert (inner["rules"], inner["used_by"]) == (2, ["p/no", "p/yes"])
    assert (outer["rules"], outer["used_by"]) == (1, ["p/yes"])
    assert (alone["prefixes"], alone["members"], alone["rules"], alone["used_by"], alone["hits"]) == (0, [], 0, [], 0)
    packet = udp("10.1.0.10", "10.1.0.20")
    played.send("a", A, packet, to=B)
    played.send("a", A, packet, to=B)
    played.send("a", A, tcp("10.1.0.10", "10.1.0.20", 4000, 23, "S"), to=B)
    policy = played.told("FirewallPolicy", "p")
    assert [(rule["name"], rule["hits"], rule["packets"]) for rule in policy["rules"]] == [("no", 1, 0), ("yes", 1, 2)]
    assert (policy["hits"], policy["packets"], policy["bytes"]) == (2, 2, 2 * len(packet))
    assert (played.told("Group", "inner")["hits"], played.told("Group", "outer")["hits"]) == (2, 1)
    assert played.told("Group", "outer")["bytes"] == 2 * len(packet)


def test_of_many_members_and_rules_the_first_are_told() -> None:
    members = ", ".join(f"10.{n}.0.0/16" for n in range(1, 200, 2))
    rules = "".join(f"    r{n}: allow tcp from many to any port {n}\n" for n in range(1, 101))
    text = f"kind: Group\nname: many\nspec: {{members: [{members}]}}\n---\nkind: FirewallPolicy\nname: p\nspec:\n"
    objects, plan = intent(f"{text}  rules:\n{rules}".encode())
    card = Twin()
    card.load(LOAD)
    told = plain(SERVICES.status(find(objects, "Group", "many"), objects, View.of(plan, card)))
    assert (told["prefixes"], len(told["members"]), told["rules"], len(told["used_by"])) == (100, 64, 100, 64)


def test_a_backend_without_neighbours_is_asked_all_the_same() -> None:
    class Without(Twin):
        def neighbours(self) -> NoReturn:
            raise HalError(ErrorKind.UNSUPPORTED, "verb 27")

    class Silent(Twin):
        def neighbours(self) -> NoReturn:
            raise HalError(ErrorKind.TIMEOUT, "neighbours")

    plan = intent()[1]
    without, silent = Without(), Silent()
    for card in (without, silent):
        card.load(LOAD)
    assert View.of(plan, without).neighbours is None
    with pytest.raises(HalError, match="TIMEOUT"):
        View.of(plan, silent)
