"""What is wrong with bridging's objects beyond what each field says for itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from hal.packet.schema.registry import schema
from services.bridging import bridging_pb2 as pb
from services.bridging import limits, tracking
from services.bridging.addresses import Network, around, host, network, no_host
from services.bridging.plan import SERVICES, subnet_mac
from services.bridging.taps import without_tap
from services.core import protocols
from services.core.formats import FormatError, number, protocol_number, shown
from services.core.objects import Guesses, Object, Objects, Problem, nearest
from services.core.plan import Context
from services.core.ports import SPARE_PREFIX

_PORT_PROTOCOLS = ("tcp", "udp")


def punt(text: str) -> str:
    """The format of a profile's punt: a protocol, and a port where it has ports."""
    words = text.split()
    if not 1 <= len(words) <= 2:
        raise FormatError(f"{shown(text)} is not a protocol with or without a port", limit='as "tcp 179" or "ospf"')
    if words[0] == "any":
        raise FormatError("any is not one protocol", limit="a protocol, with or without a port",
                          fix="Name each that programs on the card speak.")  # fmt: skip
    try:
        protocol = protocols.canonical(protocol_number(words[0]))
    except FormatError as error:
        error.offset, error.length = text.index(words[0]), len(words[0])
        raise
    if len(words) == 1:
        return protocol
    if protocol not in _PORT_PROTOCOLS:
        limit = f"a port goes with {', '.join(_PORT_PROTOCOLS)}"
        raise FormatError(f"{words[0]} has no ports", limit=limit, offset=text.index(words[1]))
    try:
        return f"{protocol} {number(words[1], 1, 65535, 'a port')}"
    except FormatError as error:
        error.offset = text.rindex(words[1])
        raise


def stage_word(text: str) -> str:
    """The format of a stage's name; whether there is such a stage is `check`'s affair."""
    if not (text.isascii() and text.isprintable() and 1 <= len(text) <= 23 and " " not in text):
        raise FormatError(f"{shown(text)} is not the name of a stage", limit="1 to 23 printable ASCII characters")
    return text


def service_word(text: str) -> str:
    """The format of what a vNIC serves as."""
    if text.lower() not in SERVICES:
        near = nearest(text.lower(), SERVICES)
        raise FormatError(f"{shown(text)} is nothing that a vNIC serves as", limit=" or ".join(SERVICES), near=near)
    return text.lower()


def check(objects: Objects, context: Context | None) -> Iterable[Problem]:
    """Ports, keys, nets and addresses that contradict each other."""
    yield from _stages(objects, context)
    yield from _ports(objects, context)
    yield from without_tap(objects, context)
    yield from _keys(objects)
    yield from tracking.warnings(objects.of(pb.Tracking))
    yield from limits.warnings(objects.of(pb.Vnic), context.connections if context is not None else 0)
    nets: dict[tuple[str, Network], Object[Message]] = {}
    used: dict[tuple[str, str], tuple[Object[Message], str]] = {}
    yield from _nets(objects, nets, used)
    yield from _addresses(objects, used)


def _stages(objects: Objects, context: Context | None) -> Iterator[Problem]:
    known = (context.stages if context is not None else ()) or tuple(stage.name for stage in schema().stages[1:])
    for item in objects.of(pb.Profile):
        for direction, stages in (("egress", item.spec.egress), ("ingress", item.spec.ingress)):
            for index, stage in enumerate(stages):
                path = f"{direction}[{index}]"
                if stage not in known:
                    yield item.problem(path, f"no stage is called {shown(stage)}", limit=", ".join(known),
                                       fix="Name one of these, or install it or name its folder by --with.",
                                       nearest=nearest(stage, known))  # fmt: skip
                elif stage in stages[:index]:
                    yield item.problem(path, f"the stage {stage} is there twice", fix="Keep one of them.")
        for index, text in enumerate(item.spec.punts):
            if text in item.spec.punts[:index]:
                yield item.problem(f"punts[{index}]", f"{text} is there twice", fix="Keep one of them.")


