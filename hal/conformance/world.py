"""The small world that checks of packets send in, as rows and as frames.

    a 10.1.0.11 ── port 1 ─┐ subnet 1 ┌─ port 0 ── router 192.0.2.1 ── 203.0.113.0/24
    b 10.1.0.12 ── port 2 ─┤ 10.1.0.1 │
    c 10.2.0.13 ── port 3 ─┘ subnet 2 └─ port 9 ── the card's own programs
        (VLAN 7)             10.2.0.1

Every profile here has `bridge` and `route` and no more; `guarded` adds what a check wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hal.conformance.bench import Bench, Card, insert
from hal.conformance.frames import ARP, IPV4, IPV6, arp, ethernet, tcp, udp
from hal.conformance.traffic import Sent, Traffic
from hal.packet.frame._generated import Profile, ProfilePunt, ProfileStage, Vnic, Vrf
from hal.packet.schema.rows import Row
from hal.packet.stages.antispoof._generated import AllowedSource
from hal.packet.stages.bridge._generated import FdbEntry, LocalAddress, Subnet, VnicAddress
from hal.packet.stages.firewall._generated import FirewallBinding, FirewallPolicy, FirewallRule
from hal.packet.stages.route._generated import BlackholeRoute, NextHop, Route, SubnetRoute

NO_MAC = "00:00:00:00:00:00"
VRF, OPEN, GUARDED, UPLINK, CARD = 1, 1, 2, 3, 4
GATEWAY = {1: "02:00:00:00:aa:01", 2: "02:00:00:00:aa:02", 4: "02:00:00:00:aa:04"}
UPLINK_MAC, ROUTER_MAC, TAP_MAC = "02:00:00:00:bb:00", "02:00:00:00:fe:01", "02:00:00:00:cc:00"
ROUTER, FAR = "192.0.2.1", "203.0.113.9"
UPLINK_ID, TAP_ID = 1, 9


@dataclass(frozen=True)
class Host:
    """A workload behind a vNIC."""

    vnic: int
    port: int
    subnet: int
    mac: str
    ip: str
    ip6: str
    vlan: int = 0

    @property
    def gateway(self) -> str:
        return GATEWAY[self.subnet]

    def frame(self, packet: bytes, to: str = "") -> bytes:
        """As this host sends it: to its gateway, or to the MAC given."""
        ethertype = IPV4 if packet[0] >> 4 == 4 else IPV6
        return ethernet(to or self.gateway, self.mac, ethertype, packet, self.vlan)


A = Host(11, 1, 1, "02:00:00:00:00:0a", "10.1.0.11", "2001:db8:1::11")
B = Host(12, 2, 1, "02:00:00:00:00:0b", "10.1.0.12", "2001:db8:1::12")
C = Host(13, 3, 2, "02:00:00:00:00:0c", "10.2.0.13", "2001:db8:2::13", vlan=7)
HOSTS = (A, B, C)


def vnic(host: Host, profile: int = OPEN, **more: Any) -> Vnic:
    """The row of a host's vNIC."""
    fields = {"port": host.port, "vlan": host.vlan, "match_mac": NO_MAC, "role": "vnic", "mac": host.mac, "vrf": VRF}
    return Vnic(**{"id": host.vnic, **fields, "profile": profile, "subnet": host.subnet, **more})


def chain(profile: int, egress: Sequence[str], ingress: Sequence[str] = ()) -> list[Row]:
    places = [("egress", stage) for stage in egress] + [("ingress", stage) for stage in ingress]
    return [
        ProfileStage(id=profile * 100 + place, profile=profile, direction=direction, position=place, stage=stage)
        for place, (direction, stage) in enumerate(places)
    ]


@cache
def rows() -> tuple[Row, ...]:
    """Everything in the picture above."""
    found: list[Row] = [
        Vrf(id=VRF, punt_port=9),
        *(Profile(id=profile) for profile in (OPEN, GUARDED, UPLINK, CARD)),
        *chain(OPEN, ("bridge", "route")),
        *chain(UPLINK, ("route",)),
        *chain(CARD, ("route",)),
        ProfilePunt(id=1, profile=OPEN, protocol=17, port=179),
        *(Subnet(id=subnet, vrf=VRF, mac=mac) for subnet, mac in GATEWAY.items()),
        Subnet(id=3, vrf=VRF, mac=UPLINK_MAC),
        Vnic(id=UPLINK_ID, port=0, vlan=0, match_mac=NO_MAC, role="uplink", mac=UPLINK_MAC, vrf=VRF, profile=UPLINK,
             subnet=3),
        Vnic(id=TAP_ID, port=9, vlan=0, match_mac=NO_MAC, role="card", mac=TAP_MAC, vrf=VRF, profile=CARD, subnet=4),
        NextHop(id=1, port=0, address=ROUTER),
        Route(id=1, vrf=VRF, prefix="203.0.113.0/24", next_hop=1),
        SubnetRoute(id=2, vrf=VRF, prefix="10.1.0.0/24", subnet=1),
        SubnetRoute(id=3, vrf=VRF, prefix="10.2.0.0/24", subnet=2),
        SubnetRoute(id=4, vrf=VRF, prefix="2001:db8:1::/64", subnet=1),
        SubnetRoute(id=5, vrf=VRF, prefix="2001:db8:2::/64", subnet=2),
        BlackholeRoute(id=6, vrf=VRF, prefix="198.18.0.0/15"),
        *(
            LocalAddress(id=number, vrf=VRF, address=address, subnet=subnet)
            for number, (subnet, address) in enumerate(
                ((1, "10.1.0.1"), (1, "2001:db8:1::1"), (2, "10.2.0.1"), (2, "2001:db8:2::1"), (3, "192.0.2.2")), 1
            )
        ),
    ]  # fmt: skip
    for host in HOSTS:
        found += [
            vnic(host),
            FdbEntry(id=host.vnic, subnet=host.subnet, mac=host.mac, vnic=host.vnic),
            VnicAddress(id=host.vnic, subnet=host.subnet, address=host.ip, vnic=host.vnic),
            VnicAddress(id=host.vnic + 100, subnet=host.subnet, address=host.ip6, vnic=host.vnic),
        ]
    return tuple(found)


