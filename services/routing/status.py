"""What routing's objects have come to, and their one line in `show` and `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from hal.packet.contract import NeighbourState
from services.bridging import bridging_pb2 as bridging
from services.bridging.status import ANSWERED
from services.core.objects import Object, Objects
from services.core.service import View
from services.routing import routing_pb2 as pb
from services.routing.via import NextHop, parse

DEAD = ("failed", "no link")
"""States of a next hop that routes pass over."""


def status(item: Object[Message], objects: Objects, view: View) -> Message:
    """The status of a Vrf or Route."""
    return _route(item, item.spec, objects, view) if isinstance(item.spec, pb.Route) else _vrf(item, objects, view)


def _route(item: Object[Message], spec: pb.Route, objects: Objects, view: View) -> pb.RouteStatus:
    hops = [_next_hop(parse(text), objects, view) for text in spec.via]
    return pb.RouteStatus(
        entries=sum(1 for _ in view.plan.entries(item, "route")), next_hops=len(hops), via=hops,
        live=sum(hop.state not in DEAD for hop in hops),
    )  # fmt: skip


def _next_hop(hop: NextHop, objects: Objects, view: View) -> pb.NextHopStatus:
    """A next hop, as the workers know it."""
    result = pb.NextHopStatus(name=f"{hop.address}@{hop.uplink}")
    uplink = objects.get(bridging.Uplink, hop.uplink)
    known = view.neighbours_by_uplink.get(view.row_id(uplink, "vnic"), {}) if uplink is not None else {}
    told = known.get(hop.address, ())
    states = {one.state for one in told}
    result.mac = next((one.mac for one in told if one.mac and one.state in ANSWERED), "")
    if uplink is None or not view.has_link(uplink.spec.port):
        result.state = "no link"
    elif view.neighbours is None:
        result.state = "unknown"
    elif not ANSWERED.isdisjoint(states):
        result.state = "resolved"
        result.failed_workers = sum(one.state is NeighbourState.FAILED for one in told)
    elif NeighbourState.FAILED in states:
        result.state = "failed"
    else:
        result.state = "unresolved" if states else "unused"
    return result


def _vrf(item: Object[Message], objects: Objects, view: View) -> pb.VrfStatus:
    row_id = view.row_id(item, "vrf")
    members = view.once(_by_vrf, objects).get(item.name, ())
    vrfs = (one for rows in view.plan.tables.get("vrf", ()) for one in rows)
    tap = next((one.to_dict()["punt_port"] for one in vrfs if one.id == row_id), None)
    return pb.VrfStatus(
        id=row_id, routes=sum(int((rows.data["vrf"] == row_id).sum()) for rows in view.plan.tables.get("route", ())),
        punt_port=next((name for name, state in view.ports.items() if state.config.number == tap), ""),
        vnics=sum(one.kind == "Vnic" for one in members), uplinks=sum(one.kind == "Uplink" for one in members),
        # Of the entries of table vnic, the VRF's own is that of its tap.
        punted_packets=view.traffic([item])["tx_packets"], **view.traffic(members),
    )  # fmt: skip


def _by_vrf(objects: Objects, _view: View) -> Mapping[str, list[Object[Message]]]:
    vrfs = {subnet.name: subnet.spec.vrf for subnet in objects.of(bridging.Subnet)}
    found: dict[str, list[Object[Message]]] = {}
    for vnic in objects.of(bridging.Vnic):
        found.setdefault(vrfs.get(vnic.spec.subnet, ""), []).append(vnic)
    for uplink in objects.of(bridging.Uplink):
        found.setdefault(uplink.spec.vrf, []).append(uplink)
    return found


def route_words(spec: Message) -> str:
    """A route in one line; of many prefixes the first ones."""
    if not isinstance(spec, pb.Route):
        return ""
    shown = ", ".join(spec.prefixes[:4]) + (f" and {len(spec.prefixes) - 4:,} more" if len(spec.prefixes) > 4 else "")
    return f"vrf {spec.vrf}; {shown} {'blackhole' if spec.blackhole else 'via ' + ', '.join(spec.via)}"


WORDS: Mapping[str, Callable[[Message], str]] = {"Route": route_words, "Vrf": lambda _spec: "a routing domain"}