def interfaces_of(objects: Objects) -> list[Object[pb.Uplink] | Object[pb.Vnic]]:
    """What packets come from and go to."""
    return [*objects.of(pb.Uplink), *objects.of(pb.Vnic)]


def nets_of(objects: Objects) -> list[Object[pb.Subnet] | Object[pb.Uplink]]:
    """What the card has addresses on."""
    return [*objects.of(pb.Subnet), *objects.of(pb.Uplink)]


def _ports(objects: Objects, context: Context | None) -> Iterator[Problem]:
    if context is None:
        return
    ports = {name: port for name, port in context.ports.items() if not name.startswith(SPARE_PREFIX)}
    names, guesses = sorted(ports), Guesses()
    for item in interfaces_of(objects):
        port = ports.get(item.spec.port)
        if port is not None:
            if item.spec.mtu > port.mtu:
                yield item.problem("mtu", f"{item.spec.mtu} is longer than the port takes", limit=f"{port.mtu} bytes",
                                   fix="Lower it, or raise the MTU of the port's device.")  # fmt: skip
        elif item.spec.port:
            yield item.problem("port", f"the card has no port {item.spec.port}", limit=", ".join(names) or "no ports",
                               fix="Name one of these, or put it into card.toml; that counts from the next start on.",
                               nearest=guesses.nearest(item.spec.port, lambda: names))  # fmt: skip


def _keys(objects: Objects) -> Iterator[Problem]:
    """vNICs and uplinks that packets couldn't be told apart for."""
    keys: dict[tuple[str, int, str], Object[Message]] = {}
    macs: dict[tuple[str, str], Object[Message]] = {}
    for item in interfaces_of(objects):
        spec = item.spec
        by_mac = spec.mac if isinstance(spec, pb.Vnic) and spec.by_mac else ""
        if spec.port:
            first = keys.setdefault((spec.port, spec.vlan, by_mac), item)
            if first is not item:
                tag = f"VLAN {spec.vlan}" if spec.vlan else "no VLAN tag"
                what = f"port {spec.port}, {tag}" + (f", MAC {by_mac}" if by_mac else "")
                both = isinstance(spec, pb.Vnic) and isinstance(first.spec, pb.Vnic)
                fix = (
                    "Give one another VLAN or port, or both byMac: true." if both else "Give one another VLAN or port."
                )
                yield item.problem("port", f"{first.title} has {what} too: packets can't be told apart", fix=fix)
        if isinstance(spec, pb.Vnic) and spec.mac and spec.subnet:
            other = macs.setdefault((spec.subnet, spec.mac), item)
            if other is not item:
                yield item.problem("mac", f"{other.title} in subnet {spec.subnet} has {spec.mac} too",
                                   fix="Give each vNIC of a subnet its own MAC.")  # fmt: skip
            subnet = objects.get(pb.Subnet, spec.subnet)
            if subnet is not None and subnet_mac(subnet.name, subnet.spec) == spec.mac:
                yield item.problem("mac", f"{spec.mac} is the gateway's MAC", fix="Give the vNIC another MAC.")


