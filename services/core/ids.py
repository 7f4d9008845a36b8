"""Stable ids of entries: a hash of what the entry is, so that an edit elsewhere moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from hal.packet.schema.declare import NONE_ID

Hash = Callable[[bytes], int]


def hash64(data: bytes) -> int:
    """64 bits of BLAKE2b (RFC 7693)."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


class Ids:
    """Gives each (table, name, part) its id. One is made for each plan; it remembers, to tell collisions apart.

    Two things whose hashes are the same are told apart in the order in which they are asked for, which is that of
    planning: the same objects give the same ids. With 64 bits and a million entries that happens once in 37 million
    plans; elsewhere an id depends on nothing but its own three words.
    """

    def __init__(self, hash_function: Hash = hash64) -> None:
        self._hash = hash_function
        # The default VRF is 0, so that whoever writes routes by hand can name it.
        self._known: dict[tuple[str, str, str], int] = {("vrf", "default", ""): 0}
        self._taken: set[tuple[str, int]] = {("vrf", 0)}

    def __call__(self, table: str, name: str, part: str = "") -> int:
        key = (table, name, part)
        known = self._known.get(key)
        if known is not None:
            return known
        attempt = 0
        while True:
            more = (str(attempt),) if attempt else ()
            found = self._hash("\0".join((*key, *more)).encode())
            if found != NONE_ID and (table, found) not in self._taken:
                break
            attempt += 1
        self._taken.add((table, found))
        self._known[key] = found
        return found
