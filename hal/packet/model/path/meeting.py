"""A packet meets its connection: by its own key, by the first fragment it follows, or by what an ICMP error quotes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self

from hal.packet.contract import StepKind, TcpState
from hal.packet.model import tcp, windows
from hal.packet.model.chain import Chain, Decision
from hal.packet.model.flows import Connection, FlowTable
from hal.packet.model.fragments import Fragments
from hal.packet.model.guard import routers_alone
from hal.packet.model.headers import checksum_is_right
from hal.packet.model.icmp_errors import check_error, quoted_packet
from hal.packet.model.keys import Key, scope_of
from hal.packet.model.ops import Path
from hal.packet.model.parse import ECHO_REPLY, ECHO_REQUEST, Dropped, Fragment, Packet
from hal.packet.model.path.challenges import Challenges
from hal.packet.model.path.errors import Errors
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.pickup import PickUp


class By(Enum):
    """What a packet found its connection by; the value is why it is dropped where that leads elsewhere now."""

    KEY = ""
    FRAGMENT = "fragment_no_first"
    QUOTE = "icmp_error_unrelated"


@dataclass(frozen=True)
class Meeting:
    """A packet and the connection that it belongs to.

    Args:
        direction: that it goes in, 0 for the initiator's.
        key: that it has, or would have as a packet of its own.
        opens: what the chain said, where this is the connection's first packet.
        reaches: the sequence number behind a later fragment of TCP.
    """

    packet: Packet
    connection: Connection
    direction: int
    key: Key
    by: By = By.KEY
    opens: Decision | None = None
    reaches: int | None = None

    @property
    def path(self) -> Path:
        """What the connection does with packets of this direction."""
        return self.connection.paths[self.direction]

    def still(self) -> Self | None:
        """The same, if re-evaluation left the key to the connection. None: this is a first packet after all."""
        if self.connection.keys[self.direction] == self.key:
            return self
        if self.by.value:
            raise Dropped(self.by.value)
        return None

    def count(self, now: int) -> None:
        """Count the packet; an ICMP error keeps no connection alive and is no reply, and nothing keeps a closed one."""
        self.connection.count(self.direction, len(self.packet.ip))
        if self.by is not By.QUOTE:
            if self.connection.tcp is not TcpState.CLOSED:
                self.connection.last_ns = now
            self.connection.heard(self.direction)


class Meetings:
    """Finds the connections of packets."""

    def __init__(
        self,
        moment: Moment,
        chain: Chain,
        flows: FlowTable,
        fragments: Fragments,
        challenges: Challenges,
        errors: Errors,
        pickup: PickUp,
    ) -> None:
        self._moment = moment
        self._chain = chain
        self._flows = flows
        self._fragments = fragments
        self._challenges = challenges
        self._errors = errors
        self._pickup = pickup

    def by_key(self, packet: Packet) -> Meeting | None:
        """*Order of checks*, steps 14 and 15. None: a first packet."""
        if packet.is_icmp and packet.icmp_type not in (ECHO_REQUEST[packet.protocol], ECHO_REPLY[packet.protocol]):
            raise Dropped(routers_alone(packet.vnic, packet.protocol, packet.icmp_type) or "icmp_type")
        key = key_of(packet)
        found = self._flows.find(key, self._moment.now)
        if found is None:
            return None
        if packet.is_icmp and packet.icmp_type != (ECHO_REQUEST, ECHO_REPLY)[found[1]][packet.protocol]:
            raise Dropped("icmp_type")  # of identifier 0 the key of a request is that of a reply
        return self._meet(Meeting(packet, *found, key))

    def by_first_fragment(self, packet: Packet, fragment: Fragment) -> Meeting:
        """*Fragments*: a later one goes where its first went."""
        first = self._fragments.first_of(packet, fragment)
        connection, direction = first.connection, first.direction
        if not self._flows.holds(connection, self._moment.now):
            raise Dropped("fragment_no_first")
        self._fragments.follow(packet, fragment, first)
        key = connection.keys[direction]._replace(scope=scope_of(packet.vnic))
        reaches = None if first.base is None else windows.plus(first.base, packet.end_of(fragment))
        return self._meet(Meeting(packet, connection, direction, key, By.FRAGMENT, reaches=reaches))

    def by_quote(self, packet: Packet) -> Meeting:
        """*ICMP errors that pass*: to who sent the packet that it quotes, in that one's connection."""
        if packet.fragment:
            raise Dropped("icmp_error_invalid")
        if not checksum_is_right(packet):
            raise Dropped("l4_checksum")  # RFC 5508 REQ-3
        check_error(packet)
        if reason := self._chain.source_is_wrong(self._moment.tables, packet.header(), packet.vnic):
            raise Dropped(reason)
        quoted = quoted_packet(packet)
        if quoted is None or quoted.destination != packet.destination:
            raise Dropped("icmp_error_unrelated")
        key = Key(scope_of(packet.vnic), packet.routed, *quoted[:5])
        found = self._flows.find(key, self._moment.now)
        if found is None:
            raise Dropped("icmp_error_unrelated")
        connection, direction = found
        self._errors.take(packet, key)  # first: no number of the connection may decide whether it takes one
        if not connection.packets[1 - direction]:
            raise Dropped("icmp_error_unrelated")
        held = connection.talk if connection.talk and connection.is_strict else None
        if held and not tcp.could_have_sent(held, 1 - direction, quoted.sequence):
            raise Dropped("icmp_error_unrelated")  # RFC 5927 4.1
        return self._meet(Meeting(packet, *found, key, By.QUOTE))

    def _meet(self, meeting: Meeting) -> Meeting:
        self._moment.witness.step(StepKind.FLOW, identity=meeting.connection.id, value=meeting.direction)
        return meeting

    def follow(self, meeting: Meeting) -> Meeting | None:
        """*TCP*: follow the connection from handshake to close. None: this is the first packet of another one
        in its place, if it may be: a bare SYN behind its end, or what is taken up anew."""
        packet, connection, direction = meeting.packet, meeting.connection, meeting.direction
        if connection.talk is None or meeting.by is By.QUOTE:
            return meeting
        if meeting.by is By.FRAGMENT:
            if meeting.reaches is not None:
                connection.talk = tcp.reached(connection.talk, direction, meeting.reaches)
            return meeting
        picks_up = self._pickup.goes_on(self._moment.now)
        segment, strict = tcp.segment_of(packet), connection.is_strict
        outcome = tcp.follow(connection.talk, segment, direction, strict=strict, picks_up=picks_up)
        if isinstance(outcome, tcp.Anew):
            return None
        if isinstance(outcome, tcp.Signed):
            if not self._challenges.may_ask(connection):
                raise Dropped("tcp_challenged")
            outcome = connection.talk
        if isinstance(outcome, tcp.Refused):
            if outcome.counts:
                self._challenges.count(connection, direction, packet, outcome.challenge)
            raise Dropped(outcome.reason)
        if outcome.state is TcpState.CLOSED and connection.tcp is not TcpState.CLOSED:
            connection.last_ns = self._moment.now  # nothing renews it from now on
        connection.talk = outcome
        self._flows.turned(connection)
        self._moment.witness.step(StepKind.STATE, identity=connection.id, value=outcome.state)
        return meeting


def key_of(packet: Packet) -> Key:
    return Key(
        scope_of(packet.vnic),
        packet.routed,
        packet.protocol,
        packet.source,
        packet.destination,
        packet.source_port,
        packet.destination_port,
    )
