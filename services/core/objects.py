"""Objects of an intent: what they are called, what they ask for and where that is written."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from hal.text import printable_line

M_co = TypeVar("M_co", bound=Message, covariant=True)
M = TypeVar("M", bound=Message)

MAX_CANDIDATES = 500
"""How many names a misspelt one is compared with: difflib is slow, and a list of guesses is not the work."""

MAX_PROBLEMS: Final = 1000
"""How many problems of an intent are told; those beyond are counted."""
EXCERPT: Final = 120
"""How many characters of a line are shown, and kept."""
BEFORE: Final = 60
"""How many of them stand before the place, where there are so many."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where something is written: line and column from 1, `length` characters of that line."""

    file: str
    line: int
    column: int
    length: int = 1

    def inside(self, offset: int, length: int = 1) -> Position:
        """The place `offset` characters further on in the same line."""
        return Position(self.file, self.line, self.column + offset, max(1, length))


NOWHERE = Position("", 0, 0)
"""The position of what no file says: defaults, and objects that came as messages."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an intent, or only doubtful (`warning`).

    Args:
        position: where it is.
        message: what is wrong, with what was there.
        object: kind and name, as "Vnic web".
        field: the field as written, as "addresses[1]".
        limit: what would have been right.
        fix: one imperative sentence.
        nearest: the known name that was probably meant.
        excerpt: the line of the file, of a long one what `excerpt` makes of it.
    """

    position: Position
    message: str
    object: str = ""
    field: str = ""
    limit: str = ""
    fix: str = ""
    nearest: str = ""
    excerpt: str = ""
    warning: bool = False

    @property
    def sentence(self) -> str:
        """Everything but the excerpt, in one line that is printable whatever the file says."""
        at = self.position
        place = f"{at.file}:{at.line}:{at.column}: " if at.line else (f"{at.file}: " if at.file else "")
        where = ", ".join(part for part in (self.object, self.field and f"field {self.field}") if part)
        text = f"{place}{'warning' if self.warning else 'error'}: {where + ': ' if where else ''}{self.message}"
        text += f"; limit: {self.limit}" if self.limit else ""
        text += f"; did you mean {self.nearest}?" if self.nearest else "."
        return printable_line(text + (f" Fix: {self.fix}" if self.fix else ""))

    @property
    def lines(self) -> tuple[str, ...]:
        """As it is printed: the sentence, the excerpt, the caret below."""
        return (self.sentence, *self._caret())

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _caret(self) -> Iterator[str]:
        """The line with a caret below; a long line is cut around the place."""
        if not self.excerpt or not self.position.line:
            return
        start = excerpt_start(self.position.column)
        # What a file holds must not reach the terminal as commands to it.
        cut = self.excerpt[:EXCERPT].replace("\t", " ")
        shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)
        margin = f"{self.position.line:>6} | "
        yield margin + shown
        length = max(1, min(self.position.length, len(shown) - (self.position.column - 1 - start)))
        yield " " * (len(margin) - 2) + "| " + " " * (self.position.column - 1 - start) + "^" * length

    def to_dict(self) -> dict[str, Any]:
        return {
            "severity": "warning" if self.warning else "error",
            "file": self.position.file,
            "line": self.position.line,
            "column": self.position.column,
            "object": self.object,
            "field": self.field,
            "message": self.message,
            "limit": self.limit,
            "fix": self.fix,
            "nearest": self.nearest,
        }


def excerpt_start(column: int) -> int:
    """Where in a line its excerpt around a column, from 1, begins: 0 for its begin."""
    return max(0, column - 1 - BEFORE)


def excerpt(line: str, column: int) -> str:
    """What is shown of a line to point at a column of it. Cut where it is made: a thousand problems in a line of a
    megabyte don't keep a gigabyte."""
    start = excerpt_start(column)
    return line[start : start + EXCERPT]


