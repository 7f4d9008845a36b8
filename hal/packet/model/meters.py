"""Token buckets, full at first, in whole numbers: a token is a second's worth of nanoseconds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from hal.packet.model.tracking import SECOND

Key = TypeVar("Key", bound=Hashable)


class Meters(Generic[Key]):
    """A bucket for each key: a vNIC for what it sends to the card's own programs, a share for what it has logged.

    One that gets `rate` tokens a second is `rate` deep; one of `parts` such buckets gets and holds a part of both, one
    token at least."""

    def __init__(self) -> None:
        self._buckets: dict[Key, tuple[int, int]] = {}

    def _credit(self, key: Key, rate: int, now: int, parts: int) -> int:
        deep = max(rate, parts) * SECOND
        credit, last = self._buckets.get(key, (deep, now))
        return min(deep, credit + (now - last) * rate)

    def has(self, key: Key, rate: int, now: int, parts: int = 1) -> bool:
        """True if there is a token; it stays."""
        return self._credit(key, rate, now, parts) >= parts * SECOND

    def take(self, key: Key, rate: int, now: int, parts: int = 1) -> bool:
        """A token; False if there is none."""
        credit, token = self._credit(key, rate, now, parts), parts * SECOND
        enough = credit >= token
        self._buckets[key] = (credit - token if enough else credit, now)
        return enough
