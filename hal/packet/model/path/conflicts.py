"""Somebody on an uplink tells of an address that is the card's or a vNIC's (RFC 5227 2.4, RFC 4862 5.4.4)."""

from __future__ import annotations

from hal.packet.contract import EventKind
from hal.packet.model import headers
from hal.packet.model.addresses import own_address
from hal.packet.model.chain import own_mac
from hal.packet.model.counters import EventRing
from hal.packet.model.parse import ARP_TYPE, BROADCAST, IPV6_TYPE
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.wire import ARP, ND, Wire
from hal.packet.model.rows import Entry
from hal.packet.model.tracking import SECOND
from hal.packet.schema.rows import MAPPED, unpack_address

CONFLICTS = 64
"""Addresses of either kind that are told of, and defended, in DEFEND_INTERVAL."""
DEFEND_INTERVAL = 10 * SECOND


class Conflicts:
    """What a shard has told of conflicts lately."""

    def __init__(self, moment: Moment, wire: Wire, events: EventRing) -> None:
        self._moment = moment
        self._wire = wire
        self._events = events
        self._told: dict[str, dict[int, int]] = {"local_address": {}, "vnic_address": {}}
        """Table -> id of a row -> until when nothing more is told of it."""

    def meets(self, vnic: Entry, address: bytes, mac: bytes) -> bool:
        """True where this MAC has no business with the address. It is told, and where the address is the card's on this
        uplink it is defended, either at most once in DEFEND_INTERVAL."""
        tables = self._moment.tables
        own = own_mac(tables, vnic)
        if vnic.role != "uplink" or own is None or mac == own:
            return False
        row = own_address(tables, vnic, address)
        if row is None:
            return False
        if self._may_tell(row):
            data = f"{unpack_address(address)} is-at {mac.hex(':')}"
            self._events.add(self._moment.now, EventKind.ADDRESS_CONFLICT, row.table, row.id, data)
            if row.table == "local_address" and row.subnet == vnic.subnet:
                announce(self._wire, vnic, own, address)
        return True

    def _may_tell(self, row: Entry) -> bool:
        now = self._moment.now
        told = self._told[row.table] = {one: until for one, until in self._told[row.table].items() if until > now}
        if row.id in told or len(told) >= CONFLICTS:
            return False
        told[row.id] = now + DEFEND_INTERVAL
        return True


def announce(wire: Wire, vnic: Entry, own: bytes, address: bytes) -> None:
    """Tell everybody on the port where an address of the card is: an ARP announcement (RFC 5227 1.1), or an
    advertisement to all nodes (RFC 4861 7.2.6)."""
    if address.startswith(MAPPED):
        message = headers.arp(1, own, address, bytes(6), address)
        wire.make(vnic, headers.ethernet(BROADCAST, own, vnic.vlan, ARP_TYPE, message), ARP)
    else:
        ip = headers.neighbour_advertisement(address, own, None, router=True)
        wire.make(vnic, headers.ethernet(headers.ALL_NODES_MAC, own, vnic.vlan, IPV6_TYPE, ip), ND)
