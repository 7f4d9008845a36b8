"""Numbers that count from the start of an engine: they mean nothing in another life of the card."""

from __future__ import annotations

from typing import Any, Self

from hal.errors import ErrorKind, HalError

__all__ = ["Cursor", "Generation"]


class _OfLife(int):
    """A number of one life of a card: an int everywhere, and equal to no number of another life.

    Args:
        number: 0 or more.
        life: drawn by the card at its start, 64 bits.
    """

    life: int

    def __new__(cls, number: int, life: int) -> Self:
        made = super().__new__(cls, number)
        made.life = life
        return made

    @classmethod
    def of(cls, token: str) -> Self:
        """What `token` gave, as from a file. Raises HalError(INVALID) for another text."""
        number, _, life = token.strip().partition("@")
        try:
            if not (number.isascii() and number.isdecimal()):
                raise ValueError
            return cls(int(number), int(life, 16))
        except ValueError:
            what = cls.__name__.lower()
            raise HalError(ErrorKind.INVALID, what, limit="NUMBER@LIFE", got=token, fix="Keep its token.") from None

    @property
    def token(self) -> str:
        """Number and life as text, to be kept in a file."""
        return f"{int(self)}@{self.life:016x}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _OfLife) and other.life != self.life:
            return False
        return int.__eq__(self, other)  # type: ignore[arg-type, no-any-return, unused-ignore]

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__

    def __str__(self) -> str:
        return int.__repr__(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.of({self.token!r})"

    def __getnewargs__(self) -> Any:
        return int(self), self.life


class Generation(_OfLife):
    """A generation of a card's tables, and in which life of the card."""


class Cursor(_OfLife):
    """How far a reader has read a card's events, and in which life of the card."""
