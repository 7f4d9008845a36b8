"""Flow keys, and the hash that owner, ECMP and whatever else must be the same everywhere is taken from."""

from __future__ import annotations

from typing import NamedTuple

from hal.packet.model.rows import Entry

# The first ten 64-bit words of the fractional part of pi: nothing up the sleeve.
K = (
    0x243F6A8885A308D3,
    0x13198A2E03707344,
    0xA4093822299F31D0,
    0x082EFA98EC4E6C89,
    0x452821E638D01377,
    0xBE5466CF34E90C6C,
    0xC0AC29B7C97C50DD,
    0x3F84D5B5B5470917,
    0x9216D5D98979FB1B,
    0xD1310BA698DFB5AC,
)
WORD = (1 << 64) - 1


class Scope(NamedTuple):
    """Where a flow's packets may come from: one vNIC or tap, or any uplink of a VRF (then `vnic` is None)."""

    vrf: int
    vnic: int | None


class Key(NamedTuple):
    """What tells the packets of one direction of a connection from all others."""

    scope: Scope
    routed: bool
    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int


def scope_of(vnic: Entry) -> Scope:
    return Scope(vnic.vrf, None if vnic.role == "uplink" else vnic.id)


def fold(a: int, b: int) -> int:
    """The low xor the high 64 bits of a*b."""
    product = a * b
    return (product & WORD) ^ (product >> 64)


def _words(address: bytes) -> tuple[int, int]:
    return int.from_bytes(address[:8], "big"), int.from_bytes(address[8:], "big")


def flow_hash(
    vrf: int, protocol: int, source: bytes, destination: bytes, source_port: int, destination_port: int
) -> int:
    """Of a connection's first packet; the same for both directions."""
    low, high = sorted([(source, source_port), (destination, destination_port)])
    (a0, a1), p = _words(low[0]), low[1]
    (b0, b1), q = _words(high[0]), high[1]
    h = fold(a0 ^ K[0], a1 ^ K[1]) ^ fold(b0 ^ K[2], b1 ^ K[3])
    h = fold(h ^ K[4], (p << 48 | q << 32 | protocol) ^ K[5])
    return fold(h ^ K[6], vrf ^ K[7])


def pick(hashed: int, attempt: int, total: int) -> int:
    """A point of 0..total-1 for the n-th attempt."""
    return fold(hashed ^ K[8], attempt ^ K[9]) % total


def worker_of(hashed: int, workers: int) -> int:
    """The owner of a connection. `hashed`: with 0 for its VRF, as replies may come in by another one (ADR 0196)."""
    return (hashed >> 32) * workers >> 32
