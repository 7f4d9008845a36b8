"""Names of objects inside objects: which there are, and which refer to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from google.protobuf.message import Message

from services.core import options_pb2
from services.core.formats import NAME
from services.core.objects import Guesses, Object, Objects, Problem

FieldLike = Any
"""A field's descriptor: those of protobuf's Python and C implementations have no type in common."""


def form(field: FieldLike) -> options_pb2.FieldForm:
    """What options.proto says of a field."""
    found: options_pb2.FieldForm = field.GetOptions().Extensions[options_pb2.form]
    return found


def references(message: Message, path: str = "") -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(path, name, kinds it may be of) of each name that a message holds; prefixes and `any` are no names."""
    for field in message.DESCRIPTOR.fields:
        rules = form(field)
        here = f"{path}.{field.json_name}" if path else field.json_name
        if field.message_type is None and not rules.refers:
            continue
        value = getattr(message, field.name)
        members = list(value) if field.is_repeated else [value] if value else []
        for index, member in enumerate(members):
            key = getattr(member, rules.keyed_by) if rules.keyed_by else index
            at = f"{here}[{key}]" if field.is_repeated else here
            if isinstance(member, Message):
                yield from references(member, at)
            elif NAME.fullmatch(member) and member != "any":
                yield at, member, tuple(rules.refers)


def dangling(objects: Objects) -> Iterable[Problem]:
    """A problem for each name that nothing has; what was meant is guessed for no more than are told."""
    guesses = Guesses()
    for item in objects:
        yield from _dangling(item, objects, guesses)


def _dangling(item: Object[Message], objects: Objects, guesses: Guesses) -> Iterator[Problem]:
    for path, name, kinds in references(item.spec):
        if not objects.has(kinds, name):
            what = " or ".join(kinds)
            # Where groups may stand, `any` may.
            words = ["any"] if "Group" in kinds else []
            near = guesses.nearest(name, partial(_names, objects, kinds, words))
            yield item.problem(
                path, f"no {what} is called {name}", nearest=near, fix=f"Declare it, or name another {what}."
            )


def _names(objects: Objects, kinds: tuple[str, ...], more: list[str]) -> list[str]:
    return [*objects.names(*kinds), *more]
