"""*How many pass* of docs/icmp.md: ICMP errors are limited by the connection that they quote."""

from __future__ import annotations

from hal.packet.contract import EventKind
from hal.packet.model.keys import Key
from hal.packet.model.parse import Dropped, Packet
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.told import Told
from hal.packet.model.path.whom import whom
from hal.packet.model.path.windows import Windows


class Errors:
    """The limits of a shard. Who has connections of his own to a vNIC sees what errors about somebody else's have left
    of a bucket (CVE-2016-5696): so each counts that quotes a connection's addresses and ports, before its number is
    looked at."""

    def __init__(self, moment: Moment, told: Told) -> None:
        self._told = told
        self._windows = Windows(moment)
        self._moment = moment

    def take(self, packet: Packet, key: Key) -> None:
        """May this be one more error about the connection of which `key` is the key of packets that go its way?
        Whether it passes then: takes one all the same. (`icmp_error_limit`)"""
        share = whom(self._moment.tables, packet)[1]
        purpose = "error to" if share[1] == "inbound" else "error"
        if not self._windows.take_error(purpose, share[0], key):
            self._told.refuses("icmp_error_limit", share)
            self._told.bites(EventKind.ICMP_LIMIT, share)
            raise Dropped("icmp_error_limit")
