"""Priorities of rules: spaced, and kept from one plan to the next, so that one rule put in is one row written.

No function of the rules alone can do that: an order written as numbers has no room left somewhere after some
insertion. So the numbers that are installed go in, and what keeps its order keeps its number (ADR 0010).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SPACING = 1 << 15
"""Between two rules that are new: 131,072 rules, the table's capacity, fit below 2**32."""
END = 1 << 32
"""The first number that is no priority."""


def assign(previous: Sequence[int | None]) -> list[int]:
    """Priorities for rules in their order; `previous` has the installed one of each, None for those that are new.

    Ascending, and as few changes as possible: the longest ascending run of the installed ones stays; where there is
    no room between two that stay, ever more neighbours give theirs up, until there is.
    """
    kept = _ascending(previous)
    while (crowded := _crowded(kept)) is not None:
        first, last = crowded
        reach = max(1, last - first)
        for index in range(max(0, first - reach), min(len(kept), last + 1 + reach)):
            kept[index] = None
    return _filled(kept)


def _ascending(previous: Sequence[int | None]) -> list[int | None]:
    """The same with only a longest strictly ascending subsequence left."""
    tails: list[int] = []
    at: list[int] = []
    before: list[int] = [-1] * len(previous)
    for index, value in enumerate(previous):
        if value is None or not 0 < value < END:
            continue
        place = bisect_left(tails, value)
        before[index] = at[place - 1] if place else -1
        tails[place : place + 1] = [value]
        at[place : place + 1] = [index]
    kept: list[int | None] = [None] * len(previous)
    index = at[-1] if at else -1
    while index >= 0:
        kept[index] = previous[index]
        index = before[index]
    return kept


def _gaps(kept: Sequence[int | None]) -> list[tuple[int, int, int, int]]:
    """Runs of rules without a number: (first index, last index, number before, number behind)."""
    gaps = []
    start, low = 0, 0
    for index, value in enumerate([*kept, END]):
        if value is None:
            continue
        if index > start:
            gaps.append((start, index - 1, low, value))
        start, low = index + 1, value
    return gaps


def _crowded(kept: Sequence[int | None]) -> tuple[int, int] | None:
    """The first run for which there aren't enough numbers."""
    for first, last, low, high in _gaps(kept):
        if high - low - 1 < last - first + 1:
            return first, last
    return None


def _filled(kept: list[int | None]) -> list[int]:
    result = [0 if value is None else value for value in kept]
    for first, last, low, high in _gaps(kept):
        count = last - first + 1
        # At the end there is room for the usual distance; in between the gap is shared out.
        step = min(SPACING, (high - low) // (count + 1)) if high == END else (high - low) / (count + 1)
        for number in range(count):
            result[first + number] = low + int(step * (number + 1))
    return result
