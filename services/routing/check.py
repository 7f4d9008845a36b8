"""What is wrong with routes beyond what each field says for itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from google.protobuf.message import Message

from services.bridging import bridging_pb2 as bridging
from services.bridging.addresses import host, network, no_host
from services.bridging.check import nets_of
from services.core.objects import Guesses, Object, Objects, Problem
from services.core.plan import Context
from services.routing import routing_pb2 as pb
from services.routing.via import NextHop, parse


def check(objects: Objects, _context: Context | None) -> Iterable[Problem]:
    """Prefixes that are routed twice, next hops that can't be."""
    taken: dict[tuple[str, str], Object[Message]] = {}
    for item in nets_of(objects):
        spec = item.spec
        interfaces = spec.gateways if isinstance(spec, bridging.Subnet) else spec.addresses
        for interface in interfaces:
            taken.setdefault((spec.vrf, str(network(interface))), item)
    guesses = Guesses()
    for route in objects.of(pb.Route):
        yield from _prefixes(route, taken)
        yield from _targets(route, objects, guesses)


def _prefixes(item: Object[pb.Route], taken: dict[tuple[str, str], Object[Message]]) -> Iterator[Problem]:
    here: set[str] = set()
    for index, prefix in enumerate(item.spec.prefixes):
        path = f"prefixes[{index}]"
        if prefix in here:
            yield item.problem(path, f"{prefix} is there twice", fix="Keep one of them.")
            continue
        here.add(prefix)
        first = taken.setdefault((item.spec.vrf, prefix), item)
        if first is not item:
            fix = (
                "Keep one of the two; several next hops go into one via." if first.kind == "Route" else "Leave it out."
            )
            yield item.problem(path, f"{first.title} says already where {prefix} goes in VRF {item.spec.vrf}", fix=fix)


def _targets(item: Object[pb.Route], objects: Objects, guesses: Guesses) -> Iterator[Problem]:
    spec = item.spec
    written = "via" in item.positions or bool(spec.via)
    if spec.blackhole and written:
        yield item.problem("blackhole", "via and blackhole are both there", fix="Leave one of them out.")
    elif not spec.blackhole and not written:
        yield item.problem(
            "", "neither via nor blackhole is there", fix='Add via: ["ADDRESS@UPLINK"] or blackhole: true.'
        )
    elif not spec.blackhole and not spec.via and not item.positions.get("via"):
        yield item.problem("via", "no next hop", fix="Name a next hop, or write blackhole: true.")
    seen: set[tuple[str, str]] = set()
    families = {":" in prefix for prefix in spec.prefixes}
    if len(families) > 1:
        index = next(i for i, prefix in enumerate(spec.prefixes) if (":" in prefix) != (":" in spec.prefixes[0]))
        yield item.problem(f"prefixes[{index}]", "IPv4 and IPv6 in one route", fix="Write a route for each.")
        return
    for index, text in enumerate(spec.via):
        hop, path = parse(text), f"via[{index}]"
        if (hop.address, hop.uplink) in seen:
            yield item.problem(
                path, f"{hop.address}@{hop.uplink} is there twice", fix="Give one of them a weight instead."
            )
        seen.add((hop.address, hop.uplink))
        yield from _hop(item, path, hop, families, objects, guesses)


def _hop(
    item: Object[pb.Route], path: str, hop: NextHop, families: set[bool], objects: Objects, guesses: Guesses
) -> Iterator[Problem]:
    if families and (":" in hop.address) not in families:
        wanted = "IPv6" if True in families else "IPv4"
        yield item.problem(path, f"{hop.address} for prefixes of the other family", limit=f"an {wanted} address",
                           fix="Name a router of the prefixes' family.")  # fmt: skip
        return
    uplink = objects.get(bridging.Uplink, hop.uplink)
    if uplink is None:
        if not objects.has(("Uplink",), hop.uplink):
            near = guesses.nearest(hop.uplink, partial(objects.names, "Uplink"))
            problem = item.problem(
                path, f"no Uplink is called {hop.uplink}", nearest=near, fix="Declare it, or name another Uplink."
            )
            if problem.position.length == len(str(hop)):  # it is written as it is printed: the place is known
                at = problem.position.inside(len(hop.address) + 1, len(hop.uplink))
                problem = replace(problem, position=at)
            yield problem
        return
    if uplink.spec.vrf != item.spec.vrf:
        message = f"{uplink.title} is in VRF {uplink.spec.vrf}, the route in {item.spec.vrf}"
        yield item.problem(path, message, fix="Name an uplink of the route's VRF.")
        return
    address = ipaddress.ip_address(hop.address)
    if why := no_host(hop.address, [network(one) for one in uplink.spec.addresses]):
        yield item.problem(path, f"{hop.address} is {why}", fix="Name the router's address.")
        return
    if hop.address in {host(interface) for interface in uplink.spec.addresses}:
        yield item.problem(path, f"{hop.address} is the card's own address", fix="Name the router's address.")
    elif not address.is_link_local and not any(address in network(one) for one in uplink.spec.addresses):
        nets = ", ".join(str(network(one)) for one in uplink.spec.addresses) or "none"
        fix = "Name a router on one of these nets, or give the uplink an address on the router's."
        message = f"{hop.address} is in no net of {uplink.title}"
        yield item.problem(path, message, limit=nets, fix=fix, warning=True)
