"""*What counts where* of docs/forwarding.md: hits, packets and bytes of rows, and what rows log."""

from __future__ import annotations

from hal.packet.contract import LOGS_PER_SECOND, EventKind
from hal.packet.model.chain import Decision
from hal.packet.model.counters import CounterSet, EventRing
from hal.packet.model.flows import Connection, Share
from hal.packet.model.meters import Meters
from hal.packet.model.path.moment import Moment
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Header
from hal.packet.model.words import decided_words


class Ledger:
    """What the rows of a shard count."""

    def __init__(self, moment: Moment, counters: CounterSet, events: EventRing) -> None:
        self.logs: Meters[Share] = Meters()
        self._moment = moment
        self._counters = counters
        self._events = events

    def hit(self, row: Entry | None, header: Header, share: Share) -> None:
        """A row decided a connection, or a first packet that was dropped; what it logs counts against `share`."""
        if row is None:
            return
        if self._moment.tables.schema.table(row.table).counts:
            self._counters.hit(row.table, row.id)
        if row.table == "firewall_rule" and row.log:
            if not self.logs.take(share, LOGS_PER_SECOND, self._moment.now):
                self._counters.engine["logs_suppressed"] += 1
                return
            words = decided_words(row.verdict, header)
            self._events.add(self._moment.now, EventKind.RULE_LOG, row.table, row.id, words)

    def counted_rows(self, decision: Decision) -> tuple[tuple[str, int, int], ...]:
        """The rows that get a connection's packets and bytes: each once, though it decided on both sides."""
        tables = self._moment.tables
        counting = (row for row in decision.rows if tables.schema.table(row.table).counts)
        return tuple((row.table, row.id, tables.born(row.table, row.id)) for row in counting)

    def settle(self, connection: Connection) -> None:
        """Add what a connection has counted so far to the rows that allowed it, as far as they are still there."""
        packets, size = connection.unsettled()
        for table, identity, born in connection.counted:
            if packets and self._moment.tables.born(table, identity) == born:
                self._counters.traffic(table, identity, packets, size)
