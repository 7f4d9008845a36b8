"""*How many* of docs/icmp.md: what the card makes for a vNIC, apart by address, in windows of a second."""

from __future__ import annotations

from hal.packet.model.keys import Key
from hal.packet.model.path.moment import Moment
from hal.packet.model.siphash import siphash
from hal.packet.model.tables import Tables
from hal.packet.model.tracking import SECOND

BUCKETS = 16
ERROR_BUCKETS = 64
"""Of ICMP errors that pass, by what they quote."""
ERRORS = 128 * ERROR_BUCKETS
"""A second, in a worker: a connection gets 128 at least, as many as a traceroute sends at once."""
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
        return self._take(purpose, vnic, bucket_of(self._moment.tables, purpose, vnic, address), rate // BUCKETS)

    def take_error(self, purpose: str, vnic: int, quoted: Key) -> bool:
        """One of ERRORS a second, of one of two buckets that are the connection's: who floods with errors about one has
        both, and few others have the same two."""
        ends = quoted.source + quoted.destination
        ports = quoted.source_port.to_bytes(2, "big") + quoted.destination_port.to_bytes(2, "big")
        drawn = _drawn(self._moment.tables, purpose, vnic, bytes([quoted.protocol]) + ends + ports)
        rest, first = divmod(drawn, ERROR_BUCKETS)
        choices = (first, (first + 1 + rest % (ERROR_BUCKETS - 1)) % ERROR_BUCKETS)
        return any(self._take(purpose, vnic, bucket, ERRORS // ERROR_BUCKETS) for bucket in choices)

    def _take(self, purpose: str, vnic: int, bucket: int, part: int) -> bool:
        tables, second = self._moment.tables, self._moment.now // SECOND
        window, left = self._left.get((purpose, vnic, bucket), (-1, 0))
        if window != second:
            left = allowance(tables, purpose, vnic, bucket, second, part)
        self._left[purpose, vnic, bucket] = second, max(left - 1, 0)
        return left > 0


def bucket_of(tables: Tables, purpose: str, vnic: int, address: bytes) -> int:
    """Which of a vNIC's buckets an address has, of those for this purpose."""
    return _drawn(tables, purpose, vnic, address) % BUCKETS


def allowance(tables: Tables, purpose: str, vnic: int, bucket: int, window: int, part: int) -> int:
    """How many a bucket has in a window: its even part at the mean, between half of that and three halves."""
    place = bytes([bucket]) + window.to_bytes(8, "big") + WORKER.to_bytes(2, "big")
    return max(1, part // 2 + _drawn(tables, purpose, vnic, place) % (part + 1))


def _drawn(tables: Tables, purpose: str, vnic: int, what: bytes) -> int:
    return siphash(_key(tables), purpose.encode() + vnic.to_bytes(8, "big") + what)


def _key(tables: Tables) -> bytes:
    seeds = tables.select("seed")
    key: bytes = seeds[0].value if seeds else bytes(16)
    return key
