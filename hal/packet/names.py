"""Names of numbers in headers, those that people write: IP protocols and types of ICMP (IANA's registries)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROTOCOLS: Final[Mapping[str, int]] = {
    "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "ospf": 89, "pim": 103,
    "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}  # fmt: skip
"""Without ICMP, which is another number in each family."""

ICMP_TYPES: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "echo-request": (8, 128), "echo-reply": (0, 129), "destination-unreachable": (3, 1), "packet-too-big": (None, 2),
    "time-exceeded": (11, 3), "parameter-problem": (12, 4), "redirect": (5, 137), "timestamp-request": (13, None),
    "timestamp-reply": (14, None), "router-solicitation": (10, 133), "router-advertisement": (9, 134),
}  # fmt: skip
"""Name -> its number in ICMP and in ICMPv6, None where the protocol has no such type."""
