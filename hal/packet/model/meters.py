"""Token buckets, full at first, in whole numbers: a token is a second's worth of nanoseconds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from hal.packet.model.tracking import SECOND

Key = TypeVar("Key", bound=Hashable)


class Meters(Generic[Key]):
    """A bucket for each key: a vNIC for what it sends to the card's own programs, a share for what it has logged."""

    def __init__(self) -> None:
        self._buckets: dict[Key, tuple[int, int]] = {}

    def take(self, key: Key, rate: int, now: int, parts: int = 1) -> bool:
        """A token of the bucket that gets `rate` of them a second and is `rate` deep; False if there is none. One of
        `parts` such buckets gets and holds a part of both, one token at least."""
        token = parts * SECOND
        deep = max(rate * SECOND, token)
        credit, last = self._buckets.get(key, (deep, now))
        credit = min(deep, credit + (now - last) * rate)
        enough = credit >= token
        self._buckets[key] = (credit - token if enough else credit, now)
        return enough
