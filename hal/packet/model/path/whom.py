"""For whom what comes by an uplink counts: behind it is everybody, so floods take from their targets alone."""

from __future__ import annotations

from hal.packet.model.addresses import vnic_address
from hal.packet.model.flows import Share
from hal.packet.model.parse import Packet
from hal.packet.model.rows import Entry
from hal.packet.model.tables import Tables


def whom(tables: Tables, packet: Packet) -> tuple[Entry, Share]:
    """The row whose limit holds, and the share of it: of an uplink's packet the vNIC that its address is of, else whom
    the packet comes from."""
    vnic = packet.vnic
    found = vnic_address(tables, vnic.vrf, packet.destination) if vnic.role == "uplink" else None
    to = tables.get("vnic", found.vnic) if found else None
    return (to, (to.id, "inbound")) if to else (vnic, (vnic.id, "own"))
