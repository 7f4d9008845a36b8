"""What changes from one intent to the next: in objects, as written, and in table entries."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from hal.later import Later
from hal.packet.schema.rows import Rows
from services.core.objects import Object, Objects
from services.core.references import form
from services.core.service import Services

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

MAX_RULES: Final = 20_000
"""Members of a keyed list beyond which its difference is told by name alone, in no order."""


@dataclass(frozen=True)
class Change:
    """One object that goes, changes or comes.

    Args:
        sign: "-" removed, "~" changed, "+" added.
        lines: what exactly, each with a sign of its own, in the words in which it was written.
    """

    sign: str
    kind: str
    name: str
    lines: tuple[str, ...] = ()

    @property
    def text(self) -> tuple[str, ...]:
        """As it is printed: the object, and below it what exactly."""
        return (f"{self.sign} {self.kind} {self.name}", *(f"    {line}" for line in self.lines))

    def __str__(self) -> str:
        return "\n".join(self.text)

    def to_dict(self) -> dict[str, Any]:
        what = {"-": "removed", "~": "changed", "+": "added"}[self.sign]
        return {"change": what, "kind": self.kind, "name": self.name, "lines": list(self.lines)}


def changes(old: Objects, new: Objects, services: Services) -> list[Change]:
    """Removals first, then changes, then additions, each in the order of its intent."""
    removed = [Change("-", item.kind, item.name, _whole("-", item, services)) for item in old if item.key not in new]
    before = {item.key: item for item in old}
    changed = [
        Change("~", item.kind, item.name, tuple(_fields(before[item.key], item, services)))
        for item in new
        if item.key in before and before[item.key].spec != item.spec
    ]
    added = [Change("+", item.kind, item.name, _whole("+", item, services)) for item in new if item.key not in before]
    return [*removed, *changed, *added]


def since(
    old: Objects, before: Mapping[tuple[str, str], int], new: Objects, generation: int
) -> dict[tuple[str, str], int]:
    """(kind, name) -> the generation in which an object was put in or last changed: for one that is as it was, that of
    `before`, else this one."""
    result = {}
    for item in new:
        same = old.find(item.key)
        kept = same is not None and same.spec == item.spec
        result[item.key] = before.get(item.key, generation) if kept else generation
    return result


def change_summary(found: Sequence[Change]) -> str:
    """Changes as numbers of objects: "2 removed, 1 changed, 3 added"."""
    names = (("-", "removed"), ("~", "changed"), ("+", "added"))
    counts = [(sum(change.sign == sign for change in found), name) for sign, name in names]
    return ", ".join(f"{count:,} {name}" for count, name in counts if count) or "nothing changed"


def words(item: Object[Message], services: Services) -> str:
    """An object in the words of its service: one line, or one for each rule."""
    service = services.by_kind.get(item.kind)
    say = service.words.get(item.kind) if service is not None else None
    return say(item.spec) if say is not None else " ".join(str(item.spec).split())


def _whole(sign: str, item: Object[Message], services: Services) -> tuple[str, ...]:
    return tuple(f"{sign} {line}" for line in words(item, services).splitlines())


def _fields(old: Object[Message], new: Object[Message], services: Services) -> Iterator[str]:
    """The fields that differ, removals first within each."""
    for field in new.spec.DESCRIPTOR.fields:
        before, after = getattr(old.spec, field.name), getattr(new.spec, field.name)
        if before == after:
            continue
        if form(field).keyed_by:
            yield from _members(_texts(before, services), _texts(after, services))
        elif field.is_repeated:
            gone = [value for value in before if value not in after]
            come = [value for value in after if value not in before]
            yield from (f"- {field.json_name} {value}" for value in gone)
            yield from (f"+ {field.json_name} {value}" for value in come)
            if not gone and not come:
                yield f"~ {field.json_name}: in another order: {', '.join(str(value) for value in after)}"
        else:
            yield f"~ {field.json_name}: {_value(before)} -> {_value(after)}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else "none"


def _texts(members: Any, services: Services) -> list[str]:
    """Members of a keyed list as lines: their key and their text form."""
    lines = []
    for member in members:
        grammar = services.grammars.get(member.DESCRIPTOR.full_name)
        text = grammar.print(member) if grammar is not None else " ".join(str(member).split())
        lines.append(f"{member.name}: {text}")
    return lines


def _members(old: list[str], new: list[str]) -> Iterator[str]:
    """Lines that went and came. One that only moved is told as both, since order has a meaning."""
    if len(old) + len(new) > MAX_RULES:
        gone, come = set(old) - set(new), set(new) - set(old)
        yield from (f"- {line}" for line in old if line in gone)
        yield from (f"+ {line}" for line in new if line in come)
        return
    removed, added = [], []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            removed += [f"- {line}" for line in old[i1:i2]]
            added += [f"+ {line}" for line in new[j1:j2]]
    yield from removed
    yield from added


@dataclass(frozen=True)
class TableChange:
    """What a commit would write in one table, and how full it is then. `owner`: who else writes it by card.toml, ""
    for dsnd."""

    table: str
    removed: int
    changed: int
    added: int
    entries: int
    capacity: int
    owner: str = ""

    @property
    def occupancy(self) -> float:
        """The share of the capacity that is used afterwards, 0 to 1 and more."""
        return self.entries / self.capacity if self.capacity else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "removed": self.removed,
            "changed": self.changed,
            "added": self.added,
            "entries": self.entries,
            "capacity": self.capacity,
            "occupancy": round(self.occupancy, 6),
            "owner": self.owner,
        }


def table_change(
    table: str, old: tuple[Rows, ...], new: tuple[Rows, ...], capacity: int, owner: str = ""
) -> TableChange:
    """Rows that go, change and come, by their ids and bytes."""
    old_ids, new_ids = _ids(old), _ids(new)
    same = 0
    for rows in new:
        for before in old:
            if before.row is rows.row:
                same += len(np.intersect1d(_bytes(before), _bytes(rows), assume_unique=True))
    common = len(np.intersect1d(old_ids, new_ids, assume_unique=True))
    return TableChange(
        table, len(old_ids) - common, common - same, len(new_ids) - common, len(new_ids), capacity, owner
    )


def table_changes(
    old: Mapping[str, tuple[Rows, ...]],
    new: Mapping[str, tuple[Rows, ...]],
    capacities: Mapping[str, int],
    owners: Mapping[str, str] = MappingProxyType({}),
) -> list[TableChange]:
    """The change of each table that is used before or after."""
    tables = [table for table in capacities if old.get(table) or new.get(table)]
    return [
        table_change(table, old.get(table, ()), new.get(table, ()), capacities[table], owners.get(table, ""))
        for table in tables
    ]


def _ids(parts: tuple[Rows, ...]) -> Any:
    return np.concatenate([rows.data["id"] for rows in parts]) if parts else np.zeros(0, np.uint64)


def _bytes(rows: Rows) -> Any:
    """Each row as one opaque value."""
    data = np.ascontiguousarray(rows.data)
    size = data.dtype.itemsize
    return data.view(np.dtype(("S", size)))