class IntentError(Exception):
    """An intent that is refused. `problems` has all that is wrong with it, warnings included; `objects` what could be
    read of it all the same, None where that isn't known."""

    def __init__(self, problems: Iterable[Problem], objects: Objects | None = None) -> None:
        self.problems = tuple(problems)
        self.objects = objects
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that `word` probably is a misspelling of, or ""."""
    alike = [name for name in known if abs(len(name) - len(word)) <= 3][:MAX_CANDIDATES]
    lower = {name.lower(): name for name in alike}
    found = difflib.get_close_matches(word[:64].lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else ""


class Guesses:
    """Guesses at what misspelt names mean, for no more of them than problems are told: each costs a comparison with
    hundreds of names, and a file may have a million."""

    def __init__(self) -> None:
        self._left = MAX_PROBLEMS

    def nearest(self, word: str, known: Callable[[], Iterable[str]]) -> str:
        """As the function `nearest`; "" when no guess is left. `known` is asked only where one is."""
        if self._left == 0:
            return ""
        self._left -= 1
        return nearest(word, known())


@dataclass(frozen=True)
class Object(Generic[M_co]):
    """An object: `spec` is the message of its kind.

    Args:
        position: of its first line.
        positions: path of a field ("addresses[1]", "rules[web].ports[0]") -> where its value is.
        set: the part of the intent that it belongs to (`--set`), "" for the whole.
        written: path of a field -> what a person calls it, where that differs: a list without the members that couldn't
            be read counts otherwise than the file does.
    """

    kind: str
    name: str
    spec: M_co
    labels: Mapping[str, str] = field(default_factory=dict)
    position: Position = NOWHERE
    positions: Mapping[str, Position] = field(default_factory=dict)
    set: str = ""
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def key(self) -> tuple[str, str]:
        return (self.kind, self.name)

    def at(self, path: str = "") -> Position:
        """Where a field is written; where that isn't known, the nearest thing around it."""
        while path:
            if path in self.positions:
                return self.positions[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.position

    def problem(self, path: str, message: str, **more: Any) -> Problem:
        """A problem of one of its fields."""
        return Problem(self.at(path), message, object=self.title, field=self.written.get(path, path), **more)


class Objects:
    """A set of objects, found by kind and name; the order is that of the files.

    Args:
        objects: of which a kind and name occurs once.
        ghosts: kind ("" where even that isn't known) and name of objects that are there but can't be read: a
            reference to one is no second error.
    """

    def __init__(self, objects: Iterable[Object[Message]] = (), ghosts: Iterable[tuple[str, str]] = ()) -> None:
        self._by_key = {item.key: item for item in objects}
        self.ghosts = frozenset(ghosts)

    def __iter__(self) -> Iterator[Object[Message]]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    @cached_property
    def _by_kind(self) -> dict[str, list[Object[Message]]]:
        result: dict[str, list[Object[Message]]] = {}
        for item in self:
            result.setdefault(item.kind, []).append(item)
        return result

    def of(self, message: type[M]) -> list[Object[M]]:
        """All objects of the kind whose message this is."""
        kind = message.DESCRIPTOR.name
        return [item for item in self._by_kind.get(kind, ()) if isinstance(item.spec, message)]  # type: ignore[misc]

    def find(self, key: tuple[str, str]) -> Object[Message] | None:
        """The object of this kind and name."""
        return self._by_key.get(key)

    def get(self, message: type[M], name: str) -> Object[M] | None:
        found = self._by_key.get((message.DESCRIPTOR.name, name))
        return found if found is not None and isinstance(found.spec, message) else None  # type: ignore[return-value]

    def names(self, *kinds: str) -> list[str]:
        return [item.name for kind in kinds for item in self._by_kind.get(kind, ())]

    def has(self, kinds: Iterable[str], name: str) -> bool:
        """True if there is such an object, or one that couldn't be read."""
        return ("", name) in self.ghosts or any(
            (kind, name) in self._by_key or (kind, name) in self.ghosts for kind in kinds
        )

    def with_defaults(self, defaults: Iterable[Object[Message]]) -> Objects:
        """These and those of `defaults` that aren't declared here."""
        more = [item for item in defaults if item.key not in self._by_key and item.key not in self.ghosts]
        return Objects([*self, *more], self.ghosts)
