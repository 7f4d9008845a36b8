"""What is wrong with policies and groups beyond what each field says for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from services.bridging import bridging_pb2 as bridging
from services.core import protocols
from services.core.objects import Object, Objects, Problem
from services.core.plan import Context
from services.firewall import firewall_pb2 as pb

MOST_SHOWN: Final = 10
"""How many groups of a circle are named."""


def check(objects: Objects, _context: Context | None) -> Iterable[Problem]:
    """Groups in circles, names that mean two things, rules that contradict themselves, vNICs that nothing reaches."""
    vnics = {item.name: item for item in objects.of(bridging.Vnic)}
    for group in objects.of(pb.Group):
        if group.name in vnics:
            first = vnics[group.name].position
            message = f"a Vnic is called {group.name} too ({first.file}:{first.line}): rules couldn't tell them apart"
            yield group.problem("", message, fix="Rename one of the two.")
    yield from _circles(objects)
    for policy in objects.of(pb.FirewallPolicy):
        for rule in policy.spec.rules:
            yield from _rule(policy, rule)
    yield from _unprotected(objects)


def _circles(objects: Objects) -> Iterator[Problem]:
    """Each circle of groups once, at the member that closes it. No recursion: chains may be long."""
    groups = {item.name: item for item in objects.of(pb.Group)}
    done: set[str] = set()
    for start in groups:
        path: dict[str, int] = {}  # name -> its place
        stack: list[tuple[str, Iterator[tuple[int, str]]]] = []
        name = start
        if name in done:
            continue
        path[name] = 0
        stack.append((name, iter(list(enumerate(groups[name].spec.members)))))
        while stack:
            name, members = stack[-1]
            for index, member in members:
                if member in path:
                    circle = [*islice(path, path[member], None), member]
                    if len(circle) > MOST_SHOWN:
                        circle = [*circle[: MOST_SHOWN - 1], f"… {len(circle) - MOST_SHOWN} more", member]
                    message = f"the groups contain each other: {' > '.join(circle)}"
                    yield groups[name].problem(f"members[{index}]", message, fix="Take one of them out.")
                elif member in groups and member not in done:
                    path[member] = len(path)
                    stack.append((member, iter(list(enumerate(groups[member].spec.members)))))
                    break
            else:
                done.add(name)
                path.popitem()
                stack.pop()


def _rule(policy: Object[pb.FirewallPolicy], rule: pb.Rule) -> Iterator[Problem]:
    """What the grammar refuses in a sentence, for rules in long form."""
    path = f"rules[{rule.name}]"
    given = ", ".join(rule.protocols) or "any"
    if rule.ports and (not rule.protocols or not protocols.WITH_PORTS.issuperset(rule.protocols)):
        yield policy.problem(f"{path}.ports", f"ports with {given}", limit="tcp and udp: only these have ports here",
                             fix="Name tcp, udp or both as protocol.")  # fmt: skip
    if rule.types and (not rule.protocols or not {protocols.ICMP, "1", "58"}.issuperset(rule.protocols)):
        yield policy.problem(f"{path}.types", f"types with {given}", limit="icmp: only it has types",
                             fix="Name icmp as protocol.")  # fmt: skip


def _unprotected(objects: Objects) -> Iterator[Problem]:
    """vNICs that pass the firewall without a policy: legal, and nothing reaches them."""
    for vnic in objects.of(bridging.Vnic):
        profile = objects.get(bridging.Profile, vnic.spec.profile)
        if profile is None or "policy" in vnic.positions or vnic.spec.policy:
            continue
        if "firewall" in (*profile.spec.egress, *profile.spec.ingress):
            message = f"no policy, and profile {profile.name} has the firewall: nothing passes"
            yield vnic.problem("", message, fix="Add policy:, or a profile without firewall.", warning=True)
