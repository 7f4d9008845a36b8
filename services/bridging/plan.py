"""Bridging's planner: vNICs, uplinks, subnets, profiles and trackings as table entries. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from hal.packet.frame._generated import Profile, ProfilePunt, ProfileStage, Vnic
from hal.packet.schema.declare import NONE_ID
from hal.packet.stages.antispoof._generated import AllowedSource
from hal.packet.stages.bridge._generated import FdbEntry, LocalAddress, Subnet, VnicAddress
from hal.packet.stages.route._generated import SubnetRoute
from services.bridging import bridging_pb2 as pb
from services.bridging import tracking
from services.bridging.addresses import derived_mac, host, is_v6, link_local, network
from services.bridging.taps import taps
from services.core.formats import protocol_number
from services.core.objects import Object, Objects
from services.core.plan import Context, Planned
from services.core.ports import PUNT_PREFIX

ANYONE = "00:00:00:00:00:00"
CARD_PROFILE = "default-card"

SERVICES = {"router": 1, "dhcp": 2}
"""What a vNIC may serve as, as bits of its entry."""

DEFAULTS: tuple[Object[Message], ...] = (
    Object(
        "Profile", "default-vnic", pb.Profile(egress=["antispoof", "firewall", "bridge", "route"], ingress=["firewall"])
    ),
    Object("Profile", "default-uplink", pb.Profile(egress=["route"])),
    Object("Profile", CARD_PROFILE, pb.Profile(egress=["route"])),
)
"""What a vNIC, an uplink and a punt tap pass unless they, or a profile of the same name, say otherwise."""


def subnet_mac(name: str, spec: pb.Subnet) -> str:
    """The gateway's MAC: the declared one, else one that depends on the subnet's name alone."""
    return spec.mac or derived_mac("subnet", name)


def uplink_mac(item: Object[pb.Uplink], context: Context | None) -> str:
    """The MAC of an uplink: its port's, else one of this card's own. Cards on one underlay have ports of one name."""
    port = context.ports.get(item.spec.port) if context is not None else None
    seed = context.seed if context is not None else b""
    return (port.mac if port is not None else "") or derived_mac("port", item.spec.port, seed)


def has_v6(subnet: pb.Subnet) -> bool:
    return any(is_v6(gateway) for gateway in subnet.gateways)


def punt(text: str) -> tuple[int, int]:
    """Protocol and port (0 for any) of a profile's punt, in its canonical words."""
    protocol, _, port = text.partition(" ")
    return protocol_number(protocol), int(port or 0)


def plan(objects: Objects, context: Context) -> Planned:
    """The entries of trackings, profiles, subnets, uplinks, vNICs and punt taps, and the connected routes."""
    planned = Planned()
    for item in objects.of(pb.Tracking):
        planned.add(tracking.row(context.ids("tracking", item.name), item.spec), item, item.name)
    for profile in objects.of(pb.Profile):
        _profile(planned, profile, context)
    for subnet in objects.of(pb.Subnet):
        _subnet(planned, subnet, context)
    for uplink in objects.of(pb.Uplink):
        _uplink(planned, uplink, context)
    for vnic in objects.of(pb.Vnic):
        found = objects.get(pb.Subnet, vnic.spec.subnet)
        if found is not None:
            _vnic(planned, vnic, found, context)
    _punt_taps(planned, objects, context)
    return planned


def _profile(planned: Planned, item: Object[pb.Profile], context: Context) -> None:
    profile = context.ids("profile", item.name)
    followed = context.ids("tracking", item.spec.tracking) if item.spec.tracking else NONE_ID
    planned.add(Profile(id=profile, tracking=followed), item, item.name)
    for direction, stages in (("egress", item.spec.egress), ("ingress", item.spec.ingress)):
        for position, stage in enumerate(stages):
            row_id = context.ids("profile_stage", item.name, f"{direction}/{stage}")
            path = f"{direction}[{position}]"
            row = ProfileStage(id=row_id, profile=profile, direction=direction, position=position, stage=stage)
            planned.add(row, item, f"{item.name}/{direction}/{stage}", path, stage)
    for index, text in enumerate(item.spec.punts):
        protocol, port = punt(text)
        row_id = context.ids("profile_punt", item.name, text)
        punt_row = ProfilePunt(id=row_id, profile=profile, protocol=protocol, port=port)
        planned.add(punt_row, item, f"{item.name}/{text}", f"punts[{index}]", text)


def _net(
    planned: Planned,
    item: Object[Message],
    interfaces: Iterable[str],
    path: str,
    context: Context,
    more: tuple[str, int, int, str],
) -> None:
    """Addresses of the card on a subnet, and the routes to the nets they are in."""
    label, subnet, vrf, own_link_local = more
    agent = context.owners.get("route", "")
    for index, interface in enumerate(interfaces):
        at = f"{path}[{index}]"
        row_id = context.ids("local_address", label, host(interface))
        local = LocalAddress(id=row_id, vrf=vrf, address=host(interface), subnet=subnet)
        planned.add(local, item, f"{item.name}/{host(interface)}", at, interface)
        prefix = str(network(interface))
        if agent:
            row = f'SubnetRoute(id=..., vrf={vrf:#x}, prefix="{prefix}", subnet={subnet:#x})'
            message = f"the route to {prefix} is left to {agent}, which writes table route by card.toml"
            planned.problems.append(item.problem(at, message, fix=f"Have it write {row}.", warning=True))
            continue
        route = SubnetRoute(id=context.ids("route", label, prefix), vrf=vrf, prefix=prefix, subnet=subnet)
        planned.add(route, item, f"{item.name}/{prefix}", at, prefix)
    if any(is_v6(interface) for interface in interfaces):
        row_id = context.ids("local_address", label, "link-local")
        local = LocalAddress(id=row_id, vrf=vrf, address=own_link_local, subnet=subnet)
        planned.add(local, item, f"{item.name}/link-local", "", own_link_local)


