"""*Challenges* of docs/forwarding.md: which of the segments that may be forged are asked about."""

from __future__ import annotations

from hal.packet.contract import EventKind, LoadConfig
from hal.packet.model.flows import Connection
from hal.packet.model.meters import Meters
from hal.packet.model.parse import Packet
from hal.packet.model.path.moment import Moment
from hal.packet.model.path.told import Told
from hal.packet.model.siphash import siphash
from hal.packet.model.tables import Tables

BUCKETS = 16
STAMP_BITS = 29
"""Of nanoseconds: a stamp is half a second."""


class Challenges:
    """The limits of a shard. Who sends to a vNIC must not be able to read out of what is left of a limit what somebody
    else's segments did (CVE-2016-5696): so buckets are apart by address, in a way nobody can know, and all that could
    be asked about counts, before it is known whether it will be."""

    def __init__(self, moment: Moment, config: LoadConfig, told: Told) -> None:
        self._moment = moment
        self._told = told
        self._config = config
        self._buckets: Meters[tuple[int, int]] = Meters()

    def may(self, connection: Connection, packet: Packet) -> bool:
        """A segment of this connection counts as challenged: may its sender be asked?"""
        stamp = (self._moment.now >> STAMP_BITS) & 0xFFFF or 1
        if stamp == connection.challenged:
            return False
        connection.challenged = stamp
        vnic = connection.share[0] if connection.share else packet.vnic.id
        row = self._moment.tables.get("vnic", vnic)
        limit = (row.challenge_limit if row else 0) or self._config.challenge_limit
        bucket = bucket_of(self._moment.tables, "challenge", vnic, packet.source)
        if self._buckets.take((vnic, bucket), limit, self._moment.now, BUCKETS):
            return True
        self._told.bites(EventKind.CHALLENGE_LIMIT, (vnic, "own"))
        return False


def bucket_of(tables: Tables, purpose: str, vnic: int, address: bytes) -> int:
    """Which of a vNIC's buckets an address has, of those for this purpose."""
    seeds = tables.select("seed")
    key = seeds[0].value if seeds else bytes(16)
    return siphash(key, purpose.encode() + vnic.to_bytes(8, "big") + address) % BUCKETS
