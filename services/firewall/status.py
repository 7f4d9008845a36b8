"""What policies have decided, and their words in `show` and `plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from hal.packet.contract import RowCounters
from services.bridging import bridging_pb2 as bridging
from services.core.objects import Object, Objects
from services.core.service import View
from services.firewall import firewall_pb2 as pb
from services.firewall.addresses import Parties
from services.firewall.grammar import print_rule


def status(item: Object[Message], objects: Objects, view: View) -> Message:
    """The status of a FirewallPolicy or Group."""
    if isinstance(item.spec, pb.Group):
        return pb.GroupStatus(prefixes=len(Parties(objects).group(item.name)))
    row = next((row_id for _, row_id, _ in view.plan.entries(item, "firewall_policy")), 0)
    result = pb.FirewallPolicyStatus(id=row)
    result.vnics = sum(vnic.spec.policy == item.name for vnic in objects.of(bridging.Vnic))
    counted: dict[str, list[RowCounters]] = {}
    for _, row_id, name in view.plan.entries(item, "firewall_rule"):
        counted.setdefault(name, []).append(view.counters.rows.get(("firewall_rule", row_id), RowCounters()))
    for rule in item.spec.rules if isinstance(item.spec, pb.FirewallPolicy) else ():
        rows = counted.get(rule.name, [])
        result.rules.add(
            name=rule.name, entries=len(rows), hits=sum(one.hits for one in rows),
            packets=sum(one.packets for one in rows), bytes=sum(one.bytes for one in rows),
        )  # fmt: skip
    return result


def policy_words(spec: Message) -> str:
    """A policy: a line for each rule."""
    if not isinstance(spec, pb.FirewallPolicy):
        return ""
    return "\n".join(f"{rule.name}: {print_rule(rule)}" for rule in spec.rules) or "no rules: everything is dropped"


def group_words(spec: Message) -> str:
    """A group in one line; of many members the first ones."""
    if not isinstance(spec, pb.Group):
        return ""
    more = f" and {len(spec.members) - 8:,} more" if len(spec.members) > 8 else ""
    return ", ".join(spec.members[:8]) + more if spec.members else "nobody"


WORDS: Mapping[str, Callable[[Message], str]] = {"FirewallPolicy": policy_words, "Group": group_words}
