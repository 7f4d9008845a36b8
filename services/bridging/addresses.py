"""MACs and link-local addresses that bridging derives, and the nets of addresses."""

from __future__ import annotations

import ipaddress
from hashlib import blake2b

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def derived_mac(purpose: str, name: str) -> str:
    """A locally administered unicast MAC (IEEE 802 8.2) that depends on nothing but these words."""
    digest = bytearray(blake2b(f"{purpose}\0{name}".encode(), digest_size=6).digest())
    digest[0] = digest[0] & 0xFC | 0x02
    return bytes(digest).hex(":")


def link_local(mac: str, vlan: int = 0) -> str:
    """The link-local address of a MAC (RFC 4291 appendix A, modified EUI-64).

    With a VLAN its ID takes part in the middle bytes: one MAC on several VLANs of a VRF has an address in each.
    """
    raw = bytes.fromhex(mac.replace(":", ""))
    middle = (0xFFFE ^ vlan).to_bytes(2, "big")
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + middle + raw[3:]))


def network(interface: str) -> Network:
    """The net of an address with its prefix's length."""
    return ipaddress.ip_network(interface, strict=False)


def host(interface: str) -> str:
    """The address alone."""
    return interface.partition("/")[0]


def is_v6(text: str) -> bool:
    return ":" in text
