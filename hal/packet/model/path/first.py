"""*First packet* of docs/forwarding.md: the chain decides, limits are asked, both directions are installed."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import EventKind, StepKind, Verdict
from hal.packet.model.chain import Decision, hash_of, own_mac
from hal.packet.model.flows import Connection, Share, initial_state
from hal.packet.model.keys import Key, scope_of, worker_of
from hal.packet.model.ops import Path
from hal.packet.model.parse import ACK, ECHO_REPLY, RST, SYN, ZERO_MAC, Dropped, Packet
from hal.packet.model.path.passing import Passing
from hal.packet.model.path.state import Meeting
from hal.packet.model.rows import Entry
from hal.packet.model.stage import TCP, Drop, Header


class FirstPackets(Passing):
    """Connections that begin, mid-stream ones among them while pick-up lasts."""

    def _first_packet(self, packet: Packet, key: Key) -> Verdict:
        self._meeting = None
        header, vnic = packet.header(), packet.vnic
        picked_up = packet.protocol == TCP and not packet.bare_syn
        if picked_up and not self._may_pick_up(packet):
            raise Dropped("tcp_no_session")
        if packet.is_icmp and packet.icmp_type == ECHO_REPLY[packet.protocol]:
            raise Dropped("icmp_type")
        self.counters.engine["chain_walks"] += 1
        decision = self._decide(header, vnic, packet.routed)
        direction, ingress, keys = 0, vnic, (key, key)
        if isinstance(decision, Drop):
            backwards = self._decide_backwards(header, vnic, packet.routed) if picked_up else None
            if backwards is None:
                to = decision.refused_by
                share = share_of(vnic, to) if to else None
                self._hit(decision.decided_by, header, share or (vnic.id, "own"))
                raise self._refusal(packet, decision)
            header, ingress, decision = backwards
            direction = 1
            keys = (reply_key(key, ingress), key)
        else:
            keys = (key, reply_key(key, decision.egress))
        connection = Connection(
            id=0,
            worker=worker_of(hash_of(header, ingress.vrf), self.flows.workers),
            vrf=ingress.vrf,
            header=header,
            keys=list(keys),
            paths=self._paths(header, ingress, packet.routed, decision),
            ingress=ingress.id,
            egress=decision.egress.id,
            rules=decision.rules,
            counted=self._counted_rows(decision),
            share=share_of(ingress, decision.egress),
            decided=self._decided_now(),
            created_ns=self.now,
            last_ns=self.now,
            tcp=initial_state(packet.protocol, picked_up),
        )
        path = connection.paths[direction]
        self._check_size(packet, path)
        self._check_limits(connection)
        self._meter(packet, path)
        self._install(connection, direction, decision)
        if picked_up:
            self.counters.engine["pickups"] += 1
        self._count(packet, connection, direction)
        return self._send(packet, path)

    def _decide(self, header: Header, ingress: Entry, routed: bool) -> Decision | Drop:
        return self.chain.decide(header, ingress, routed, self.tables, self, self.witness)

    def _decided_now(self) -> tuple[int, int]:
        return self.tables.generation, self._alive_changes + self.ports.changes

    # --- pick-up -----------------------------------------------------------------------------------------------------

    def _may_pick_up(self, packet: Packet) -> bool:
        return self.now < self.pickup_until and packet.flags & (ACK | SYN | RST) == ACK

    def _decide_backwards(self, header: Header, vnic: Entry, routed: bool) -> tuple[Header, Entry, Decision] | None:
        """Pick-up of a reply: the other side is the initiator, if its packets would be let through to here. What stages
        say of the sender's own source is final: whoever opened the connection, a reply from there is spoofed."""
        if self.chain.source_is_wrong(self.tables, header, vnic):
            return None
        leave = self.chain.where(header, vnic, routed, self.tables, self)
        if isinstance(leave, Drop):
            return None
        initiator = leave.egress
        mirrored = header.reversed()
        if routed:
            own = own_mac(self.tables, initiator)
            mirrored = replace(mirrored, source_mac=initiator.mac, destination_mac=own or ZERO_MAC)
        decision = self._decide(mirrored, initiator, routed)
        if isinstance(decision, Drop) or scope_of(decision.egress) != scope_of(vnic):
            return None
        return mirrored, initiator, decision

    # --- limits ------------------------------------------------------------------------------------------------------

    def _check_limits(self, connection: Connection) -> None:
        share = connection.share
        if share:
            row = self.tables.get("vnic", share[0])
            own = share[1] == "own"
            limit = (row.flow_limit if own else row.inbound_flow_limit) if row else 0
            limit = limit or (self.config.flow_limit if own else self.config.inbound_flow_limit)
            if self.flows.share_is_full(share, limit, self.now):
                self._note_limit(EventKind.FLOW_LIMIT, share[0])
                raise Dropped("flow_limit")
            self._at_limit.discard((EventKind.FLOW_LIMIT, share[0]))
        if self.flows.is_full(connection.worker, self.now):
            self._note_limit(EventKind.FLOW_TABLE_FULL, 0)
            raise Dropped("flow_table_full")
        self._at_limit.discard((EventKind.FLOW_TABLE_FULL, 0))
        if any(self.flows.is_taken(key, connection, self.now) for key in connection.keys):
            raise Dropped("flow_table_full")

    # --- what both directions do -------------------------------------------------------------------------------------

    def _install(self, connection: Connection, direction: int, decision: Decision) -> None:
        connection.id = self.flows.next_id()
        self.flows.add(connection)
        self._meeting = Meeting(connection, direction)
        self.witness.step(StepKind.INSTALL, identity=connection.id)
        self.counters.engine["flows_opened"] += 1
        for row in decision.rows:
            self._hit(row, connection.header, connection.share or (connection.ingress, "own"))

    def _paths(self, header: Header, ingress: Entry, routed: bool, decision: Decision) -> list[Path]:
        """What both directions do."""
        egress = decision.egress
        to_card = "card" in (ingress.role, egress.role)
        there = Path(
            ingress,
            egress,
            decision.neighbour,
            routed,
            header.protocol,
            self.chain.ops(self.tables, ingress),
            header.destination_mac,
            to_card,
        )
        back = Path(
            egress,
            ingress,
            None,
            routed,
            header.protocol,
            self.chain.ops(self.tables, egress),
            header.source_mac,
            to_card,
        )
        if ingress.role == "uplink":
            back = self._way_back(header, back, egress)
        return [there, back]

    def _way_back(self, header: Header, back: Path, egress: Entry) -> Path:
        """Replies to an initiator on an uplink have a route lookup of their own."""
        mirrored = replace(
            header.reversed(), source_mac=egress.mac, destination_mac=own_mac(self.tables, egress) or ZERO_MAC
        )
        leave = self.chain.where(mirrored, egress, True, self.tables, self)
        if isinstance(leave, Drop):
            return replace(back, egress=None, drop=leave.reason)
        if leave.egress.id == egress.id:
            return replace(back, egress=None, drop="same_interface")
        to_card = back.to_card or leave.egress.role == "card"
        return replace(back, egress=leave.egress, neighbour=leave.neighbour, to_card=to_card)


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
