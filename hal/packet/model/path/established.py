"""*Established* of docs/forwarding.md, and what else goes to a connection: later fragments, ICMP errors."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import StepKind, TcpState, Verdict
from hal.packet.model.chain import own_mac
from hal.packet.model.flows import Connection
from hal.packet.model.keys import Key, scope_of
from hal.packet.model.parse import Dropped, Fragment, Packet, quoted_tuple
from hal.packet.model.path.first import FirstPackets, reply_key, share_of
from hal.packet.model.path.state import Meeting
from hal.packet.model.stage import TCP, Drop


class Established(FirstPackets):
    """Packets whose connection is there; it obeys the tables as they are now."""

    def _established(self, packet: Packet, connection: Connection, direction: int, key: Key) -> Verdict:
        self._meet(connection, direction)
        self._decide_again_if_changed(connection, packet)
        if connection.keys[direction] != key:
            return self._first_packet(packet, key)
        path = self._checked(packet, connection, direction)
        if packet.protocol == TCP:
            if packet.bare_syn and connection.tcp in (TcpState.TIME_WAIT, TcpState.CLOSED):
                self.flows.remove(connection)
                return self._first_packet(packet, key)
            self._track(packet, connection, direction)
        self._meter(packet, path)
        self._count(packet, connection, direction)
        return self._send(packet, path)

    def _meet(self, connection: Connection, direction: int) -> None:
        self._meeting = Meeting(connection, direction)
        self._found = connection
        self.witness.step(StepKind.FLOW, identity=connection.id, value=direction)

    def _decide_again_if_changed(self, connection: Connection, packet: Packet) -> None:
        """Step 2: an established connection obeys the tables as they are now."""
        if connection.decided == self._decided_now():
            return
        self.witness.step(StepKind.REEVALUATE, identity=connection.id)
        self.counters.engine["reevaluations"] += 1
        ingress = self.tables.get("vnic", connection.ingress)
        routed = connection.keys[0].routed
        header = connection.header
        if (
            ingress is None
            or scope_of(ingress) != connection.keys[0].scope
            or routed != (header.destination_mac == own_mac(self.tables, ingress))
        ):
            self.flows.remove(connection)
            raise Dropped("vnic_unknown")
        decision = self._decide(replace(header, source_mac=ingress.mac), ingress, routed)
        if isinstance(decision, Drop):
            self.flows.remove(connection)
            raise self._refusal(packet, decision)
        self._settle(connection)
        connection.egress = decision.egress.id
        connection.rules = decision.rules
        connection.counted = self._counted_rows(decision)
        connection.paths = self._paths(header, ingress, routed, decision)
        connection.decided = self._decided_now()
        reply = reply_key(connection.keys[0], decision.egress)
        share = share_of(ingress, decision.egress)
        if self.flows.is_taken(reply, connection, self.now):
            self.flows.remove(connection)
            raise Dropped("flow_table_full")
        if (reply, share) != (connection.keys[1], connection.share):
            self.flows.rekey(connection, reply, share)

    # --- fragments ---------------------------------------------------------------------------------------------------

    def _later_fragment(self, packet: Packet, fragment: Fragment) -> Verdict:
        first = self.fragments.living(packet, fragment)
        if not self.flows.holds(first.connection, self.now):
            raise Dropped("fragment_no_first")
        self.fragments.follow(packet, fragment, first)
        connection, direction = first.connection, first.direction
        self._meet(connection, direction)
        self._decide_again_if_changed(connection, packet)
        if connection.keys[direction].scope != scope_of(packet.vnic):
            raise Dropped("fragment_no_first")
        path = self._checked(packet, connection, direction)
        self._meter(packet, path)
        self._count(packet, connection, direction)
        return self._send(packet, path)

    # --- ICMP errors that pass ---------------------------------------------------------------------------------------

    def _icmp_error(self, packet: Packet) -> Verdict:
        """To who sent the packet that it quotes, in that one's connection."""
        if reason := self.chain.source_is_wrong(self.tables, packet.header(), packet.vnic):
            raise Dropped(reason)
        quoted = quoted_tuple(packet)
        key = Key(scope_of(packet.vnic), packet.routed, *quoted) if quoted else None
        found = self.flows.find(key, self.now) if key and key.destination == packet.destination else None
        if found is None or not found[0].packets[1 - found[1]]:
            raise Dropped("icmp_error_unrelated")
        connection, direction = found
        self._meet(connection, direction)
        self._decide_again_if_changed(connection, packet)
        if connection.keys[direction] != key:
            raise Dropped("icmp_error_unrelated")
        path = self._checked(packet, connection, direction)
        self._meter(packet, path)
        connection.count(direction, len(packet.ip))
        return self._send(packet, path)
