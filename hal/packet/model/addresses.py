"""Whose an address is: the card's own, a vNIC's, or somebody's outside."""

from __future__ import annotations

from hal.packet.model.parse import is_link_local
from hal.packet.model.rows import Entry
from hal.packet.model.tables import Tables


def vnic_address(tables: Tables, vrf: int, address: bytes) -> Entry | None:
    """The row of `vnic_address` that packets to this address go to."""
    route = tables.longest("route", vrf, address)
    if route is None or route.row != "SubnetRoute":
        return None
    return tables.exact("vnic_address", route.subnet, address)


def own_address(tables: Tables, uplink: Entry, address: bytes) -> Entry | None:
    """The row by which nobody behind this uplink has the address: of `local_address`, else of `vnic_address`.

    The same address in another VRF is somebody else's, and so is a link-local one on another link (RFC 4007 6).
    """
    local = tables.exact("local_address", uplink.vrf, address)
    if is_link_local(address):
        return local if local and local.subnet == uplink.subnet else None
    return local or vnic_address(tables, uplink.vrf, address)


def is_claimed(tables: Tables, vnic: Entry, source: bytes) -> bool:
    """True for what comes by an uplink from an address of this card: it is from somebody else (RFC 2827, RFC 3704)."""
    return bool(vnic.role == "uplink") and own_address(tables, vnic, source) is not None
