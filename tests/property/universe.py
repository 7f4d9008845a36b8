"""A small universe in which everything meets: few addresses, ports and rules, so that random choices collide.

A `Setting` is everything that a commit may change, as small numbers; `tables` turns it into rows. A change of one
number becomes one commit of the rows that differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hal.packet.contract import Delete, Insert, LoadConfig, Modify, Operation, PortConfig
from hal.packet.frame._generated import Profile, ProfilePunt, ProfileStage, Seed, Tracking, Vnic, Vrf
from hal.packet.schema.declare import NONE_ID
from hal.packet.schema.rows import Row, as_rows
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

HOST0, HOST1, TRUNK, UPLINK0, UPLINK1, PUNT = 0, 1, 2, 3, 4, 9
PORTS = (HOST0, HOST1, TRUNK, UPLINK0, UPLINK1, PUNT)
LOAD = LoadConfig(
    ports=tuple(PortConfig(number, f"port{number}", "replay", mtu=9216) for number in PORTS),
    capacities={
        "route": 256,
        "firewall_rule": 256,
        "vnic": 64,
        "vnic_address": 64,
        "fdb": 64,
        "allowed_source": 64,
        "local_address": 64,
        "next_hop": 64,
        "next_hop_member": 64,
        "profile_stage": 256,
        "profile_punt": 64,
        "subnet": 64,
        "vrf": 16,
        "profile": 16,
        "tracking": 4,
        "firewall_policy": 16,
        "firewall_binding": 64,
        "next_hop_group": 16,
    },
    connections=64,
    pickup_ns=0,
    flow_limit=40,
    inbound_flow_limit=40,
    punt_limit=5,
    new_flow_limit=50,
    half_open_limit=12,
    fragment_limit=4096,
)
QUARTER = replace(LOAD, flow_limit=16, inbound_flow_limit=16, half_open_limit=8)
"""The card's numbers are a quarter of what fits: whose row has none leaves room to others (ADR 0191)."""
LIMITS: tuple[dict[str, Any], ...] = (
    {}, {"flow_limit": 2}, {"inbound_flow_limit": 2}, {"punt_limit": 1}, {"new_flow_limit": 1}, {"half_open_limit": 1},
    {"half_open_limit": 2, "new_flow_limit": 2}, {"fragment_limit": 1}, {"icmp_limit": 1},
)  # fmt: skip
"""Of vNICs."""


@dataclass(frozen=True)
class End:
    """Where packets come from: a vNIC or what is behind an uplink."""

    port: int
    vlan: int
    mac: str
    v4: str
    v6: str
    subnet: int
    """1 or 2: a subnet of vNICs; 3, 4: the transit nets; 5: the tap's."""