def _nets(
    objects: Objects,
    nets: dict[tuple[str, Network], Object[Message]],
    used: dict[tuple[str, str], tuple[Object[Message], str]],
) -> Iterator[Problem]:
    """Nets of subnets and uplinks that overlap, addresses of the card that are used twice."""
    macs: dict[tuple[str, str], Object[Message]] = {}
    places: list[tuple[Object[Message], str, Network]] = []
    for item in nets_of(objects):
        spec = item.spec
        field, interfaces = (
            ("gateways", spec.gateways) if isinstance(spec, pb.Subnet) else ("addresses", spec.addresses)
        )
        if isinstance(spec, pb.Subnet) and any(":" in gateway for gateway in spec.gateways):
            first = macs.setdefault((spec.vrf, subnet_mac(item.name, spec)), item)
            if first is not item:
                message = f"{first.title} has the same MAC, and so the same link-local address"
                yield item.problem("mac", message, fix="Give each IPv6 subnet of a VRF its own MAC.")
        for index, interface in enumerate(interfaces):
            path = f"{field}[{index}]"
            twice = _use(used, spec.vrf, host(interface), item, path)
            if twice is not None:
                yield twice
                continue
            if why := no_host(host(interface), [network(interface)]):
                yield item.problem(path, f"{host(interface)} is {why}", fix="Choose an address that a host may have.")
                continue
            yield from _overlap(nets, item, path, network(interface))
            places.append((item, path, network(interface)))
    yield from _nested(nets, places)


def _nested(
    nets: dict[tuple[str, Network], Object[Message]], places: list[tuple[Object[Message], str, Network]]
) -> Iterator[Problem]:
    """Nets inside those of others: their packets would find the longer prefix alone. One of a single address is the
    card's own and takes nothing from anybody."""
    by_vrf: dict[str, dict[Network, Object[Message]]] = {}
    for (vrf, net), item in nets.items():
        by_vrf.setdefault(vrf, {})[net] = item
    for item, path, net in places:
        others = by_vrf.get(getattr(item.spec, "vrf", ""), {})
        wider = next((one for one in around(net, others) if others[one] is not item), None)
        if wider is not None and net.prefixlen < net.max_prefixlen:
            message = f"{net} lies in {wider}, the net of {others[wider].title}"
            yield item.problem(
                path, message, fix="Give each net to one subnet or uplink; choose nets that don't overlap."
            )


def _overlap(
    nets: dict[tuple[str, Network], Object[Message]], item: Object[Message], path: str, net: Network
) -> Iterator[Problem]:
    vrf: str = getattr(item.spec, "vrf", "")
    ours = nets.setdefault((vrf, net), item)
    if ours is not item:
        yield item.problem(path, f"{net} is the net of {ours.title} too", fix="Give each net to one subnet or uplink.")
    elif net.prefixlen == net.max_prefixlen and item.kind == "Subnet":
        yield item.problem(
            path, f"{net} has no room for a vNIC", limit=f"a length below {net.max_prefixlen}", warning=True
        )


def _use(
    used: dict[tuple[str, str], tuple[Object[Message], str]], vrf: str, address: str, item: Object[Message], path: str
) -> Problem | None:
    """Take an address of a VRF for a field; a problem if it has been taken."""
    first = used.setdefault((vrf, address), (item, path))
    if first == (item, path):
        return None
    other = f"{first[0].title}, {first[1]}," if first[0] is not item else first[1]
    message = f"{address} is used twice in VRF {vrf}: {other} has it too"
    return item.problem(path, message, fix="Give each its own address.")


def _addresses(objects: Objects, used: dict[tuple[str, str], tuple[Object[Message], str]]) -> Iterator[Problem]:
    for item in objects.of(pb.Vnic):
        subnet = objects.get(pb.Subnet, item.spec.subnet)
        if subnet is None:
            continue
        nets = [network(gateway) for gateway in subnet.spec.gateways]
        for index, text in enumerate(item.spec.addresses):
            path = f"addresses[{index}]"
            address = ipaddress.ip_address(text)
            if nets and not any(address in net for net in nets):
                limit = " or ".join(str(net) for net in nets)
                fix = "Choose an address in one, or add a gateway in its net to the subnet."
                yield item.problem(path, f"{text} is in no prefix of subnet {subnet.name}", limit=limit, fix=fix)
                continue
            if why := no_host(text, nets):
                yield item.problem(path, f"{text} is {why}", fix="Choose another one.")
                continue
            twice = _use(used, subnet.spec.vrf, text, item, path)
            if twice is not None:
                yield twice