def rows_by_id(table: str) -> dict[int, Row]:
    """The rows of one table of this world."""
    return {row.id: row for row in rows() if row.LAYOUT.table.name == table}


def world(bench: Bench, **config: Any) -> Card:
    """A card with this world on it."""
    card = bench.card(**config)
    card.commit(insert(*rows()), tag="world")
    return card


RULE = 50
"""Id of the rule by which `firewalled` lets A's packets out."""


def rule(number: int = RULE, policy: int = 1, **more: Any) -> FirewallRule:
    return FirewallRule(**{"id": number, "policy": policy, "priority": 100, "verdict": "allow", **more})


def firewalled(bench: Bench, *rules: Row, **config: Any) -> Card:
    """This world, with the firewall before A: these rules, or one that allows everything."""
    card = bench.card(**config)
    others = [row for row in rows() if not (isinstance(row, Vnic) and row.id == A.vnic)]
    guard = [*chain(GUARDED, ("firewall", "bridge", "route"), ("firewall",)), vnic(A, GUARDED)]
    policy = [FirewallPolicy(id=1), FirewallBinding(id=1, vnic=A.vnic, policy=1)]
    card.commit(insert(*others, *guard, *policy, *(rules or (rule(),))), tag="world")
    return card


def antispoofed(bench: Bench) -> Card:
    """This world, with antispoof before A."""
    card = bench.card()
    others = [row for row in rows() if not (isinstance(row, Vnic) and row.id == A.vnic)]
    allowed = [AllowedSource(id=1, vnic=A.vnic, prefix=A.ip)]
    card.commit(insert(*others, *chain(GUARDED, ("antispoof", "bridge", "route")), vnic(A, GUARDED), *allowed))
    return card


def bridged(traffic: Traffic, after: int = 0, **fields: Any) -> Sent:
    """UDP from A to B, which are of one subnet."""
    return traffic.send(A.port, A.frame(udp(A.ip, B.ip, **fields), to=B.mac), after)


def routed(traffic: Traffic, after: int = 0, **fields: Any) -> Sent:
    """UDP from A to C, by the gateway."""
    return traffic.send(A.port, A.frame(udp(A.ip, C.ip, **fields)), after)


def replied(traffic: Traffic, after: int = 0, sport: int = 53, dport: int = 4000) -> Sent:
    """UDP back from C to A."""
    return traffic.send(C.port, C.frame(udp(C.ip, A.ip, sport, dport)), after)


def streams(traffic: Traffic, sports: Iterable[int], host: Host = A, to: Host = C) -> None:
    """UDP from one host to another by these source ports, each answered, and more said: none makes way for others."""
    for sport in sports:
        there = host.frame(udp(host.ip, to.ip, sport, 53))
        traffic.send(host.port, there).left_by(to.port, f"connection {sport} from {host.ip} to {to.ip}")
        traffic.send(to.port, to.frame(udp(to.ip, host.ip, 53, sport))).left_by(host.port, f"its answer {sport}")
        traffic.send(host.port, there).left_by(to.port, f"more of {sport}")


def segment(
    traffic: Traffic, flags: str, back: bool = False, after: int = 0, sport: int = 4000, **numbers: int
) -> Sent:
    """A TCP segment from A to C port 80, or back. `numbers`: seq and ack, as `tcp` takes them."""
    if back:
        return traffic.send(C.port, C.frame(tcp(C.ip, A.ip, 80, sport, flags, **numbers)), after)
    return traffic.send(A.port, A.frame(tcp(A.ip, C.ip, sport, 80, flags, **numbers)), after)


def far(traffic: Traffic, after: int = 0) -> Sent:
    """UDP from A to a place behind the router."""
    return traffic.send(A.port, A.frame(udp(A.ip, FAR)), after)


def router_answers(traffic: Traffic) -> Sent:
    """The router's reply to the card's ARP request."""
    message = arp(2, ROUTER_MAC, ROUTER, UPLINK_MAC, "192.0.2.2")
    return traffic.send(0, ethernet(UPLINK_MAC, ROUTER_MAC, ARP, message))


def from_router(packet: bytes) -> bytes:
    """A packet that the router sends on to the card, by port 0."""
    return ethernet(UPLINK_MAC, ROUTER_MAC, IPV4 if packet[0] >> 4 == 4 else IPV6, packet)


def from_tap(packet: bytes) -> bytes:
    """An IPv4 packet as a program of the card's own sends it, by port 9."""
    return ethernet(GATEWAY[4], TAP_MAC, IPV4, packet)