ENDS = (
    End(HOST0, 0, "02:00:00:00:00:0a", "10.1.0.10", "2001:db8:1::a", 1),
    End(HOST1, 0, "02:00:00:00:00:0b", "10.1.0.11", "2001:db8:1::b", 1),
    End(TRUNK, 5, "02:00:00:00:00:0c", "10.2.0.12", "2001:db8:2::c", 2),
    End(TRUNK, 6, "02:00:00:00:00:0d", "10.1.0.13", "2001:db8:1::d", 1),
    End(UPLINK0, 0, "02:00:00:00:01:01", "203.0.113.9", "2001:db8:f::9", 3),
    End(UPLINK1, 7, "02:00:00:00:01:02", "203.0.113.77", "2001:db8:f::77", 4),
    End(UPLINK0, 0, "02:00:00:00:01:03", "198.51.100.5", "2001:db8:e::5", 3),
    End(PUNT, 0, "02:00:00:00:0f:0f", "10.1.0.1", "2001:db8:1::1", 5),
)
ROUTERS = {UPLINK0: ("192.0.2.1", "2001:db8:3::1"), UPLINK1: ("192.0.2.65", "2001:db8:4::1")}
GATEWAY_MAC = {
    1: "02:00:00:00:00:01",
    2: "02:00:00:00:00:02",
    3: "02:00:00:00:03:03",
    4: "02:00:00:00:04:04",
    5: "02:00:00:00:05:05",
}
LOCAL = {
    1: ("10.1.0.1", "2001:db8:1::1"),
    2: ("10.2.0.1", "2001:db8:2::1"),
    3: ("192.0.2.2", "2001:db8:3::2"),
    4: ("192.0.2.66", "2001:db8:4::2"),
}
PREFIXES = (
    "0.0.0.0/0",
    "::/0",
    "10.1.0.0/24",
    "10.2.0.0/24",
    "2001:db8:1::/64",
    "2001:db8:2::/64",
    "203.0.113.0/24",
    "2001:db8:f::/48",
    "198.51.100.0/24",
    "203.0.113.9/32",
    "10.1.0.11/32",
    "2001:db8:1::b/128",
    "192.0.2.0/26",
)
RULE_PORTS = ((0, 65535), (80, 80), (53, 443), (8, 8), (128, 128), (1, 79))
RULE_PROTOCOLS = ((0, 255), (6, 6), (17, 17), (1, 1), (58, 58), (6, 17))
STAGES = ("antispoof", "firewall", "bridge", "route")
EGRESS_CHAINS = (
    ("antispoof", "firewall", "bridge", "route"),
    ("firewall", "bridge", "route"),
    ("antispoof", "bridge", "route"),
    ("bridge", "route", "antispoof", "firewall"),
    ("antispoof",),
    ("bridge",),
    ("route",),
)
_HASTY = {
    "mode": "loose", "tcp_syn_sent": 1, "tcp_syn_received": 3, "tcp_established": 61, "tcp_fin_wait": 3,
    "tcp_closing": 1, "tcp_time_wait": 2, "tcp_closed": 1, "udp": 31, "udp_replied": 3, "icmp": 1, "other": 10,
}  # fmt: skip
_PATIENT = {
    "tcp_syn_sent": 301, "tcp_syn_received": 10, "tcp_established": 604_800, "tcp_fin_wait": 604_800,
    "tcp_closing": 601, "tcp_time_wait": 1, "tcp_closed": 240, "udp": 10, "udp_replied": 7440, "icmp": 604_800,
    "other": 1,
}  # fmt: skip
TRACKINGS: tuple[tuple[dict[str, Any] | None, dict[str, Any] | None], ...] = (
    (None, None), (_HASTY, None), (None, _HASTY), (_PATIENT, _HASTY), (_HASTY, _PATIENT),
)  # fmt: skip
"""How connections of vNICs are followed, and how those of uplinks are: rows of profile 1 and 2."""
INGRESS_CHAINS = (("firewall",), (), ("antispoof",), ("route", "firewall"))

Rule = tuple[int, int, int, int, int, int, int]
"""(direction, protocols, source, destination, ports, verdict, log), each a number into its list."""

RouteChoice = tuple[int, int]
"""(prefix, action): action 0-1 next hop, 2 group, 3-4 subnet 1-2, 5 blackhole, 6 subnet of uplink 0."""


