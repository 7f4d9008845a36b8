"""*Challenges* of docs/tracking.md: which of the segments that may be forged are asked about."""

from __future__ import annotations

from hal.packet.contract import EventKind, LoadConfig
from hal.packet.frame.schema import LEAST_CHALLENGES
from hal.packet.model import headers
from hal.packet.model.flows import Connection
from hal.packet.model.parse import Ask, Packet
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.sending import Sending
from hal.packet.model.path.told import Told
from hal.packet.model.path.windows import Windows
from hal.packet.model.path.wire import TCP_CHALLENGE

STAMP_BITS = 29
"""Of nanoseconds: a stamp is half a second."""


class Challenges:
    """The limits of a shard. Who sends to a vNIC must not be able to read out of what is left of a limit what somebody
    else's segments did (CVE-2016-5696): so all that could be asked about counts, before it is known whether it will be,
    and a connection takes two a second at most, which is less than what chance adds to the limit."""

    def __init__(self, moment: Moment, config: LoadConfig, told: Told, sending: Sending) -> None:
        self._moment = moment
        self._sending = sending
        self._told = told
        self._config = config
        self._windows = Windows(moment)

    def count(self, connection: Connection, direction: int, packet: Packet, ask: Ask | None) -> None:
        """A segment of this direction counts as challenged. Its sender is asked, where there is what to ask, and limits
        allow it: as its receiver would, by the way that its packets take."""
        if self.may_ask(connection) and self._may(connection, packet) and ask:
            self._sending.make(connection, 1 - direction, headers.challenge(packet, ask), TCP_CHALLENGE)

    def may_ask(self, connection: Connection) -> bool:
        """One segment of it may be asked about in half a second, by the card or by whoever gets it: this one is."""
        stamp = (self._moment.now >> STAMP_BITS) & 0xFFFF or 1
        if stamp == connection.challenged:
            return False
        connection.challenged = stamp
        return True

    def _may(self, connection: Connection, packet: Packet) -> bool:
        vnic = connection.share[0] if connection.share else packet.vnic.id
        row = self._moment.tables.get("vnic", vnic)
        limit = (row.challenge_limit if row else 0) or self._config.challenge_limit
        if self._windows.take("challenge", vnic, packet.source, max(limit, LEAST_CHALLENGES)):
            return True
        self._told.refuses("challenge_limit", (vnic, "own"))
        self._told.bites(EventKind.CHALLENGE_LIMIT, (vnic, "own"))
        return False
