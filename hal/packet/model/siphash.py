"""SipHash-2-4 (Aumasson and Bernstein, 2012): what must not be guessed though it is chosen by what is known."""

from __future__ import annotations

WORD = (1 << 64) - 1


def siphash(key: bytes, message: bytes) -> int:
    """64 bits of a message under a key of 16 bytes."""
    k0, k1 = (int.from_bytes(key[place : place + 8], "little") for place in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    tail = len(message) % 8
    padded = message + bytes(7 - tail) + bytes([len(message) & 0xFF])
    for place in range(0, len(padded), 8):
        block = int.from_bytes(padded[place : place + 8], "little")
        v[3] ^= block
        _rounds(v, 2)
        v[0] ^= block
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = (v[0] + v[1]) & WORD
        v[2] = (v[2] + v[3]) & WORD
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] = _rotated(v[0], 32)
        v[2] = (v[2] + v[1]) & WORD
        v[0] = (v[0] + v[3]) & WORD
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] = _rotated(v[2], 32)


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & WORD
