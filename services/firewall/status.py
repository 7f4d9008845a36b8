"""What policies have decided, and their words in `show` and `plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from google.protobuf.message import Message

from hal.packet.contract import RowCounters
from services.bridging import bridging_pb2 as bridging
from services.core.objects import Object, Objects
from services.core.service import View
from services.firewall import firewall_pb2 as pb
from services.firewall.addresses import Parties
from services.firewall.grammar import print_rule

MOST_TOLD = 64
"""How many prefixes and rules of a group are told one by one."""


def status(item: Object[Message], objects: Objects, view: View) -> Message:
    """The status of a FirewallPolicy or Group."""
    if isinstance(item.spec, pb.FirewallPolicy):
        return _policy(item, item.spec, objects, view)
    members = view.once(_parties, objects).group(item.name)
    rules = view.once(_rules_by_group, objects).get(item.name, ())
    counted = view.once(_rows_by_rule, objects)
    return pb.GroupStatus(
        prefixes=len(members), members=[prefix for _, prefix in members[:MOST_TOLD]],
        rules=len(rules), used_by=["/".join(rule) for rule in rules[:MOST_TOLD]],
        **_sum(row for rule in rules for row in counted.get(rule, ())),
    )  # fmt: skip


def _policy(item: Object[Message], spec: pb.FirewallPolicy, objects: Objects, view: View) -> pb.FirewallPolicyStatus:
    counted = view.once(_rows_by_rule, objects)
    rules = [(rule.name, counted.get((item.name, rule.name), [])) for rule in spec.rules]
    return pb.FirewallPolicyStatus(
        id=view.row_id(item, "firewall_policy"), vnics=view.once(_vnics_by_policy, objects)[item.name],
        rules=[pb.RuleStatus(name=name, entries=len(rows), **_sum(rows)) for name, rows in rules],
        **_sum(row for _, rows in rules for row in rows),
    )  # fmt: skip


def _sum(rows: Iterable[RowCounters]) -> dict[str, int]:
    rows = list(rows)
    return {name: sum(getattr(one, name) for one in rows) for name in ("hits", "packets", "bytes")}


def _parties(objects: Objects, _view: View) -> Parties:
    return Parties(objects)


def _vnics_by_policy(objects: Objects, _view: View) -> Counter[str]:
    return Counter(vnic.spec.policy for vnic in objects.of(bridging.Vnic))


def _rows_by_rule(objects: Objects, view: View) -> Mapping[tuple[str, str], list[RowCounters]]:
    """(policy, rule) -> what each of its entries has counted."""
    found: dict[tuple[str, str], list[RowCounters]] = {}
    for policy in objects.of(pb.FirewallPolicy):
        for _, row_id, name in view.plan.entries(policy, "firewall_rule"):
            counted = view.counters.rows.get(("firewall_rule", row_id), RowCounters())
            found.setdefault((policy.name, name), []).append(counted)
    return found


def _rules_by_group(objects: Objects, _view: View) -> Mapping[str, list[tuple[str, str]]]:
    """Group -> (policy, rule) of those that name it or a group that it is in, in their order."""
    inside = {item.name: item.spec.members for item in objects.of(pb.Group)}
    found: dict[str, list[tuple[str, str]]] = {}
    for policy in objects.of(pb.FirewallPolicy):
        for rule in policy.spec.rules:
            waiting, seen = [*rule.source, *rule.destination], set[str]()
            while waiting:
                name = waiting.pop()
                if name in inside and name not in seen:
                    seen.add(name)
                    waiting += inside[name]
                    found.setdefault(name, []).append((policy.name, rule.name))
    return found


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
