"""What bridging's objects have come to, and their one line in `show` and `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from hal.packet.contract import LIMITS, LIMITS_A_SECOND, LimitCounters, NeighbourState
from services.bridging import bridging_pb2 as pb
from services.bridging.tracking import TIMEOUTS
from services.core.objects import Object, Objects
from services.core.service import View
from services.core.walk import assume

ANSWERED = frozenset({NeighbourState.REACHABLE, NeighbourState.PROBE})
"""States of a neighbour that packets are sent to."""


def status(item: Object[Message], objects: Objects, view: View) -> Message:
    """The status of a Vnic, Uplink, Subnet, Profile or Tracking."""
    spec = item.spec
    if isinstance(spec, pb.Vnic):
        row_id = view.row_id(item, "vnic")
        return pb.VnicStatus(
            id=row_id, link=view.has_link(spec.port), **view.traffic([item]), limits=_limits(row_id, view)
        )
    if isinstance(spec, pb.Uplink):
        return _uplink(item, spec, view)
    if isinstance(spec, pb.Subnet):
        return _subnet(item, objects, view)
    if isinstance(spec, pb.Tracking):
        return _tracking(item, objects, view)
    users = view.once(_by_profile, objects).get(item.name, ())
    stages = spec if isinstance(spec, pb.Profile) else pb.Profile()
    return pb.ProfileStatus(
        id=view.row_id(item, "profile"), users=len(users), egress=stages.egress, ingress=stages.ingress,
        **view.traffic(users),
    )  # fmt: skip


def _uplink(item: Object[Message], spec: pb.Uplink, view: View) -> pb.UplinkStatus:
    row_id = view.row_id(item, "vnic")
    states = [{one.state for one in each} for each in view.neighbours_by_uplink.get(row_id, {}).values()]
    return pb.UplinkStatus(
        id=row_id, link=view.has_link(spec.port), **view.traffic([item]), neighbours=len(states),
        resolved=sum(not ANSWERED.isdisjoint(some) for some in states),
        failed=sum(NeighbourState.FAILED in some and ANSWERED.isdisjoint(some) for some in states),
        limits=_limits(row_id, view),
    )  # fmt: skip


def _limits(row_id: int, view: View) -> list[pb.LimitStatus]:
    """Of a row of table vnic, those that hold for it."""
    found = ((name, view.counters.limits.get((row_id, name), LimitCounters())) for name in LIMITS)
    return [
        pb.LimitStatus(name=name, used=one.used, most=one.most, a_second=name in LIMITS_A_SECOND, refused=one.refused)
        for name, one in found
        if one.most
    ]


def _subnet(item: Object[Message], objects: Objects, view: View) -> pb.SubnetStatus:
    members = view.once(_by_subnet, objects).get(item.name, ())
    return pb.SubnetStatus(
        id=view.row_id(item, "subnet"), vnics=len(members),
        vnics_with_link=sum(view.has_link(vnic.spec.port) for vnic in members),
        addresses=sum(1 for vnic in members for _ in view.plan.entries(vnic, "vnic_address")), **view.traffic(members),
    )  # fmt: skip


def _tracking(item: Object[Message], objects: Objects, view: View) -> pb.TrackingStatus:
    users = view.once(_by_profile, objects)
    profiles = view.once(_by_tracking, objects).get(item.name, ())
    return pb.TrackingStatus(
        id=view.row_id(item, "tracking"), profiles=len(profiles),
        users=sum(len(users.get(profile, ())) for profile in profiles),
    )  # fmt: skip


def _by_tracking(objects: Objects, _view: View) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for profile in objects.of(pb.Profile):
        found.setdefault(profile.spec.tracking, []).append(profile.name)
    return found


def _by_subnet(objects: Objects, _view: View) -> Mapping[str, list[Object[pb.Vnic]]]:
    found: dict[str, list[Object[pb.Vnic]]] = {}
    for vnic in objects.of(pb.Vnic):
        found.setdefault(vnic.spec.subnet, []).append(vnic)
    return found


def _by_profile(objects: Objects, _view: View) -> Mapping[str, list[Object[Message]]]:
    found: dict[str, list[Object[Message]]] = {}
    for vnic in objects.of(pb.Vnic):
        found.setdefault(vnic.spec.profile, []).append(vnic)
    for uplink in objects.of(pb.Uplink):
        found.setdefault(uplink.spec.profile, []).append(uplink)
    return found


def _port(port: str, vlan: int) -> str:
    return f"port {port}" + (f" vlan {vlan}" if vlan else "")


def _mtu(mtu: int) -> str:
    return f"mtu {mtu:,}" if mtu != 1500 else ""


def vnic_words(spec: Message) -> str:
    """A vNIC in one line."""
    if not isinstance(spec, pb.Vnic):
        return ""
    parts = [_port(spec.port, spec.vlan), f"mac {spec.mac}{' by MAC' if spec.by_mac else ''}", f"subnet {spec.subnet}"]
    parts += [", ".join(spec.addresses), f"allowed {', '.join(spec.allowed)}" if spec.allowed else ""]
    parts += [f"policy {spec.policy}"] if spec.policy else []
    parts += [f"profile {spec.profile}"] if spec.profile != "default-vnic" else []
    parts += [f"serves as {' and '.join(spec.serves)}"] if spec.serves else []
    limits = (
        ("flow", spec.flow_limit),
        ("inbound flow", spec.inbound_flow_limit),
        ("punt", spec.punt_limit),
        ("new flow", spec.new_flow_limit),
        ("half-open", spec.half_open_limit),
        ("fragment", spec.fragment_limit),
        ("icmp", spec.icmp_limit),
        ("challenge", spec.challenge_limit),
    )
    parts += [_mtu(spec.mtu), *(f"{what} limit {limit:,}" for what, limit in limits if limit)]
    return "; ".join(part for part in parts if part)


def uplink_words(spec: Message) -> str:
    """An uplink in one line."""
    if not isinstance(spec, pb.Uplink):
        return ""
    parts = [_port(spec.port, spec.vlan), f"vrf {spec.vrf}", ", ".join(spec.addresses)]
    parts += [f"profile {spec.profile}"] if spec.profile != "default-uplink" else []
    return "; ".join(part for part in (*parts, _mtu(spec.mtu)) if part)


def subnet_words(spec: Message) -> str:
    """A subnet in one line."""
    if not isinstance(spec, pb.Subnet):
        return ""
    return f"vrf {spec.vrf}; gateways {', '.join(spec.gateways)}" + (f"; mac {spec.mac}" if spec.mac else "")


def profile_words(spec: Message) -> str:
    """A profile in one line."""
    if not isinstance(spec, pb.Profile):
        return ""
    parts = [
        f"{way} {', '.join(stages) or 'none'}" for way, stages in (("egress", spec.egress), ("ingress", spec.ingress))
    ]
    parts += [f"punts {', '.join(spec.punts)}"] if spec.punts else []
    parts += [f"tracking {spec.tracking}"] if spec.tracking else []
    return "; ".join(parts)


def tracking_words(spec: Message) -> str:
    """A tracking in one line: its mode, and the time-outs that are none of the defaults."""
    if not isinstance(spec, pb.Tracking):
        return ""
    usual = pb.Tracking()
    assume(usual)
    own = [field for field in TIMEOUTS if getattr(spec, field) != getattr(usual, field)]
    return "; ".join([spec.mode, *(f"{field.replace('_', ' ')} {getattr(spec, field)}" for field in own)])


WORDS: Mapping[str, Callable[[Message], str]] = {
    "Vnic": vnic_words,
    "Uplink": uplink_words,
    "Subnet": subnet_words,
    "Profile": profile_words,
    "Tracking": tracking_words,
}
