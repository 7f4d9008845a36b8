"""What was asked for last and isn't what the card holds: which objects it would change, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from hal.errors import HalError
from services.core.objects import IntentError, Object, Objects
from services.core.plan import Plan

REFUSED = "the last apply was refused: "
WITH_OTHERS = "the last apply, which changes it, was refused: "


@dataclass(frozen=True)
class Outstanding:
    """An intent that was asked for and isn't held.

    Args:
        objects: of it, as far as it can be read; None where nothing of it can.
        reason: why it isn't held.
        own: (kind, name) -> what is wrong with that object itself.
    """

    objects: Objects | None
    reason: str
    own: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectState:
    """An object as it is held, or where it isn't yet, as it was asked for.

    Args:
        applied: the generation in which it was put in or last changed; 0 where it isn't held.
        wanted: the same; where what was asked for would change it, the next one, at the earliest.
        reason: why they differ, "" where they don't.
    """

    item: Object[Message]
    applied: int
    wanted: int
    reason: str = ""


def refusal(error: IntentError | HalError, objects: Objects | None, *plans: Plan | None) -> Outstanding:
    """What was refused with this error. `plans`: whose rows the engine may speak of."""
    if isinstance(error, HalError):
        return Outstanding(objects, REFUSED + str(error), dict(_named(error, plans)))
    errors = [problem for problem in error.problems if not problem.warning]
    own: dict[tuple[str, str], str] = {}
    for problem in errors:
        kind, _, name = problem.object.partition(" ")
        own.setdefault((kind, name), REFUSED + problem.sentence)
    first = errors[0].sentence if errors else str(error)
    return Outstanding(objects if objects is not None else error.objects, WITH_OTHERS + first, own)


def _named(error: HalError, plans: tuple[Plan | None, ...]) -> Iterator[tuple[tuple[str, str], str]]:
    """The object of the row that the engine refused. With its name in it an error has no id: its cause has."""
    for one in (error, error.__cause__):
        if isinstance(one, HalError) and one.table is not None and one.row_id is not None:
            for plan in plans:
                if plan is not None and (origin := plan.origins.get((one.table, one.row_id))) is not None:
                    yield (origin.kind, origin.name), REFUSED + str(error)
                    return


def states(
    held: Objects, since: Mapping[tuple[str, str], int], generation: int, outstanding: Outstanding | None
) -> Iterator[ObjectState]:
    """All objects that are held, each with its own generations, then those that were asked for and aren't held.

    Args:
        since: (kind, name) -> generation in which it was put in or last changed.
        generation: of the last commit of what is held.
    """
    next_one = generation + 1
    asked = outstanding.objects if outstanding is not None else None
    for item in held:
        applied = since.get(item.key, 0)
        if outstanding is None or not _touches(outstanding, item):
            yield ObjectState(item, applied, applied)
        else:
            yield ObjectState(item, applied, next_one, outstanding.own.get(item.key, outstanding.reason))
    if outstanding is None or asked is None:
        return
    for item in asked:
        if item.key not in held:
            yield ObjectState(item, 0, next_one, outstanding.own.get(item.key, outstanding.reason))


def _touches(outstanding: Outstanding, item: Object[Message]) -> bool:
    """Whether what was asked for would change an object, take it out, or is wrong with it."""
    asked = outstanding.objects
    if item.key in outstanding.own:
        return True
    if asked is None:
        return False
    new = asked.find(item.key)
    if new is None:  # one that can't be read is there all the same
        return not asked.has((item.kind,), item.name)
    return new.spec != item.spec