def _subnet(planned: Planned, item: Object[pb.Subnet], context: Context) -> None:
    vrf = context.ids("vrf", item.spec.vrf)
    mac = subnet_mac(item.name, item.spec)
    row = Subnet(id=context.ids("subnet", item.name), vrf=vrf, mac=mac)
    planned.add(row, item, item.name)
    _net(planned, item, item.spec.gateways, "gateways", context, (item.name, row.id, vrf, link_local(mac)))


def _uplink(planned: Planned, item: Object[pb.Uplink], context: Context) -> None:
    spec = item.spec
    port = context.ports[spec.port]
    vrf = context.ids("vrf", spec.vrf)
    mac = uplink_mac(item, context)
    label = f"uplink/{item.name}"
    subnet = NONE_ID
    if spec.addresses:
        row = Subnet(id=context.ids("subnet", label), vrf=vrf, mac=mac)
        subnet = planned.add(row, item, item.name)
        own_link_local = link_local(mac, spec.vlan)
        _net(planned, item, spec.addresses, "addresses", context, (label, subnet, vrf, own_link_local))
    planned.add(
        Vnic(
            id=context.ids("vnic", label), port=port.number, vlan=spec.vlan, match_mac=ANYONE, role="uplink",
            mtu=spec.mtu, mac=mac, vrf=vrf, profile=context.ids("profile", spec.profile), subnet=subnet,
        ),
        item, item.name,
    )  # fmt: skip


def _vnic(planned: Planned, item: Object[pb.Vnic], subnet: Object[pb.Subnet], context: Context) -> None:
    spec = item.spec
    vnic = context.ids("vnic", item.name)
    net = context.ids("subnet", subnet.name)
    row = Vnic(
        id=vnic,
        port=context.ports[spec.port].number,
        vlan=spec.vlan,
        match_mac=spec.mac if spec.by_mac else ANYONE,
        role="vnic",
        mtu=spec.mtu,
        mac=spec.mac,
        vrf=context.ids("vrf", subnet.spec.vrf),
        profile=context.ids("profile", spec.profile),
        subnet=net,
        serves=sum(SERVICES[one] for one in spec.serves),
        flow_limit=spec.flow_limit,
        inbound_flow_limit=spec.inbound_flow_limit,
        punt_limit=spec.punt_limit,
        new_flow_limit=spec.new_flow_limit,
        half_open_limit=spec.half_open_limit,
        fragment_limit=spec.fragment_limit,
        icmp_limit=spec.icmp_limit,
        challenge_limit=spec.challenge_limit,
    )
    planned.add(row, item, item.name)
    planned.add(FdbEntry(id=context.ids("fdb", item.name), subnet=net, mac=spec.mac, vnic=vnic), item, item.name, "mac")
    addresses = [(address, f"addresses[{index}]") for index, address in enumerate(spec.addresses)]
    if has_v6(subnet.spec):
        addresses.append((link_local(spec.mac), "mac"))
    for address, path in addresses:
        row_id = context.ids("vnic_address", item.name, address)
        text = f"{item.name}/{address}"
        planned.add(VnicAddress(id=row_id, subnet=net, address=address, vnic=vnic), item, text, path, address)
    allowed = [(str(network(address)), path) for address, path in addresses]
    allowed += [(prefix, f"allowed[{index}]") for index, prefix in enumerate(spec.allowed)]
    for prefix, path in dict(allowed).items():
        row_id = context.ids("allowed_source", item.name, prefix)
        source = AllowedSource(id=row_id, vnic=vnic, prefix=prefix)
        planned.add(source, item, f"{item.name}/{prefix}", path, prefix)


def _punt_taps(planned: Planned, objects: Objects, context: Context) -> None:
    """The tap of each VRF that has one, in a subnet of its own: the engine's side needs a MAC."""
    for vrf_name, (_, port) in sorted(taps(objects, context).items()):
        port_name = PUNT_PREFIX + vrf_name
        vrf = context.ids("vrf", vrf_name)
        subnet = Subnet(id=context.ids("subnet", f"punt/{vrf_name}"), vrf=vrf, mac=derived_mac("punt", vrf_name))
        item = next(one for one in objects if one.key == ("Vrf", vrf_name))
        planned.add(subnet, item, port_name)
        tap = Vnic(
            id=context.ids("vnic", f"punt/{vrf_name}"), port=port.number, vlan=0, match_mac=ANYONE, role="card",
            mtu=min(port.mtu, 9216), mac=port.mac or derived_mac("port", port_name), vrf=vrf,
            profile=context.ids("profile", CARD_PROFILE), subnet=subnet.id,
        )  # fmt: skip
        planned.add(tap, item, port_name)
