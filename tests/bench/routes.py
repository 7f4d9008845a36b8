"""A full Internet table as arrays: the real one where it is, else one made in its shape."""

import gzip
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.generator import ROOT

REAL = ROOT.parent / "shared" / "data" / "routes" / "internet_prefixes.txt.gz"
MAPPED = 0xFFFF << 32

# Prefixes of each length in a table of 2024, those that matter.
IPV4 = {
    24: 537_698, 23: 96_510, 22: 108_623, 21: 50_750, 20: 42_611, 19: 24_870, 18: 13_798, 17: 8_235, 16: 13_490,
    15: 2_100, 14: 1_203, 13: 581, 12: 299, 11: 103, 10: 38, 9: 13, 8: 16, 32: 886, 25: 20, 28: 18,
}  # fmt: skip
IPV6 = {
    48: 75_488, 32: 22_548, 44: 14_365, 40: 13_418, 36: 5_996, 29: 4_371, 47: 3_153, 46: 3_039, 33: 2_926, 34: 2_603,
    42: 2_301, 38: 1_617, 45: 1_553, 39: 1_377, 35: 1_043, 43: 1_001, 41: 903, 37: 880, 30: 650, 31: 284, 28: 193,
    64: 184,
}  # fmt: skip

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Table:
    """Prefixes as the tables hold them: addresses of shape (n, 16), lengths of 0-128; where they come from."""

    addresses: Bytes
    lengths: Bytes
    origin: str

    def __len__(self) -> int:
        return len(self.lengths)


def _real(path: Path) -> Table:
    packed, lengths = bytearray(), bytearray()
    with gzip.open(path, "rt") as lines:
        for line in lines:
            text, _, length = line.strip().partition("/")
            if ":" in text:
                packed += ipaddress.IPv6Address(text).packed
                lengths.append(int(length))
            else:
                packed += (MAPPED | int(ipaddress.IPv4Address(text))).to_bytes(16, "big")
                lengths.append(96 + int(length))
    return Table(np.frombuffer(packed, np.uint8).reshape(-1, 16), np.frombuffer(lengths, np.uint8), "a real table")


def _unique(draw: np.random.Generator, base: int, width: int, length: int, count: int) -> list[int]:
    """`count` prefixes of one length below a base of `width` bits, in clusters as assignments are."""
    free = length - width
    found: set[int] = set()
    while len(found) < min(count, 1 << free):
        start = int(draw.integers(0, 1 << free))
        run = int(draw.geometric(0.2))
        found.update((start + step) % (1 << free) for step in range(run))
    return [base | (value << (128 - length)) for value in sorted(found)[:count]]


def _made(seed: int = 1) -> Table:
    draw = np.random.default_rng(seed)
    packed, lengths = bytearray(), bytearray()
    for family, shape in ((4, IPV4), (6, IPV6)):
        for length, count in shape.items():
            whole = length + 96 if family == 4 else length
            # Below 2000::/3; of IPv4 all of it: no table cares who owns what.
            base, width = (MAPPED << 0, 96) if family == 4 else (0x2 << 124, 3)
            for value in _unique(draw, base, width, whole, count):
                packed += value.to_bytes(16, "big")
                lengths.append(whole)
    return Table(
        np.frombuffer(packed, np.uint8).reshape(-1, 16), np.frombuffer(lengths, np.uint8), "made in a real one's shape"
    )


def full_table(most: int | None = None, path: Path = REAL) -> Table:
    """The table, or as many of its prefixes, evenly taken."""
    table = _real(path) if path.exists() else _made()
    if most is None or most >= len(table):
        return table
    some = np.linspace(0, len(table) - 1, most).astype(np.int64)
    return Table(table.addresses[some], table.lengths[some], f"{len(some):,} of {table.origin}")


def address_only_in(table: Table, avoid: tuple[str, ...]) -> str:
    """An IPv4 address that a prefix of the table covers and none of `avoid` does."""
    nets = [ipaddress.IPv4Network(text) for text in avoid]
    for packed, length in zip(table.addresses, table.lengths, strict=True):
        if 96 + 20 <= length <= 96 + 24 and packed[:10].any() == np.False_ and 1 <= packed[12] < 224:
            address = ipaddress.IPv4Address(packed[12:].tobytes()) + 1
            if packed[12] not in (10, 127) and not any(address in net for net in nets):
                return str(address)
    raise ValueError("no prefix of this table will do")
