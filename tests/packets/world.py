"""The wiring that packet fixtures run on, as rows.

    client 10.1.0.20 ── host0 ─┐ subnet shop ┌─ uplink0 ── gateway 192.0.2.1 ── the rest of the world
    web    10.1.0.10 ── host1 ─┤ 10.1.0.1    │
    db     10.2.0.5  ── host2 ─┘ subnet back ├─ uplink1 ── second  198.51.100.1
           (VLAN 7)              10.2.0.1    └─ the card's own tap

Every vNIC has antispoof and the firewall; `open` has neither. All have IPv6 addresses beside: 2001:db8:1::14 and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.frame._generated import Profile, ProfilePunt, ProfileStage, Seed, Vnic, Vrf
from hal.packet.schema.rows import Row
from hal.packet.stages.antispoof._generated import AllowedSource
from hal.packet.stages.bridge._generated import FdbEntry, LocalAddress, Subnet, VnicAddress
from hal.packet.stages.firewall._generated import FirewallBinding, FirewallPolicy, FirewallRule
from hal.packet.stages.route._generated import (
    BlackholeRoute,
    EcmpRoute,
    NextHop,
    NextHopGroup,
    NextHopMember,
    Route,
    SubnetRoute,
)

NO_MAC = "00:00:00:00:00:00"
VRF = 1
GUARDED, OPEN, UPLINK, CARD = 10, 11, 12, 13
SHOP, BACK, TRANSIT0, TRANSIT1, TAP_NET = 1, 2, 3, 4, 5
GATEWAY_MACS = {SHOP: "02:00:00:00:aa:01", BACK: "02:00:00:00:aa:02", TAP_NET: "02:00:00:00:aa:05"}
POLICY, ANYTHING = 1, 2
TAP_PORT = 9


@dataclass(frozen=True)
class Host:
    """Somebody on a port of the card: a workload, or what is behind an uplink."""

    name: str
    vnic: int
    port: int
    mac: str
    addresses: tuple[str, ...]
    subnet: int
    vlan: int = 0
    profile: int = GUARDED
    policy: int = ANYTHING
    next_to: str = ""
    """For who is behind an uplink: the uplink's own MAC."""


HOSTS = {
    host.name: host
    for host in (
        Host("client", 20, 1, "02:00:00:00:00:14", ("10.1.0.20", "2001:db8:1::14"), SHOP),
        Host("web", 10, 2, "02:00:00:00:00:0a", ("10.1.0.10", "2001:db8:1::a"), SHOP, policy=POLICY),
        Host("db", 30, 3, "02:00:00:00:00:05", ("10.2.0.5", "2001:db8:2::5"), BACK, vlan=7),
        Host("open", 40, 4, "02:00:00:00:00:28", ("10.2.0.40", "2001:db8:2::28"), BACK, profile=OPEN),
        Host("gateway", 1, 0, "02:00:00:00:00:fe", ("192.0.2.1", "2001:db8:ff::1"), TRANSIT0,
             profile=UPLINK, next_to="02:00:00:00:bb:00"),
        Host("second", 2, 5, "02:00:00:00:00:fd", ("198.51.100.1", "2001:db8:fe::1"), TRANSIT1,
             profile=UPLINK, next_to="02:00:00:00:bb:01"),
        Host("card", 3, TAP_PORT, "02:00:00:00:cc:00", (), TAP_NET, profile=CARD),
    )
}  # fmt: skip

CONFIG = LoadConfig(
    ports=(
        PortConfig(0, "uplink0", "replay", mtu=9000),
        PortConfig(1, "host0", "replay", mtu=9000),
        PortConfig(2, "host1", "replay", mtu=9000),
        PortConfig(3, "host2", "replay", mtu=9000),
        PortConfig(4, "host3", "replay", mtu=9000),
        PortConfig(5, "uplink1", "replay", mtu=9000),
        PortConfig(TAP_PORT, "punt0", "replay", mtu=9000),
    ),
    pickup_ns=0,
)


def _chain(profile: int, egress: tuple[str, ...], ingress: tuple[str, ...]) -> list[Row]:
    first = profile * 100
    return [
        ProfileStage(id=first + place, profile=profile, direction=direction, position=place, stage=stage)
        for place, (direction, stage) in enumerate(
            [*(("egress", stage) for stage in egress), *(("ingress", stage) for stage in ingress)]
        )
    ]


def _host_rows(host: Host) -> list[Row]:
    role = "uplink" if host.next_to else "card" if host.name == "card" else "vnic"
    rows: list[Row] = [
        Vnic(
            id=host.vnic,
            port=host.port,
            vlan=host.vlan,
            match_mac=NO_MAC,
            role=role,
            mac=host.next_to or host.mac,
            vrf=VRF,
            profile=host.profile,
            subnet=host.subnet,
        )
    ]
    if role != "vnic":
        return rows
    for place, address in enumerate(host.addresses):
        number = host.vnic * 10 + place
        rows.append(AllowedSource(id=number, vnic=host.vnic, prefix=address))
        rows.append(VnicAddress(id=number, subnet=host.subnet, address=address, vnic=host.vnic))
    rows.append(FdbEntry(id=host.vnic, subnet=host.subnet, mac=host.mac, vnic=host.vnic))
    if host.profile == GUARDED:
        rows.append(FirewallBinding(id=host.vnic, vnic=host.vnic, policy=host.policy))
    return rows


