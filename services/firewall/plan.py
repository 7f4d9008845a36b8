"""Firewall's planner: policies as rows, each rule as few as say it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hal.packet.names import ICMP_TYPES
from hal.packet.stages.firewall._generated import FirewallBinding, FirewallPolicy, FirewallRule
from services.bridging import bridging_pb2 as bridging
from services.core import protocols
from services.core.formats import protocol_number
from services.core.objects import Object, Objects
from services.core.plan import Context, Planned
from services.firewall import firewall_pb2 as pb
from services.firewall.addresses import BOTH, V4, V6, Parties, Party
from services.firewall.priorities import assign

_DIRECTIONS = {pb.Rule.IN: "in", pb.Rule.OUT: "out", pb.Rule.BOTH: "both"}
_VERDICTS = {pb.Rule.ALLOW: "allow", pb.Rule.DROP: "drop", pb.Rule.RESET: "reset"}


@dataclass(frozen=True)
class Match:
    """Protocols and destination ports (or ICMP types) that one row covers, and the family it is for."""

    protocols: tuple[int, int]
    ports: tuple[int, int]
    family: int = BOTH


ALL_PORTS = (0, 65535)


@dataclass
class _Columns:
    """Rows of firewall_rule as they are gathered, not more than `room`: a few names can mean millions of them."""

    room: int
    values: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **row: Any) -> None:
        for name, value in row.items():
            self.values.setdefault(name, []).append(value)


def plan(objects: Objects, context: Context) -> Planned:
    """The entries of firewall_policy, firewall_binding and firewall_rule."""
    planned = Planned()
    parties = Parties(objects)
    # One more than fit: where the table is full is told.
    columns = _Columns(context.capacity("firewall_rule") + 1)
    installed = {
        int(row_id): int(priority)
        for rows in context.installed.get("firewall_rule", ())
        for row_id, priority in zip(rows.data["id"], rows.data["priority"], strict=True)
    }
    for policy in objects.of(pb.FirewallPolicy):
        planned.add(FirewallPolicy(id=context.ids("firewall_policy", policy.name)), policy, policy.name)
        _policy(planned, policy, parties, context, columns, installed)
    if columns.values:
        planned.rows.append(FirewallRule.array(**columns.values))
    for vnic in objects.of(bridging.Vnic):
        if vnic.spec.policy:
            row = FirewallBinding(
                id=context.ids("firewall_binding", vnic.name), vnic=context.ids("vnic", vnic.name),
                policy=context.ids("firewall_policy", vnic.spec.policy),
            )  # fmt: skip
            planned.add(row, vnic, f"{vnic.name}/{vnic.spec.policy}", "policy", vnic.spec.policy)
    return planned


def _policy(
    planned: Planned,
    policy: Object[pb.FirewallPolicy],
    parties: Parties,
    context: Context,
    columns: _Columns,
    installed: dict[int, int],
) -> None:
    policy_id = context.ids("firewall_policy", policy.name)
    expanded = []
    for rule in policy.spec.rules:
        expanded.append(list(islice(rows(rule, parties), columns.room)))
        columns.room -= len(expanded[-1])
        beyond = count(rule, parties) - len(expanded[-1])
        planned.beyond["firewall_rule"] = planned.beyond.get("firewall_rule", 0) + beyond
    ids = [
        [context.ids("firewall_rule", f"{policy.name}/{rule.name}", part) for part in _parts(found)]
        for rule, found in zip(policy.spec.rules, expanded, strict=True)
    ]
    # A rule's rows share a priority; those that are installed say which it has.
    previous = [min((installed[one] for one in of_rule if one in installed), default=None) for of_rule in ids]
    for rule, parts, row_ids, priority in zip(policy.spec.rules, expanded, ids, assign(previous), strict=True):
        path = f"rules[{rule.name}]"
        if not count(rule, parties):
            message = (
                "the rule can match nothing: its source, destination and protocol have no address family in common"
            )
            planned.problems.append(policy.problem(path, message, warning=True))
        for row_id, (match, source, destination) in zip(row_ids, parts, strict=True):
            columns.add(
                id=row_id, policy=policy_id, priority=priority, direction=_DIRECTIONS[rule.direction],
                protocol_low=match.protocols[0], protocol_high=match.protocols[1], source=source,
                destination=destination, port_low=match.ports[0], port_high=match.ports[1],
                verdict=_VERDICTS[rule.verdict], log=int(rule.log),
            )  # fmt: skip
            planned.origin("firewall_rule", row_id, policy, f"{policy.name}/{rule.name}", path, rule.name)


def _parts(found: Sequence[tuple[Match, str, str]]) -> list[str]:
    """What tells the rows of one rule apart: what they match. Only the first is known by the rule's name alone, so
    that the one row of a simple rule is modified when the rule is edited, and keeps its counters and priority."""
    return [
        f"{match.protocols}{match.ports}{source} {to}" if index else ""
        for index, (match, source, to) in enumerate(found)
    ]


def rows(rule: pb.Rule, parties: Parties) -> Iterator[tuple[Match, str, str]]:
    """What a rule matches as rows: (protocols and ports, source, destination). IPv4 and IPv6 never mix."""
    found = list(matches(rule))
    for source_family, source in parties.prefixes(rule.source):
        for destination_family, destination in parties.prefixes(rule.destination):
            if not _together(source_family, destination_family):
                continue
            family = source_family or destination_family
            for match in found:
                if _together(family, match.family):
                    yield match, source, destination


def _together(one: int, other: int) -> bool:
    return BOTH in (one, other) or one == other


def matches(rule: pb.Rule) -> Iterator[Match]:
    """Protocols with ports and types, as few as say it."""
    if not rule.protocols:
        yield Match((0, 255), ALL_PORTS)
        return
    with_ports = (
        {protocol_number(name) for name in rule.protocols if name in protocols.WITH_PORTS} if rule.ports else set()
    )
    icmp = _icmp(rule.protocols)
    plain = {protocol_number(name) for name in rule.protocols if name != protocols.ICMP}
    plain -= with_ports | ({1, 58} if rule.types else set())
    if not rule.types:
        plain |= icmp.keys()
    for low, high in ranges((number, number) for number in plain):
        yield Match((low, high), ALL_PORTS, _only_family(low, high))
    for number in sorted(with_ports):
        for ports in ranges(_range(text) for text in rule.ports):
            yield Match((number, number), ports)
    if rule.types:
        for number, family in sorted(icmp.items()):
            for types in ranges(_types(rule.types, family)):
                yield Match((number, number), types, family)


def _only_family(low: int, high: int) -> int:
    """The family that alone has a protocol: ICMP in IPv6 and ICMPv6 in IPv4 are malformed and never come here."""
    return {(1, 1): V4, (58, 58): V6}.get((low, high), BOTH)


def _icmp(names: Sequence[str]) -> dict[int, int]:
    """The ICMP protocols that are named: number -> family."""
    found = {1: V4, 58: V6} if protocols.ICMP in names else {}
    return found | {number: family for number, family in ((1, V4), (58, V6)) if str(number) in names}


def _types(types: Iterable[str], family: int) -> Iterator[tuple[int, int]]:
    for name in types:
        value = ICMP_TYPES[name][0 if family == V4 else 1] if name in ICMP_TYPES else int(name)
        if value is not None:
            yield value, value


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def ranges(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges joined where they touch or overlap, ascending."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(parts):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def count(rule: pb.Rule, parties: Parties) -> int:
    """How many rows a rule takes, without making them."""
    sources = Counter(family for family, _ in parties.prefixes(rule.source))
    destinations = Counter(family for family, _ in parties.prefixes(rule.destination))
    found = Counter(match.family for match in matches(rule))
    return sum(
        some * others * kinds
        for one, some in sources.items()
        for other, others in destinations.items()
        if _together(one, other)
        for family, kinds in found.items()
        if _together(one or other, family)
    )


__all__ = ["Match", "Party", "count", "matches", "plan", "ranges", "rows"]
