"""What bridging's objects have come to, and their one line in `show` and `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from services.bridging import bridging_pb2 as pb
from services.core.objects import Object, Objects
from services.core.service import View


def status(item: Object[Message], objects: Objects, view: View) -> Message:
    """The status of a Vnic, Uplink, Subnet or Profile."""
    spec = item.spec
    if isinstance(spec, pb.Vnic | pb.Uplink):
        row = next((row_id for _, row_id, _ in view.plan.entries(item, "vnic")), 0)
        counted = view.counters.vnics.get(row, {})
        port = view.ports.get(spec.port)
        make = pb.VnicStatus if isinstance(spec, pb.Vnic) else pb.UplinkStatus
        names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops")
        return make(id=row, link=port is not None and port.link, **{name: counted.get(name, 0) for name in names})
    if isinstance(spec, pb.Subnet):
        row = next((row_id for _, row_id, _ in view.plan.entries(item, "subnet")), 0)
        members = sum(vnic.spec.subnet == item.name for vnic in objects.of(pb.Vnic))
        return pb.SubnetStatus(id=row, vnics=members)
    row = next((row_id for _, row_id, _ in view.plan.entries(item, "profile")), 0)
    users = sum(one.spec.profile == item.name for one in objects.of(pb.Vnic))
    users += sum(one.spec.profile == item.name for one in objects.of(pb.Uplink))
    return pb.ProfileStatus(id=row, users=users)


def _port(port: str, vlan: int) -> str:
    return f"port {port}" + (f" vlan {vlan}" if vlan else "")


def vnic_words(spec: Message) -> str:
    """A vNIC in one line."""
    if not isinstance(spec, pb.Vnic):
        return ""
    parts = [_port(spec.port, spec.vlan), f"mac {spec.mac}", f"subnet {spec.subnet}", ", ".join(spec.addresses)]
    parts += [f"policy {spec.policy}"] if spec.policy else []
    parts += [f"profile {spec.profile}"] if spec.profile != "default-vnic" else []
    return "; ".join(part for part in parts if part)


def uplink_words(spec: Message) -> str:
    """An uplink in one line."""
    if not isinstance(spec, pb.Uplink):
        return ""
    return "; ".join(
        part for part in (_port(spec.port, spec.vlan), f"vrf {spec.vrf}", ", ".join(spec.addresses)) if part
    )


def subnet_words(spec: Message) -> str:
    """A subnet in one line."""
    return f"vrf {spec.vrf}; gateways {', '.join(spec.gateways)}" if isinstance(spec, pb.Subnet) else ""


def profile_words(spec: Message) -> str:
    """A profile in one line."""
    if not isinstance(spec, pb.Profile):
        return ""
    parts = [
        f"{way} {', '.join(stages) or 'none'}" for way, stages in (("egress", spec.egress), ("ingress", spec.ingress))
    ]
    return "; ".join([*parts, *([f"punts {', '.join(spec.punts)}"] if spec.punts else [])])


WORDS: Mapping[str, Callable[[Message], str]] = {
    "Vnic": vnic_words,
    "Uplink": uplink_words,
    "Subnet": subnet_words,
    "Profile": profile_words,
}
