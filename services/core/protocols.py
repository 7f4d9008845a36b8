"""Names of IP protocols (IANA "Assigned Internet Protocol Numbers"), those that people write."""

NUMBERS = {
    "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "ospf": 89, "pim": 103,
    "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}  # fmt: skip
ICMP = "icmp"
"""ICMP and ICMPv6 together."""
ICMP_NUMBERS = (1, 58)
WITH_PORTS = frozenset({"tcp", "udp"})
"""Protocols whose ports the packet path reads."""

_NAMES = {number: name for name, number in NUMBERS.items()}


def name(number: int) -> str:
    """What people call a protocol: a name, or the number as text."""
    return {1: "icmp", 58: "icmpv6"}.get(number, _NAMES.get(number, str(number)))


def canonical(number: int) -> str:
    """The word for exactly this number."""
    return _NAMES.get(number, str(number))
