"""Flags, and what belongs to nothing."""

from __future__ import annotations

from tests.opinions.odd.story import Story, story


@story(
    "flags-first",
    flags=(
        "",
        "F",
        "P",
        "U",
        "FPU",
        "SF",
        "SR",
        "FR",
        "SFRPAU",
        "A",
        "PA",
        "FA",
        "R",
        "RA",
        "SA",
        "SE",
        "SEC",
        "SP",
        "SU",
    ),
)
def _flags_first(s: Story, flags: str) -> None:
    """As the first packet of all."""
    s.a(flags, 0, 1)


@story("flags-then", flags=("", "F", "P", "U", "FPU", "SF", "SR", "FR", "SFRPAU", "UA", "PUA", "AE", "AC"))
def _flags_then(s: Story, flags: str) -> None:
    """Within a connection."""
    s.opens()
    s.says_hello()
    s.a(flags, 101, 101)
    s.goes_on()


GUESSES = (20_000, 1 << 20, 1 << 30, 3 << 30)


@story("blind-ack", off=GUESSES)
def _blind_ack(s: Story, off: int) -> None:
    """RFC 5961 5: data with a sequence number that is right, and an acknowledgement that is guessed."""
    s.opens()
    s.says_hello()
    s.a("PA", 101, 101 + off, 10)
    s.goes_on()


@story("blind-data", off=GUESSES)
def _blind_data(s: Story, off: int) -> None:
    """RFC 5961 5: the other way round."""
    s.opens()
    s.says_hello()
    s.a("PA", 101 + off, 101, 10)
    s.goes_on()
