"""IP protocols as rules and listings call them."""

from hal.packet.names import PROTOCOLS

NUMBERS = PROTOCOLS

ICMP = "icmp"
"""ICMP and ICMPv6 together."""
WITH_PORTS = frozenset({"tcp", "udp"})
"""Protocols whose ports the packet path reads."""

_NAMES = {number: name for name, number in NUMBERS.items()}


def name(number: int) -> str:
    """What people call a protocol: a name, or the number as text."""
    return {1: "icmp", 58: "icmpv6"}.get(number, _NAMES.get(number, str(number)))


def canonical(number: int) -> str:
    """The word for exactly this number."""
    return _NAMES.get(number, str(number))