RULES: dict[str, FirewallRule] = {
    "no-scan": FirewallRule(
        id=101, policy=POLICY, priority=10, protocol_low=6, protocol_high=6, port_low=23, port_high=23,
        verdict="drop", log=1,
    ),
    "no-smb": FirewallRule(
        id=102, policy=POLICY, priority=20, direction="in", port_low=445, port_high=445, verdict="reset"
    ),
    "web": FirewallRule(
        id=103, policy=POLICY, priority=30, direction="in", protocol_low=6, protocol_high=6, port_low=80,
        port_high=443, verdict="allow",
    ),
    "dns": FirewallRule(
        id=104, policy=POLICY, priority=40, protocol_low=17, protocol_high=17, port_low=53, port_high=53,
        verdict="allow",
    ),
    "ping": FirewallRule(
        id=105, policy=POLICY, priority=50, source="10.1.0.20/32", protocol_low=1, protocol_high=1, port_low=8,
        port_high=8, verdict="allow",
    ),
    "ping6": FirewallRule(
        id=106, policy=POLICY, priority=51, protocol_low=58, protocol_high=58, port_low=128, port_high=128,
        verdict="allow",
    ),
    "out": FirewallRule(
        id=107, policy=POLICY, priority=60, direction="out", source="10.1.0.0/24", verdict="allow",
        protocol_low=6, protocol_high=6, port_low=8080, port_high=8080,
    ),
    "esp": FirewallRule(
        id=108, policy=POLICY, priority=70, protocol_low=50, protocol_high=50, verdict="allow"
    ),
    "anything": FirewallRule(id=200, policy=ANYTHING, priority=1, verdict="allow"),
}  # fmt: skip


def rows() -> list[Row]:
    """Everything, in no particular order: within a commit it means nothing."""
    found: list[Row] = [
        Seed(id=0, value=bytes(16)),
        Vrf(id=VRF, punt_port=TAP_PORT),
        *(Profile(id=profile) for profile in (GUARDED, OPEN, UPLINK, CARD)),
        *_chain(GUARDED, ("antispoof", "firewall", "bridge", "route"), ("firewall",)),
        *_chain(OPEN, ("bridge", "route"), ()),
        *_chain(UPLINK, ("route",), ()),
        *_chain(CARD, ("route",), ()),
        ProfilePunt(id=1, profile=GUARDED, protocol=6, port=179),
        ProfilePunt(id=2, profile=GUARDED, protocol=89, port=0),
        *(Subnet(id=subnet, vrf=VRF, mac=mac) for subnet, mac in GATEWAY_MACS.items()),
        Subnet(id=TRANSIT0, vrf=VRF, mac=HOSTS["gateway"].next_to),
        Subnet(id=TRANSIT1, vrf=VRF, mac=HOSTS["second"].next_to),
        FirewallPolicy(id=POLICY),
        FirewallPolicy(id=ANYTHING),
        *RULES.values(),
        NextHop(id=1, port=0, address="192.0.2.1"),
        NextHop(id=2, port=5, address="198.51.100.1"),
        NextHop(id=3, port=0, address="2001:db8:ff::1"),
        NextHop(id=4, port=5, address="2001:db8:fe::1"),
        NextHopGroup(id=1),
        NextHopMember(id=1, group=1, position=0, next_hop=1, weight=3),
        NextHopMember(id=2, group=1, position=1, next_hop=2, weight=1),
        Route(id=1, vrf=VRF, prefix="203.0.113.0/24", next_hop=1),
        Route(id=2, vrf=VRF, prefix="2001:db8:cafe::/48", next_hop=3),
        EcmpRoute(id=3, vrf=VRF, prefix="203.0.0.0/16", group=1),
        SubnetRoute(id=4, vrf=VRF, prefix="10.1.0.0/24", subnet=SHOP),
        SubnetRoute(id=5, vrf=VRF, prefix="10.2.0.0/24", subnet=BACK),
        SubnetRoute(id=6, vrf=VRF, prefix="192.0.2.0/24", subnet=TRANSIT0),
        SubnetRoute(id=7, vrf=VRF, prefix="2001:db8:1::/64", subnet=SHOP),
        SubnetRoute(id=8, vrf=VRF, prefix="2001:db8:2::/64", subnet=BACK),
        SubnetRoute(id=9, vrf=VRF, prefix="2001:db8:ff::/64", subnet=TRANSIT0),
        SubnetRoute(id=11, vrf=VRF, prefix="198.51.100.0/24", subnet=TRANSIT1),
        SubnetRoute(id=12, vrf=VRF, prefix="2001:db8:fe::/64", subnet=TRANSIT1),
        BlackholeRoute(id=10, vrf=VRF, prefix="198.18.0.0/15"),
    ]
    locals_ = {
        SHOP: ("10.1.0.1", "2001:db8:1::1", "fe80::1"),
        BACK: ("10.2.0.1", "2001:db8:2::1"),
        TRANSIT0: ("192.0.2.2", "2001:db8:ff::2"),
        TRANSIT1: ("198.51.100.2", "2001:db8:fe::2"),
    }
    addresses = [(subnet, address) for subnet, several in locals_.items() for address in several]
    for number, (subnet, address) in enumerate(addresses, 1):
        found.append(LocalAddress(id=number, vrf=VRF, address=address, subnet=subnet))
    for host in HOSTS.values():
        found += _host_rows(host)
    return found