@dataclass(frozen=True)
class Setting:
    """What the card is told, as numbers."""

    egress: int = 0
    ingress: int = 0
    uplink_egress: int = 6
    uplink_ingress: int = 1
    rules: tuple[tuple[Rule, ...], tuple[Rule, ...]] = ((), ())
    policies: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Of each vNIC: 0 none, 1 or 2."""
    routes: tuple[RouteChoice, ...] = ()
    weights: tuple[int, int] = (1, 1)
    mtu: int = 1500
    punts: int = 1
    tap: bool = True
    fdb: int = 15
    addresses: int = 15
    limits: int = 0
    gateways: int = 15
    serves: int = 0
    tracking: int = 0
    apart: int = 0
    """1: subnet 2 with its vNIC, and uplink 1 with its transit net, are in a VRF of their own; 2: the uplink alone."""

    def vrf(self, subnet: int) -> int:
        """Of what is in a subnet."""
        return 2 if (self.apart == 1 and subnet in (2, 4)) or (self.apart == 2 and subnet == 4) else 1


def tables(setting: Setting) -> dict[tuple[str, int], Row]:
    """(table, id) -> row."""
    rows: list[Row] = [Seed(id=1, value=bytes(range(16))), Vrf(id=1, punt_port=PUNT if setting.tap else 0xFFFFFFFF)]
    rows.append(Vrf(id=2, punt_port=0xFFFFFFFF))
    for profile, egress, ingress in (
        (1, EGRESS_CHAINS[setting.egress], INGRESS_CHAINS[setting.ingress]),
        (2, EGRESS_CHAINS[setting.uplink_egress], INGRESS_CHAINS[setting.uplink_ingress]),
        (3, ("route",), ()),
    ):
        tracking = (*TRACKINGS[setting.tracking], None)[profile - 1]
        rows.append(Profile(id=profile, tracking=NONE_ID if tracking is None else profile))
        if tracking is not None:
            rows.append(Tracking(id=profile, **tracking))
        for direction, chain in (("egress", egress), ("ingress", ingress)):
            for place, stage in enumerate(chain):
                row_id = profile * 100 + place + (50 if direction == "ingress" else 0)
                rows.append(
                    ProfileStage(id=row_id, profile=profile, direction=direction, position=place * 3, stage=stage)
                )
    for bit, (protocol, port) in enumerate(((6, 179), (17, 0), (6, 80))):
        if setting.punts >> bit & 1:
            rows.append(ProfilePunt(id=bit + 1, profile=1, protocol=protocol, port=port))
    rows += _ends(setting)
    rows += _policies(setting)
    rows += _routes(setting)
    return {(row.LAYOUT.table.name, row.id): row for row in rows}


def _ends(setting: Setting) -> list[Row]:
    rows: list[Row] = [
        Subnet(id=number, vrf=setting.vrf(number), mac=GATEWAY_MAC[number]) for number in (1, 2, 3, 4, 5)
    ]
    for subnet, pair in LOCAL.items():
        if setting.gateways >> (subnet - 1) & 1:
            for place, address in enumerate(pair):
                rows.append(
                    LocalAddress(id=subnet * 10 + place, vrf=setting.vrf(subnet), address=address, subnet=subnet)
                )
    limits = LIMITS[setting.limits]
    for place, end in enumerate(ENDS[:4]):
        by_mac = end.mac if place == 3 else "00:00:00:00:00:00"
        rows.append(
            Vnic(
                id=10 + place,
                port=end.port,
                vlan=end.vlan,
                match_mac=by_mac,
                role="vnic",
                mtu=setting.mtu,
                mac=end.mac,
                vrf=setting.vrf(end.subnet),
                profile=1,
                subnet=end.subnet,
                serves=setting.serves,
                **limits,
            )
        )
        if setting.fdb >> place & 1:
            rows.append(FdbEntry(id=place + 1, subnet=end.subnet, mac=end.mac, vnic=10 + place))
        rows.append(AllowedSource(id=100 + place, vnic=10 + place, prefix="fe80::/10"))
        for which, address in enumerate((end.v4, end.v6)):
            if setting.addresses >> place & 1:
                rows.append(VnicAddress(id=place * 2 + which, subnet=end.subnet, address=address, vnic=10 + place))
            rows.append(AllowedSource(id=place * 2 + which, vnic=10 + place, prefix=address))
    for vnic, end, subnet in ((20, ENDS[4], 3), (21, ENDS[5], 4)):
        rows.append(
            Vnic(
                id=vnic,
                port=end.port,
                vlan=end.vlan,
                match_mac="00:00:00:00:00:00",
                role="uplink",
                mtu=1500,
                mac=GATEWAY_MAC[subnet],
                vrf=setting.vrf(subnet),
                profile=2,
                subnet=subnet,
            )
        )
    rows.append(
        Vnic(
            id=30,
            port=PUNT,
            vlan=0,
            match_mac="00:00:00:00:00:00",
            role="card",
            mtu=1500,
            mac=ENDS[7].mac,
            vrf=1,
            profile=3,
            subnet=5,
        )
    )
    return rows


def _policies(setting: Setting) -> list[Row]:
    rows: list[Row] = [FirewallPolicy(id=1), FirewallPolicy(id=2)]
    for place, policy in enumerate(setting.policies):
        if policy:
            rows.append(FirewallBinding(id=place + 1, vnic=10 + place, policy=policy))
    for policy, rules in enumerate(setting.rules, 1):
        for place, (direction, protocols, source, destination, ports, verdict, log) in enumerate(rules):
            low, high = RULE_PROTOCOLS[protocols]
            rows.append(
                FirewallRule(
                    id=policy * 100 + place,
                    policy=policy,
                    priority=(place // 2) * 10,  # ties are broken by id
                    direction=direction,
                    protocol_low=low,
                    protocol_high=high,
                    source=("::/0", *PREFIXES)[source],
                    destination=("::/0", *PREFIXES)[destination],
                    port_low=RULE_PORTS[ports][0],
                    port_high=RULE_PORTS[ports][1],
                    verdict=verdict,
                    log=log,
                )
            )
    return rows


def _routes(setting: Setting) -> list[Row]:
    rows: list[Row] = [
        NextHop(id=1, port=UPLINK0, address="192.0.2.1"),
        NextHop(id=2, port=UPLINK1, vlan=7, address="192.0.2.65"),
        NextHop(id=3, port=UPLINK0, address="2001:db8:3::1"),
        NextHop(id=4, port=UPLINK1, vlan=7, address="2001:db8:4::1"),
        NextHop(id=5, port=77, address="192.0.2.1"),
        NextHopGroup(id=1),
        NextHopGroup(id=2),
    ]
    for group, hops in ((1, (1, 2)), (2, (3, 4))):
        for place, hop in enumerate(hops):
            rows.append(
                NextHopMember(
                    id=group * 10 + place, group=group, position=place, next_hop=hop, weight=setting.weights[place]
                )
            )
    # The second VRF has the same prefixes, with something else behind each of them.
    for vrf, turn in ((1, 0), (2, 3)):
        rows += [_route(vrf, prefix, (action + turn) % 8) for prefix, action in setting.routes]
    return rows


def _route(vrf: int, prefix: int, action: int) -> Row:
    text = PREFIXES[prefix]
    v6 = ":" in text
    where: dict[str, Any] = {"id": vrf * 100 + prefix, "vrf": vrf, "prefix": text}
    match action:
        case 0 | 1:
            return Route(**where, next_hop=(3 if v6 else 1) + action)
        case 2:
            return EcmpRoute(**where, group=2 if v6 else 1)
        case 3 | 4:
            return SubnetRoute(**where, subnet=action - 2)
        case 5:
            return BlackholeRoute(**where)
        case 6:
            return SubnetRoute(**where, subnet=3)
        case _:
            return Route(**where, next_hop=5)


def difference(old: dict[tuple[str, int], Row], new: dict[tuple[str, int], Row]) -> list[Operation]:
    """The operations that turn the old tables into the new ones."""
    gone: dict[str, list[int]] = {}
    for table, row_id in old.keys() - new.keys():
        gone.setdefault(table, []).append(row_id)
    operations: list[Operation] = [Delete(table, np.array(sorted(ids), np.uint64)) for table, ids in gone.items()]
    operations += [Insert(rows) for rows in as_rows(new[key] for key in sorted(new.keys() - old.keys()))]
    changed = sorted(key for key in new.keys() & old.keys() if new[key] != old[key])
    operations += [Modify(rows) for rows in as_rows(new[key] for key in changed)]
    return operations
