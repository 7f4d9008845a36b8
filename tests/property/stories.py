"""How stories are drawn: by Hypothesis, which shrinks them, or by a seeded generator, which is many times faster."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from tests.property.commands import FEW_FRAGMENTS, FLOOD, ROOMY, STARTS, WEIGHTED, Command, Kind
from tests.property.universe import ENDS

LENGTH = 60

_number = st.one_of(st.integers(0, 7), st.integers(0, 63), st.integers(0, 4095))

commands: st.SearchStrategy[Command] = st.tuples(st.integers(0, len(WEIGHTED) - 1), _number, _number, _number, _number)
stories: st.SearchStrategy[list[Command]] = st.lists(commands, min_size=1, max_size=LENGTH)


def random_story(source: random.Random) -> list[Command]:
    """A story of the length and mixture that Hypothesis draws, from a seeded generator."""

    def number() -> int:
        return source.randrange(source.choice((8, 64, 4096)))

    return [
        (source.randrange(len(WEIGHTED)), number(), number(), number(), number())
        for _ in range(source.randint(1, LENGTH))
    ]


def random_stories(source: random.Random, count: int) -> Iterator[list[Command]]:
    """Stories from a seeded generator. Some begin with what chance brings together too seldom: each two-hundredth with
    a flood, the first of a conversation that passes; as many with more connections than there is room for, with those
    of which many have ended, and with questions that are answered and connections that are reset."""
    for place in range(count):
        story = random_story(source)
        if place % 200 == 0:
            which = source.choice((0, source.randrange(6))) if place else 0
            story.insert(0, (FLOOD, which, source.randrange(2), source.randrange(4096), source.randrange(64)))
        if place % 800 == 400:  # where a vNIC may have one fragmented datagram
            story[0] = (FLOOD, 0, *story[0][2:4], FEW_FRAGMENTS)
        if place % 200 == 100:
            story[:0] = [(WEIGHTED.index(Kind.LIFE), which, 3, 0, 69) for which in (0, 3, 4)]
        if place % 200 == 150:
            churn, begin = WEIGHTED.index(Kind.CHURN), WEIGHTED.index(Kind.LIFE)
            story[:0] = [(churn, which, 11, 50 * which, source.randrange(15)) for which in (0, 1, 3, 4)]
            story[4:4] = [(begin, which, 3, 0, 25) for which in (2, 0, 3)]
        if place % 200 == 50:
            exchange = WEIGHTED.index(Kind.EXCHANGE)
            begin, reset = WEIGHTED.index(Kind.LIFE), WEIGHTED.index(Kind.CONVERSE)
            story[:0] = [(begin, 0, 4, 0, 0), (reset, 0, 39, 1, 0)] * 5
            story[:0] = [(exchange, which, 15, 50 * which, source.randrange(21)) for which in (0, 1, 3, 4)]
        yield story


def crowded_stories(source: random.Random, count: int) -> Iterator[list[Command]]:
    """Stories that begin with more connections than there is room for, of vNICs, to vNICs, and between uplinks."""
    reshape, begin = WEIGHTED.index(Kind.RESHAPE), WEIGHTED.index(Kind.LIFE)
    for _ in range(count):
        crowd = source.sample((0, 1, 3, 4, 5), 5)
        where = ROOMY + len(STARTS) * source.randrange(8)  # the start, and which family and port
        to = (4 + len(ENDS) * source.randrange(4), 5 + len(ENDS) * source.randrange(4))  # by the uplinks to vNICs
        story = [(reshape, source.choice((2, 4)), to[0], 0, where), (reshape, 5, to[1], 0, where)]
        story += [(begin, which, 3, source.randrange(8) // 7, source.randrange(20, 50)) for which in crowd]
        yield story + random_story(source)
