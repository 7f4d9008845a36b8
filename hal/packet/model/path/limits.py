"""*Limits* of docs/forwarding.md: how many connections a vNIC has and opens, how many are half-open, and what it
sends to the card's own programs."""

from __future__ import annotations

from hal.packet.contract import EventKind, LoadConfig, TcpState
from hal.packet.model.counters import CounterSet
from hal.packet.model.flows import Connection, FlowTable, Share
from hal.packet.model.fragments import Fragments
from hal.packet.model.meters import Meters
from hal.packet.model.parse import Dropped, Packet
from hal.packet.model.path.challenges import BUCKETS, bucket_of
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.told import TABLE, Told
from hal.packet.model.rows import Entry


class Limits:
    """The limits of a shard; where one bites there is an event, once in ten seconds."""

    def __init__(self, moment: Moment, config: LoadConfig, flows: FlowTable, told: Told, counters: CounterSet) -> None:
        self.punts: Meters[int] = Meters()
        self.opened: Meters[Share] = Meters()
        self.made: Meters[tuple[int, int]] = Meters()
        self._moment = moment
        self._config = config
        self._flows = flows
        self._told = told
        self._counters = counters

    def check(self, connection: Connection) -> None:
        """May this connection be installed? Half-open ones may go for it. (`flow_limit`, `new_flow_limit`,
        `flow_table_full`)"""
        now, share = self._moment.now, connection.share
        if share:
            self._check_share(connection, share)
        if self._flows.is_full(connection.worker, now):
            self.bites(EventKind.FLOW_TABLE_FULL, TABLE)
            victim = self._flows.half_open(connection).victim(share)
            if victim is None:
                raise Dropped("flow_table_full")
            self._evict(victim)
        if any(self._flows.is_taken(key, connection, now) for key in connection.keys):
            raise Dropped("flow_table_full")

    def _check_share(self, connection: Connection, share: Share) -> None:
        now, own = self._moment.now, share[1] == "own"
        row = self._moment.tables.get("vnic", share[0])
        limit = self._limit(row, "flow_limit" if own else "inbound_flow_limit")
        if self._flows.share_is_full(share, limit, now):
            self.bites(EventKind.FLOW_LIMIT, share)
            raise Dropped("flow_limit")
        if not self.opened.take(share, self._limit(row, "new_flow_limit"), now):
            self.bites(EventKind.NEW_FLOW_LIMIT, share)
            raise Dropped("new_flow_limit")
        if connection.tcp is TcpState.SYN_SENT:
            self._make_way(connection, share, self._limit(row, "half_open_limit"))

    def _make_way(self, connection: Connection, share: Share, limit: int) -> None:
        """Room for one more handshake, if the oldest of the share's has to go for it."""
        half_open = self._flows.half_open(connection)
        if half_open.handshakes(share) >= limit:
            self._flows.sweep(self._moment.now)
        if half_open.handshakes(share) < limit:
            return
        self.bites(EventKind.HALF_OPEN_LIMIT, share)
        while half_open.handshakes(share) >= limit:
            self._evict(half_open.oldest(share))

    def _evict(self, connection: Connection) -> None:
        self._counters.engine["half_open_evicted"] += 1
        self._flows.remove(connection)

    def _limit(self, row: Entry | None, name: str) -> int:
        """What the vNIC's row says, else the card."""
        return (int(getattr(row, name)) if row else 0) or int(getattr(self._config, name))

    def fragment(self, packet: Packet, fragments: Fragments) -> None:
        """May one more first fragment of the vNIC be remembered? (`fragment_limit`)"""
        if not (packet.fragment and packet.is_first):
            return
        vnic, share = packet.vnic, (packet.vnic.id, "own")
        if fragments.of(vnic.id) >= fragments.most(vnic.role, vnic.fragment_limit or self._config.fragment_limit):
            self.bites(EventKind.FRAGMENT_LIMIT, share)
            raise Dropped("fragment_limit")

    def may_tell(self, packet: Packet) -> bool:
        """May the card tell its sender by ICMP that it was dropped, or reset him?"""
        vnic, share = packet.vnic, (packet.vnic.id, "own")
        bucket = bucket_of(self._moment.tables, "icmp", vnic.id, packet.source)
        limit = vnic.icmp_limit or self._config.icmp_limit
        if self.made.take((vnic.id, bucket), limit, self._moment.now, BUCKETS):
            return True
        self._counters.engine["icmp_suppressed"] += 1
        self.bites(EventKind.ICMP_LIMIT, share)
        return False

    def meter(self, meeting: Meeting) -> None:
        """What goes to the card's own programs is metered for the vNIC it comes from. (`punt_limit`)"""
        if not meeting.path.punts:
            return
        vnic = meeting.packet.vnic
        if not self.punts.take(vnic.id, vnic.punt_limit or self._config.punt_limit, self._moment.now):
            self.bites(EventKind.PUNT_LIMIT, (vnic.id, "own"))
            raise Dropped("punt_limit")

    def bites(self, kind: EventKind, share: Share) -> None:
        """A limit of this share refuses something, or something goes for it."""
        self._told.bites(kind, share)
