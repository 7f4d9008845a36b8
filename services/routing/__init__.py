"""Routing: routing domains, and where packets to a prefix go."""

from services.core.objects import Object
from services.core.service import Kind, Service
from services.routing import routing_pb2 as pb
from services.routing.check import check
from services.routing.plan import plan
from services.routing.status import WORDS, status
from services.routing.via import next_hop

SERVICE = Service(
    name="routing",
    kinds=(Kind(pb.Vrf, pb.VrfStatus), Kind(pb.Route, pb.RouteStatus)),
    plan=plan,
    status=status,
    check=check,
    defaults=(Object("Vrf", "default", pb.Vrf()),),
    formats={"next_hop": next_hop},
    words=WORDS,
    after=("bridging",),
)
