"""How stories are drawn: by Hypothesis, which shrinks them, or by a seeded generator, which is many times faster."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from tests.property.commands import WEIGHTED, Command

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
