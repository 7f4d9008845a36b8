"""Routing's planner: VRFs, next hops, groups and routes as table entries. Pure.

A next hop is one entry for all routes that use it, and so is a group of them with the same members in the same
order: a million routes by two routers take two next hops and one group.
"""

from __future__ import annotations

from google.protobuf.message import Message

from hal.packet.frame._generated import Vrf
from hal.packet.stages.route._generated import BlackholeRoute, EcmpRoute, NextHop, NextHopGroup, NextHopMember, Route
from services.bridging import bridging_pb2 as bridging
from services.bridging.taps import taps
from services.core.objects import Object, Objects
from services.core.plan import Context, Planned
from services.routing import routing_pb2 as pb
from services.routing.via import parse

NO_PORT = 0xFFFF_FFFF


def plan(objects: Objects, context: Context) -> Planned:
    """The entries of vrf, next_hop, next_hop_group, next_hop_member and of route, those of subnets excepted."""
    planned = Planned()
    taken = taps(objects, context)
    for vrf in objects.of(pb.Vrf):
        tap = taken.get(vrf.name)
        row = Vrf(id=context.ids("vrf", vrf.name), punt_port=tap[1].number if tap is not None else NO_PORT)
        planned.add(row, vrf, vrf.name)
    shared = _Shared(objects, context, planned)
    for route in objects.of(pb.Route):
        _route(route, shared)
    return planned


class _Shared:
    """Next hops and groups that have been made already."""

    def __init__(self, objects: Objects, context: Context, planned: Planned) -> None:
        self.objects = objects
        self.context = context
        self.planned = planned
        self.done: set[str] = set()

    def next_hop(self, item: Object[Message], text: str, path: str) -> int:
        """The id of a next hop's entry."""
        hop = parse(text)
        label = f"{hop.address}@{hop.uplink}"
        row_id = self.context.ids("next_hop", label)
        uplink = self.objects.get(bridging.Uplink, hop.uplink)
        if label not in self.done and uplink is not None:
            self.done.add(label)
            port = self.context.ports[uplink.spec.port].number
            row = NextHop(id=row_id, port=port, vlan=uplink.spec.vlan, address=hop.address)
            self.planned.add(row, item, label, path, label)
        return row_id

    def group(self, item: Object[Message], via: list[str]) -> int:
        """The id of the entry for a group of next hops."""
        label = ", ".join(via)
        row_id = self.context.ids("next_hop_group", label)
        if label not in self.done:
            self.done.add(label)
            self.planned.add(NextHopGroup(id=row_id), item, label, "via", label)
            for position, text in enumerate(via):
                path = f"via[{position}]"
                hop = self.next_hop(item, text, path)
                member = self.context.ids("next_hop_member", label, str(position))
                weight = parse(text).weight
                row = NextHopMember(id=member, group=row_id, position=position, next_hop=hop, weight=weight)
                self.planned.add(row, item, text, path, text)
        return row_id


def _route(item: Object[pb.Route], shared: _Shared) -> None:
    spec, context, planned = item.spec, shared.context, shared.planned
    prefixes = list(spec.prefixes)
    vrf = context.ids("vrf", spec.vrf)
    ids = [context.ids("route", f"vrf/{spec.vrf}", prefix) for prefix in prefixes]
    if spec.blackhole:
        planned.rows.append(BlackholeRoute.array(id=ids, vrf=vrf, prefix=prefixes))
    elif len(spec.via) == 1:
        hop = shared.next_hop(item, spec.via[0], "via[0]")
        planned.rows.append(Route.array(id=ids, vrf=vrf, prefix=prefixes, next_hop=hop))
    else:
        group = shared.group(item, list(spec.via))
        planned.rows.append(EcmpRoute.array(id=ids, vrf=vrf, prefix=prefixes, group=group))
    for index, (row_id, prefix) in enumerate(zip(ids, prefixes, strict=True)):
        planned.origin("route", row_id, item, f"{item.name}/{prefix}", f"prefixes[{index}]", prefix)
