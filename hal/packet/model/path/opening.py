"""*First packet* and *Pick-up* of docs/forwarding.md: a connection begins."""

from __future__ import annotations

from dataclasses import replace

from hal.packet.contract import StepKind
from hal.packet.model import tcp
from hal.packet.model.chain import Chain, Decision, hash_of, own_mac
from hal.packet.model.counters import CounterSet
from hal.packet.model.flows import Connection, FlowTable
from hal.packet.model.keys import scope_of, worker_of
from hal.packet.model.parse import ACK, ECHO_REPLY, RST, SYN, ZERO_MAC, Dropped, Packet
from hal.packet.model.path.deciding import Deciding, refused, reply_key, share_of
from hal.packet.model.path.ledger import Ledger
from hal.packet.model.path.meeting import Meeting, key_of
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.pickup import PickUp
from hal.packet.model.rows import Entry
from hal.packet.model.stage import TCP, Drop, Header, Leave
from hal.packet.model.tracking import is_strict_between


class Opening:
    """Opens connections."""

    def __init__(
        self,
        moment: Moment,
        chain: Chain,
        deciding: Deciding,
        flows: FlowTable,
        ledger: Ledger,
        counters: CounterSet,
        pickup: PickUp,
    ) -> None:
        self._moment = moment
        self._chain = chain
        self._deciding = deciding
        self._flows = flows
        self._ledger = ledger
        self._counters = counters
        self._pickup = pickup

    def decide(self, packet: Packet, instead: Meeting | None) -> Meeting:
        """*First packet*, steps 1 and 2: the connection that this packet would open. Nothing is installed.

        Args:
            instead: of the connection that it begins anew.

        Raises:
            Dropped: `tcp_no_session`, `icmp_type`, or what the chain says; then the row that said so counts a hit.
        """
        header, vnic, key = packet.header(), packet.vnic, key_of(packet)
        if _is_mid_stream(packet) and not self._may_pick_up(packet):
            raise Dropped("tcp_no_session")
        if packet.is_icmp and packet.icmp_type == ECHO_REPLY[packet.protocol]:
            raise Dropped("icmp_type")
        self._counters.engine["chain_walks"] += 1
        decision = self._deciding.decide(header, vnic, packet.routed)
        direction, ingress, keys = 0, vnic, [key, key]
        if isinstance(decision, Drop):
            backwards = self._decide_backwards(header, vnic, packet.routed) if _is_mid_stream(packet) else None
            if backwards is None:
                to = decision.refused_by
                share = share_of(vnic, to) if to else None
                self._ledger.hit(decision.decided_by, header, share or (vnic.id, "own"))
                raise refused(decision)
            header, ingress, decision = backwards
            direction = 1
            keys[0] = reply_key(key, ingress)
        else:
            keys[1] = reply_key(key, decision.egress)
        now = self._moment.now
        ended = instead.connection.talk if instead else None
        behind = tcp.ends_of(ended, instead.direction) if instead and ended else None
        connection = Connection(
            id=0,
            worker=worker_of(hash_of(header, 0), self._flows.workers),
            vrf=ingress.vrf,
            header=header,
            keys=keys,
            paths=self._deciding.paths(header, ingress, packet.routed, decision),
            ingress=ingress.id,
            egress=decision.egress.id,
            rules=decision.rules,
            counted=self._ledger.counted_rows(decision),
            share=share_of(ingress, decision.egress),
            decided=self._deciding.decided_now,
            moment=self._moment,
            created_ns=now,
            last_ns=now,
            talk=tcp.begin(tcp.segment_of(packet), direction, behind) if packet.protocol == TCP else None,
        )
        return Meeting(packet, connection, direction, key, opens=decision)

    def install(self, meeting: Meeting) -> None:
        """*First packet*, step 4: both directions are there from now on; the rows that allowed them count a hit."""
        connection, decision = meeting.connection, meeting.opens
        connection.id = self._flows.next_id()
        self._flows.add(connection)
        self._moment.witness.step(StepKind.INSTALL, identity=connection.id)
        self._counters.engine["flows_opened"] += 1
        for row in decision.rows if decision else ():
            self._ledger.hit(row, connection.header, connection.share or (connection.ingress, "own"))
        if _is_mid_stream(meeting.packet):
            self._counters.engine["pickups"] += 1

    # --- pick-up -----------------------------------------------------------------------------------------------------

    def _may_pick_up(self, packet: Packet) -> bool:
        """For a while after start; where both ends are loose, ever."""
        if packet.flags & (ACK | SYN | RST) != ACK:
            return False
        if self._pickup.goes_on(self._moment.now):
            return True
        leave = self._deciding.where(packet.header(), packet.vnic, packet.routed)
        return isinstance(leave, Leave) and not is_strict_between(self._moment.tables, packet.vnic, leave.egress)

    def _decide_backwards(self, header: Header, vnic: Entry, routed: bool) -> tuple[Header, Entry, Decision] | None:
        """Pick-up of a reply: the other side is the initiator, if its packets would be let through to here. What stages
        say of the sender's own source is final: whoever opened the connection, a reply from there is spoofed."""
        if self._chain.source_is_wrong(self._moment.tables, header, vnic):
            return None
        leave = self._deciding.where(header, vnic, routed)
        if isinstance(leave, Drop):
            return None
        initiator = leave.egress
        mirrored = header.reversed()
        if routed:
            own = own_mac(self._moment.tables, initiator)
            mirrored = replace(mirrored, source_mac=initiator.mac, destination_mac=own or ZERO_MAC)
        decision = self._deciding.decide(mirrored, initiator, routed)
        if isinstance(decision, Drop) or scope_of(decision.egress) != scope_of(vnic):
            return None
        return mirrored, initiator, decision


def _is_mid_stream(packet: Packet) -> bool:
    return packet.protocol == TCP and not packet.bare_syn
