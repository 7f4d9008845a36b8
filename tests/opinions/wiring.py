"""The wiring of all captures: two hosts, and between them, routing, a card or a Linux host in its place.

    a 10.1.0.20 2001:db8:1::14 ── 10.1.0.1 router 10.2.0.1 ── 10.2.0.40 2001:db8:2::28 b

It is part of that of tests/packets: `a` is `client`, whose vNIC has antispoof and a firewall that allows anything, and
`b` is `open`, whose vNIC has neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.packets.world import BACK, GATEWAY_MACS, HOSTS, SHOP


@dataclass(frozen=True)
class Side:
    """One of the two hosts, and what the router is to it."""

    name: str
    mac: str
    v4: str
    v6: str
    router_mac: str
    router_v4: str
    router_v6: str
    port: int
    """Of the card."""

    @property
    def addresses(self) -> tuple[str, str]:
        return f"{self.v4}/24", f"{self.v6}/64"

    @property
    def mac_bytes(self) -> bytes:
        return bytes.fromhex(self.mac.replace(":", ""))

    @property
    def router_bytes(self) -> bytes:
        return bytes.fromhex(self.router_mac.replace(":", ""))


def _side(name: str, host: str, subnet: int, v4: str, v6: str) -> Side:
    who = HOSTS[host]
    mine_v4, mine_v6 = who.addresses
    return Side(name, who.mac, mine_v4, mine_v6, GATEWAY_MACS[subnet], v4, v6, who.port)


A = _side("a", "client", SHOP, "10.1.0.1", "2001:db8:1::1")
B = _side("b", "open", BACK, "10.2.0.1", "2001:db8:2::1")
SIDES = (A, B)


def side_of(frame: bytes) -> int:
    """0 for what `a` has sent, 1 for `b`. Raises ValueError: neither has."""
    return [side.mac_bytes for side in SIDES].index(frame[6:12])
