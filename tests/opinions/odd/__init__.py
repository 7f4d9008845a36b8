"""Ill-behaved hosts: packets that scapy builds, each story a handful of them around one corner of the RFCs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.opinions.capture import Capture
from tests.opinions.odd import ends, flags, handshakes, others, resets, windows
from tests.opinions.odd.story import STORIES, Story

__all__ = ["captures", "ends", "flags", "handshakes", "others", "resets", "windows"]


def captures() -> Iterator[Capture]:
    """Every story, in both families."""
    for name, teller in STORIES.items():
        for v6 in (False, True):
            told = Story(v6)
            teller(told)
            if told.frames:
                yield Capture(f"odd/{name}-{'v6' if v6 else 'v4'}", told.frames)
