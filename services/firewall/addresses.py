"""Who a rule speaks of: names and prefixes as a set of prefixes, joined where they touch."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from services.bridging import bridging_pb2 as bridging
from services.core.objects import Objects
from services.firewall import firewall_pb2 as pb

V4, V6, BOTH = 4, 6, 0
ANY = ((BOTH, "::/0"),)
V4_ANY = ipaddress.IPv4Network("0.0.0.0/0")
V6_ANY = ipaddress.IPv6Network("::/0")
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
V6_SPACE = tuple(
    ipaddress.IPv6Network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "100::/8", "200::/7", "400::/6", "800::/5", "1000::/4", "2000::/3",
                 "4000::/2", "8000::/1")
)  # fmt: skip
"""All of IPv6 but what RFC 4291 reserves in ::/8; the two NAT64 prefixes of RFC 6052 and 8215 are in use there."""
Party = tuple[int, str]
"""A family (BOTH only for the prefix that is anybody) and a prefix."""


class Parties:
    """Resolves names, each once."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[tuple[str, ...], tuple[Party, ...]] = {}

    def prefixes(self, names: Iterable[str]) -> tuple[Party, ...]:
        """The prefixes of a list of names and prefixes; of an empty list: any."""
        key = tuple(names)
        if not key:
            return ANY
        if key not in self._known:
            self._known[key] = collapse(self._expand(key))
        return self._known[key]

    def group(self, name: str) -> tuple[Party, ...]:
        """The prefixes of a group; an empty one has none."""
        found = self._objects.get(pb.Group, name)
        return self.prefixes(found.spec.members) if found is not None and found.spec.members else ()

    def _expand(self, names: Iterable[str]) -> set[str]:
        """All prefixes that names stand for, through groups in groups; a circle of groups ends where it closes."""
        found: set[str] = set()
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            group = self._objects.get(pb.Group, name)
            vnic = self._objects.get(bridging.Vnic, name)
            if group is not None:
                waiting += group.spec.members
            elif vnic is not None:
                found.update(vnic.spec.addresses)
            elif name[0].isdigit() or ":" in name:
                found.add(name)
        return found


def collapse(prefixes: Iterable[str]) -> tuple[Party, ...]:
    """Prefixes with those inside others gone and halves joined, IPv4 before IPv6, in ascending order."""
    v4: list[ipaddress.IPv4Network] = []
    v6: list[ipaddress.IPv6Network] = []
    for text in prefixes:
        net = ipaddress.ip_network(text)
        if isinstance(net, ipaddress.IPv4Network):
            v4.append(net)
        else:
            v6.append(net)
    if V4_ANY in v4 and V6_ANY in v6:
        return ANY
    joined = [(V4, str(net)) for net in ipaddress.collapse_addresses(v4)]
    apart = [part for net in ipaddress.collapse_addresses(v6) for part in _without_mapped(net)]
    return (*joined, *((V6, str(net)) for net in apart))


def _without_mapped(net: ipaddress.IPv6Network) -> list[ipaddress.IPv6Network]:
    """A prefix without IPv4's place in it: a rule's ::/0 is everybody, and who writes it means IPv6."""
    if not net.supernet_of(MAPPED):
        return [net]
    return [part for part in V6_SPACE if part.subnet_of(net)]
