"""*Limits* of docs/forwarding.md: how many connections a vNIC has and opens, how many are half-open, and what it
sends to the card's own programs."""

from __future__ import annotations

from typing import NamedTuple

from hal.packet.contract import EventKind, LoadConfig, TcpState
from hal.packet.derive import SHARE
from hal.packet.model.counters import CounterSet
from hal.packet.model.flows import Connection, FlowTable, Share
from hal.packet.model.fragments import Fragments
from hal.packet.model.half_open import Kind, has_ended, kind_of, most_half_open
from hal.packet.model.meters import Meters
from hal.packet.model.parse import Dropped, Packet, Tell
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.told import TABLE, Told
from hal.packet.model.path.whom import whom
from hal.packet.model.path.windows import BUCKETS, Windows, bucket_of
from hal.packet.model.rows import Entry

AT_ONCE = 8
"""As many of a full share go for one that is opened, at most."""


class Punt(NamedTuple):
    """A token of `punt_limit`: its bucket's, and how many of those that gets."""

    key: tuple[int, str, int]
    """The vNIC's id, what the bucket is for, and its number among those."""
    rate: int
    parts: int


class Limits:
    """The limits of a shard; where one bites there is an event, once in ten seconds."""

    MAKE_WAY = (Kind.ENDED, Kind.UNANSWERED, Kind.HANDSHAKE)
    """Who of a full share goes for one more, the first of these kinds first."""

    def __init__(self, moment: Moment, config: LoadConfig, flows: FlowTable, told: Told, counters: CounterSet) -> None:
        self.punts: Meters[tuple[int, str, int]] = Meters()
        self.opened: Meters[Share] = Meters()
        self.made = Windows(moment)
        self._moment = moment
        self._config = config
        self._flows = flows
        self._told = told
        self._counters = counters

    def check(self, connection: Connection, direction: int) -> None:
        """May this connection be installed, whose first packet goes in this direction? What has ended or is half-open
        may go for it. (`flow_limit`, `new_flow_limit`, `flow_table_full`)"""
        now, share = self._moment.now, connection.share
        if share:
            self._check_share(connection, share, direction)
        worker, fair = connection.worker, self._is_fair(share)
        if not self._flows.has_room(worker, share, now, fair=fair):
            others = self._flows.may_take_of_others(worker, share, fair=fair)
            victim = self._flows.half_open(connection).victim(share, others=others)
            if victim is None or not has_ended(victim):
                self.bites(EventKind.FLOW_TABLE_FULL, TABLE)
            if victim is None:
                raise Dropped("flow_table_full")
            self._evict(victim)
        if any(self._flows.is_taken(key, connection, now) for key in connection.keys):
            raise Dropped("flow_table_full")

    def _is_fair(self, share: Share | None) -> bool:
        """Is there no number of its own that says how many may count for it? (`flow_limit`, `inbound_flow_limit`)"""
        if share is None:
            return True
        row = self._moment.tables.get("vnic", share[0])
        name = "flow_limit" if share[1] == "own" else "inbound_flow_limit"
        return not (row and getattr(row, name)) and SHARE * int(getattr(self._config, name)) <= self._flows.capacity

    def _check_share(self, connection: Connection, share: Share, direction: int) -> None:
        now, own = self._moment.now, share[1] == "own"
        sent_by: Share = share[0], "own" if own == (direction == 0) else "inbound"
        row = self._moment.tables.get("vnic", share[0])
        limit = self._limit(row, "flow_limit" if own else "inbound_flow_limit")
        listed = self._flows.half_open(connection)
        is_full = self._flows.share_is_full(share, limit, now)
        if is_full and not listed.count(share, *self.MAKE_WAY):
            self.refuses(EventKind.FLOW_LIMIT, share)
            raise Dropped("flow_limit")
        if not self.opened.take(sent_by, self._limit(row, "new_flow_limit"), now):
            self.refuses(EventKind.NEW_FLOW_LIMIT, sent_by)
            raise Dropped("new_flow_limit")
        for _ in range(AT_ONCE):
            oldest = listed.oldest(share, *self.MAKE_WAY) if is_full else None
            if oldest is None:
                break
            if not has_ended(oldest):
                self.refuses(EventKind.FLOW_LIMIT, share)
            self._evict(oldest)
            is_full = self._flows.share_is_full(share, limit, now)
        if is_full:
            self.refuses(EventKind.FLOW_LIMIT, share)
            raise Dropped("flow_limit")
        if kind_of(connection) is Kind.HANDSHAKE:
            self._make_way(connection, share, most_half_open(self._limit(row, "half_open_limit"), limit))

    def _make_way(self, connection: Connection, share: Share, limit: int) -> None:
        """Room for one more handshake, if the oldest of the share's has to go for it."""
        half_open = self._flows.half_open(connection)
        if half_open.count(share, Kind.HANDSHAKE) >= limit:
            self._flows.sweep(self._moment.now)
        if half_open.count(share, Kind.HANDSHAKE) < limit:
            return
        self.bites(EventKind.HALF_OPEN_LIMIT, share)
        while half_open.count(share, Kind.HANDSHAKE) >= limit:
            if (oldest := half_open.oldest(share, Kind.HANDSHAKE)) is None:
                break
            self._told.refuses("half_open_limit", share)
            self._evict(oldest)

    def _evict(self, connection: Connection) -> None:
        """It makes way."""
        self._counters.engine["ended_evicted" if has_ended(connection) else "half_open_evicted"] += 1
        self._flows.remove(connection)

    def _limit(self, row: Entry | None, name: str) -> int:
        """What the vNIC's row says, else the card."""
        return (int(getattr(row, name)) if row else 0) or int(getattr(self._config, name))

    def fragment(self, packet: Packet, fragments: Fragments) -> None:
        """May one more first fragment be remembered of whom it counts for? (`fragment_limit`)"""
        if not (packet.fragment and packet.is_first):
            return
        vnic, share = whom(self._moment.tables, packet)
        limit = vnic.fragment_limit or self._config.fragment_limit
        if fragments.of(share) >= fragments.most(share, vnic.role, limit):
            self.refuses(EventKind.FRAGMENT_LIMIT, share)
            raise Dropped("fragment_limit")

    def may_tell(self, packet: Packet, news: Tell) -> bool:
        """May the card tell its sender by ICMP that it was dropped, or reset him?"""
        vnic, share = whom(self._moment.tables, packet)
        purpose = ("too big" if news.living else "icmp") + (" to" if share[1] == "inbound" else "")
        if self.made.take(purpose, vnic.id, packet.source, vnic.icmp_limit or self._config.icmp_limit):
            return True
        self._counters.engine["icmp_suppressed"] += 1
        self.refuses(EventKind.ICMP_LIMIT, share)
        return False

    def punt(self, meeting: Meeting) -> Punt | None:
        """The token that a packet to the card's own programs will take, where it passes; what it is by the state before
        it. None: it goes elsewhere. (`punt_limit`)"""
        if not meeting.path.punts:
            return None
        vnic, now = meeting.packet.vnic, self._moment.now
        taken = self._punt_of(meeting, vnic.punt_limit or self._config.punt_limit)
        if not self.punts.has(taken.key, taken.rate, now, taken.parts):
            self.refuses(EventKind.PUNT_LIMIT, (vnic.id, "own"))
            raise Dropped("punt_limit")
        return taken

    def _punt_of(self, meeting: Meeting, rate: int) -> Punt:
        """What strangers send by an uplink mustn't take from those that the card speaks with."""
        packet, connection = meeting.packet, meeting.connection
        vnic, known = packet.vnic, False
        if vnic.role != "uplink":
            return Punt((vnic.id, "", 0), rate, 1)
        if meeting.opens is None:
            answered = connection.tcp is TcpState.ESTABLISHED and connection.packets[1] > 0
            known = meeting.direction == 1 or answered
        purpose = "punt known" if known else "punt"
        bucket = bucket_of(self._moment.tables, purpose, vnic.id, packet.source)
        return Punt((vnic.id, purpose, bucket), rate, 1 if known else BUCKETS)

    def meter(self, punt: Punt | None) -> None:
        """What goes to the card's own programs is metered."""
        if punt:
            self.punts.take(punt.key, punt.rate, self._moment.now, punt.parts)

    def refuses(self, kind: EventKind, share: Share) -> None:
        """The limit of this share that such events tell of refuses something."""
        self._told.refuses(kind.name.lower(), share)
        self.bites(kind, share)

    def bites(self, kind: EventKind, share: Share) -> None:
        """A limit of this share refuses something, or something goes for it: that is told."""
        self._told.bites(kind, share)
