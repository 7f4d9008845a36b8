"""How many of what the card makes a bucket has in a second, as docs/icmp.md has it (*How many*)."""

from __future__ import annotations

from ipaddress import ip_address

from hal.packet.model.siphash import siphash
from hal.packet.schema.rows import MAPPED

SECOND = 1_000_000_000


def packed(address: str) -> bytes:
    plain = ip_address(address)
    return MAPPED + plain.packed if plain.version == 4 else plain.packed


def bucket(purpose: str, vnic: int, address: str, seed: bytes = bytes(16)) -> int:
    return siphash(seed, purpose.encode() + vnic.to_bytes(8, "big") + packed(address)) % 16


def allowance(purpose: str, vnic: int, place: int, now: int, rate: int, seed: bytes = bytes(16)) -> int:
    """Of this bucket in the second of `now`, on the first worker of one."""
    part, second = max(rate, 512 if purpose == "challenge" else 0) // 16, now // SECOND
    message = purpose.encode() + vnic.to_bytes(8, "big") + bytes([place]) + second.to_bytes(8, "big") + bytes(2)
    return max(1, part // 2 + siphash(seed, message) % (part + 1))


def allowed(purpose: str, vnic: int, address: str, now: int, rate: int, seed: bytes = bytes(16)) -> int:
    """For this address, where nobody else of its bucket has taken any."""
    return allowance(purpose, vnic, bucket(purpose, vnic, address, seed), now, rate, seed)
