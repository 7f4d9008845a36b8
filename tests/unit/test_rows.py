"""A row as bytes: alone, among many, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hal.packet.schema.classes import row_classes
from hal.packet.schema.declare import NONE_ID, Field, Type
from hal.packet.schema.rows import Row, as_rows

VALUES: dict[Type, tuple[Any, ...]] = {
    Type.ADDRESS: ("0.0.0.0", "203.0.113.7", "2001:db8::7"),
    Type.PREFIX: ("0.0.0.0/0", "10.1.2.0/24", "2001:db8::/33", "::/0"),
    Type.MAC: ("02:00:00:00:00:0a", b"\xff" * 6),
    Type.KEY128: (bytes(16), bytes(range(16))),
    Type.NAME: ("a", "a name of 23 characters"),
}


def values(field: Field) -> tuple[Any, ...]:
    if field.type in VALUES:
        return VALUES[field.type]
    return (*field.limit, *(name for name, _ in field.enum))


def some(kind: type[Row]) -> Iterator[Row]:
    """Rows in which every field has each of its values once or more."""
    fields = tuple(kind.LAYOUT.table.fields(kind.LAYOUT.action))
    for turn in range(max([3, *(len(values(one)) for one in fields)])):
        drawn = {one.name: values(one)[turn % len(values(one))] for one in fields}
        yield kind(id=(0, 1, NONE_ID - 1)[turn % 3], **drawn)


@pytest.mark.parametrize("kind", row_classes().values(), ids=lambda kind: kind.__name__)
def test_one_row_is_what_it_is_among_many(kind: type[Row]) -> None:
    rows = list(some(kind))
    (many,) = as_rows(rows)
    for row, raw in zip(rows, many.raw(), strict=True):
        alone = row.rows()
        assert alone.data.dtype == kind.LAYOUT.dtype
        assert alone.raw().tobytes() == raw.tobytes()
        assert list(alone) == [row]
    assert list(many) == rows


def test_an_array_of_one_may_be_changed() -> None:
    (row,) = (kind for name, kind in row_classes().items() if name == "Vrf")
    rows = row(id=1).rows()
    rows.data["id"] = 2
    assert [one.id for one in rows] == [2]
