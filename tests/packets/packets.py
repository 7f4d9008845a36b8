"""Packets in a line: tcp("10.1.0.20:40000 > 10.1.0.10:80", flags="S"). Built by scapy, which knows nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scapy.all import ICMP, IP, TCP, UDP, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, Raw

END = re.compile(r"\[([0-9a-f:.]+)\](?::(\d+))?$|([0-9.]+)(?::(\d+))?$|([0-9a-f:]+)$")


@dataclass(frozen=True)
class Description:
    """A packet before it has MACs: its ends, and how scapy makes it from them."""

    source: str
    destination: str
    build: Callable[[], Any]
    source_mac: str = ""
    destination_mac: str = ""
    vlan: int | None = None
    to_gateway: bool = False

    def via_gateway(self) -> Description:
        """Sent to the gateway's MAC though a neighbour may have the address."""
        return replace(self, to_gateway=True)

    def frame(self, **more: Any) -> Description:
        """With these MACs or this VLAN instead."""
        return replace(self, **more)


def _end(text: str) -> tuple[str, int]:
    found = END.match(text)
    assert found, text
    address = found[1] or found[3] or found[5]
    return address, int(found[2] or found[4] or 0)


def _ends(text: str) -> tuple[str, int, str, int]:
    source, _, destination = text.partition(" > ")
    return (*_end(source), *_end(destination))


def ip_header(source: str, destination: str, **fields: Any) -> Any:
    if ":" in source:
        names = {"ttl": "hlim"}
        return IPv6(src=source, dst=destination, **{names.get(name, name): value for name, value in fields.items()})
    return IP(src=source, dst=destination, **fields)


ISS = 1000
"""Everybody's initial sequence number, where a test says nothing else."""


def tcp(
    text: str, flags: str = "S", payload: bytes = b"", ip: dict[str, Any] | None = None, **fields: Any
) -> Description:
    """A segment. Where `fields` don't say `seq` and `ack`, they are those right behind the handshake, or in it."""
    a, p, b, q = _ends(text)
    fields = {"seq": ISS if "S" in flags else ISS + 1, "ack": ISS + 1 if "A" in flags else 0, **fields}
    return Description(
        a, b, lambda: ip_header(a, b, **(ip or {})) / TCP(sport=p, dport=q, flags=flags, **fields) / payload
    )


def udp(text: str, payload: bytes = b"x", ip: dict[str, Any] | None = None, **fields: Any) -> Description:
    a, p, b, q = _ends(text)
    return Description(a, b, lambda: ip_header(a, b, **(ip or {})) / UDP(sport=p, dport=q, **fields) / payload)


def ping(
    text: str, ident: int = 7, seq: int = 1, payload: bytes = b"ping", ip: dict[str, Any] | None = None
) -> Description:
    """An echo request."""
    a, _, b, _ = _ends(text)
    icmp = ICMPv6EchoRequest(id=ident, seq=seq, data=payload) if ":" in a else ICMP(id=ident, seq=seq) / payload
    return Description(a, b, lambda: ip_header(a, b, **(ip or {})) / icmp)


def pong(text: str, ident: int = 7, seq: int = 1, payload: bytes = b"ping") -> Description:
    """An echo reply."""
    a, _, b, _ = _ends(text)
    v4 = ICMP(type=0, id=ident, seq=seq) / payload
    icmp = ICMPv6EchoReply(id=ident, seq=seq, data=payload) if ":" in a else v4
    return Description(a, b, lambda: ip_header(a, b) / icmp)


def unreachable(source: str, destination: str, quoted: Description) -> Description:
    """An ICMP error from `source` that quotes a packet of `destination`'s."""
    if ":" in source:
        built = IPv6(src=source, dst=destination) / ICMPv6DestUnreach(code=4) / bytes(quoted.build())
    else:
        built = IP(src=source, dst=destination) / ICMP(type=3, code=3) / bytes(quoted.build())[:28]
    return Description(source, destination, lambda: built)


def other(text: str, protocol: int, payload: bytes = b"payload!", ip: dict[str, Any] | None = None) -> Description:
    """Any other protocol, or bytes that claim to be one."""
    a, _, b, _ = _ends(text)
    name = "nh" if ":" in a else "proto"
    return Description(a, b, lambda: ip_header(a, b, **{name: protocol}, **(ip or {})) / Raw(payload))


def raw(source: str, destination: str, data: bytes) -> Description:
    """An IP packet given as bytes; the ends say which MACs it gets."""
    return Description(source, destination, lambda: Raw(data))
