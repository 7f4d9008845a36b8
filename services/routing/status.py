"""What routing's objects have come to, and their one line in `show` and `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from services.core.objects import Object, Objects
from services.core.service import View
from services.routing import routing_pb2 as pb


def status(item: Object[Message], _objects: Objects, view: View) -> Message:
    """The status of a Vrf or Route."""
    if isinstance(item.spec, pb.Route):
        entries = sum(1 for _ in view.plan.entries(item, "route"))
        return pb.RouteStatus(entries=entries, next_hops=len(item.spec.via))
    row = next((row_id for _, row_id, _ in view.plan.entries(item, "vrf")), 0)
    routes = sum(int((rows.data["vrf"] == row).sum()) for rows in view.plan.tables.get("route", ()))
    vrfs = (one for rows in view.plan.tables.get("vrf", ()) for one in rows)
    tap = next((one.to_dict()["punt_port"] for one in vrfs if one.id == row), None)
    port = next((name for name, state in view.ports.items() if state.config.number == tap), "")
    return pb.VrfStatus(id=row, routes=routes, punt_port=port)


def route_words(spec: Message) -> str:
    """A route in one line; of many prefixes the first ones."""
    if not isinstance(spec, pb.Route):
        return ""
    shown = ", ".join(spec.prefixes[:4]) + (f" and {len(spec.prefixes) - 4:,} more" if len(spec.prefixes) > 4 else "")
    return f"vrf {spec.vrf}; {shown} {'blackhole' if spec.blackhole else 'via ' + ', '.join(spec.via)}"


WORDS: Mapping[str, Callable[[Message], str]] = {"Route": route_words, "Vrf": lambda _spec: "a routing domain"}
