"""*Limits* of docs/forwarding.md: how many connections a vNIC has, and what it sends to the card's own programs."""

from __future__ import annotations

from hal.packet.contract import EventKind, LoadConfig
from hal.packet.model.counters import EventRing
from hal.packet.model.flows import Connection, FlowTable
from hal.packet.model.meters import Meters
from hal.packet.model.parse import Dropped
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.path.moment import Moment


class Limits:
    """The limits of a shard; where one begins to bite there is an event, not one a packet."""

    def __init__(self, moment: Moment, config: LoadConfig, flows: FlowTable, events: EventRing) -> None:
        self.punts: Meters[int] = Meters()
        self._moment = moment
        self._config = config
        self._flows = flows
        self._events = events
        self._biting: set[tuple[EventKind, int]] = set()

    def check(self, connection: Connection) -> None:
        """May this connection be installed? (`flow_limit`, `flow_table_full`)"""
        now, share = self._moment.now, connection.share
        if share:
            row = self._moment.tables.get("vnic", share[0])
            own = share[1] == "own"
            limit = (row.flow_limit if own else row.inbound_flow_limit) if row else 0
            limit = limit or (self._config.flow_limit if own else self._config.inbound_flow_limit)
            if self._flows.share_is_full(share, limit, now):
                self.bites(EventKind.FLOW_LIMIT, share[0])
                raise Dropped("flow_limit")
            self._biting.discard((EventKind.FLOW_LIMIT, share[0]))
        if self._flows.is_full(connection.worker, now):
            self.bites(EventKind.FLOW_TABLE_FULL, 0)
            raise Dropped("flow_table_full")
        self._biting.discard((EventKind.FLOW_TABLE_FULL, 0))
        if any(self._flows.is_taken(key, connection, now) for key in connection.keys):
            raise Dropped("flow_table_full")

    def meter(self, meeting: Meeting) -> None:
        """What goes to the card's own programs is metered for the vNIC it comes from. (`punt_limit`)"""
        if not meeting.path.punts:
            return
        vnic = meeting.packet.vnic
        if not self.punts.take(vnic.id, vnic.punt_limit or self._config.punt_limit, self._moment.now):
            self.bites(EventKind.PUNT_LIMIT, vnic.id)
            raise Dropped("punt_limit")
        self._biting.discard((EventKind.PUNT_LIMIT, vnic.id))

    def bites(self, kind: EventKind, vnic: int) -> None:
        if (kind, vnic) not in self._biting:
            self._biting.add((kind, vnic))
            self._events.add(self._moment.now, kind, "vnic" if kind is not EventKind.FLOW_TABLE_FULL else "", vnic)
