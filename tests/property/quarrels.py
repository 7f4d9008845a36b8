"""Quarrels: two hosts on an uplink that both say they have a router's address, asked or not, within seconds."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property import frames
from tests.property.frames import Ip
from tests.property.universe import ENDS, GATEWAY_MAC, LOCAL, ROUTERS, End

SECOND = 1_000_000_000
PAUSES = (0, 0, 1000, SECOND // 3, SECOND // 3, SECOND - 2000, SECOND, 10 * SECOND, 60 * SECOND)
"""Before a packet: within the lock of who has answered and behind it, and until he is asked anew."""
SAYS = (("solicited", 0x60), ("solicited", 0x60), ("announces", 0x20), ("announces", 0), ("solicited", 0x40))
"""An answer, or what nobody asked for, with the flags of an advertisement (RFC 4861 4.4). ARP has none."""


def quarrel(which: int, six: int, pauses: int, says: int) -> Iterator[tuple[int, End, bytes]]:
    """Nanoseconds to wait, who sends, and his frame. First of all a packet of a vNIC to the router, in the middle
    another one: who is used is asked anew."""
    end = ENDS[4 + which % 2]
    router, local = ROUTERS[end.port][six % 2], LOCAL[end.subnet][six % 2]
    yield 0, ENDS[which // 2 % 2], _needs(ENDS[which // 2 % 2], router)
    for place in range(3 + which % 5):
        pause, (what, flags) = PAUSES[pauses % len(PAUSES)], SAYS[says % len(SAYS)]
        mac = (end.mac, "02:00:00:00:09:09")[(which + place * (1 + says % 2)) % 2]
        yield pause, end, _said(end, mac, router, local if what == "solicited" else "", flags)
        if place == 2:
            yield 0, ENDS[which // 2 % 2], _needs(ENDS[which // 2 % 2], router)
        pauses, says = pauses * 5 // 3 + which, says * 7 // 4 + 1


def _needs(end: End, router: str) -> bytes:
    six = ":" in router
    ip = Ip(end.v6 if six else end.v4, router)
    packet = ip.wrap(frames.UDP, frames.udp(ip, 40000, 53))
    return frames.ethernet(GATEWAY_MAC[end.subnet], end.mac, 0x86DD if six else 0x0800, packet, end.vlan)


def _said(end: End, mac: str, router: str, local: str, flags: int) -> bytes:
    """To the card's address where there is one, else to everybody."""
    own = GATEWAY_MAC[end.subnet]
    if ":" not in router:
        body = frames.arp(2, mac, router, own, local or router)
        return frames.ethernet(own if local else "ff:ff:ff:ff:ff:ff", mac, 0x0806, body, end.vlan)
    to = local or "ff02::1"
    body = frames.neighbour(Ip(router, to, ttl=255), 136, router, mac, flags)
    packet = Ip(router, to, ttl=255).wrap(frames.ICMP6, body)
    return frames.ethernet(own if local else frames.multicast_mac(to), mac, 0x86DD, packet, end.vlan)
