"""MACs and link-local addresses that bridging derives, and the nets of addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from hashlib import blake2b

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def derived_mac(purpose: str, name: str, seed: bytes = b"") -> str:
    """A locally administered unicast MAC (IEEE 802 8.2) that depends on nothing but these words, and on the card's
    seed where another card may have something of that name on the same net."""
    digest = bytearray(blake2b(f"{purpose}\0{name}".encode(), digest_size=6, key=seed).digest())
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


NO_HOSTS = (
    (ipaddress.ip_network("0.0.0.0/8"), "of this net (RFC 1122 3.2.1.3)"),
    (ipaddress.ip_network("127.0.0.0/8"), "a loopback address"),
    (ipaddress.ip_network("224.0.0.0/4"), "a multicast address"),
    (ipaddress.ip_network("240.0.0.0/4"), "reserved (RFC 1112 4)"),
    (ipaddress.ip_network("::/128"), "the unspecified address"),
    (ipaddress.ip_network("::1/128"), "the loopback address"),
    (ipaddress.ip_network("ff00::/8"), "a multicast address"),
)
"""Addresses that no host on a net has: packets from and to them are dropped as `address_invalid` or `multicast`."""


def no_host(text: str, nets: Iterable[Network] = ()) -> str:
    """Why this address can't be one of a host in these nets, in words; "" if it can."""
    address = ipaddress.ip_address(text)
    for net, words in NO_HOSTS:
        if address.version == net.version and address in net:
            return words
    return "the net's own or its broadcast address" if any(is_reserved(address, net) for net in nets) else ""


def is_reserved(address: ipaddress.IPv4Address | ipaddress.IPv6Address, net: Network) -> bool:
    """The net's own and its broadcast address, where it has them (RFC 1122 3.2.1.3, RFC 3021; RFC 4291 2.6.1, 6164)."""
    if address not in net or net.max_prefixlen - net.prefixlen < 2:
        return False
    return address == net.network_address or (address.version == 4 and address == net.broadcast_address)


def around(net: Network, nets: Iterable[Network]) -> Iterator[Network]:
    """Those of some nets, `net` itself not among them, in which it lies; the smallest first."""
    found = nets if isinstance(nets, (dict, set, frozenset)) else set(nets)
    for length in range(net.prefixlen - 1, -1, -1):
        wider = net.supernet(new_prefix=length)
        if wider in found:
            yield wider


def host(interface: str) -> str:
    """The address alone."""
    return interface.partition("/")[0]


def is_v6(text: str) -> bool:
    return ":" in text
