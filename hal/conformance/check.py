"""A check: a small function with a name, a level, and the sentences of the contract that it holds a card to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hal.errors import ErrorKind, HalError

if TYPE_CHECKING:
    from hal.conformance.bench import Bench

__all__ = ["VERBS", "Check", "Level", "Unmet", "check", "checks_of", "equal", "expect", "raises"]


class Level(IntEnum):
    """What a card can be admitted for; each level includes those before it."""

    TABLES = 1
    STATELESS = 2
    STATEFUL = 3
    NAT = 4
    ALL = 5

    @property
    def word(self) -> str:
        """As `Capabilities.level` says it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Level:
        """Raises HalError(INVALID) for a word that is no level."""
        for level in cls:
            if level.word == word:
                return level
        raise HalError(ErrorKind.INVALID, f"level {word}", limit="one of " + ", ".join(one.word for one in cls))


VERBS = {
    "commit": Level.TABLES,
    "outcome": Level.TABLES,
    "snapshot": Level.TABLES,
    "capabilities": Level.TABLES,
    "counters": Level.STATELESS,
    "events": Level.STATELESS,
    "stage": Level.STATELESS,
    "trace": Level.STATELESS,
    "shard": Level.ALL,
    "flows": Level.STATEFUL,
    "neighbours": Level.STATEFUL,
    "forget": Level.STATEFUL,
    "settle": Level.STATEFUL,
}
"""Verbs that a card may declare absent, and the level from which on it has to have them. (One without `shard` is
driven through its ports.)"""


class Unmet(AssertionError):
    """The card does not do what the contract says."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: the function's.
        level: the lowest level that has to pass it.
        sentences: of the contract, word for word.
        needs: verbs, stages, "wire" (means to send and receive by the ports), "packets" (a wire or `replay`), other
            means of the device ("hang", "cut", "kill", "damages"), without which it can't be done.
        body: raises `Unmet`.
        waits: seconds of the card's time that it lets pass, where those are many.
    """

    name: str
    level: Level
    sentences: tuple[str, ...]
    needs: tuple[str, ...]
    body: Callable[[Bench], None]
    waits: int = 0

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (self.body.__doc__ or "").strip().splitlines()[0] if self.body.__doc__ else ""


def check(
    level: Level, *sentences: str, needs: Iterable[str] = (), waits: int = 0
) -> Callable[[Callable[[Bench], None]], Check]:
    """Make a check of a function."""

    def made(body: Callable[[Bench], None]) -> Check:
        return Check(body.__name__, level, sentences, tuple(needs), body, waits)

    return made


def checks_of(module: ModuleType) -> list[Check]:
    """The checks of a module, as they stand in it."""
    return [thing for thing in vars(module).values() if isinstance(thing, Check)]


def expect(holds: object, words: str) -> None:
    """Raises Unmet with these words, which say what isn't so, unless `holds`."""
    if not holds:
        raise Unmet(words)


def equal(got: Any, wanted: Any, what: str) -> None:
    expect(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def raises(kinds: ErrorKind | tuple[ErrorKind, ...], call: Callable[[], Any], what: str) -> HalError:
    """The error that `call` has to raise. Raises Unmet where it raises none, or one of another kind."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    words = " or ".join(kind.name for kind in kinds)
    try:
        answer = call()
    except HalError as error:
        expect(error.kind in kinds, f"{what} was refused as {error.kind.name}, not as {words}: {error}")
        return error
    raise Unmet(f"{what} was not refused (as {words}) but answered {answer!r}")
