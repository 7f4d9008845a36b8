"""What the chain says of a connection when it begins, and again whenever something changed; its op lists."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import StepKind
from hal.packet.model.chain import Chain, Decision, own_mac
from hal.packet.model.counters import CounterSet
from hal.packet.model.flows import FlowTable, Share
from hal.packet.model.keys import Key, scope_of
from hal.packet.model.ops import Path
from hal.packet.model.parse import UNREACHABLE, ZERO_MAC, Dropped
from hal.packet.model.path.alive import Alive
from hal.packet.model.path.ledger import Ledger
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.path.moment import Moment
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Drop, Header, Leave


class Deciding:
    """Asks the stages."""

    def __init__(
        self, moment: Moment, chain: Chain, alive: Alive, flows: FlowTable, ledger: Ledger, counters: CounterSet
    ) -> None:
        self._moment = moment
        self._chain = chain
        self._alive = alive
        self._flows = flows
        self._ledger = ledger
        self._counters = counters

    def decide(self, header: Header, ingress: Entry, routed: bool) -> Decision | Drop:
        """The whole chain, stage by stage."""
        return self._chain.decide(header, ingress, routed, self._moment.tables, self._alive, self._moment.witness)

    def where(self, header: Header, ingress: Entry, routed: bool) -> Leave | Drop:
        """Where it would leave, whatever else is decided."""
        return self._chain.where(header, ingress, routed, self._moment.tables, self._alive)

    @property
    def decided_now(self) -> tuple[int, int]:
        """What `Connection.decided` is for a decision of this moment."""
        return self._moment.tables.generation, self._alive.changes

    def again(self, meeting: Meeting) -> None:
        """*Established*, step 2: a connection obeys the tables as they are now, or it ends."""
        connection = meeting.connection
        if connection.decided == self.decided_now:
            return
        self._moment.witness.step(StepKind.REEVALUATE, identity=connection.id)
        self._counters.engine["reevaluations"] += 1
        ingress = self._moment.tables.get("vnic", connection.ingress)
        routed = connection.keys[0].routed
        header = connection.header
        if (
            ingress is None
            or scope_of(ingress) != connection.keys[0].scope
            or routed != (header.destination_mac == own_mac(self._moment.tables, ingress))
        ):
            self._flows.remove(connection)
            raise Dropped("vnic_unknown")
        decision = self.decide(replace(header, source_mac=ingress.mac), ingress, routed)
        if isinstance(decision, Drop):
            self._flows.remove(connection)
            raise refused(decision)
        self._ledger.settle(connection)
        connection.egress = decision.egress.id
        connection.rules = decision.rules
        connection.counted = self._ledger.counted_rows(decision)
        connection.paths = self.paths(header, ingress, routed, decision)
        connection.decided = self.decided_now
        reply = reply_key(connection.keys[0], decision.egress)
        share = share_of(ingress, decision.egress)
        if self._flows.is_taken(reply, connection, self._moment.now):
            self._flows.remove(connection)
            raise Dropped("flow_table_full")
        if (reply, share) != (connection.keys[1], connection.share):
            self._flows.rekey(connection, reply, share)

    # --- what both directions do -------------------------------------------------------------------------------------

    def paths(self, header: Header, ingress: Entry, routed: bool, decision: Decision) -> list[Path]:
        """The op lists of both directions."""
        tables, egress = self._moment.tables, decision.egress
        to_card = "card" in (ingress.role, egress.role)
        there = Path(
            ingress,
            egress,
            decision.neighbour,
            routed,
            header.protocol,
            self._chain.ops(tables, ingress),
            header.destination_mac,
            to_card,
        )
        back = Path(
            egress,
            ingress,
            None,
            routed,
            header.protocol,
            self._chain.ops(tables, egress),
            header.source_mac,
            to_card,
        )
        if ingress.role == "uplink":
            back = self._way_back(header, back, egress)
        return [there, back]

    def _way_back(self, header: Header, back: Path, egress: Entry) -> Path:
        """Replies to an initiator on an uplink have a route lookup of their own."""
        own = own_mac(self._moment.tables, egress)
        mirrored = replace(header.reversed(), source_mac=egress.mac, destination_mac=own or ZERO_MAC)
        leave = self.where(mirrored, egress, True)
        if isinstance(leave, Drop):
            return replace(back, egress=None, drop=leave.reason)
        if leave.egress.id == egress.id:
            return replace(back, egress=None, drop="same_interface")
        to_card = back.to_card or leave.egress.role == "card"
        return replace(back, egress=leave.egress, neighbour=leave.neighbour, to_card=to_card)


def refused(drop: Drop) -> Dropped:
    """The end of a packet that the chain did not pass; the sender is told if the stage says so."""
    return Dropped(drop.reason, UNREACHABLE[drop.tell])


def reply_key(key: Key, egress: Entry) -> Key:
    """The key of the packets that come back."""
    return Key(
        scope_of(egress), key.routed, key.protocol, key.destination, key.source, key.destination_port, key.source_port
    )


def share_of(ingress: Entry, egress: Entry) -> Share | None:
    """What a connection counts against."""
    if ingress.role == "vnic":
        return ingress.id, "own"
    return (egress.id, "inbound") if egress.role == "vnic" else None
