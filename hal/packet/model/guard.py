"""What vNICs may only say if it is declared (docs/neighbours.md, *Guard*): router advertisements and redirects
(RFC 6105, RFC 7113), and what DHCP servers say (RFC 7610). Part of the frame: no profile leaves it out."""

from __future__ import annotations

from hal.packet.model.parse import REDIRECT, ROUTER_ADVERTISEMENT
from hal.packet.model.rows import Entry
from hal.packet.model.stage import ICMP, ICMP6, UDP, Header

ROUTER, DHCP = 1, 2
"""Bits of a vNIC's `serves`."""
OF_ROUTERS = {
    (ICMP6, ROUTER_ADVERTISEMENT): "ra_guard",
    (ICMP6, REDIRECT): "redirect_guard",
    (ICMP, 9): "ra_guard",  # RFC 1256
    (ICMP, 5): "redirect_guard",
}
CLIENTS = {68: 67, 546: 547}
"""Ports at which clients hear DHCP servers, from whatever port those speak, and at which they ask them (RFC 2131 4.1,
RFC 8415 7.2)."""


def routers_alone(vnic: Entry, protocol: int, icmp_type: int) -> str:
    """The reason to drop an ICMP message that only routers send, or ""."""
    if vnic.role != "vnic" or vnic.serves & ROUTER:
        return ""
    return OF_ROUTERS.get((protocol, icmp_type), "")


def servers_alone(vnic: Entry, protocol: int, to: int) -> bool:
    """True for what only a DHCP server sends, to this port, from a vNIC that is none."""
    return vnic.role == "vnic" and not vnic.serves & DHCP and protocol == UDP and to in CLIENTS


def refuses_out(vnic: Entry, header: Header) -> bool:
    """True for a connection that must not begin at this vNIC."""
    return servers_alone(vnic, header.protocol, header.destination_port)


def refuses_in(vnic: Entry, header: Header) -> bool:
    """True for a connection that must not go to this vNIC: its replies would be a server's."""
    asks = CLIENTS.get(header.source_port) == header.destination_port
    return asks and servers_alone(vnic, header.protocol, header.source_port)
