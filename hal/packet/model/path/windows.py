"""*How many* of docs/forwarding.md: what the card makes for a vNIC, apart by address, in windows of a second."""

from __future__ import annotations

from hal.packet.model.path.moment import Moment
from hal.packet.model.siphash import siphash
from hal.packet.model.tables import Tables
from hal.packet.model.tracking import SECOND

BUCKETS = 16
CHALLENGES = 512
"""What a limit of challenges is at least, a second in a worker: below 32 a bucket there is no chance in what is left
of it that could hide the two a second that a connection takes."""
WORKER = 0
"""The twin is the first of one."""


class Windows:
    """How many are left of each bucket. Who counts what he gets must not learn what others got (CVE-2016-5696,
    CVE-2020-25705): the buckets are apart by address, and each has another number of its own every second, in a way
    nobody outside can know."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._left: dict[tuple[str, int, int], tuple[int, int]] = {}
        """Purpose, vNIC, bucket -> window, left."""

    def take(self, purpose: str, vnic: int, address: bytes, rate: int) -> bool:
        """One of `rate` a second that a vNIC has for this purpose, of the address's bucket; False if none is left."""
        tables, second = self._moment.tables, self._moment.now // SECOND
        bucket = bucket_of(tables, purpose, vnic, address)
        window, left = self._left.get((purpose, vnic, bucket), (-1, 0))
        if window != second:
            left = allowance(tables, purpose, vnic, bucket, second, rate)
        self._left[purpose, vnic, bucket] = second, max(left - 1, 0)
        return left > 0


def bucket_of(tables: Tables, purpose: str, vnic: int, address: bytes) -> int:
    """Which of a vNIC's buckets an address has, of those for this purpose."""
    return siphash(_key(tables), purpose.encode() + vnic.to_bytes(8, "big") + address) % BUCKETS


def allowance(tables: Tables, purpose: str, vnic: int, bucket: int, window: int, rate: int) -> int:
    """How many a bucket has in a window: its even part at the mean, between half of that and three halves."""
    part = rate // BUCKETS
    place = bytes([bucket]) + window.to_bytes(8, "big") + WORKER.to_bytes(2, "big")
    drawn = siphash(_key(tables), purpose.encode() + vnic.to_bytes(8, "big") + place)
    return max(1, part // 2 + drawn % (part + 1))


def _key(tables: Tables) -> bytes:
    seeds = tables.select("seed")
    key: bytes = seeds[0].value if seeds else bytes(16)
    return key
