"""Token buckets, full at first, in whole numbers: a token is a second's worth of nanoseconds."""

from __future__ import annotations

from hal.packet.model.flows import SECOND


class Meters:
    """One bucket a vNIC for what it sends to the card's own programs."""

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[int, int]] = {}

    def take(self, vnic: int, rate: int, now: int) -> bool:
        """A token of the bucket that gets `rate` of them a second and is `rate` deep; False if there is none."""
        credit, last = self._buckets.get(vnic, (rate * SECOND, now))
        credit = min(rate * SECOND, credit + (now - last) * rate)
        enough = credit >= SECOND
        self._buckets[vnic] = (credit - SECOND if enough else credit, now)
        return enough
