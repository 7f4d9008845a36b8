"""What is alive: links and neighbours, and the packets that wait for a neighbour."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import EventKind
from hal.packet.model import headers
from hal.packet.model.counters import EventRing
from hal.packet.model.neighbours import Hooks, NeighbourKey, Neighbours, Waiting
from hal.packet.model.parse import HOST_UNREACHABLE, Dropped
from hal.packet.model.path.answers import ask_neighbour
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.told import Told
from hal.packet.model.path.wire import Wire
from hal.packet.model.ports import Ports
from hal.packet.model.rows import Entry


class Alive:
    """The links and neighbours of a shard; to stages it is `stage.Network`."""

    def __init__(self, moment: Moment, ports: Ports, wire: Wire, events: EventRing, told: Told) -> None:
        self.neighbours = Neighbours(
            Hooks(
                self._ask,
                self._send_waiting,
                self._give_up,
                self._unreachable,
                self._neighbour_changed,
                self._is_next_hop,
                self._limited,
            )
        )
        self._moment = moment
        self._ports = ports
        self._wire = wire
        self._events = events
        self._told = told
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often a link or next hop came or went: what was decided before is decided again."""
        return self._changes + self._ports.changes

    def link(self, port: int) -> bool:
        return self._ports.link(port)

    def failed(self, uplink: int, address: bytes) -> bool:
        return self.neighbours.failed(NeighbourKey(uplink, address))

    def keep_uplinks(self) -> None:
        """Forget neighbours on uplinks that the tables don't have any more."""
        self.neighbours.keep(self._is_uplink)

    def _is_uplink(self, identity: int) -> bool:
        vnic = self._moment.tables.get("vnic", identity)
        return vnic is not None and vnic.role == "uplink"

    # --- what the neighbours ask of the shard they are in -------------------------------------------------------------

    def _next_hops(self, key: NeighbourKey) -> tuple[Entry, ...]:
        uplink = self._moment.tables.get("vnic", key.uplink)
        if uplink is None:
            return ()
        return self._moment.tables.select("next_hop", port=uplink.port, vlan=uplink.vlan, address=key.address)

    def _is_next_hop(self, key: NeighbourKey) -> bool:
        return bool(self._next_hops(key))

    def _neighbour_changed(self, key: NeighbourKey, alive: bool) -> None:
        """No other neighbour changes what was decided, so who asks for addresses that nobody has changes nothing."""
        hops = self._next_hops(key)
        self._changes += bool(hops)
        kind = EventKind.NEXT_HOP_UP if alive else EventKind.NEXT_HOP_DOWN
        for hop in hops:
            self._events.add(self._moment.now, kind, "next_hop", hop.id)

    def _limited(self, vnic: int, limit: str) -> None:
        self._told.refuses(limit, (vnic, "own"))
        self._told.bites(EventKind.NEIGHBOUR_LIMIT, (vnic, "own"))

    def _ask(self, key: NeighbourKey) -> None:
        ask_neighbour(self._moment.tables, self._wire, key)

    def _send_waiting(self, key: NeighbourKey, mac: bytes, waiting: Waiting) -> None:
        uplink = self._moment.tables.get("vnic", key.uplink)
        if uplink is None:
            return
        ip = waiting.packet.ip
        try:
            self._wire.transmit(uplink, headers.ethernet(mac, uplink.mac, uplink.vlan, headers.ethertype_of(ip), ip))
        except Dropped as dropped:
            self._wire.drop(dropped.reason, waiting.vnic)

    def _give_up(self, waiting: Waiting, reason: str) -> None:
        self._wire.lose(reason, waiting.vnic)

    def _unreachable(self, waiting: Waiting) -> None:
        vnic = self._moment.tables.get("vnic", waiting.vnic)
        if vnic is not None:
            self._wire.tell(replace(waiting.packet, vnic=vnic), HOST_UNREACHABLE)
